"""Frames from video files, through decord."""

import re
from collections.abc import Callable
from pathlib import Path

import decord
import numpy as np
import torch
from torch import Tensor


class VideoError(Exception):
    """A video that can't be read: `path` and `reason`."""

    def __init__(self, path: Path, reason: str):
        super().__init__(path, reason)  # both as args, so that it survives pickling out of a worker process
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def read_frames(path: Path, choose: Callable[[int], np.ndarray]) -> Tensor:
    """Decodes the frames whose numbers `choose(num_frames)` gives, in any shape `S`.

    Gives uint8 RGB `(*S, C, H, W')`. The reader lives for this call alone, in the process that needs it.

    Raises:
        VideoError: the file can't be opened, is no video, has no frame, or a chosen frame can't be decoded.
            (A Matroska file that breaks off is, to the decoder, a shorter video.)
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise VideoError(path, "empty file")
        reader = decord.VideoReader(str(path), num_threads=1)
        num_frames = len(reader)
        if num_frames == 0:
            raise VideoError(path, "no frames")
        indices = np.asarray(choose(num_frames))
        needed, place = np.unique(indices, return_inverse=True)
        frames = reader.get_batch(needed).asnumpy()
    except OSError as error:
        raise VideoError(path, error.strerror or str(error)) from error
    except (decord.DECORDError, RuntimeError, IndexError) as error:
        if "DECORDArrayCopyFromTo" in str(error):
            raise VideoError(path, "decord cannot read frames of this width (it fails at 16, 24, 48, 72 px)") from error
        said = re.sub(r"\[[\d:]+\] \S+:\d+: ", "", str(error))  # without time and place in decord's source
        raise VideoError(path, said.strip().partition("\n")[0] or type(error).__name__) from error
    return torch.from_numpy(frames).permute(0, 3, 1, 2)[place.reshape(indices.shape)]


def all_frames(num_frames: int) -> np.ndarray:
    """`choose` for a whole video."""
    return np.arange(num_frames)
