"""Sets of labelled videos, and the clips that a network trains or is tested on."""

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from tdn.data.kept import KeptFrames, KeptVideo
from tdn.data.resident import Resident, Room
from tdn.data.sampling import Views, training_windows
from tdn.data.stretches import Stretch, open_stretch
from tdn.data.transforms import Crop, crop_sides, mirrored_labels, random_crop
from tdn.data.video import VideoError, VideoReader, open_video
from tdn.utils import free_memory


class Video(NamedTuple):
    path: Path
    label: int
    stretch: Stretch | None = None  # the part of the file that is meant; None: all of it

    @property
    def named(self) -> Path:
        """Its path, with the stretch behind it: no two videos of a set have one, as two stretches of a file do."""
        return self.path.with_name(f"{self.path.name} ({self.stretch})") if self.stretch else self.path


class Unreadable(NamedTuple):
    """A video left out because it could not be read."""

    path: Path  # `Video.named`
    reason: str


@dataclass(eq=False)
class VideoSet:
    """Labelled videos; `open` opens one, from memory after `keep_in_memory`."""

    videos: Sequence[Video]  # files, or folders of frames, and labels, 0-based
    class_names: Sequence[str]  # one for each label
    groups: Sequence[str] | None = None  # of the labels, where accuracy is wanted by group (the pocket families)
    known_unreadable: dict[int, str] = field(default_factory=dict)  # why, by index; these are not tried again
    reader: str = "pyav"  # as `open_video`
    sizes: Sequence[int] | None = None  # bytes of each video, decoded, where an index has them; 0 where unreadable
    mirrored: bool = True  # False: flipping changes what a video shows in a way that no name says, so none is flipped
    twins: Mapping[str, str] = field(default_factory=dict)  # classes that flipping exchanges, but for those by name
    kept: KeptFrames | None = None  # where decoded frames are kept and read from, in place of the files themselves
    memory: Resident | None = field(default=None, init=False)
    _numbers: Sequence[int] | None = field(default=None, init=False)  # of the videos in memory; None: their indices

    def __len__(self) -> int:
        return len(self.videos)

    def open(self, index: int) -> VideoReader:
        """A context manager, as of `open_video`. Raises VideoError, also for what is known to be unreadable."""
        if index in self.known_unreadable:
            raise VideoError(self.videos[index].path, self.known_unreadable[index])
        if self.in_memory:
            return self.memory.open(self._number(index))
        path, _, stretch = self.videos[index]
        with suppress(UnicodeEncodeError):
            if b"\0" not in os.fsencode(path):
                return self._kept(path, stretch) if self.kept else self._opened(path, stretch)
        raise VideoError(path, "no file can have this name")

    def _kept(self, path: Path, stretch: Stretch | None) -> VideoReader:
        try:
            file = self.kept.file(path, stretch)
        except (OSError, ValueError) as error:
            raise VideoError(path, getattr(error, "strerror", None) or str(error)) from error
        with suppress(VideoError):  # not there yet, or damaged
            return KeptVideo(path, file)
        with self._opened(path, stretch) as video:
            self.kept.keep(video, file)
        return KeptVideo(path, file)

    def _opened(self, path: Path, stretch: Stretch | None) -> VideoReader:
        return open_stretch(path, stretch, self.reader) if stretch else open_video(path, self.reader)

    @property
    def in_memory(self) -> bool:
        return self.memory is not None

    @property
    def decoded(self) -> bool:
        """Whether a clip is only to be copied from memory or `kept`, without a decoder."""
        return self.in_memory or self.kept is not None

    def decode(self) -> None:
        """Reads every video into `kept` that is not there yet, one per thread. Those that can't be read join
        `known_unreadable`; Ctrl-C keeps what is finished. Raises OSError where the disk is full."""

        def decode_one(index: int) -> None:
            try:
                with self.open(index):
                    pass
            except VideoError as error:
                self.known_unreadable[index] = error.reason

        pool = ThreadPoolExecutor()
        try:
            done = pool.map(decode_one, range(len(self)))
            for _ in tqdm(done, "decoding", total=len(self), unit="video", leave=False, file=sys.stdout):
                pass
        finally:
            pool.shutdown(cancel_futures=True)

    def keep_in_memory(self, fraction: float = 0.5) -> bool:
        """Decodes everything once, if it takes at most this fraction of the free memory; returns whether it did. Where
        frames are `kept` on the disk, they stay there.

        The size is that of `sizes`, or estimated from videos all over the set; where the estimate was wrong, decoding
        stops at the limit, and all is read from file as before. Files that can't be read join `known_unreadable`.
        """
        if self.in_memory:
            return True
        if self.kept:
            self.decode()
            return False
        limit = free_memory() * fraction
        if not 0 < self._estimated_size() <= limit:
            return False
        room, memory = Room(limit), Resident(int(limit))
        with ThreadPoolExecutor() as pool:
            decoded = pool.map(lambda index: self._decode(index, room), range(len(self)))
            bar = tqdm(decoded, "decoding", total=len(self), unit="video", leave=False, file=sys.stdout)
            for index, frames in enumerate(bar):
                if frames is not None:
                    memory.keep(index, frames)
                    room.take(-frames.numel())
        if room.exceeded:
            print(f"keeping all videos in memory needs more than {limit / 2**20:,.0f} MiB: they are read from file")
            return False
        self.memory = memory
        return True

    def numbers(self, index: int, frames: np.ndarray) -> Tensor:
        """Which frames of all in memory these frames of a video are, int64 of the same shape."""
        return torch.from_numpy(frames + self.memory.first(self._number(index)))

    def _number(self, index: int) -> int:
        return self._numbers[index] if self._numbers else index

    def part(
        self, indices: Sequence[int], labels: Sequence[int], class_names: Sequence[str], groups: Sequence[str] | None
    ) -> "VideoSet":
        """The videos of these indices as a set with other labels, in the same memory, or kept in the same place."""
        videos = [self.videos[index]._replace(label=label) for index, label in zip(indices, labels, strict=True)]
        reasons = {new: self.known_unreadable[old] for new, old in enumerate(indices) if old in self.known_unreadable}
        part = VideoSet(
            videos, class_names, groups, reasons, self.reader, mirrored=self.mirrored, twins=self.twins, kept=self.kept
        )
        if self.in_memory:
            part.memory, part._numbers = self.memory, indices
        return part

    def unreadable(self) -> list[Unreadable]:
        """The videos that are known to be unreadable: after `keep_in_memory`, all that are."""
        return [Unreadable(self.videos[index].named, reason) for index, reason in sorted(self.known_unreadable.items())]

    def _estimated_size(self) -> float:
        """Bytes of all videos, decoded; 0 where none of those looked at can be opened."""
        if self.sizes is not None:
            return sum(self.sizes)
        some = np.unique(np.linspace(0, len(self) - 1, 32).astype(int)) if len(self) else []
        sizes = [size for size in map(self._size, some) if size]
        return float(np.mean(sizes)) * len(self) if sizes else 0

    def _size(self, index: int) -> int:
        """Bytes of the decoded video; 0 where it can't be opened."""
        try:
            with self.open(index) as video:
                return video.num_frames * 3 * video.height * video.width
        except VideoError:
            return 0

    def _decode(self, index: int, room: "Room") -> Tensor | None:
        """All frames; None where the video can't be read, or there is no room for it."""
        if room.exceeded:
            return None
        size = 0
        try:
            with self.open(index) as video:
                size = 2 * video.num_frames * 3 * video.height * video.width  # its frames, and their copy
                return video.read(np.arange(video.num_frames)) if room.take(size) else None
        except VideoError as error:
            self.known_unreadable[index] = error.reason
            room.take(-size)
            return None


