"""The pocket benchmark: short rendered videos that ask the paper's question.

24 classes in three families of eight, named like the templates of Something-Something:

- ``short``: only the motion inside a window of adjacent frames tells the classes apart, before a moving camera,
- ``order``: only which of two shapes came first does, four to five of eight segments apart,
- ``both``: an object moves there and back; the way it moves is in adjacent frames, which way it went first is not.

A single frame says nothing in *short*, in *order* at most which shape it has, and in *both*, by the size of the object,
a little of the move, but not which way it goes first. A shuffled clip says
nothing of an order: in *order* the second class of a pair is the first one played backwards, in *both* an object rests
as long at either end of its way. scenes.py draws them; its constants set the difficulty.

The clips are stored as mp4 files, to be read like those of any other dataset::

    <root>/pocket-<hash>/train/00000.mp4 ... val/00000.mp4 ... index.csv index.csv.sha256

The index has the digest (sha256) of every clip, index.csv.sha256 that of the index, as the command sha256sum has it.
"""

import csv
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
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
from tdn.data.pocket.shapes import OUTLINES
from tdn.utils import digest_of, refuse_unguarded, worker_pool, write_text, write_whole

RENDER_VERSION = 3  # part of the identity of rendered data: raise it when the pixels change

FRAMES_PER_SECOND = 12
LENGTHS = (40, 72)  # frames of a clip, both ends included
SUBSETS = ("train", "val")
COLUMNS = ("split", "path", "label", "class", "family", "frames", "sha256")  # of index.csv; paths in its folder


class PocketClass(NamedTuple):
    """One class: its name and its family, "short", "order" or "both"."""

    name: str
    family: str


_DIRECTIONS = ("right", "down and right", "down", "down and left", "left", "up and left", "up", "up and right")
PANNED = ("short", "both")  # the families that a hand-held camera films (`scenes._camera`); in "order" it stands still
_SHAPES = ("square", "circle", "triangle", "cross")


_Row = tuple[str, str, Callable[[np.random.Generator, int], np.ndarray], bool]


def _rows() -> Iterator[_Row]:
    """Of each class its name, family and scene, and whether that is played backwards."""
    for index, direction in enumerate(_DIRECTIONS):  # of two opposite ones the second is the first one backwards
        scene = partial(scenes.pattern_runs, towards=index % 4 * math.pi / 4)
        yield f"Letting a pattern run {direction} inside [something]", "short", scene, index >= 4
    for first, second in zip(_SHAPES, _SHAPES[1:] + _SHAPES[:1], strict=True):
        scene = partial(scenes.showing, first=first, second=second)
        yield f"Showing a {first}, then a {second}", "order", scene, False
        yield f"Showing a {second}, then a {first}", "order", scene, True
    moves = {
        "x": "Moving [something] {}, then {}: right left",
        "y": "Moving [something] {}, then {}: down up",
        "turn": "Turning [something] {}, then {}: clockwise counterclockwise",
        "grow": "[Something] {}, then {}: growing shrinking",
    }
    for move, text in moves.items():
        name, ways = text.split(": ")
        for sign, order in ((1, ways.split()), (-1, ways.split()[::-1])):
            yield name.format(*order), "both", partial(scenes.there_and_back, move=move, sign=sign), False


def _row_of_picture(shape: str) -> _Row:
    return f"A {shape}", "pictures", partial(scenes.picture, shape=shape), False


_ROWS, _PICTURES = tuple(_rows()), tuple(map(_row_of_picture, OUTLINES))
CLASSES = tuple(PocketClass(name, family) for name, family, _, _ in _ROWS)


@dataclass(frozen=True)
class PocketSpec:
    """What is rendered: numbers of clips and a seed, all 0 or more. Clip `i` of a split has the label `i % 24`.

    `pictures` are what ImageNet is to the papers, from which the 2D network learns that all others start from: clips
    of one frame, each of a still object, of eight shapes.
    """

    train: int
    val: int
    seed: int = 0
    pictures: bool = False

    def __post_init__(self) -> None:
        if min(self.train, self.val, self.seed) < 0:
            raise ValueError(f"numbers of clips and the seed must not be negative: {self}")

    @property
    def num_classes(self) -> int:
        return len(self.rows)

    @property
    def rows(self) -> tuple[_Row, ...]:
        return _PICTURES if self.pictures else _ROWS

    def videos(self, data: Path) -> tuple[VideoSet, VideoSet]:
        """Training and validation videos, rendered below `data` where missing."""
        return load(render_set(data, self), self)

    @property
    def class_names(self) -> list[str]:
        return [name for name, *_ in self.rows]

    @property
    def groups(self) -> list[str]:
        """The family of each class."""
        return [family for _, family, *_ in self.rows]

    def val_video(self, index: int, data: Path) -> Video:
        """Validation video `index`: rendered alone, below `data`, where it is missing."""
        path, label = _folder(data, self) / f"val/{index:05d}.mp4", index % self.num_classes
        if not path.exists():
            write_whole(path, lambda file: encode(file, _render(self.rows[label], self.seed_of("val", index))))
        return Video(path, label)

    def mask(self, video: int) -> np.ndarray:
        """Of validation video `video`, as `render_mask`."""
        return render_mask(video % self.num_classes, self.seed_of("val", video))

    def seed_of(self, split: str, index: int) -> tuple[int, int, int]:
        return self.seed, SUBSETS.index(split), index


