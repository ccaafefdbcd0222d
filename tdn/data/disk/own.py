"""Labelled videos of one's own: lists as of TSN, or folders of classes."""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from tdn.data.clips import Video
from tdn.data.disk.published import VIDEO_SUFFIXES, Labelled, Layout, find, is_video_file, lines, visible, wrong
from tdn.data.video import IMAGE_SUFFIXES


def own_layout(root: Path) -> Layout:
    """The layout below `root`: lists where there is one, else folders of classes."""
    if (root / "train.txt").exists() or (root / "val.txt").exists():
        return Layout(_list_sources, _read_lists)
    return Layout(_folder_sources, _read_folder)


def _list_sources(root: Path, split: int) -> list[Path]:
    return [find(root, "train.txt"), find(root, "val.txt"), *root.glob("classes.txt")]


def _read_lists(root: Path, sources: list[Path]) -> Labelled:
    """Lists as of TSN, `path label` or `path frames label`; classes.txt, if there is one, has one name per line.

    Paths are those of video files or folders of frames, below the root or absolute. The number of frames is not used.
    """
    train, val = (list(_list_rows(file)) for file in sources[:2])
    if len(sources) > 2:
        names = []
        for number, name in lines(sources[2]):
            if number != len(names) + 1 or name in names:
                what = f"a blank line before it would shift the labels, or it is there twice: {name!r}"
                raise wrong(sources[2], number, what)
            names.append(name)
    else:
        labels = sorted({label for _, _, label in train})
        gap = next((number for number, label in enumerate(labels) if number != label), None)
        if gap is not None:
            raise ValueError(
                f"{sources[0]}: labels must be 0, 1, 2, ..., but no video has the label {gap}, and there are higher "
                f"ones; if that is intended, name all classes in {root / 'classes.txt'}, one per line"
            )
        names = list(map(str, labels))
    known = f"0 to {len(names) - 1}, those of {'classes.txt' if len(sources) > 2 else 'train.txt'}"
    for file, rows in zip(sources[:2], (train, val), strict=True):
        for number, _, label in rows:
            if label >= len(names):
                raise wrong(file, number, f"label {label} is not one of {known}")
    return Labelled(names, *([Video(root / path, label) for _, path, label in rows] for rows in (train, val)))


def _list_rows(file: Path) -> Iterator[tuple[int, str, int]]:
    """Line, path and label. Paths may have blanks: only where every line ends in two numbers one counts frames."""
    rows = list(lines(file))
    if not rows:
        raise ValueError(f"{file} is empty")
    counted, plain = re.compile(r"(.+?)\s+\d+\s+(\d+)"), re.compile(r"(.+?)\s+(\d+)")
    form = counted if all(counted.fullmatch(row) for _, row in rows) else plain
    for number, row in rows:
        if not (match := form.fullmatch(row)):
            raise wrong(file, number, f"neither `path label` nor `path frames label`, labels from 0 on: {row!r}")
        yield number, match[1], int(match[2])


def _folder_sources(root: Path, split: int) -> list[Path]:
    return sorted(Path(entry.path) for part in _parts(root) for entry in visible(part) if entry.is_dir())


def _read_folder(root: Path, sources: list[Path]) -> Labelled:
    """`<class>/<video>`, classes in order of their names; a folder with jpg or png files is a video.

    With `train/` and `val/` (or `validation/`, `test/`) above the classes those are the sets. Otherwise one in five
    videos is for validation: a hash of its path below the root decides, so that adding videos moves none.
    """
    parts = _parts(root)
    classes = _classes(parts[0])
    names = list(classes)
    sets = {False: [], True: []}  # by whether held out for validation
    for label, paths in enumerate(classes.values()):
        for path in paths:
            digest = hashlib.sha256(os.fsencode(path.relative_to(root).as_posix())).digest()
            held_out = len(parts) == 1 and int.from_bytes(digest[:8], "big") % 5 == 0
            sets[held_out].append(Video(path, label))
    if len(parts) == 1 and not all(sets.values()):
        few = f"{root}: all of so few videos ({len(sets[False] + sets[True])}) fall into the same set"
        raise ValueError(f"{few}; sort them into train/<class>/ and val/<class>/")
    for name, paths in _classes(parts[1]).items() if len(parts) == 2 else ():
        if name not in classes:
            raise ValueError(f"{parts[1] / name}: {parts[0]} has no videos of this class")
        sets[True] += [Video(path, names.index(name)) for path in paths]
    return Labelled(names, sets[False], sets[True])


def _parts(root: Path) -> list[Path]:
    """Folders of training and validation, or the root alone."""
    val = next((root / name for name in ("val", "validation", "test") if (root / name).is_dir()), None)
    return [root / "train", val] if val and (root / "train").is_dir() else [root]


def _classes(folder: Path) -> dict[str, list[Path]]:
    """Videos by class. Files and folders that are no videos are named only where there is no video at all."""
    classes, strays = {}, []
    for class_folder in sorted(visible(folder), key=lambda entry: entry.name):
        inside = list(visible(class_folder)) if class_folder.is_dir() else []
        if videos := sorted(Path(entry.path) for entry in inside if _is_video(entry)):
            classes[class_folder.name] = videos
        strays += inside or [class_folder]
    if not classes:
        found = ", ".join(entry.path for entry in strays[:5]) or "nothing"
        raise ValueError(
            f"{folder} must hold <class>/<video>, or train/<class>/<video> and val/<class>/<video>; a video is a "
            f"folder of jpg or png files or has the suffix {', '.join(sorted(VIDEO_SUFFIXES))}; found: {found}"
        )
    return classes


def _is_video(entry: os.DirEntry) -> bool:
    """Raises ValueError for a folder in a class folder that has videos instead of frames: they would be left out."""
    if not entry.is_dir():
        return is_video_file(entry)
    files = list(visible(entry.path))
    if any(file.name.lower().endswith(IMAGE_SUFFIXES) for file in files):
        return True
    if any(map(is_video_file, files)):
        raise ValueError(f"{entry.path} holds videos: they must lie in the folder of their class, not one deeper")
    return False
