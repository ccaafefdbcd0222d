"""Labelled videos of one's own: lists as of TSN, or folders of classes (`published.py` has the published data sets)."""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from tdn.data.clips import Video
from tdn.data.disk.published import VIDEO_SUFFIXES, Labelled, Layout, find, is_video_file, lines, visible, wrong
from tdn.data.video import IMAGE_SUFFIXES


def own(root: Path) -> Layout:
    """The layout below `root`: lists where there is one, else folders of classes."""
    return LISTS if (root / "train.txt").exists() or (root / "val.txt").exists() else FOLDER


# train.txt, val.txt


def _list_sources(root: Path, split: int) -> list[Path]:
    optional = [root / "classes.txt"] if (root / "classes.txt").exists() else []
    return [find(root, "train.txt", folders=()), find(root, "val.txt", folders=()), *optional]


def _read_lists(root: Path, split: int, sources: list[Path]) -> Labelled:
    """Lists as of TSN, `path label` or `path frames label`; classes.txt, if there is one, has one name per line.

    Paths are those of video files or folders of frames, below the root or absolute. The number of frames is not used.
    """
    train, val = (list(_list_rows(file)) for file in sources[:2])
    if len(sources) > 2:
        names, known = _class_names(sources[2]), sources[2]
    else:
        labels = sorted({label for _, _, label in train})
        gap = next((number for number, label in enumerate(labels) if number != label), None)
        if gap is not None:
            raise ValueError(
                f"{sources[0]}: labels must be 0, 1, 2, ..., but no video has the label {gap}, and there are higher "
                f"ones; if that is meant, name all classes in {root / 'classes.txt'}, one a line"
            )
        names, known = [str(label) for label in labels], sources[0]
    for file, rows in zip(sources[:2], (train, val), strict=True):
        for number, _, label in rows:
            if label >= len(names):
                raise wrong(file, number, f"label {label} is not one of 0 to {len(names) - 1}, those of {known.name}")
    return Labelled(names, *([Video(root / path, label) for _, path, label in rows] for rows in (train, val)))


def _class_names(file: Path) -> list[str]:
    names: list[str] = []
    for number, name in lines(file):
        if number != len(names) + 1 or name in names:
            raise wrong(file, number, f"a blank line before it would shift the labels, or it is there twice: {name!r}")
        names.append(name)
    return names


def _list_rows(file: Path) -> Iterator[tuple[int, str, int]]:
    """Line, path and label. Paths may have blanks: only where every line ends in two numbers one counts frames."""
    rows = list(lines(file))
    if not rows:
        raise ValueError(f"{file} is empty")
    counted, plain = re.compile(r"(.+?)\s+\d+\s+(\d+)"), re.compile(r"(.+?)\s+(\d+)")
    form = counted if all(counted.fullmatch(row) for _, row in rows) else plain
    for number, row in rows:
        match = form.fullmatch(row)
        if not match:
            raise wrong(file, number, f"neither `path label` nor `path frames label`, labels from 0 on: {row!r}")
        yield number, match[1], int(match[2])


# folders of classes


def _folder_sources(root: Path, split: int) -> list[Path]:
    return sorted(Path(entry.path) for part in _parts(root) for entry in visible(part) if entry.is_dir())


def _read_folder(root: Path, split: int, sources: list[Path]) -> Labelled:
    """`<class>/<video>`, classes in order of their names; a folder with jpg or png files is a video.

    With `train/` and `val/` (or `validation/`, `test/`) above the classes those are the sets. Otherwise one in five
    videos is for validation: a hash of its path below the root decides, so that adding videos moves none.
    """
    parts = _parts(root)
    classes = _classes(parts[0])
    label_of = {name: label for label, name in enumerate(classes)}
    train = [Video(path, label_of[name]) for name, paths in classes.items() for path in paths]
    if len(parts) == 1:
        held_out = [_held_out(video.path.relative_to(root)) for video in train]
        if all(held_out) or not any(held_out):
            few = f"{root}: all of so few videos ({len(train)}) fall into the same set"
            raise ValueError(f"{few}; sort them into train/<class>/ and val/<class>/")
        val = [video for video, out in zip(train, held_out, strict=True) if out]
        return Labelled(list(classes), [video for video, out in zip(train, held_out, strict=True) if not out], val)
    val = []
    for name, paths in _classes(parts[1]).items():
        if name not in classes:
            raise ValueError(f"{parts[1] / name}: {parts[0]} has no videos of this class")
        val += [Video(path, label_of[name]) for path in paths]
    return Labelled(list(classes), train, val)


def _parts(root: Path) -> list[Path]:
    """Folders of training and validation, or the root alone."""
    val = next((root / name for name in ("val", "validation", "test") if (root / name).is_dir()), None)
    return [root / "train", val] if val and (root / "train").is_dir() else [root]


def _classes(folder: Path) -> dict[str, list[Path]]:
    """Videos by class. Files and folders that are no videos are named only where there is no video at all."""
    classes: dict[str, list[Path]] = {}
    strays = []
    for class_folder in sorted(visible(folder), key=lambda entry: entry.name):
        if not class_folder.is_dir():
            strays.append(class_folder.path)
            continue
        videos = []
        for entry in visible(class_folder.path):
            (videos if _is_video(entry) else strays).append(Path(entry.path))
        if videos:
            classes[class_folder.name] = sorted(videos)
    if not classes:
        found = ", ".join(str(path) for path in strays[:5]) or "nothing"
        raise ValueError(
            f"{folder} must hold <class>/<video>, or train/<class>/<video> and val/<class>/<video>; a video is a "
            f"folder of jpg or png files or has the suffix {', '.join(sorted(VIDEO_SUFFIXES))}; found: {found}"
        )
    return classes


def _held_out(path: Path) -> bool:
    return int.from_bytes(hashlib.sha256(os.fsencode(path.as_posix())).digest()[:8], "big") % 5 == 0


def _is_video(entry: os.DirEntry) -> bool:
    """Raises ValueError for a folder in a class folder that has videos instead of frames: they would be left out."""
    if not entry.is_dir():
        return is_video_file(entry)
    deeper = False
    for file in visible(entry.path):
        if file.name.lower().endswith(IMAGE_SUFFIXES):
            return True
        deeper = deeper or is_video_file(file)
    if deeper:
        raise ValueError(f"{entry.path} holds videos: they must lie in the folder of their class, not one deeper")
    return False


LISTS = Layout(_list_sources, _read_lists)
FOLDER = Layout(_folder_sources, _read_folder)
