"""Which videos of a folder without `train/` and `val/` are held out for validation: one in five of each class, or whole
groups of videos that belong together, such as those of a person."""

import csv
import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from tdn.data.clips import Video
from tdn.data.disk.lists import read_text, some, wrong

ONE_IN = 5
GROUPS = "groups.csv"
# In the name of a file, with a number behind it: who acted, or else when or with what it was filmed. Of several the
# first counts: subject07_up_2, up-P03, cam1_subj_3, v_g01_c2.
WHO = ("subject", "subj", "person", "participant", "user", "actor", "signer", "p", "s", "u")
WHO += ("group", "g", "session", "device", "camera", "cam")


def held_out(videos: Sequence[Video], root: Path) -> tuple[set[int], list[str]]:
    """Indices of the videos that are for validation, and a sentence on how they were chosen.

    With a `groups.csv` in `root` (columns path and group), or where the names of most files tell who is seen (`WHO`),
    whole groups are held out, as near to one in five videos as they come: none whose class would have no other video.
    Else one in five of each class, at least one of two. A hash of the name of a group, or of the path below `root`,
    decides, so that every machine has the same split. Raises ValueError for a groups.csv that does not list every
    video.
    """
    groups, told = _listed(videos, root), f"by {GROUPS}"
    if groups is None:
        groups, told = _named(videos)
    if groups is None:
        how = f"validation has one in {ONE_IN} videos of each class, whoever is seen"
        return _of_each_class(videos, root), [f"{how}: {told} ({GROUPS}, with path,group, could)"]
    members = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    chosen = _nearest_to_a_fifth(members, videos)
    indices = {index for group in chosen for index in members[group]}
    note = f"validation has whole groups, {told}: {len(chosen)} of {len(members)} ({some(sorted(chosen))}), with "
    return indices, [f"{note}{len(indices)} of {len(videos)} videos"]


def _nearest_to_a_fifth(members: Mapping[str, Sequence[int]], videos: Sequence[Video]) -> list[str]:
    """Groups in the order of their hashes, as long as none is too large; and then the one that comes nearest."""
    left, chosen, missing = Counter(video.label for video in videos), [], len(videos) / ONE_IN

    def without(group: str) -> Counter:
        return left - Counter(videos[index].label for index in members[group])

    in_order = sorted(members, key=_hash)
    for group in in_order:
        if len(members[group]) <= missing and without(group).keys() == left.keys():
            left, missing = without(group), missing - len(members[group])
            chosen.append(group)
    possible = [group for group in in_order if group not in chosen and without(group).keys() == left.keys()]
    last = min(possible, key=lambda group: abs(missing - len(members[group])), default=None)
    if last and (not chosen or abs(missing - len(members[last])) < missing):
        chosen.append(last)
    return chosen


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


def _named(videos: Sequence[Video]) -> tuple[list[str] | None, str]:
    """The group of each video by the names of the files, where most tell it, and in words how; else None, and why."""
    stems, why = [video.path.stem for video in videos], ""
    for word in WHO:
        pattern = re.compile(rf"(?<![A-Za-z0-9]){word}[-_ ]?(\d+)(?![A-Za-z0-9])", re.IGNORECASE)
        found = [pattern.search(stem) for stem in stems]
        groups = [f"{word}{int(match[1])}" if match else stem for match, stem in zip(found, stems, strict=True)]
        known = sorted({group for group, match in zip(groups, found, strict=True) if match})
        silent = [stem for stem, match in zip(stems, found, strict=True) if not match]
        told = len(stems) - len(silent)
        # As many as there are takes, the numbers behind a letter are of these.
        if not 2 <= len(known) <= told / (2 if len(word) > 1 else 3):
            continue
        if len(known) > 2 and len(silent) < told:
            others = f", of which {len(silent)} do not tell and count alone ({some(silent)})" if silent else ""
            return groups, f"by the names of the files{others}"
        few = f"only {told} of {len(stems)} names tell who" if len(silent) >= told else "the names tell of two only"
        why = why or f"{few} ({some(known)})"
    return None, why or "no names of files tell who"


def _hash(name: str) -> bytes:
    return hashlib.sha256(os.fsencode(name)).digest()
