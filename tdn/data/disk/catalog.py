"""The data sets of the papers, and one's own, where they lie on this machine's disk."""

import functools
import hashlib
import os
import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tdn.data.clips import VideoSet
from tdn.data.disk import check as index
from tdn.data.disk import published as layouts
from tdn.data.disk.own import own
from tdn.data.disk.published import Labelled, Layout
from tdn.utils import HOME, home, unknown_name

PREFIX = "TDN_"  # of environment variables; TDN_HOME is no data set


class Published(NamedTuple):
    """A published data set: how many classes it has, where it is had, and what lies in its folder."""

    title: str
    num_classes: int
    page: str
    holds: str
    layout: Layout
    splits: int = 1  # official ones


PUBLISHED = {
    "ssv1": Published(
        "Something-Something V1",
        174,
        "its authors no longer hand it out (paper: https://arxiv.org/abs/1706.04261); V2 is its larger successor",
        "20bn-something-something-v1/ and something-something-v1-{labels,train,validation}.csv",
        layouts.SSV1,
    ),
    "ssv2": Published(
        "Something-Something V2",
        174,
        "https://www.qualcomm.com/developer/software/something-something-v-2-dataset (after registration)",
        "20bn-something-something-v2/ and labels/{labels,train,validation}.json",
        layouts.SSV2,
    ),
    "k400": Published(
        "Kinetics-400",
        400,
        "https://github.com/cvdfoundation/kinetics-dataset",
        "train/, val/, train.csv and val.csv (these two may lie in annotations/)",
        layouts.K400,
    ),
    "ucf101": Published(
        "UCF101",
        101,
        "https://www.crcv.ucf.edu/data/UCF101.php",
        "UCF-101/ and ucfTrainTestlist/ (the splits for action recognition)",
        layouts.UCF101,
        splits=3,
    ),
    "hmdb51": Published(
        "HMDB51",
        51,
        "https://serre.lab.brown.edu/hmdb51.html",
        "hmdb51_org/<class>/ and testTrainMulti_7030_splits/",
        layouts.HMDB51,
        splits=3,
    ),
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
        """As many as the annotation names; of a published set that is not on disk, as many as it has.

        Raises ValueError for what is wrong in the annotation; one's own set raises as `location`.
        """
        try:
            return len(self.labelled().class_names)
        except OSError:
            if self.name not in PUBLISHED:
                raise
            return PUBLISHED[self.name].num_classes

    def videos(self, data: Path) -> tuple[VideoSet, VideoSet]:
        """Training and validation videos (UCF101, HMDB51: test videos), all that the annotation has.

        At once, from the index below `data`, where there is one that fits; else from the annotation. Raises as
        `location`, FileNotFoundError for a file of the annotation that is not there, ValueError for what is wrong in
        it.
        """
        stored = index.load(self.index_file(data), location(self.name), self.fingerprint(), self.check_command)
        if stored:
            return stored
        names, train, val = self.labelled()
        return VideoSet(train, names), VideoSet(val, names)

    def missing(self) -> str | None:
        """What a person has to do before the set can be used; None where its folder is there.

        Raises ValueError for a name that is neither published nor configured.
        """
        try:
            location(self.name)
        except OSError as error:
            return str(error)
        return None

    @property
    def check_command(self) -> str:
        """The command that tries all videos and writes the index."""
        split = f" --split {self.split}" if self.split > 1 else ""
        return f"tdn data check {shlex.quote(self.name)}{split}"

    def labelled(self) -> Labelled:
        """What the annotation says, without the index. Raises as `videos`."""
        return _labelled(self.name, self.split, location(self.name), self.fingerprint())

    def fingerprint(self) -> str:
        """Changes with the annotation (`layouts.fingerprint`). Raises FileNotFoundError where there is none."""
        root = location(self.name)
        return layouts.fingerprint(root, self.split, _layout(self.name, root).sources(root, self.split))

    def index_file(self, data: Path) -> Path:
        """The file in which `tdn data check` notes what it finds."""
        if self.name in PUBLISHED:
            several = PUBLISHED[self.name].splits > 1
            name = f"{self.name}-split{self.split}" if several else self.name
        else:
            digits = hashlib.sha256(os.fsencode(self.name)).hexdigest()[:8]
            name = f"{re.sub(r'[^A-Za-z0-9_-]', '_', Path(self.name).name)}-{digits}"
        return data / "index" / f"{name}.csv"


@functools.lru_cache(maxsize=2)
def _labelled(name: str, split: int, root: Path, fingerprint: str) -> Labelled:
    """Annotations of Kinetics take seconds: read once for as long as the fingerprint is the same."""
    layout = _layout(name, root)
    return layout.read(root, split, layout.sources(root, split))


def _layout(name: str, root: Path) -> Layout:
    return PUBLISHED[name].layout if name in PUBLISHED else own(root)


def dataset_named(text: str, split: int = 1) -> DatasetSpec:
    """A data set as a person writes it: a name, or the path of a folder (`./mine`, `~/mine`). Raises as
    `DatasetSpec`."""
    if os.sep in text or text.startswith((".", "~")):
        text = os.path.abspath(os.path.expanduser(text))
    return DatasetSpec(text, split)


# where


def location(name: str) -> Path:
    """The folder of a data set: an absolute path itself; else `TDN_<NAME>` in the environment, or the line
    `name = "/path"` in `.datasets.toml` below `home()`.

    Raises:
        ValueError: a name that is neither published nor configured.
        OSError: a published set that is not configured, a folder that is not there, a configuration that can't be
            read; the text says what to do.
    """
    if Path(name).is_absolute():
        path, correct = Path(name), "The name of a data set may be the path of its folder, but of one that is there."
    else:
        known = configured()
        written = variable(name).removeprefix(PREFIX).lower()  # as `configured` has a name that only a variable gives
        entry = known.get(name) or (known.get(written) if written not in PUBLISHED else None)
        if entry is None and name in PUBLISHED:
            raise FileNotFoundError(_how_to_get(name))
        if entry is None:
            if name.lower() in PUBLISHED:
                raise ValueError(f"unknown data set {name!r}; did you mean {name.lower()}?")
            near = unknown_name("data set", name, dict.fromkeys((*PUBLISHED, *known)))
            raise ValueError(f"{near}, or the path of a folder. {_how_to_tell(name)}")
        path, source = entry
        correct = f"{source} says so: correct it there, or mount the disk."
    if not path.is_dir():
        raise FileNotFoundError(f"{name}: there is no folder {path}. {correct}")
    return path


def configured() -> dict[str, tuple[Path, str]]:
    """Where each data set lies by the configuration, and what of the configuration says so; whether it is there is not
    looked at. Raises OSError for a `.datasets.toml` that can't be read."""
    file = _file()
    try:
        entries = tomllib.loads(file.read_text("utf-8")) if file.exists() else {}
    except ValueError as error:  # no TOML, or not UTF-8
        raise OSError(f"{file} is not valid: {error}. {_how_to_tell('ssv2')}") from error
    for name, path in entries.items():
        if not isinstance(path, str):
            raise OSError(f"{file} is not valid: {name} must be a path in quotes. {_how_to_tell(name)}")
    known = {name: (file.parent / Path(path).expanduser(), str(file)) for name, path in entries.items()}
    names = {variable(name): name for name in (*entries, *PUBLISHED)}
    for key, path in sorted(os.environ.items()):
        if key.startswith(PREFIX) and key != HOME and path:
            name = names.get(key, key.removeprefix(PREFIX).lower())
            known[name] = (Path(path).expanduser().absolute(), f"the environment variable {key}")
    return known


def variable(name: str) -> str:
    """The environment variable that says where a data set lies: `TDN_SSV2`."""
    return PREFIX + re.sub(r"[^A-Z0-9]", "_", name.upper())


def _file() -> Path:
    return home() / ".datasets.toml"


def _how_to_get(name: str) -> str:
    title, _, page, holds, *_ = PUBLISHED[name]
    return (
        f"{title} ({name}) is not on this machine, or not configured. Where to get it: {page}. "
        f"Unpacked as it is, its folder holds {holds}. {_how_to_tell(name)}"
    )


def _how_to_tell(name: str) -> str:
    key = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'
    return (
        f'To say where a data set lies, write {key} = "/path/to/its/folder" into {_file()}, or set '
        f"{variable(name)}=/path/to/its/folder in the environment; tdn data check {name} then looks at it."
    )
