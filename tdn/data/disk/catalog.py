"""The data sets of the papers, one more of real video, and one's own, where they lie on this machine's disk."""

import functools
import hashlib
import json
import multiprocessing
import os
import re
import shlex
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tdn.data.clips import VideoSet
from tdn.data.disk import check, published
from tdn.data.disk.lists import printable, read_text
from tdn.data.disk.own import has_split, own_layout
from tdn.data.disk.published import Labelled, Layout
from tdn.data.frames import LIMIT
from tdn.utils import HOME, home, unknown_name

PREFIX = "TDN_"  # of environment variables; TDN_HOME and TDN_VIDEO_GB are no data sets
CONFIGURATION = ".datasets.toml"  # below home()


class Published(NamedTuple):
    """A published data set: its name in texts, its number of classes and official splits, and its files; the names of
    its classes where no file of it is needed for them."""

    title: str
    num_classes: int
    layout: Layout
    splits: int = 1
    class_names: tuple[str, ...] = ()


PUBLISHED = {
    "ssv1": Published("Something-Something V1", 174, published.SSV1),
    "ssv2": Published("Something-Something V2", 174, published.SSV2),
    "k400": Published("Kinetics-400", 400, published.K400),
    "ucf101": Published("UCF101", 101, published.UCF101, splits=3),
    "hmdb51": Published("HMDB51", 51, published.HMDB51, splits=3),
    "gestures": Published(
        "EgoGestAR's pointing gestures", 10, published.GESTURES, class_names=(*published.GESTURES_VALIDATION,)
    ),
}
_PAGES = {
    "ssv1": "no longer distributed by its authors (https://arxiv.org/abs/1706.04261); V2 is its larger successor",
    "ssv2": "https://www.qualcomm.com/developer/software/something-something-v-2-dataset (after registration)",
    "k400": "https://github.com/cvdfoundation/kinetics-dataset",
    "ucf101": "https://www.crcv.ucf.edu/data/UCF101.php",
    "hmdb51": "https://serre.lab.brown.edu/hmdb51.html",
    "gestures": "git clone --depth 1 https://github.com/varunj/EgoGestAR (220 MB; it states no licence)",
}
_CONTENTS = {
    "ssv1": "20bn-something-something-v1/ and something-something-v1-{labels,train,validation}.csv",
    "ssv2": "20bn-something-something-v2/ and labels/{labels,train,validation}.json",
    "k400": "train/, val/, train.csv and val.csv (these two may lie in annotations/)",
    "ucf101": "UCF-101/ and ucfTrainTestlist/ (the splits for action recognition)",
    "hmdb51": "hmdb51_org/<class>/ and testTrainMulti_7030_splits/",
    "gestures": "testvideo/testvideo_<class>_<number>.mp4",
}


