"""Labelled videos of one's own: lists of paths and labels, or folders of classes."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tdn.data.clips import Video
from tdn.data.disk.lists import EXPECTED, Row, class_names, printable, read_list, seconds, some, wrong
from tdn.data.disk.published import Labelled, Layout, is_video_file, visible
from tdn.data.disk.split import GROUPS, held_out
from tdn.data.stretches import Stretch
from tdn.data.video import IMAGE_SUFFIXES

TRAIN, VAL, TEST = ("train", "training"), ("val", "valid", "validation"), ("test", "testing")  # as words of a name
_LIST_SUFFIXES = (".txt", ".csv", ".tsv", ".lst", ".list")
_OTHER_LISTS = (*_LIST_SUFFIXES, ".json", ".jsonl", ".xlsx", ".xls", ".pkl", ".parquet", ".xml", ".yaml", ".yml")
_LISTS_BELOW = (".", "annotations", "labels")


def own_layout(root: Path) -> Layout:
    """The layout below `root`: lists where there is one, else folders of classes."""
    lists = [_named(root, words) for words in (TRAIN, VAL)]
    return Layout(_list_sources, _read_lists) if any(lists) else Layout(_folder_sources, _read_folder)


def has_split(root: Path) -> bool:
    """Whether lists, or folders above the classes, say which videos are for validation."""
    return len(_parts(root)) == 2 or any(_named(root, words) for words in (TRAIN, VAL))


def _named(root: Path, words: tuple[str, ...]) -> list[Path]:
    """The lists of one set by their names: train.txt, train.csv, train_list.txt, trainlist01.txt, ..."""
    files = [entry for below in _LISTS_BELOW if (root / below).is_dir() for entry in visible(root / below)]
    found = []
    for entry in files:
        stem, suffix = os.path.splitext(entry.name.lower())
        parts = set(re.findall("[a-z]+", stem.replace("list", " list ")))
        others = {word for each in (TRAIN, VAL, TEST) if each != words for word in each}
        if suffix in _LIST_SUFFIXES and parts & {*words} and not parts & others and not entry.is_dir():
            found.append(Path(entry.path))
    return sorted(found)


def _list_sources(root: Path, split: int) -> list[Path]:
    """The lists of training and validation, and the names of the classes where there are any. ValueError where it is
    not clear which they are."""
    train, val = _named(root, TRAIN), _named(root, VAL) or _named(root, TEST)
    sources = []
    for name, files in (("train", train), ("val", val)):
        exact = [file for file in files if file.name == f"{name}.txt"] or files
        if not exact:
            there = ", ".join(file.name for file in (*train, *val))
            raise FileNotFoundError(
                f"{root} has {there}, but no {name}.txt or {name}.csv: a list of each set is needed, {EXPECTED}; if "
                f"the videos lie in folders of their classes, move {there} elsewhere"
            )
        if len(exact) > 1:
            names = ", ".join(file.name for file in exact)
            raise ValueError(f"{root} has several lists of one set ({names}): keep one, or call it {name}.txt")
        sources += exact
    return [*sources, *root.glob("classes.txt"), *sources[0].parent.glob("classes.txt")][:3]


def _read_lists(root: Path, sources: list[Path]) -> Labelled:
    """Lists as of `read_list`; classes.txt, if there is one, has one name per line.

    Paths are those of video files or folders of frames, below the root or absolute; columns start and end, in seconds,
    mean a stretch of one. Labels are numbers from 0 on, or
    names: then the classes are in the order of classes.txt, or of their names.
    """
    (train, doubts), (val, more) = (read_list(file, root) for file in sources[:2])
    for file, rows in zip(sources[:2], (train, val), strict=True):
        if not rows:
            raise ValueError(f"{file} has no videos, only titles of columns")
        if empty := [row.line for row in rows if not (row.path and row.label)]:
            raise wrong(file, empty[0], "has no path or no label")
    numbers = all(row.label.isdecimal() for row in train)
    if len(sources) > 2:
        names = class_names(sources[2])
    elif numbers:
        labels = sorted({int(row.label) for row in train})
        gap = next((number for number, label in enumerate(labels) if number != label), None)
        if gap is not None:
            raise ValueError(
                f"{sources[0]}: labels must be 0, 1, 2, ..., but no video has the label {gap}, and there are higher "
                f"ones; if that is intended, name all classes in {root / 'classes.txt'}, one per line"
            )
        names = list(map(str, labels))
    else:
        names = sorted({row.label for row in train})
        if number := next((row for row in train if row.label.isdecimal()), None):
            what = f"label {number.label} is a number, others are names: if it is a name, too, list all in classes.txt"
            raise wrong(sources[0], number.line, what)
    label_of = {str(label) if numbers else name: label for label, name in enumerate(names)}
    known = f"those of {'classes.txt' if len(sources) > 2 else sources[0].name}"

    def videos(file: Path, rows: list[Row]) -> Iterator[Video]:
        for line, path, text, *times in rows:
            label = str(int(text)) if numbers and text.isdecimal() else text
            if label not in label_of:
                valid = f"0 to {len(names) - 1}, " if numbers else ""
                raise wrong(file, line, f"label {text} is not one of {valid}{known}")
            yield Video(root / path, label_of[label], _stretch(file, line, *times))

    sets = [list(videos(file, rows)) for file, rows in zip(sources[:2], (train, val), strict=True)]
    unused = [file.name for file in _named(root, TEST) if file not in sources]
    notes = [f"not used: {', '.join(unused)}"] if unused else []
    return Labelled(names, *sets, [*doubts, *more, *notes])


def _stretch(file: Path, line: int, start: str, end: str) -> Stretch | None:
    if not (start or end):
        return None
    try:
        stretch = Stretch(seconds(start) if start else 0.0, seconds(end) if end else None)
    except ValueError as error:
        raise wrong(file, line, str(error)) from error
    if stretch.end is not None and stretch.end <= stretch.start:
        raise wrong(file, line, f"a stretch from {start or 0} to {end} s is none")
    return stretch


def _folder_sources(root: Path, split: int) -> list[Path]:
    folders = sorted(Path(entry.path) for part in _parts(root) for entry in visible(part) if entry.is_dir())
    return [root, *folders, *root.glob(GROUPS)]


def _read_folder(root: Path, sources: list[Path]) -> Labelled:
    """`<class>/<video>`, classes in order of their names; a folder with jpg or png files is a video.

    With `train/` and `val/` (or `valid/`, `validation/`, `test/`, ...) above the classes those are the sets. Otherwise
    `held_out` says which videos are for validation.
    """
    parts = _parts(root)
    left_out = _LeftOut(root)
    classes = _classes(parts[0], left_out)
    names = list(classes)
    files = [entry.name for entry in visible(root) if not entry.is_dir()]
    lists = [name for name in files if name.lower().endswith(_OTHER_LISTS) and name != GROUPS]
    if len(names) == 1 and lists:
        raise ValueError(
            f"{root} has the videos of one class only ({printable(names[0])}), and {some(sorted(lists))} next to it: "
            f"lists of videos must be called train.txt and val.txt (or .csv), {EXPECTED}; otherwise each class needs a "
            "folder of its own"
        )
    words = [set(re.findall("[a-z]+", name.lower())) for name in names]
    if len(parts) == 1 and all(of_one.intersection((*TRAIN, *VAL, *TEST)) for of_one in words):
        raise ValueError(
            f"{root}: {some(names)} have names of sets, not of classes: they must be called train and val, and hold a "
            "folder for each class"
        )
    train, val, how = [Video(path, label) for label, paths in enumerate(classes.values()) for path in paths], [], []
    if len(parts) == 1:
        chosen, how = held_out(train, root)
        if not chosen:
            remedy = "add videos, or sort them into train/<class>/ and val/<class>/"
            how = [f"no class has so many videos that some can be held out for validation: {remedy}"]
        val = [video for index, video in enumerate(train) if index in chosen]
        train = [video for index, video in enumerate(train) if index not in chosen]
    for name, paths in _classes(parts[1], left_out).items() if len(parts) == 2 else ():
        if name not in classes:
            raise ValueError(f"{parts[1] / name}: {parts[0]} has no videos of this class")
        val += [Video(path, names.index(name)) for path in paths]
    if len(parts) == 2:
        left_out.beside(parts)
    return Labelled(names, train, val, [*how, *left_out.notes()])


def _parts(root: Path) -> list[Path]:
    """Folders of training and validation, or the root alone."""
    folders = {entry.name.lower(): Path(entry.path) for entry in visible(root) if entry.is_dir()}
    train, val = (next((folders[name] for name in names if name in folders), None) for names in (TRAIN, (*VAL, *TEST)))
    return [train, val] if train and val else [root]


def _classes(folder: Path, left_out: "_LeftOut") -> dict[str, list[Path]]:
    """Videos by class: those in the folder of the class itself. All else is `left_out`."""
    classes = {}
    for entry in sorted(visible(folder), key=lambda entry: entry.name):
        if not entry.is_dir():
            if entry.name != GROUPS:
                left_out.file(entry)
            continue
        videos = []
        for inside in visible(entry):
            if is_video_file(inside) or (inside.is_dir() and left_out.frames_of(inside)):
                videos.append(Path(inside.path))
            elif not inside.is_dir():
                left_out.others[_suffix(inside.name)].append(inside.path)
        if videos:
            classes[entry.name] = sorted(videos)
        else:
            left_out.empty.append(entry.path)
    if not classes:
        raise ValueError(
            f"{folder} must hold <class>/<video>, or train/<class>/<video> and val/<class>/<video>, or lists: train.txt"
            f" and val.txt (or .csv), {EXPECTED}; a video is a folder of jpg or png files or a file with the suffix of "
            f"one (.mp4, .avi, ...); found: {'; '.join(left_out.notes()) or 'nothing'}"
        )
    return classes


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower() or "without a suffix"


@dataclass
class _LeftOut:
    """What lies in the folders of a data set and is none of its videos; hidden files and folders do not count."""

    root: Path
    others: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # no videos, by suffix
    loose: list[str] = field(default_factory=list)  # videos in no folder of a class
    deeper: Counter = field(default_factory=Counter)  # number of videos, by folder
    empty: list[str] = field(default_factory=list)  # folders that would be classes
    unused: list[str] = field(default_factory=list)

    def file(self, entry: os.DirEntry) -> None:
        """A file where folders of classes are."""
        (self.loose if is_video_file(entry) else self.others[_suffix(entry.name)]).append(entry.path)

    def frames_of(self, folder: os.DirEntry) -> bool:
        """Whether a folder is a video, as it has more pictures than videos (which then are left out). What lies in it
        and is not read is counted, to any depth."""
        pictures, videos, others, folders = [], 0, [], []
        for entry in visible(folder):
            if entry.name.lower().endswith(IMAGE_SUFFIXES):
                pictures.append(entry.path)
            elif entry.is_dir():
                folders.append(entry)
            elif is_video_file(entry):
                videos += 1
            else:
                others.append(entry.path)
        is_video = len(pictures) > videos
        inner = [self.frames_of(each) for each in folders if not each.is_symlink()]  # links may lead round in a circle
        # Frames in a folder next to frames are their flow or masks.
        self.deeper[folder.path] += videos + (0 if is_video else sum(inner))
        for path in () if is_video else (*pictures, *others):
            self.others[_suffix(path)].append(path)
        return is_video

    def beside(self, parts: list[Path]) -> None:
        """What lies next to the folders of training and validation."""
        for entry in visible(self.root):
            if entry.is_dir() and Path(entry.path) not in parts:
                self.unused.append(entry.path)
            elif not entry.is_dir():
                self.file(entry)

    def notes(self) -> list[str]:
        def short(paths: Iterable[str]) -> str:
            return some(sorted(os.path.relpath(path, self.root) for path in paths))

        places = [f"{short([place])}: {count}" for place, count in _by_count(self.deeper)]
        numbers = Counter({suffix: len(paths) for suffix, paths in self.others.items()})
        kinds = [f"{n} {suffix} such as {short([min(self.others[suffix])])}" for suffix, n in _by_count(numbers)]
        found = {
            "videos left out, deeper than in the folder of their class": (self.deeper.total(), some(places, 10)),
            "videos left out, in no folder of a class": (len(self.loose), short(self.loose)),
            "files left out, by their suffix no videos": (numbers.total(), some(kinds, 20)),
            "folders that are no classes, without videos of their own": (len(self.empty), short(self.empty)),
            "not used, next to training and validation": (len(self.unused), short(self.unused)),
        }
        return [f"{what}: {count} ({which})" for what, (count, which) in found.items() if count]


def _by_count(numbers: Counter) -> list[tuple[str, int]]:
    return sorted((+numbers).items(), key=lambda item: (-item[1], item[0]))