@dataclass(frozen=True)
class Sample:
    """A clip of a video in training, or all its clips in a test."""

    # uint8 frames `(T, L, C, H, W)`, or `(clips, T, L, C, H, W)`: the part of them that holds the crops. In training on
    # videos that are on a GPU: their numbers `(T, L)`.
    clip: Tensor
    label: int  # already exchanged if the crop is mirrored
    crops: tuple[Crop, ...]  # of every clip, to be taken on the device
    video: int  # index in the set


class TrainingClips(Dataset):
    """One random clip of every video of a set, for a network of T = `num_segments` and L = `window`.

    Everything random about a clip is drawn from (seed, epoch, video), whatever process reads it and in whatever order:
    call `start_epoch` before each epoch. `scales`: sides of the crop as fractions of the video's shorter side.
    `sampling` draws frames and crop, as `training_windows` (with `stride`) and `random_crop`.
    """

    def __init__(
        self,
        videos: VideoSet,
        num_segments: int,
        window: int,
        scales: Sequence[float] = (0.875,),
        seed: int = 0,
        sampling: str = "released",
        stride: int = 1,
    ):
        self.videos, self.num_segments, self.window = videos, num_segments, window
        self.scales, self.seed, self.epoch = tuple(scales), seed, 0
        self.sampling, self.stride = sampling, stride
        self.frames: Tensor | None = None  # of all videos (`move_to`)
        self._unreadable: dict[str, str] = {}
        self._mirrored = mirrored_labels(videos.class_names, videos.mirrored, videos.twins)

    def move_to(self, device: torch.device, size: int) -> None:
        """Copies the videos to a GPU, as `frames`, where they are in memory, take at most a tenth of the GPU's (in each
        process), and have crops of `size` pixels as they are: then a clip is the numbers of its frames, for
        `to_input_of_frames`."""
        videos = self.videos.memory
        shape = videos.frame_size if videos else None
        if shape is None or set(crop_sides(min(shape[1:]), self.scales, self.sampling)) != {size}:
            return
        if device.type != "cuda" or videos.used < torch.cuda.get_device_properties(device).total_memory / 10:
            self.frames = videos.frames(device)

    def start_epoch(self, epoch: int, unreadable: Mapping[str, str] | None = None) -> None:
        """`unreadable`: paths that need not be tried again, and the reasons."""
        self.epoch = epoch
        self._unreadable = dict(unreadable or {})

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> Sample | Unreadable:
        """A video that can't be read is returned as such, never replaced by another video."""
        rng = np.random.default_rng((self.seed, self.epoch, index))
        label, named = self.videos.videos[index].label, self.videos.videos[index].named
        if str(named) in self._unreadable:
            return Unreadable(named, self._unreadable[str(named)])
        mirrored = self._mirrored[label]
        try:
            with self.videos.open(index) as video:
                segments = video.num_frames, self.num_segments, self.window
                windows = training_windows(*segments, rng, self.sampling, self.stride)
                crop = random_crop(rng, video.height, video.width, self.scales, mirrored is not None, self.sampling)
                if self.frames is not None:
                    clip, crops = self.videos.numbers(index, windows), (crop,)
                else:
                    clip, crops = read_crops(video, windows, [crop])
        except VideoError as error:
            return Unreadable(named, error.reason)
        return Sample(clip, mirrored if crop.flip else label, crops, index)