@dataclass(frozen=True)
class DatasetSpec:
    """A data set on disk: its name, of `PUBLISHED` or as configured (`configured()`), or the absolute path of its
    folder; and which of the official splits of UCF101 and HMDB51.

    Raises ValueError for a split that the set does not have.
    """

    name: str
    split: int = 1

    def __post_init__(self) -> None:
        splits = PUBLISHED[self.name].splits if self.name in PUBLISHED else 1
        if self.split not in range(1, splits + 1):
            valid = f"1 to {splits}" if splits > 1 else "only 1, it has no official splits"
            raise ValueError(f"{self.name} has no split {self.split!r}; valid: {valid}")

    @property
    def num_classes(self) -> int:
        """Of the annotation; of a published set that is not on disk, as published. Raises as `videos`."""
        try:
            return len(self.labelled().class_names)
        except OSError:
            if self.name not in PUBLISHED:
                raise
            return PUBLISHED[self.name].num_classes

    @property
    def class_names(self) -> list[str]:
        """Of the annotation; of a published set that is not on disk, where they are known. Raises as `videos`."""
        try:
            return list(self.labelled().class_names)
        except OSError:
            if not (self.name in PUBLISHED and PUBLISHED[self.name].class_names):
                raise
            return list(PUBLISHED[self.name].class_names)

    @property
    def has_split(self) -> bool:
        """Whether somebody said which videos are for validation. Raises as `location`."""
        return self.name in PUBLISHED or has_split(location(self.name))

    @property
    def groups(self) -> None:
        """Of the classes: none."""

    def videos(self, data: Path, to_train: bool = True) -> tuple[VideoSet, VideoSet]:
        """Training and validation videos (UCF101, HMDB51: test videos), all that the annotation lists. Without
        `to_train` there may be none for validation.

        Read at once from the index below `data` where there is one that fits, else from the annotation. Prints what was
        left out and which labels cannot be right (`check.notes`). Raises as `location`; FileNotFoundError for a missing
        file of the annotation, ValueError for a mistake in one.
        """
        train, val, notes = self._found(data)
        if to_train:
            require_validation(self.name, len(train), len(val), notes)
        first = os.environ.get("RANK", "0") == "0" and multiprocessing.parent_process() is None
        if notes and first:  # once for all processes, torchrun's and ours
            print("\n".join(f"{printable(self.name)}: {note}" for note in notes), flush=True)
        return train, val

    def _found(self, data: Path) -> tuple[VideoSet, VideoSet, list[str]]:
        split = f" --split {self.split}" if self.split > 1 else ""
        command = printable(f"tdn data check {shlex.quote(self.name)}{split}", 5_000)
        if stored := check.load(self.index_file(data), location(self.name), self.fingerprint(), command):
            return stored
        labelled = self.labelled()
        about = {"class_names": labelled.class_names, "mirrored": labelled.mirrored}
        sets = (VideoSet(videos, **about) for videos in (labelled.train, labelled.val))
        return *sets, check.notes(labelled)

    def missing(self) -> str | None:
        """What to do before the set can be used; None if its folder and the files of its annotation exist. Raises
        ValueError for an unknown name."""
        try:
            self.fingerprint()
        except OSError as error:
            return str(error)
        return None

    def labelled(self) -> Labelled:
        """The content of the annotation, without the index. Raises as `videos`."""
        return _labelled(self.name, self.split, location(self.name), self.fingerprint())

    def fingerprint(self) -> str:
        """Changes with the annotation (`published.fingerprint`). Raises FileNotFoundError where there is none."""
        root = location(self.name)
        return published.fingerprint(root, self.split, _layout(self.name, root).sources(root, self.split))

    def contents(self) -> str:
        """What a network learns from, in a line: how many classes and videos, and a digest of the names of classes, of
        labels and of paths below the folder; of one's own videos also of their sizes (of folders of frames, how many
        there are). Times of change do not count. Raises as `videos`."""
        read = _contents if self.name in PUBLISHED else _contents.__wrapped__  # one's own files may change meanwhile
        return read(self.name, self.split, location(self.name), self.fingerprint())

    def index_file(self, data: Path) -> Path:
        """The file in which `tdn data check` keeps what it finds."""
        if self.name in PUBLISHED:
            name = f"{self.name}-split{self.split}" if PUBLISHED[self.name].splits > 1 else self.name
        else:
            digits = hashlib.sha256(os.fsencode(self.name)).hexdigest()[:8]
            name = f"{re.sub(r'[^A-Za-z0-9_-]', '_', Path(self.name).name)[:100]}-{digits}"
        return data / "index" / f"{name}.csv"


def require_validation(name: str, training: int, validation: int, notes: Sequence[str]) -> None:
    """Raises ValueError, with the notes on the set, where it has no videos for validation."""
    if not validation:
        raise ValueError(f"{printable(name)}: none of {training} videos is for validation; {'; '.join(notes)}")


@functools.lru_cache(maxsize=16)
def _contents(name: str, split: int, root: Path, fingerprint: str) -> str:
    labelled = _labelled(name, split, root, fingerprint)
    digest = hashlib.sha256(json.dumps(labelled.class_names).encode())
    for videos in (labelled.train, labelled.val):
        for path, label, stretch in videos:
            part = f"\0{stretch}" if stretch else ""
            size = "" if name in PUBLISHED else _size(path)  # those of 240,000 files take minutes on some disks
            digest.update(os.fsencode(f"{str(path).removeprefix(str(root))}\0{label}\0{size}{part}\n"))
        digest.update(b"\n")
    counts = f"{len(labelled.class_names)} classes, {len(labelled.train)} + {len(labelled.val)} videos"
    return f"{counts}, sha256 {digest.hexdigest()[:16]}"


def _size(path: Path) -> int | None:
    try:
        return len(os.listdir(path)) if path.is_dir() else path.stat().st_size
    except (OSError, ValueError):  # missing, or no path (it has a NUL)
        return None


