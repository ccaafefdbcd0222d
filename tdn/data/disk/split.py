"""Which videos of a folder without `train/` and `val/` are held out for validation: one in five of each class, or whole
groups of videos that belong together, such as those of a person."""

import csv
import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from tdn.data.clips import Video
from tdn.data.disk.lists import read_text, some, wrong

ONE_IN = 5
GROUPS = "groups.csv"
# In the name of a file, a word that says who or what filmed or acted, and its number: subject07_up_2, up-P03, v_g01_c2.
WHO = ("subject", "subj", "person", "participant", "user", "actor", "signer", "device", "camera", "cam", "group")
WHO += ("session", "p", "s", "g", "u")
GROUP = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(WHO)})[-_ ]?\d+(?![A-Za-z0-9])", re.IGNORECASE)


def held_out(videos: Sequence[Video], root: Path) -> tuple[set[int], list[str]]:
    """Indices of the videos that are for validation, and sentences on how they were chosen.

    With a `groups.csv` in `root` (columns path and group), or where the names of all files say who is seen (`GROUP`),
    whole groups are held out, until they have one in five videos: none whose class would have no other video. Else one
    in five of each class, at least one of two. A hash of the name of a group, or of the path below `root`, decides, so
    that every machine has the same split. Raises ValueError for a groups.csv that does not list every video.
    """
    groups, source = _listed(videos, root), GROUPS
    if groups is None:
        groups, source = _named(videos), "the names of the files"
    if groups is None:
        return _of_each_class(videos, root), []
    members = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    left, chosen = Counter(video.label for video in videos), {}
    for group in sorted(members, key=_hash):
        without = left - Counter(videos[index].label for index in members[group])
        if sum(map(len, chosen.values())) * ONE_IN < len(videos) and without.keys() == left.keys():
            chosen[group], left = members[group], without
    number = sum(map(len, chosen.values()))
    note = f"validation has whole groups, by {source}: {len(chosen)} of {len(members)} ({some(sorted(chosen))}), with "
    return {index for of in chosen.values() for index in of}, [f"{note}{number} of {len(videos)} videos"]


def _of_each_class(videos: Sequence[Video], root: Path) -> set[int]:
    by_class = defaultdict(list)
    for index, (path, label, _) in enumerate(videos):
        by_class[label].append((_hash(path.relative_to(root).as_posix()), index))
    return {
        index for of in by_class.values() if len(of) > 1 for _, index in sorted(of)[: max(round(len(of) / ONE_IN), 1)]
    }


def _listed(videos: Sequence[Video], root: Path) -> list[str] | None:
    file = root / GROUPS
    if not file.is_file():
        return None
    rows = csv.DictReader(read_text(file).splitlines())
    if not {"path", "group"} <= {*(rows.fieldnames or ())}:
        raise wrong(file, 1, f"the columns must be path and group; found: {', '.join(rows.fieldnames or ()) or 'none'}")
    group_of = {row["path"].strip(): row["group"].strip() for row in rows if row["path"] and row["group"]}
    paths = [video.path.relative_to(root).as_posix() for video in videos]
    if missing := [path for path in paths if path not in group_of]:
        raise ValueError(f"{file} lists no group of {len(missing)} videos ({some(missing)}); paths are below {root}")
    return [group_of[path] for path in paths]


def _named(videos: Sequence[Video]) -> list[str] | None:
    found = [GROUP.search(video.path.stem) for video in videos]
    groups = [match[0].lower() for match in found if match]
    # As many as there are takes, they number these.
    return groups if len(groups) == len(videos) and 3 <= len({*groups}) <= len(videos) / 3 else None


def _hash(name: str) -> bytes:
    return hashlib.sha256(os.fsencode(name)).digest()
