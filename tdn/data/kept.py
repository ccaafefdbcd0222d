"""Frames that were decoded once: shrunk to the size of training, in files beside the index of their data set."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tdn.data.folder_reader import state_of
from tdn.data.frames import CropSlices, VideoError, VideoReader
from tdn.data.stretches import Stretch
from tdn.utils import write_whole

VERSION = 1  # of what is kept: raise it when the same file gives other frames


class KeptFrames:
    """The frames of videos, each in a file of `folder`: all of them, with at most `side` pixels on the shorter side.

    A video that changed (size, time of change) before it is first asked for is another one; later changes are not seen,
    so that a training ends with the videos that it began with. Files are whole or not there: a killed process leaves
    those that it finished.
    """

    def __init__(self, folder: Path, side: int):
        self.folder, self.side = folder, side
        self._files: dict[tuple[Path, Stretch | None], Path] = {}

    def file(self, path: Path, stretch: Stretch | None = None) -> Path:
        """Where the frames of a video, or of a stretch of it, are or will be. Raises OSError."""
        if (path, stretch) not in self._files:
            about = os.path.realpath(path), *state_of(path), stretch and tuple(stretch), self.side, VERSION
            name = f"{hashlib.sha256(os.fsencode(repr(about))).hexdigest()[:24]}.npy"
            self._files[path, stretch] = self.folder / name
        return self._files[path, stretch]

    def keep(self, video: VideoReader, file: Path) -> None:
        """Reads all frames of an open video into `file`. Raises as `video.read`, and OSError."""
        frames = video.read(np.arange(video.num_frames), side=self.side).permute(0, 2, 3, 1).numpy()
        write_whole(file, lambda out: np.save(out, frames))


class KeptVideo(VideoReader):
    """A video of `KeptFrames`. Its frames are read from the disk, or from what the system still has of the file."""

    def __init__(self, path: Path, file: Path):
        """`path` is the video's own. Raises VideoError where `file` is missing or damaged."""
        try:
            self.path, self._frames_of_file = path, np.load(file, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise VideoError(path, f"its kept frames can't be read ({error}): remove {file}") from error
        self.num_frames, self.height, self.width, _ = self._frames_of_file.shape

    def read(self, indices: np.ndarray | Sequence, crop: CropSlices | None = None, side: int | None = None) -> Tensor:
        rows, columns = crop or (slice(None), slice(None))
        indices = np.asarray(indices)
        frames = self._frames_of_file[indices.ravel(), rows, columns]
        return torch.from_numpy(np.asarray(frames)).permute(0, 3, 1, 2).unflatten(0, indices.shape)