@functools.lru_cache(maxsize=2)
def _labelled(name: str, split: int, root: Path, fingerprint: str) -> Labelled:
    """Annotations of Kinetics take seconds: read once for as long as the fingerprint is the same."""
    layout = _layout(name, root)
    return layout.read(root, layout.sources(root, split))


def _layout(name: str, root: Path) -> Layout:
    return PUBLISHED[name].layout if name in PUBLISHED else own_layout(root)


def dataset_named(text: str, split: int = 1) -> DatasetSpec:
    """A data set by the path of its folder (`mine`, `./mine`, `~/mine`), or else by its name; where a folder has the
    name of another data set, it says so. Raises as `DatasetSpec` and `configured`."""
    folder = os.path.abspath(os.path.expanduser(text))
    if os.path.isdir(text) and (text in PUBLISHED or text in configured()):
        known, _ = configured().get(text, (None, ""))
        if known and os.path.realpath(known) == os.path.realpath(folder):
            return DatasetSpec(text, split)
        print(
            f"{text}: the folder {folder}, not the data set of this name (for that, call it from elsewhere)", flush=True
        )
    is_path = os.path.isdir(text) or os.sep in text or text.startswith((".", "~"))
    return DatasetSpec(folder if is_path else text, split)


def location(name: str) -> Path:
    """The folder of a data set: `name` if that is an absolute path; else `TDN_<NAME>` in the environment, or the line
    `name = "/path"` in `.datasets.toml` below `home()`.

    Raises ValueError for a name that is neither published nor configured; OSError, whose text says what to do, for a
    published set that is not configured, a folder that does not exist, a configuration that can't be read.
    """
    if Path(name).is_absolute():
        path, correct = Path(name), "The name of a data set may be the path of its folder, but the folder must exist."
    else:
        known = configured()
        written = variable(name).removeprefix(PREFIX).lower()  # how `configured` spells a name that only a variable has
        entry = known.get(name) or (known.get(written) if written not in PUBLISHED else None)
        if entry is None and name in PUBLISHED:
            raise FileNotFoundError(
                f"{PUBLISHED[name].title} ({name}) is not on this machine, or not configured. Where to get it: "
                f"{_PAGES[name]}. Unpacked, its folder has {_CONTENTS[name]}. {_how_to_configure(name)}"
            )
        if entry is None and name.lower() in PUBLISHED:
            raise ValueError(f"unknown data set {name!r}; did you mean {name.lower()}?")
        if entry is None:
            near = unknown_name("data set", name, dict.fromkeys((*PUBLISHED, *known)))
            raise ValueError(f"{near}, or the path of a folder. {_how_to_configure(name)}")
        path, source = entry
        correct = f"The path is from {source}: correct it there, or mount the disk."
    if not path.is_dir():
        raise FileNotFoundError(f"{name}: there is no folder {path}. {correct}")
    return path


def configured() -> dict[str, tuple[Path, str]]:
    """The configured path of each data set, and the file or variable that has it; the path need not exist. Raises
    OSError for a `.datasets.toml` that can't be read."""
    file = home() / CONFIGURATION
    try:
        entries = tomllib.loads(read_text(file)) if file.exists() else {}
    except ValueError as error:  # no TOML, or not UTF-8
        raise OSError(f"{file} is not valid: {error}. {_how_to_configure('ssv2')}") from error
    if wrong := [name for name, path in entries.items() if not isinstance(path, str)]:
        raise OSError(f"{file} is not valid: {wrong[0]} must be a path in quotes. {_how_to_configure(wrong[0])}")
    known = {name: (file.parent / Path(path).expanduser(), str(file)) for name, path in entries.items()}
    names = {variable(name): name for name in (*entries, *PUBLISHED)}
    for key, path in sorted(os.environ.items()):
        if key.startswith(PREFIX) and key not in (HOME, LIMIT) and path:
            name = names.get(key, key.removeprefix(PREFIX).lower())
            known[name] = (Path(path).expanduser().absolute(), f"the environment variable {key}")
    return known


def variable(name: str) -> str:
    """The environment variable with the path of a data set: `TDN_SSV2`."""
    return PREFIX + re.sub(r"[^A-Z0-9]", "_", name.upper())


def _how_to_configure(name: str) -> str:
    key = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'
    return (
        f'To configure a data set, write {key} = "/path/to/its/folder" into {home() / CONFIGURATION}, or set '
        f"{variable(name)}=/path/to/its/folder in the environment; tdn data check {name} then checks it."
    )
