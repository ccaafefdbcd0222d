"""Sets of labelled videos, and the clips that a network trains or is tested on."""

import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from tdn.data.sampling import Views, sample_windows
from tdn.data.transforms import Crop, cut_out, mirrored_labels, random_crop
from tdn.data.video import Choose, Cut, VideoError, all_frames, read_frames


class Video(NamedTuple):
    path: Path
    label: int


class Unreadable(NamedTuple):
    """A video left out because it could not be read."""

    path: Path
    reason: str


class VideoSet:
    """Labelled videos; `frames` reads one, from memory after `keep_in_memory`.

    `second_decoder` tells of the videos that this process has read so far, by number, why PyAV failed where decord
    read them.

    Args:
        videos: files, or folders of frames, and labels, 0-based.
        class_names: one for each label.
        groups: a group for each label where accuracy is also wanted by group (the pocket benchmark's
            families), else None.
        known_unreadable: why videos that an earlier check found unreadable or missing are so, by number. They are not
            tried again.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        class_names: Sequence[str],
        groups: Sequence[str] | None = None,
        known_unreadable: Mapping[int, str] | None = None,
    ):
        self.videos = list(videos)
        self.class_names = list(class_names)
        self.groups = list(groups) if groups else None
        self.known_unreadable = dict(known_unreadable or {})
        self.second_decoder: dict[int, str] = {}
        self._memory: list[Tensor | None] | None = None

    def __len__(self) -> int:
        return len(self.videos)

    def frames(self, index: int, choose: Choose, cut: Cut | None = None) -> Tensor:
        """As `video.read_frames`: uint8 frames, or VideoError."""
        if index in self.known_unreadable:
            raise VideoError(self.videos[index].path, self.known_unreadable[index])
        if self._memory is None:
            return self._read(index, choose, cut)
        kept = self._memory[index]
        numbers = torch.from_numpy(choose(len(kept)))
        part = kept[..., *cut(*kept.shape[-2:])] if cut else kept
        return part.index_select(0, numbers.flatten()).unflatten(0, numbers.shape)  # [] takes twenty times as long

    @property
    def in_memory(self) -> bool:
        return self._memory is not None

    def keep_in_memory(self, share: float = 0.5) -> bool:
        """Decodes everything once, if it takes at most this share of the free memory; says whether it did.

        The size is estimated from a frame of the first videos. Files that can't be read join `known_unreadable`.
        """
        if self.in_memory:
            return True
        sizes = [size for size in map(self._size, range(min(16, len(self)))) if size]
        if not sizes or np.mean(sizes) * len(self) > psutil.virtual_memory().available * share:
            return False
        with ThreadPoolExecutor() as pool:
            decoded = pool.map(self._decode, range(len(self)))
            self._memory = list(tqdm(decoded, "decoding", total=len(self), unit="video", leave=False))
        return True

    def unreadable(self) -> list[Unreadable]:
        """The videos that are known to be unreadable: after `keep_in_memory`, all that are."""
        return [Unreadable(self.videos[index].path, reason) for index, reason in sorted(self.known_unreadable.items())]

    def _read(self, index: int, choose: Choose, cut: Cut | None) -> Tensor:
        frames, first_failed = read_frames(self.videos[index].path, choose, cut)
        if first_failed:
            self.second_decoder[index] = first_failed
        return frames

    def _size(self, index: int) -> int:
        """Bytes of the decoded video; 0 where its first frame can't be read."""
        counted = []

        def first(frames: int) -> np.ndarray:
            counted.append(frames)
            return np.zeros(1, int)

        try:
            return self.frames(index, first).numel() * counted[0]
        except VideoError:
            return 0

    def _decode(self, index: int) -> Tensor | None:
        try:
            return self.frames(index, all_frames).contiguous()
        except VideoError as error:
            self.known_unreadable[index] = error.reason
            return None