@dataclass(frozen=True)
class PocketPart:
    """Some families of the pocket benchmark as a data set of their own; with a `split`, 1 to 3, trained on a third of
    their training videos: for transfer, in place of Kinetics and UCF101 with its three splits."""

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

    @property
    def class_names(self) -> list[str]:
        return [CLASSES[label].name for label in self.classes]

    @property
    def groups(self) -> list[str]:
        return [CLASSES[label].family for label in self.classes]

    def videos(self, data: Path) -> tuple[VideoSet, VideoSet]:
        """As of `PocketSpec`."""
        return self.of(*self.whole.videos(data))

    def of(self, train: VideoSet, val: VideoSet) -> tuple[VideoSet, VideoSet]:
        """Its videos of the whole's, in the same memory."""
        parts = []
        for whole in (train, val):
            indices = [index for index, video in enumerate(whole.videos) if video.label in self.classes]
            if self.split is not None and whole is train:  # videos come in rounds of all classes
                indices = [index for i, index in enumerate(indices) if i // self.num_classes % 3 == self.split - 1]
            labels = [self.classes.index(whole.videos[index].label) for index in indices]
            parts.append(whole.part(indices, labels, self.class_names, self.groups))
        return tuple(parts)


def _draw_length(rng: np.random.Generator) -> int:
    return int(rng.integers(LENGTHS[0], LENGTHS[1] + 1))


def render_clip(label: int, seed: int | tuple[int, ...]) -> np.ndarray:
    """One clip of the class `CLASSES[label]`: uint8 RGB `(frames, 56, 56, 3)`, 40 to 72 frames at 12 frames per second.

    `seed` is as of `np.random.default_rng`. The two classes of a pair give, for the same seed, exactly each other's
    frames in reverse order. Raises IndexError for an unknown label.
    """
    return _render(_row(label), seed)


def render_mask(label: int, seed: int | tuple[int, ...]) -> np.ndarray:
    """Where in the frames of `render_clip(label, seed)` the objects are that the class is about: the fraction of each
    pixel that they cover, float32 `(frames, 56, 56)`, 0 to 1. Raises as `render_clip`."""
    _, _, _, backwards = row = _row(label)
    mask = scenes.object_mask(_draw(row, seed)[0])
    return mask[::-1] if backwards else mask


def _row(label: int) -> _Row:
    if not 0 <= label < len(_ROWS):
        raise IndexError(f"label {label} is not one of 0 to {len(_ROWS) - 1}")
    return _ROWS[label]


def _render(row: _Row, seed: int | tuple[int, ...]) -> np.ndarray:
    drawing, rng = _draw(row, seed)
    clip = scenes.photograph(rng, drawing)
    return np.ascontiguousarray(clip[::-1] if row[-1] else clip)


def _draw(row: _Row, seed: int | tuple[int, ...]) -> tuple[np.ndarray, np.random.Generator]:
    _, family, scene, _ = row
    rng = np.random.default_rng(seed)
    frames = 1 if family == "pictures" else _draw_length(rng)  # the first draw: the length knows nothing of the class
    return scene(rng, frames), rng


def render_set(root: Path, spec: PocketSpec, workers: int | None = None) -> Path:
    """Renders all clips of `spec` below `root` and returns their folder, named after the spec and `RENDER_VERSION`.

    Returns at once where the index and every clip in it are there. Otherwise `workers` processes (default: one per
    CPU core) make the files that are missing; the index is written last. A killed call can be repeated; processes that
    render the same folder wait for each other. A script that calls this needs the guard
    `if __name__ == "__main__":`, as for every pool of fresh processes: RuntimeError where it is missing. Raises
    ValueError for a damaged index, and for a damaged clip where others are missing. Clips that no index vouches for,
    of an interrupted rendering or an earlier version, are rendered again.
    """
    folder = _folder(root, spec)
    if _whole(folder):
        return folder
    refuse_unguarded()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(folder.name + ".lock")):
        if _whole(folder):  # another process made it while this one waited
            return folder
        for part in folder.rglob(".*.part"):  # of a killed process; the lock says that none is at work
            part.unlink(missing_ok=True)
        known = {row["path"]: row["sha256"] for row in _rows(folder)} if _sealed(folder) else {}
        jobs = []
        for split, count in zip(SUBSETS, (spec.train, spec.val), strict=True):
            (folder / split).mkdir(parents=True, exist_ok=True)
            for i, name in enumerate(f"{split}/{i:05d}.mp4" for i in range(count)):
                jobs.append(
                    (folder, name, i % spec.num_classes, spec.pictures, spec.seed_of(split, i), known.get(name))
                )
        with worker_pool(workers or torch.get_num_threads(), cv2.setNumThreads, 1) as pool:
            done = pool.map(_make_clip, *zip(*jobs, strict=True), chunksize=4)
            rows = list(tqdm(done, "rendering the pocket videos", total=len(jobs), unit="clip"))
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
        (folder / "index.csv.sha256").unlink(missing_ok=True)  # killed between the two, the call can be repeated
        write_text(folder / "index.csv", text.getvalue())
        write_text(folder / "index.csv.sha256", _seal(folder))
    return folder


