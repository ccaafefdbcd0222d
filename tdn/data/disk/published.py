"""Labelled videos from the files that data sets are distributed with, which stay as they are.

A layout has two steps: `sources` finds the files that say which videos there are, `read` reads them. `fingerprint`
tells whether the sources changed since without reading them.
"""

import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tdn.data.clips import Video

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".avi", ".webm", ".mkv", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv")
)


class Labelled(NamedTuple):
    """What the annotation says: names of the classes, and the videos of both sets whether they are on disk or not."""

    class_names: list[str]
    train: list[Video]
    val: list[Video]


@dataclass(frozen=True)
class Layout:
    """How one data set lies below its folder.

    `sources(root, split)` gives the annotation files, or folders whose listing is the annotation; FileNotFoundError
    where one is not there. `read(root, split, sources)` raises ValueError, with file and line, for what is wrong in
    them, and FileNotFoundError where the folder of the videos is not there.
    """

    sources: Callable[[Path, int], list[Path]]
    read: Callable[[Path, int, list[Path]], Labelled]


def fingerprint(root: Path, split: int, sources: Iterable[Path]) -> str:
    """A hash of where the sources are, and of their sizes and times of change or, of folders, their listing."""
    said = [str(root), str(split)]
    for source in sources:
        said.append(str(source))
        if source.is_dir():
            said += sorted(entry.name for entry in visible(source))
        else:
            state = source.stat()
            said.append(f"{state.st_size} {state.st_mtime_ns}")
    return hashlib.sha256(os.fsencode("\n".join(said))).hexdigest()


# Something-Something


def _ssv1_sources(root: Path, split: int) -> list[Path]:
    return [find(root, f"something-something-v1-{part}.csv") for part in ("labels", "train", "validation")]


def _read_ssv1(root: Path, split: int, sources: list[Path]) -> Labelled:
    folder = _folder(root, "20bn-something-something-v1")
    labels, *lists = sources
    label_of: dict[str, int] = {}
    for number, name in lines(labels):  # no real csv: commas and quotes belong to the names
        if name in label_of:
            raise wrong(labels, number, f"{name!r} is there twice")
        label_of[name] = len(label_of)
    # In order of their names: so TSN's and TSM's lists have them, and with them the authors' released networks.
    label_of = {name: label for label, name in enumerate(sorted(label_of))}

    def videos(file: Path) -> Iterator[Video]:
        for number, line in lines(file):
            video, separator, name = line.partition(";")
            if not separator or not video:
                raise wrong(file, number, f"not of the form id;label: {line!r}")
            if name not in label_of:
                raise wrong(file, number, f"{name!r} is no label of {labels.name}")
            yield Video(folder / video, label_of[name])

    return Labelled(list(label_of), *(list(videos(file)) for file in lists))


def _ssv2_sources(root: Path, split: int) -> list[Path]:
    return [
        find(root, f"something-something-v2-{part}.json", f"{part}.json") for part in ("labels", "train", "validation")
    ]


def _read_ssv2(root: Path, split: int, sources: list[Path]) -> Labelled:
    folder = _folder(root, "20bn-something-something-v2")
    labels, *lists = sources
    numbers = _json(labels, dict)
    try:
        label_of = {name: int(number) for name, number in numbers.items()}
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


# Kinetics-400


def _k400_sources(root: Path, split: int) -> list[Path]:
    return [find(root, "train.csv"), find(root, "val.csv", "validate.csv")]


def _read_k400(root: Path, split: int, sources: list[Path]) -> Labelled:
    """Videos are found by YouTube id and times, in whatever class folder: tools rename those each in its own way."""
    rows = [list(_k400_rows(file)) for file in sources]
    names = sorted({label for _, label, _ in rows[0]})
    label_of = {name: label for label, name in enumerate(names)}
    sets = []
    for file, part, folder in zip(
        sources, rows, (_folder(root, "train"), _folder(root, "val", "validate")), strict=True
    ):
        class_folders, on_disk = _k400_listing(folder)
        videos = []
        for number, name, video in part:
            if name not in label_of:
                raise wrong(file, number, f"{name!r} is no class of {sources[0].name}")
            # where it would be, had it not been missing
            expected = folder / class_folders.get(name, name) if class_folders else folder
            videos.append(Video(on_disk.get(video, expected / f"{video}.mp4"), label_of[name]))
        sets.append(videos)
    return Labelled(names, *sets)


