"""A part of a video, as its own video: what is between two times."""

from collections.abc import Sequence
from os import PathLike
from typing import NamedTuple

import numpy as np
from torch import Tensor

from tdn.data.frames import CropSlices, VideoError, VideoReader
from tdn.data.streaming import MICROSECOND, times_of_frames
from tdn.data.video import open_video


class Stretch(NamedTuple):
    """Seconds after the first frame: frames from `start` on, and before `end` (None: to the last)."""

    start: float = 0.0
    end: float | None = None

    def __str__(self) -> str:
        return f"{self.start:g} to {'the end' if self.end is None else f'{self.end:g}'} s"


def open_stretch(path: str | PathLike, stretch: Stretch, reader: str = "pyav") -> VideoReader:
    """As `open_video`, but only the frames of `stretch`. VideoError also where there are none, and where the file has
    no times of frames, as folders have none."""
    return _Part(open_video(path, reader), stretch)


class _Part(VideoReader):
    def __init__(self, video: VideoReader, stretch: Stretch):
        self._video, self.path, self.note = video, video.path, video.note
        self.height, self.width = video.height, video.width
        try:
            times = times_of_frames(video)
            end = np.inf if stretch.end is None else stretch.end
            first, last = np.searchsorted(times, np.round([stretch.start, end], MICROSECOND))
            if first >= last:
                raise VideoError(video.path, f"no frame from {stretch}: the last is at {times[-1]:.2f} s")
        except BaseException:
            video.__exit__()
            raise
        self._first, self.num_frames = int(first), int(last - first)

    def __exit__(self, *error: object) -> None:
        self._video.__exit__(*error)

    def read(self, indices: np.ndarray | Sequence, crop: CropSlices | None = None, side: int | None = None) -> Tensor:
        indices = np.asarray(indices)
        if indices.min() < 0 or indices.max() >= self.num_frames:
            raise IndexError(
                f"the stretch has frames 0 to {self.num_frames - 1}, not {indices.min()} to {indices.max()}"
            )
        return self._video.read(indices + self._first, crop, side)