def _folder(root: Path, spec: PocketSpec) -> Path:
    identity = json.dumps({**asdict(spec), "version": RENDER_VERSION}, sort_keys=True)
    return Path(root) / f"pocket-{hashlib.sha256(identity.encode()).hexdigest()[:10]}"


def _make_clip(
    folder: Path, name: str, label: int, pictures: bool, seed: tuple[int, int, int], known: str | None
) -> tuple[str | int, ...]:
    """Renders and encodes one clip, unless its file exists and the index has its digest, `known`. Returns its row of
    the index."""
    path, row = folder / name, (_PICTURES if pictures else _ROWS)[label]
    if known and path.exists():
        _check(path, known)
    else:  # what is there may be damaged, and nothing could tell
        write_whole(path, lambda file: encode(file, _render(row, seed)))
    frames = 1 if pictures else _draw_length(np.random.default_rng(seed))
    return path.parent.name, name, label, *row[:2], frames, digest_of(path)


def _seal(folder: Path) -> str:
    return f"{digest_of(folder / 'index.csv')}  index.csv\n"


def _sealed(folder: Path) -> bool:
    """Whether the rendering was finished."""
    return (folder / "index.csv").exists() and (folder / "index.csv.sha256").exists()


def _rows(folder: Path) -> list[dict[str, str]]:
    index = folder / "index.csv"
    if not _sealed(folder):
        raise FileNotFoundError(
            f"no {index} with its {index.name}.sha256: the rendering is to be finished (render_set)"
        )
    if (folder / "index.csv.sha256").read_bytes() != _seal(folder).encode():
        raise ValueError(
            f"{index} is damaged: its sha256 is not that in {index}.sha256; remove {folder}, it is rendered again"
        )
    with index.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _check(path: Path, digest: str) -> None:
    if digest_of(path) != digest:
        raise ValueError(f"{path} is damaged: its sha256 is not that in index.csv; remove it, it is rendered again")


def _whole(folder: Path) -> bool:
    """Whether every clip of the index is there."""
    return _sealed(folder) and all((folder / row["path"]).exists() for row in _rows(folder))


def load(folder: Path, spec: PocketSpec) -> tuple[VideoSet, VideoSet]:
    """The training and the validation videos of the rendered folder of a spec, with the families as groups.

    Reads every file once. Raises FileNotFoundError, and ValueError for the index or a clip that is not as it was
    rendered, with its path and what to do."""
    videos = {split: [] for split in SUBSETS}
    for row in _rows(folder):
        _check(folder / row["path"], row["sha256"])
        videos[row["split"]].append(Video(folder / row["path"], int(row["label"])))
    return tuple(VideoSet(videos[split], spec.class_names, spec.groups) for split in SUBSETS)


def encode(file: Path | BinaryIO, clip: np.ndarray) -> None:
    """Writes uint8 RGB frames `(frames, height, width, 3)` as an mp4 file (H.264, good quality).

    Width and height must be even. The same frames give the same bytes with the same version of the encoder. Raises
    av.FFmpegError where encoding or writing fails.
    """
    height, width = clip.shape[1:3]
    with av.open(file, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "14", "preset": "ultrafast"}
        stream.codec_context.flags |= int(av.codec.context.Flags.bitexact)
        stream.codec_context.thread_count = 1  # one per worker; also keeps the bytes the same
        for image in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