class TestClips(Dataset):
    """All clips of every video's `views`, of one decoding; item i is video i."""

    __test__ = False  # for pytest: no test

    def __init__(self, videos: VideoSet, num_segments: int, window: int, views: Views):
        self.videos, self.num_segments, self.window, self.views = videos, num_segments, window, views

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> Sample | Unreadable:
        """As of `TrainingClips`."""
        views = self.views
        try:
            with self.videos.open(index) as video:
                numbers, frames = range(views.clips), video.num_frames
                windows = [views.windows(frames, self.num_segments, self.window, number) for number in numbers]
                clips, crops = read_crops(video, np.stack(windows), views.squares(video.height, video.width))
        except VideoError as error:
            return Unreadable(self.videos.videos[index].named, error.reason)
        return Sample(clips, self.videos.videos[index].label, crops, index)


def read_crops(video: VideoReader, indices: np.ndarray, crops: Sequence[Crop]) -> tuple[Tensor, tuple[Crop, ...]]:
    """The frames of these indices, as `video.read`: the smallest part of them that holds all crops, and where the crops
    lie in it."""
    top, left = min(crop.top for crop in crops), min(crop.left for crop in crops)
    bottom, right = max(crop.top + crop.height for crop in crops), max(crop.left + crop.width for crop in crops)
    moved = tuple(crop._replace(top=crop.top - top, left=crop.left - left) for crop in crops)
    return video.read(indices, (slice(top, bottom), slice(left, right))), moved


def collate(items: Sequence[Sample | Unreadable]) -> tuple[list[Sample], list[Unreadable]]:
    """Keeps samples and unreadable videos apart; nothing is dropped."""
    samples = [item for item in items if isinstance(item, Sample)]
    return samples, [item for item in items if isinstance(item, Unreadable)]
