"""Labelled videos from the files that data sets are distributed with, which stay as they are.

A layout has two steps: `sources` finds the files that list the videos, `read` reads them. `fingerprint` tells whether
the sources changed since without reading them.
"""

import csv
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tdn.data.clips import Video
from tdn.data.disk.lists import lines, read_text, some, wrong

# Of files in a folder of videos; where the user names the file, any that FFmpeg can open is a video.
VIDEO_SUFFIXES = {".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v", ".insv", ".avi", ".divx"}
VIDEO_SUFFIXES |= {".mkv", ".mk3d", ".webm", ".ogv", ".ogm", ".ogg", ".flv", ".wmv", ".asf", ".rm", ".rmvb", ".gif"}
VIDEO_SUFFIXES |= {".mpg", ".mpeg", ".mpe", ".mpv", ".m1v", ".m2v", ".vob", ".ts", ".m2ts", ".m2t", ".mts", ".mod"}
VIDEO_SUFFIXES |= {".tod", ".trp", ".mxf", ".dv", ".wtv", ".nut", ".nsv", ".amv", ".swf", ".apng", ".y4m", ".ivf"}
VIDEO_SUFFIXES |= {".mjpeg", ".mjpg", ".h264", ".264", ".h265", ".265", ".hevc", ".obu"}


class Labelled(NamedTuple):
    """The content of an annotation: names of the classes, and the videos of both sets, whether on disk or not; `notes`
    are sentences on what was left out or is doubtful, `mirrored` as in `VideoSet`."""

    class_names: list[str]
    train: list[Video]
    val: list[Video]
    notes: Sequence[str] = ()
    mirrored: bool = True


class Layout(NamedTuple):
    """How one data set lies below its folder.

    `sources(root, split)` gives the annotation files, or folders whose listing is the annotation; FileNotFoundError
    where one is missing, ValueError where it is not clear which they are. `read(root, sources)` raises ValueError, with
    file and line, for a mistake in them, and FileNotFoundError where the folder of the videos is missing.
    """

    sources: Callable[[Path, int], list[Path]]
    read: Callable[[Path, list[Path]], Labelled]


def fingerprint(root: Path, split: int, sources: Iterable[Path]) -> str:
    """A hash of where the sources are, and of their sizes and times of change or, of folders, their listing."""
    parts = [str(root), str(split)]
    for source in sources:
        parts.append(str(source))
        if source.is_dir():
            parts += sorted(entry.name for entry in visible(source))
        else:
            state = source.stat()
            parts.append(f"{state.st_size} {state.st_mtime_ns}")
    return hashlib.sha256(os.fsencode("\n".join(parts))).hexdigest()


def _read_ssv1(root: Path, sources: list[Path]) -> Labelled:
    folder = find(root, "20bn-something-something-v1")
    labels, *lists = sources
    names: set[str] = set()
    for number, name in lines(labels):  # no real csv: commas and quotes belong to the names
        if name in names:
            raise wrong(labels, number, f"{name!r} is there twice")
        names.add(name)
    # In order of their names, as in the lists of TSN and TSM and thus in the authors' released networks.
    label_of = {name: label for label, name in enumerate(sorted(names))}

    def videos(file: Path) -> Iterator[Video]:
        for number, line in lines(file):
            video, separator, name = line.partition(";")
            if not separator or not video:
                raise wrong(file, number, f"not of the form id;label: {line!r}")
            if name not in label_of:
                raise wrong(file, number, f"{name!r} is no label of {labels.name}")
            yield Video(folder / video, label_of[name])

    return Labelled(list(label_of), *(list(videos(file)) for file in lists))


def _read_ssv2(root: Path, sources: list[Path]) -> Labelled:
    folder = find(root, "20bn-something-something-v2")
    labels, *lists = sources
    try:
        label_of = {name: int(number) for name, number in _json(labels, dict).items()}
    except (TypeError, ValueError) as error:
        raise ValueError(f"{labels}: the labels must be numbers: {error}") from error
    names = sorted(label_of, key=label_of.get)
    if [label_of[name] for name in names] != list(range(len(names))):
        raise ValueError(f"{labels}: the labels must be 0 to {len(names) - 1}, each once")

    def videos(file: Path) -> Iterator[Video]:
        for number, entry in enumerate(_json(file, list), 1):
            try:
                video, template = entry["id"], entry["template"]
                name = template.replace("[", "").replace("]", "")  # around placeholders; labels.json has none
            except (KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"{file}, video {number}: has no id or no template: {entry}") from error
            if name not in label_of:
                raise ValueError(f"{file}, video {number} (id {video}): {name!r} is no label of {labels.name}")
            yield Video(folder / f"{video}.webm", label_of[name])

    return Labelled(names, *(list(videos(file)) for file in lists))


