"""The pocket benchmark: short rendered videos that ask the paper's question.

18 classes in three families, named like the templates of Something-Something:

- ``short``: only the motion inside a window of adjacent frames tells the classes apart,
- ``long``: only the order of events over the whole clip does,
- ``both``: objects move or turn among still shapes while the camera pans.

Classes come in pairs that play the same scene forwards and backwards (the one exception,
moving and pretending to move, shows the same places equally often), so single frames say
nothing about which of the two it is. :mod:`tdn.data.pocket.scenes` draws them; its constants set
the difficulty.

The clips are stored as mp4 files, to be read like those of any other dataset::

    <root>/pocket-<hash>/train/00000.mp4 ... val/00000.mp4 ... index.csv
"""

import csv
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
import cv2
import numpy as np
import torch
from filelock import FileLock
from tqdm import tqdm

from tdn.data.clips import Video, VideoSet
from tdn.data.pocket import scenes
from tdn.utils import worker_pool, write_text, write_whole

RENDER_VERSION = 2  # part of the identity of rendered data: raise it when the pixels change

FRAMES_PER_SECOND = 12
LENGTHS = (40, 72)  # frames of a clip, both ends included
SUBSETS = ("train", "val")


class PocketClass(NamedTuple):
    """One class: its name and its family, "short", "long" or "both"."""

    name: str
    family: str


class _Row(NamedTuple):
    name: str
    family: str
    scene: Callable[[np.random.Generator, int], np.ndarray]
    backwards: bool


_ROWS = (
    _Row("Letting a pattern run left inside [something]", "short", scenes.pattern_runs_right, True),
    _Row("Letting a pattern run right inside [something]", "short", scenes.pattern_runs_right, False),
    _Row("Letting a pattern run up inside [something]", "short", scenes.pattern_runs_down, True),
    _Row("Letting a pattern run down inside [something]", "short", scenes.pattern_runs_down, False),
    _Row("Showing a square, then a circle", "long", scenes.square_then_circle, False),
    _Row("Showing a circle, then a square", "long", scenes.square_then_circle, True),
    _Row("Covering [something] with [something]", "long", scenes.covering, False),
    _Row("Uncovering [something]", "long", scenes.covering, True),
    _Row("[Something] growing", "long", scenes.growing, False),
    _Row("[Something] shrinking", "long", scenes.growing, True),
    _Row("Moving [something] from one place to another", "long", scenes.moving_to_a_place, False),
    _Row(
        "Pretending to move [something] and bringing it back",
        "long", scenes.moving_and_bringing_back, False,
    ),
    _Row("Moving [something] left", "both", scenes.moving_right, True),
    _Row("Moving [something] right", "both", scenes.moving_right, False),
    _Row("[Something] approaching [something]", "both", scenes.approaching, False),
    _Row("Two things moving apart", "both", scenes.approaching, True),
    _Row("Turning [something] clockwise", "both", scenes.turning_clockwise, False),
    _Row("Turning [something] counterclockwise", "both", scenes.turning_clockwise, True),
)  # fmt: skip

CLASSES: tuple[PocketClass, ...] = tuple(PocketClass(row.name, row.family) for row in _ROWS)


@dataclass(frozen=True)
class PocketSpec:
    """What is rendered: numbers of clips and a seed, all 0 or more.

    Clip number ``i`` of a split has the label ``i % 18``, so labels are balanced.
    """

    train: int
    val: int
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.train, self.val, self.seed) < 0:
            raise ValueError(f"numbers of clips and the seed must not be negative: {self}")

    @property
    def num_classes(self) -> int:
        return len(CLASSES)

    def videos(self, data: Path) -> tuple[VideoSet, VideoSet]:
        """Training and validation videos, rendered below `data` where missing."""
        return load(render_set(data, self))

    def mask(self, video: int) -> np.ndarray:
        """Of validation video `video`, as `render_mask`."""
        return render_mask(video % self.num_classes, self._seed("val", video))

    def _seed(self, split: str, number: int) -> tuple[int, int, int]:
        return self.seed, SUBSETS.index(split), number