@dataclass(frozen=True)
class Sample:
    """One clip: uint8 frames `(T, W, C, H, W')`, no more of them than its crops need; its label (already exchanged if
    the crop is mirrored), the crops to take on the device, the number of its video in the set, which of the video's
    clips it is, and why PyAV could not read it where decord did."""

    clip: Tensor
    label: int
    crops: tuple[Crop, ...]
    video: int
    number: int = 0
    second_decoder: str | None = None


class TrainingClips(Dataset):
    """One random clip of every video of a set.

    Everything random about a clip is drawn from (seed, epoch, video), whatever process reads it and in whatever
    order: call `start_epoch` before each epoch.

    Args:
        num_segments, window: T and W of the network.
        scales: sides of the square crop as shares of the shorter side of the video.
    """

    def __init__(
        self, videos: VideoSet, num_segments: int, window: int, scales: Sequence[float] = (0.875,), seed: int = 0
    ):
        self.videos = videos
        self.num_segments, self.window = num_segments, window
        self.scales = tuple(scales)
        self.seed = seed
        self.epoch = 0
        self._unreadable: dict[str, str] = {}
        self._mirrored = mirrored_labels(videos.class_names)

    def start_epoch(self, epoch: int, unreadable: Mapping[str, str] | None = None) -> None:
        """`unreadable`: paths that need not be tried again, and the reasons."""
        self.epoch = epoch
        self._unreadable = dict(unreadable or {})

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, video: int) -> Sample | Unreadable:
        """A video that can't be read comes back as what it is, never as another video."""
        rng = np.random.default_rng((self.seed, self.epoch, video))
        path = self.videos.videos[video].path
        if self._unreadable and str(path) in self._unreadable:
            return Unreadable(path, self._unreadable[str(path)])
        label = self.videos.videos[video].label
        mirrored = self._mirrored[label]
        try:
            clip, (crop,) = read_clip(
                functools.partial(self.videos.frames, video),
                lambda frames: sample_windows(frames, self.num_segments, self.window, rng),
                lambda height, width: [random_crop(rng, height, width, self.scales, flip=mirrored is not None)],
            )
        except VideoError as error:
            return Unreadable(error.path, error.reason)
        second = self.videos.second_decoder.get(video)
        return Sample(clip, mirrored if crop.flip else label, (crop,), video, 0, second)


class TestClips(Dataset):
    """The clips of every video's `views`, `views.clips` a video; item i is clip i % clips of video i // clips."""

    __test__ = False  # for pytest: no test

    def __init__(self, videos: VideoSet, num_segments: int, window: int, views: Views):
        self.videos = videos
        self.num_segments, self.window = num_segments, window
        self.views = views

    def __len__(self) -> int:
        return len(self.videos) * self.views.clips

    def __getitem__(self, index: int) -> Sample | Unreadable:
        """As of `TrainingClips`."""
        video, number = divmod(index, self.views.clips)
        try:
            clip, crops = read_clip(
                functools.partial(self.videos.frames, video),
                lambda frames: self.views.windows(frames, self.num_segments, self.window, number),
                self.views.squares,
            )
        except VideoError as error:
            return Unreadable(error.path, error.reason)
        label, second = self.videos.videos[video].label, self.videos.second_decoder.get(video)
        return Sample(clip, label, crops, video, number, second)


def read_clip(
    frames: Callable[[Choose, Cut], Tensor], choose: Choose, crops_of: Callable[[int, int], Sequence[Crop]]
) -> tuple[Tensor, tuple[Crop, ...]]:
    """`frames(choose, cut)` of a video, no more of them than the crops `crops_of(height, width)` need; and where these
    lie in it."""
    moved: tuple[Crop, ...] = ()

    def cut(height: int, width: int) -> tuple[slice, slice]:
        nonlocal moved
        part, moved = cut_out(crops_of(height, width))
        return part

    return frames(choose, cut), moved


def collate(items: Sequence[Sample | Unreadable]) -> tuple[list[Sample], list[Unreadable]]:
    """Keeps samples and unreadable videos apart; nothing is dropped."""
    samples = [item for item in items if isinstance(item, Sample)]
    return samples, [item for item in items if isinstance(item, Unreadable)]