def _read_k400(root: Path, sources: list[Path]) -> Labelled:
    """Videos are found by YouTube id and times, in any class folder: each tool renames those in its own way."""
    tables = [list(_k400_rows(file)) for file in sources]
    folders = [find(root, "train"), find(root, "val", "validate")]
    label_of = {name: label for label, name in enumerate(sorted({name for _, name, _ in tables[0]}))}

    def videos(file: Path, rows: list[tuple[int, str, str]], folder: Path) -> Iterator[Video]:
        below = [entry for entry in visible(folder) if entry.is_dir()]
        class_folders = {entry.name.replace("_", " "): entry.name for entry in below}
        files = [entry for place in (folder, *below) for entry in visible(place)]
        files = sorted(files, key=lambda entry: not entry.name.lower().endswith(".gif"))  # of two, not the preview
        on_disk = {os.path.splitext(entry.name)[0]: Path(entry.path) for entry in files if is_video_file(entry)}
        for number, name, video in rows:
            if name not in label_of:
                raise wrong(file, number, f"{name!r} is no class of {sources[0].name}")
            # where a missing video would be
            expected = folder / class_folders.get(name, name) if class_folders else folder
            yield Video(on_disk.get(video, expected / f"{video}.mp4"), label_of[name])

    return Labelled(list(label_of), *(list(videos(*part)) for part in zip(sources, tables, folders, strict=True)))


def _k400_rows(file: Path) -> Iterator[tuple[int, str, str]]:
    """Line, class and file name without its suffix."""
    columns = ["label", "youtube_id", "time_start", "time_end"]
    reader = csv.reader(read_text(file).splitlines())
    if next(reader, [])[:4] != columns:
        raise wrong(file, 1, f"the columns must be {','.join(columns)},...")
    for row in filter(None, reader):
        try:
            name, video, start, end = row[:4]
            yield reader.line_num, name, f"{video}_{int(float(start)):06d}_{int(float(end)):06d}"
        except ValueError as error:
            raise wrong(file, reader.line_num, f"not of the form {','.join(columns)}: {','.join(row)!r}") from error


def _read_ucf101(root: Path, sources: list[Path]) -> Labelled:
    folder = find(root, "UCF-101")
    classes, *lists = sources
    label_of: dict[str, int] = {}
    for line_number, line in lines(classes):
        number, _, name = line.partition(" ")
        if number != str(len(label_of) + 1) or not name or name in label_of:
            raise wrong(classes, line_number, f"expected {len(label_of) + 1} and a new class: {line!r}")
        label_of[name] = len(label_of)

    def videos(file: Path) -> Iterator[Video]:
        for line_number, line in lines(file):
            video, _, number = line.rpartition(" ")
            if not number.isdecimal():  # the test lists have no label
                video, number = line, ""
            name = video.partition("/")[0]
            if name not in label_of or name == video:
                raise wrong(file, line_number, f"no class of {classes.name} and a video below it: {line!r}")
            if number and int(number) != label_of[name] + 1:
                raise wrong(file, line_number, f"{name} has the number {label_of[name] + 1}, not {number}")
            yield Video(folder / video, label_of[name])

    return Labelled(list(label_of), *(list(videos(file)) for file in lists))


def _hmdb51_sources(root: Path, split: int) -> list[Path]:
    folder, ending = find(root, "testTrainMulti_7030_splits"), f"_test_split{split}.txt"
    files = [folder / name for name in os.listdir(folder) if name.endswith(ending)]
    if not files:
        raise FileNotFoundError(f"{folder} has no file <class>{ending}")
    return sorted(files, key=lambda file: file.name.removesuffix(ending))  # climb before climb_stairs


def _read_hmdb51(root: Path, sources: list[Path]) -> Labelled:
    folder = root / "hmdb51_org" if (root / "hmdb51_org").is_dir() else root
    names = [file.name.rpartition("_test_split")[0] for file in sources]
    if not any((folder / name).is_dir() for name in names):
        raise FileNotFoundError(f"{root} has neither hmdb51_org/ nor folders of classes such as {names[0]}/")
    sets: dict[str, list[Video]] = {"1": [], "2": [], "0": []}  # training, test, in neither
    for label, (name, file) in enumerate(zip(names, sources, strict=True)):
        for number, line in lines(file):
            video, _, part = line.rpartition(" ")
            if part not in sets or not video:
                raise wrong(file, number, f"not a video and 0, 1 or 2: {line!r}")
            sets[part].append(Video(folder / name / video.strip(), label))
    return Labelled(names, sets["1"], sets["2"])