@dataclass(frozen=True)
class PocketPart:
    """Some families of the pocket benchmark as a data set of their own; with a `split`, 1 to 3, trained on a third of
    their training videos.

    What the transfer notebook goes between, in place of Kinetics and UCF101 with its three splits.
    """

    whole: PocketSpec
    families: tuple[str, ...]
    split: int | None = None

    @property
    def classes(self) -> list[int]:
        """Their labels in the whole benchmark."""
        return [label for label, of_class in enumerate(CLASSES) if of_class.family in self.families]

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def videos(self, data: Path) -> tuple[VideoSet, VideoSet]:
        """As of `PocketSpec`."""
        train, val = (
            [Video(video.path, self.classes.index(video.label)) for video in part.videos if video.label in self.classes]
            for part in self.whole.videos(data)
        )
        if self.split is not None:  # videos come in rounds of all classes
            train = [video for i, video in enumerate(train) if i // self.num_classes % 3 == self.split - 1]
        names, families = zip(*(CLASSES[label] for label in self.classes), strict=True)
        return VideoSet(train, names, families), VideoSet(val, names, families)


def _draw_length(rng: np.random.Generator) -> int:
    return int(rng.integers(LENGTHS[0], LENGTHS[1] + 1))


def render_clip(label: int, seed: int | tuple[int, ...]) -> np.ndarray:
    """Render one clip.

    ``label`` is an index into :data:`CLASSES`, ``seed`` anything that
    ``np.random.default_rng`` takes. Returns uint8 ``(frames, 56, 56, 3)``, RGB, with 40 to 72
    frames at 12 frames per second. The two classes of a pair that runs forwards and backwards
    give, for the same seed, exactly each other's frames in reverse order. Raises IndexError
    for an unknown label.
    """
    drawing, rng = _draw(label, seed)
    clip = scenes.photograph(rng, drawing)
    return np.ascontiguousarray(clip[::-1] if _ROWS[label].backwards else clip)


def render_mask(label: int, seed: int | tuple[int, ...]) -> np.ndarray:
    """Where in the frames of `render_clip(label, seed)` the objects are that the class is about: the fraction of each
    pixel that they cover, float32 ``(frames, 56, 56)``, 0 to 1. Raises as `render_clip`."""
    mask = scenes.object_mask(_draw(label, seed)[0])
    return mask[::-1] if _ROWS[label].backwards else mask


def _draw(label: int, seed: int | tuple[int, ...]) -> tuple[np.ndarray, np.random.Generator]:
    if not 0 <= label < len(CLASSES):
        raise IndexError(f"label {label} is not one of 0 to {len(CLASSES) - 1}")
    rng = np.random.default_rng(seed)
    frames = _draw_length(rng)  # the first draw: the length knows nothing of the class
    return _ROWS[label].scene(rng, frames), rng


def render_set(root: Path, spec: PocketSpec, workers: int | None = None) -> Path:
    """Render all clips of ``spec`` below ``root`` and return their folder.

    The folder is named after the spec and :data:`RENDER_VERSION`. Returns at once when its
    ``index.csv`` and every clip in it are there. Otherwise the files that are missing are made by ``workers``
    processes (default: one per CPU core) and the index is written last, with the columns ``split``,
    ``path`` (relative to the folder), ``label``, ``class``, ``family``, ``frames``,
    ``sha256``. A killed call can be repeated; processes that render the same folder wait for
    each other. Errors of drawing, encoding and writing are raised. A script that calls this
    needs the guard ``if __name__ == "__main__":``, as for every pool of fresh processes.
    """
    identity = json.dumps({**asdict(spec), "version": RENDER_VERSION}, sort_keys=True)
    folder = Path(root) / f"pocket-{hashlib.sha256(identity.encode()).hexdigest()[:10]}"
    index = folder / "index.csv"
    if _whole(index):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(folder.name + ".lock")):
        if _whole(index):  # another process made it while this one waited
            return folder
        for part in folder.rglob(".*.part"):  # of a killed process; the lock says that none is at work
            part.unlink(missing_ok=True)
        jobs = [
            _Job(folder, split, number, spec._seed(split, number))
            for split, count in zip(SUBSETS, (spec.train, spec.val), strict=True)
            for number in range(count)
        ]
        for split in SUBSETS:
            (folder / split).mkdir(parents=True, exist_ok=True)
        _write_index(index, _run(jobs, workers or torch.get_num_threads()))
    return folder


def _whole(index: Path) -> bool:
    """Whether every clip of the index is there. (A clip that is there and damaged is left for the reader to report.)"""
    if not index.exists():
        return False
    with index.open(newline="", encoding="utf-8") as file:
        return all((index.parent / row["path"]).exists() for row in csv.DictReader(file))


def load(folder: Path) -> tuple[VideoSet, VideoSet]:
    """The training and the validation videos of a rendered folder, with the families as groups."""
    with (folder / "index.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names, families = zip(*CLASSES, strict=True)
    train, val = (
        VideoSet(
            [Video(folder / row["path"], int(row["label"])) for row in rows if row["split"] == split],
            names,
            families,
        )
        for split in SUBSETS
    )
    return train, val


class _Job(NamedTuple):
    folder: Path
    split: str
    number: int
    seed: tuple[int, int, int]


def _run(jobs: list[_Job], workers: int) -> list[dict[str, str | int]]:
    with worker_pool(workers, _start_worker) as pool:
        done = pool.map(_make_clip, jobs, chunksize=4)
        return list(tqdm(done, total=len(jobs), desc="rendering the pocket videos", unit="clip"))


def _start_worker() -> None:
    cv2.setNumThreads(1)


def _make_clip(job: _Job) -> dict[str, str | int]:
    """Render and encode one clip unless its file exists; returns its row of the index."""
    label = job.number % len(CLASSES)
    path = job.folder / job.split / f"{job.number:05d}.mp4"
    if not path.exists():
        write_whole(path, lambda file: encode(file, render_clip(label, job.seed)))
    return {
        "split": job.split,
        "path": path.relative_to(job.folder).as_posix(),
        "label": label,
        "class": CLASSES[label].name,
        "family": CLASSES[label].family,
        "frames": _draw_length(np.random.default_rng(job.seed)),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def encode(file: Path | BinaryIO, clip: np.ndarray) -> None:
    """Write uint8 RGB frames ``(frames, height, width, 3)`` as an mp4 file (H.264, good quality).

    Width and height must be even. The same frames give the same bytes with the same version
    of the encoder. Raises av.FFmpegError where encoding or writing fails.
    """
    height, width = clip.shape[1:3]
    with av.open(
        file if hasattr(file, "write") else str(file), "w", format="mp4", options={"fflags": "+bitexact"}
    ) as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "14", "preset": "ultrafast"}
        stream.codec_context.flags |= int(av.codec.context.Flags.bitexact)
        stream.codec_context.thread_count = 1  # one per worker; also keeps the bytes the same
        for image in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def _write_index(path: Path, rows: list[dict[str, str | int]]) -> None:
    columns = ("split", "path", "label", "class", "family", "frames", "sha256")
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
