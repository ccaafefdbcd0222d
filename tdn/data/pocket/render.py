"""The pocket benchmark: short rendered videos that ask the paper's question.

18 classes in three families, named like the templates of Something-Something:

- ``short``: only the motion inside a window of adjacent frames tells the classes apart,
- ``long``: only the order of events over the whole clip does,
- ``both``: objects move or turn among still shapes while the camera pans.

Classes come in pairs that play the same scene forwards and backwards, so single frames say nothing about which of the
two it is (the one exception, moving and pretending to move, shows the same places equally often). scenes.py draws them;
its constants set the difficulty.

The clips are stored as mp4 files, to be read like those of any other dataset::

    <root>/pocket-<hash>/train/00000.mp4 ... val/00000.mp4 ... index.csv index.csv.sha256

The index has the digest (sha256) of every clip, index.csv.sha256 that of the index, as the command sha256sum has it.
"""

import csv
import hashlib
import io
import json
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
from tdn.utils import digest_of, refuse_unguarded, worker_pool, write_text, write_whole

RENDER_VERSION = 2  # part of the identity of rendered data: raise it when the pixels change

FRAMES_PER_SECOND = 12
LENGTHS = (40, 72)  # frames of a clip, both ends included
SUBSETS = ("train", "val")
COLUMNS = ("split", "path", "label", "class", "family", "frames", "sha256")  # of index.csv; paths in its folder


class PocketClass(NamedTuple):
    """One class: its name and its family, "short", "long" or "both"."""

    name: str
    family: str


_moving_back = partial(scenes.moving_to_a_place, back=True)
_ROWS = (  # name, family, scene, and whether it is played backwards
    ("Letting a pattern run left inside [something]", "short", scenes.pattern_runs_right, True),
    ("Letting a pattern run right inside [something]", "short", scenes.pattern_runs_right, False),
    ("Letting a pattern run up inside [something]", "short", scenes.pattern_runs_down, True),
    ("Letting a pattern run down inside [something]", "short", scenes.pattern_runs_down, False),
    ("Showing a square, then a circle", "long", scenes.square_then_circle, False),
    ("Showing a circle, then a square", "long", scenes.square_then_circle, True),
    ("Covering [something] with [something]", "long", scenes.covering, False),
    ("Uncovering [something]", "long", scenes.covering, True),
    ("[Something] growing", "long", scenes.growing, False),
    ("[Something] shrinking", "long", scenes.growing, True),
    ("Moving [something] from one place to another", "long", scenes.moving_to_a_place, False),
    ("Pretending to move [something] and bringing it back", "long", _moving_back, False),
    ("Moving [something] left", "both", scenes.moving_right, True),
    ("Moving [something] right", "both", scenes.moving_right, False),
    ("[Something] approaching [something]", "both", scenes.approaching, False),
    ("Two things moving apart", "both", scenes.approaching, True),
    ("Turning [something] clockwise", "both", scenes.turning_clockwise, False),
    ("Turning [something] counterclockwise", "both", scenes.turning_clockwise, True),
)

CLASSES = tuple(PocketClass(name, family) for name, family, _, _ in _ROWS)


@dataclass(frozen=True)
class PocketSpec:
    """What is rendered: numbers of clips and a seed, all 0 or more. Clip `i` of a split has the label `i % 18`."""

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

    def _seed(self, split: str, index: int) -> tuple[int, int, int]:
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

    def videos(self, data: Path) -> tuple[VideoSet, VideoSet]:
        """As of `PocketSpec`."""
        train, val = (
            [Video(video.path, self.classes.index(video.label)) for video in part.videos if video.label in self.classes]
            for part in self.whole.videos(data)
        )
        if self.split is not None:  # videos come in rounds of all classes
            train = [video for i, video in enumerate(train) if i // self.num_classes % 3 == self.split - 1]
        names, families = map(list, zip(*(CLASSES[label] for label in self.classes), strict=True))
        return VideoSet(train, names, families), VideoSet(val, names, families)


def _draw_length(rng: np.random.Generator) -> int:
    return int(rng.integers(LENGTHS[0], LENGTHS[1] + 1))


def render_clip(label: int, seed: int | tuple[int, ...]) -> np.ndarray:
    """One clip of the class `CLASSES[label]`: uint8 RGB `(frames, 56, 56, 3)`, 40 to 72 frames at 12 frames per second.

    `seed` is as of `np.random.default_rng`. The two classes of a pair give, for the same seed, exactly each other's
    frames in reverse order. Raises IndexError for an unknown label.
    """
    drawing, rng = _draw(label, seed)
    clip = scenes.photograph(rng, drawing)
    return np.ascontiguousarray(clip[::-1] if _ROWS[label][-1] else clip)


def render_mask(label: int, seed: int | tuple[int, ...]) -> np.ndarray:
    """Where in the frames of `render_clip(label, seed)` the objects are that the class is about: the fraction of each
    pixel that they cover, float32 `(frames, 56, 56)`, 0 to 1. Raises as `render_clip`."""
    mask = scenes.object_mask(_draw(label, seed)[0])
    return mask[::-1] if _ROWS[label][-1] else mask


def _draw(label: int, seed: int | tuple[int, ...]) -> tuple[np.ndarray, np.random.Generator]:
    if not 0 <= label < len(CLASSES):
        raise IndexError(f"label {label} is not one of 0 to {len(CLASSES) - 1}")
    rng = np.random.default_rng(seed)
    frames = _draw_length(rng)  # the first draw: the length knows nothing of the class
    _, _, scene, _ = _ROWS[label]
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
    identity = json.dumps({**asdict(spec), "version": RENDER_VERSION}, sort_keys=True)
    folder = Path(root) / f"pocket-{hashlib.sha256(identity.encode()).hexdigest()[:10]}"
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
                jobs.append((folder, name, i % len(CLASSES), spec._seed(split, i), known.get(name)))
        with worker_pool(workers or torch.get_num_threads(), cv2.setNumThreads, 1) as pool:
            done = pool.map(_make_clip, *zip(*jobs, strict=True), chunksize=4)
            rows = list(tqdm(done, "rendering the pocket videos", total=len(jobs), unit="clip"))
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
        (folder / "index.csv.sha256").unlink(missing_ok=True)  # killed between the two, the call can be repeated
        write_text(folder / "index.csv", text.getvalue())
        write_text(folder / "index.csv.sha256", _seal(folder))
    return folder


def _make_clip(
    folder: Path, name: str, label: int, seed: tuple[int, int, int], known: str | None
) -> tuple[str | int, ...]:
    """Renders and encodes one clip, unless its file exists and the index has its digest, `known`. Returns its row of
    the index."""
    path = folder / name
    if known and path.exists():
        _check(path, known)
    else:  # what is there may be damaged, and nothing could tell
        write_whole(path, lambda file: encode(file, render_clip(label, seed)))
    frames = _draw_length(np.random.default_rng(seed))
    return path.parent.name, name, label, *CLASSES[label], frames, digest_of(path)


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


def load(folder: Path) -> tuple[VideoSet, VideoSet]:
    """The training and the validation videos of a rendered folder, with the families as groups.

    Reads every file once. Raises FileNotFoundError, and ValueError for the index or a clip that is not as it was
    rendered, with its path and what to do."""
    videos = {split: [] for split in SUBSETS}
    for row in _rows(folder):
        _check(folder / row["path"], row["sha256"])
        videos[row["split"]].append(Video(folder / row["path"], int(row["label"])))
    names, families = map(list, zip(*CLASSES, strict=True))
    return VideoSet(videos["train"], names, families), VideoSet(videos["val"], names, families)


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