def _gestures_sources(root: Path, split: int) -> list[Path]:
    """The folder of the clips: testvideo/ of a checkout, or `root`; of copies in train/<class>/ and val/<class>/ all of
    these folders."""
    parts = [root / part for part in ("train", "val") if (root / part).is_dir()]
    below = sorted(Path(entry.path) for part in parts for entry in visible(part) if entry.is_dir())
    folders = [root / "testvideo"] if (root / "testvideo").is_dir() else below or [root]
    if not any(_GESTURE.fullmatch(entry.name) for folder in folders for entry in visible(folder)):
        raise FileNotFoundError(f"there is no testvideo_<class>_<number>.mp4 in {root / 'testvideo'} or in {root}")
    return folders


def _read_gestures(root: Path, sources: list[Path]) -> Labelled:
    """The split is that of the names, wherever the files lie."""
    on_disk = {entry.name: Path(entry.path) for folder in sources for entry in visible(folder)}
    sets: dict[str, list[Video]] = {"train": [], "val": []}
    for label, (name, validation) in enumerate(GESTURES_VALIDATION.items()):
        for number in range(1, GESTURES_OF_A_CLASS + 1):
            part, file = "val" if number in validation else "train", f"testvideo_{name}_{number}.mp4"
            expected = sources[0] if len(sources) == 1 else root / part / name  # where a missing clip would be
            sets[part].append(Video(on_disk.pop(file, expected / file), label))
    others = sorted(filter(_GESTURE.fullmatch, on_disk))  # of the class "unclassified", which is no gesture
    notes = [f"clips of none of the {len(GESTURES_VALIDATION)} gestures, left out: {len(others)} ({some(others)})"]
    return Labelled(list(GESTURES_VALIDATION), sets["train"], sets["val"], notes if others else (), mirrored=False)


def is_video_file(entry: os.DirEntry) -> bool:
    return os.path.splitext(entry.name)[1].lower() in VIDEO_SUFFIXES and not entry.is_dir()


def visible(folder: Path | str | os.DirEntry) -> Iterator[os.DirEntry]:
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if not entry.name.startswith("."))


def _files(root: Path, split: int, names: list[str], below: tuple[str, ...] = ("annotations", "labels")) -> list[Path]:
    """One file for each of these names, in which {} is the split and a blank comes before a second name."""
    return [find(root, *name.format(split).split(), below=below) for name in names]


def find(root: Path, *names: str, below: tuple[str, ...] = ()) -> Path:
    """The first of these files or folders that exists, in the root or in one of the folders `below` it."""
    places = [root, *(root / folder for folder in below)]
    for path in (place / name for place in places for name in names):
        if path.exists():
            return path
    raise FileNotFoundError(f"there is no {' or '.join(names)} in {' or '.join(map(str, places))}")


def _json(file: Path, kind: type) -> dict | list:
    try:
        content = json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise ValueError(f"{file}, line {error.lineno}: {error.msg}") from error
    if not isinstance(content, kind):
        raise ValueError(f"{file} must hold a JSON {'object' if kind is dict else 'list'}")
    return content


# Numbers of the validation clips of each gesture; the other clips were filmed by other people, with other devices.
GESTURES_VALIDATION = {
    "carret": (1, *range(7, 16)),
    "circlecc": (1, 8, 12, *range(14, 21)),
    "del": (1, 2, *range(8, 16)),
    "down": (1, *range(7, 16)),
    "left": (1, *range(7, 16)),
    "right": (1, *range(8, 16)),
    "square": (1, 6, *range(8, 16)),
    "star": (1, *range(7, 16)),
    "tick": (1, 5, *range(8, 16)),
    "up": (1, *range(7, 16)),
}
GESTURES_OF_A_CLASS = 22
_GESTURE = re.compile(r"testvideo_[a-z]+_\d+\.mp4")
_PARTS = ("labels", "train", "validation")
_UCF101_LISTS = ["classInd.txt", "trainlist{:02d}.txt", "testlist{:02d}.txt"]

SSV1 = Layout(partial(_files, names=[f"something-something-v1-{part}.csv" for part in _PARTS]), _read_ssv1)
SSV2 = Layout(partial(_files, names=[f"something-something-v2-{part}.json {part}.json" for part in _PARTS]), _read_ssv2)
K400 = Layout(partial(_files, names=["train.csv", "val.csv validate.csv"]), _read_k400)
UCF101 = Layout(partial(_files, names=_UCF101_LISTS, below=("ucfTrainTestlist",)), _read_ucf101)
HMDB51 = Layout(_hmdb51_sources, _read_hmdb51)
GESTURES = Layout(_gestures_sources, _read_gestures)
