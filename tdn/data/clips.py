"""Sets of labelled videos, and the clips that a network trains or is tested on."""

from collections.abc import Mapping, Sequence
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

from tdn.data.sampling import sample_windows
from tdn.data.transforms import Crop, centre_crop, mirrored_labels, random_crop
from tdn.data.video import Choose, VideoError, all_frames, read_frames


class Video(NamedTuple):
    path: Path
    label: int


class Unreadable(NamedTuple):
    """A video left out because it could not be read."""

    path: Path
    reason: str


class VideoSet:
    """Labelled videos; `frames` reads one, from memory after `keep_in_memory`.

    `second_decoder` tells of the videos that this process has read so far, by number, why decord failed where PyAV
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
        self._memory: list[Tensor | Unreadable] | None = None

    def __len__(self) -> int:
        return len(self.videos)

    def frames(self, index: int, choose: Choose) -> Tensor:
        """As `video.read_frames`: uint8 frames, or VideoError."""
        if index in self.known_unreadable:
            raise VideoError(self.videos[index].path, self.known_unreadable[index])
        if self._memory is None:
            return self._read(index, choose)
        kept = self._memory[index]
        if isinstance(kept, Unreadable):
            raise VideoError(*kept)
        numbers = torch.from_numpy(choose(len(kept)))
        return kept.index_select(0, numbers.flatten()).unflatten(0, numbers.shape)  # [] takes twenty times as long

    @property
    def in_memory(self) -> bool:
        return self._memory is not None

    def keep_in_memory(self) -> bool:
        """Decodes everything once, if it takes at most half of the free memory; says whether it did.

        The size is estimated from the first videos. Files that can't be read are remembered as such.
        """
        if self.in_memory:
            return True
        first = [self._decode(index) for index in range(min(16, len(self)))]
        sizes = [frames.numel() for frames in first if isinstance(frames, Tensor)]
        if not sizes or np.mean(sizes) * len(self) > psutil.virtual_memory().available / 2:
            return False
        with ThreadPoolExecutor() as pool:
            decoded = pool.map(self._decode, range(len(self)))
            self._memory = list(tqdm(decoded, "decoding", total=len(self), unit="video", leave=False))
        return True

    def unreadable(self) -> list[Unreadable]:
        """The videos that can't be read; where they are not in memory, every file's first and last frame is."""

        def first_and_last(frames: int) -> np.ndarray:
            return np.array([0, frames - 1])

        found = []
        for index in range(len(self)):
            try:
                self.frames(index, first_and_last)
            except VideoError as error:
                found.append(Unreadable(error.path, error.reason))
        return found

    def _read(self, index: int, choose: Choose) -> Tensor:
        frames, decord_failed = read_frames(self.videos[index].path, choose)
        if decord_failed:
            self.second_decoder[index] = decord_failed
        return frames

    def _decode(self, index: int) -> Tensor | Unreadable:
        try:
            return self._read(index, all_frames).contiguous()
        except VideoError as error:
            return Unreadable(error.path, error.reason)


@dataclass(frozen=True)
class Sample:
    """One clip: uint8 frames `(T, W, C, H, W')`, its label (already exchanged if the crop is mirrored), the
    crop to take on the device, the number of its video in the set, and why decord could not read it where PyAV did."""

    clip: Tensor
    label: int
    crop: Crop
    index: int
    second_decoder: str | None = None


class ClipDataset(Dataset):
    """One clip of every video of a set.

    While training everything random about a clip is drawn from (seed, epoch, video), whatever process reads
    it and in whatever order: call `set_epoch` before each epoch. At test a clip is the middle of its
    segments and its centre crop.

    Args:
        num_segments, window: T and W of the network.
        scales: sides of the square crop as shares of the shorter side of the video; at test the first one.
        seed: None for test clips.
    """

    def __init__(
        self,
        videos: VideoSet,
        num_segments: int,
        window: int,
        scales: Sequence[float] = (0.875,),
        seed: int | None = None,
    ):
        self.videos = videos
        self.num_segments, self.window = num_segments, window
        self.scales = tuple(scales)
        self.seed = seed
        self.epoch = 0
        self._mirrored = mirrored_labels(videos.class_names)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> Sample | Unreadable:
        """A video that can't be read comes back as what it is, never as another video."""
        rng = None if self.seed is None else np.random.default_rng((self.seed, self.epoch, index))
        label = self.videos.videos[index].label
        try:
            clip = self.videos.frames(index, lambda frames: sample_windows(frames, self.num_segments, self.window, rng))
        except VideoError as error:
            return Unreadable(error.path, error.reason)
        second = self.videos.second_decoder.get(index)
        height, width = clip.shape[-2:]
        if rng is None:
            return Sample(clip, label, centre_crop(height, width, self.scales[0]), index, second)
        mirrored = self._mirrored[label]
        crop = random_crop(rng, height, width, self.scales, flip=mirrored is not None)
        return Sample(clip, mirrored if crop.flip else label, crop, index, second)


def worker_count(clips: ClipDataset) -> int:
    """Processes of a DataLoader over `clips`: none where memory only has to be indexed."""
    return 0 if clips.videos.in_memory else min(torch.get_num_threads(), 8)


def collate(items: Sequence[Sample | Unreadable]) -> tuple[list[Sample], list[Unreadable]]:
    """Keeps samples and unreadable videos apart; nothing is dropped."""
    samples = [item for item in items if isinstance(item, Sample)]
    return samples, [item for item in items if isinstance(item, Unreadable)]