def _k400_rows(file: Path) -> Iterator[tuple[int, str, str]]:
    """Line, class and file name without its suffix."""
    columns = ["label", "youtube_id", "time_start", "time_end"]
    reader = csv.reader(_text(file).splitlines())
    if next(reader, [])[:4] != columns:
        raise wrong(file, 1, f"the columns must be {','.join(columns)},...")
    for row in reader:
        if not row:
            continue
        try:
            label, video, start, end = row[:4]
            yield reader.line_num, label, f"{video}_{int(float(start)):06d}_{int(float(end)):06d}"
        except ValueError as error:
            raise wrong(file, reader.line_num, f"not of the form {','.join(columns)}: {','.join(row)!r}") from error


def _k400_listing(folder: Path) -> tuple[dict[str, str], dict[str, Path]]:
    """Class folders by class name, and video files, in them or not, by name without suffix."""
    class_folders, videos = {}, {}
    for entry in visible(folder):
        if entry.is_dir():
            class_folders[entry.name.replace("_", " ")] = entry.name
            videos |= {
                os.path.splitext(file.name)[0]: Path(file.path) for file in visible(entry.path) if is_video_file(file)
            }
        elif is_video_file(entry):
            videos[os.path.splitext(entry.name)[0]] = Path(entry.path)
    return class_folders, videos


# UCF101 and HMDB51


def _ucf101_sources(root: Path, split: int) -> list[Path]:
    names = ("classInd.txt", f"trainlist{split:02d}.txt", f"testlist{split:02d}.txt")
    return [find(root, name, folders=("ucfTrainTestlist",)) for name in names]


def _read_ucf101(root: Path, split: int, sources: list[Path]) -> Labelled:
    folder = _folder(root, "UCF-101")
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
            if not number.isdecimal():  # the test lists give no label
                video, number = line, ""
            name = video.partition("/")[0]
            if name not in label_of or name == video:
                raise wrong(file, line_number, f"no class of {classes.name} and a video below it: {line!r}")
            if number and int(number) != label_of[name] + 1:
                raise wrong(file, line_number, f"{name} has the number {label_of[name] + 1}, not {number}")
            yield Video(folder / video, label_of[name])

    return Labelled(list(label_of), *(list(videos(file)) for file in lists))


def _hmdb51_sources(root: Path, split: int) -> list[Path]:
    folder, ending = _folder(root, "testTrainMulti_7030_splits"), f"_test_split{split}.txt"
    files = [folder / name for name in os.listdir(folder) if name.endswith(ending)]
    if not files:
        raise FileNotFoundError(f"{folder} has no file <class>{ending}")
    return sorted(files, key=lambda file: file.name.removesuffix(ending))  # climb before climb_stairs


def _read_hmdb51(root: Path, split: int, sources: list[Path]) -> Labelled:
    folder = root / "hmdb51_org" if (root / "hmdb51_org").is_dir() else root
    names = [file.name.removesuffix(f"_test_split{split}.txt") for file in sources]
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


# what several use


def is_video_file(entry: os.DirEntry) -> bool:
    return os.path.splitext(entry.name)[1].lower() in VIDEO_SUFFIXES and not entry.is_dir()


def visible(folder: Path | str) -> Iterator[os.DirEntry]:
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if not entry.name.startswith("."))


def find(root: Path, *names: str, folders: tuple[str, ...] = ("annotations", "labels")) -> Path:
    """The first of these files, in the root or in one of the folders below it."""
    for place in (root, *(root / folder for folder in folders)):
        for name in names:
            if (place / name).is_file():
                return place / name
    below = f", neither there nor in {' or '.join(f'{folder}/' for folder in folders)} below it" if folders else ""
    raise FileNotFoundError(f"{root} has no {' or '.join(names)}{below}")


def _folder(root: Path, *names: str) -> Path:
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise FileNotFoundError(f"{root} has no folder {' or '.join(names)}")


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig")  # -sig: some editors put a mark in front
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not in UTF-8: {error}") from error


def lines(file: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not blank."""
    for number, line in enumerate(_text(file).split("\n"), 1):
        if line.strip():
            yield number, line.strip()


def _json(file: Path, kind: type) -> dict | list:
    try:
        content = json.loads(_text(file))
    except json.JSONDecodeError as error:
        raise ValueError(f"{file}, line {error.lineno}: {error.msg}") from error
    if not isinstance(content, kind):
        raise ValueError(f"{file} must hold a JSON {'object' if kind is dict else 'list'}")
    return content


def wrong(file: Path, line: int, what: str) -> ValueError:
    return ValueError(f"{file}, line {line}: {what}")


SSV1 = Layout(_ssv1_sources, _read_ssv1)
SSV2 = Layout(_ssv2_sources, _read_ssv2)
K400 = Layout(_k400_sources, _read_k400)
UCF101 = Layout(_ucf101_sources, _read_ucf101)
HMDB51 = Layout(_hmdb51_sources, _read_hmdb51)
