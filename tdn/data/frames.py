"""What all readers of videos have in common: an open video, what is asked of it, and the limits of time and memory."""

import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from os import fsdecode
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from tdn.utils import free_memory, one_line

SECONDS = 60  # to open a video, and to read from it: most take a thousandth, but disks can be slow and films long
LIMIT = "TDN_VIDEO_GB"  # environment variable: the memory that the frames of one reading may take
CLIP, CLIP_GB = 40, 4  # whole frames that a training clip may need (8 segments of 5), and what they may take at most

CropSlices = tuple[slice, slice]  # rows and columns


class VideoError(Exception):
    """A video that can't be read: `path` and `reason`."""

    def __init__(self, path: Path, reason: str):
        super().__init__(path, reason)  # both as args, so that it survives pickling out of a worker process
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return one_line(f"{self.path}: {self.reason}")


class VideoReader:
    """An open video: `num_frames`, `height` and `width` of its frames, upright where the file has a rotation."""

    path: Path
    num_frames: int
    height: int
    width: int
    note: str = ""  # what of it is not read

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *error: object) -> None:
        """Closes the file."""

    def read(self, indices: np.ndarray | Sequence, crop: CropSlices | None = None, side: int | None = None) -> Tensor:
        """Decodes frames: uint8 RGB `(*S, C, H, W)`, the colours of a pixel side by side in memory (channels last).

        `indices` are 0-based, in any order and shape `S`, also repeated; `crop` keeps some rows and columns, and only
        these are kept in memory; `side` shrinks what is kept, frame by frame, to so many pixels on its shorter side
        (nothing is enlarged). Raises VideoError where a frame can't be decoded in time, has another size than the
        first, or the frames take more memory than there is; IndexError past the end.
        """
        indices = np.asarray(indices)
        needed, place = np.unique(indices, return_inverse=True)
        if needed[0] < 0 or needed[-1] >= self.num_frames:
            raise IndexError(f"{self.path} has frames 0 to {self.num_frames - 1}, not {needed[0]} to {needed[-1]}")
        rows, columns = crop or (slice(None), slice(None))
        height, width = shrunk(len(range(self.height)[rows]), len(range(self.width)[columns]), side)
        check_memory(self.path, indices.size, height, width)
        try:
            frames = np.empty((indices.size, height, width, 3), np.uint8)
        except MemoryError as error:
            raise VideoError(self.path, f"not enough memory for {indices.size} frames of {width} x {height}") from error
        self._fill(frames, needed, place.reshape(-1), (rows, columns))
        return torch.from_numpy(frames).permute(0, 3, 1, 2).unflatten(0, indices.shape)

    def _fill(self, frames: np.ndarray, needed: np.ndarray, place: np.ndarray, crop: CropSlices) -> None:
        """Each frame goes where it is wanted as soon as it is decoded: `frames[i]` has the index `needed[place[i]]`."""
        for number, frame in enumerate(self._frames(needed)):
            if frame.shape[:2] != (self.height, self.width):
                raise VideoError(self.path, "its frames are not all of one size")
            part = frame[crop]
            if part.shape[:2] != frames.shape[1:3]:
                part = Image.fromarray(part).resize(frames.shape[2:0:-1], Image.Resampling.BILINEAR)
            for index in np.flatnonzero(place == number):
                frames[index] = part

    def _frames(self, needed: np.ndarray) -> Iterator[np.ndarray]:
        """The frames of these indices, which rise, each `(H, W, C)`."""
        raise NotImplementedError


class TensorVideo(VideoReader):
    """Frames in memory, uint8 RGB `(F, C, H, W)`."""

    def __init__(self, frames: Tensor):
        self.frames = frames
        self.num_frames, _, self.height, self.width = frames.shape

    def read(self, indices: np.ndarray | Sequence, crop: CropSlices | None = None, side: int | None = None) -> Tensor:
        """As `VideoReader.read`, with the memory layout of the tensor; a crop is a view of whole frames."""
        indices = torch.as_tensor(indices, device=self.frames.device)
        # [] takes twenty times as long; of a part of each frame, too.
        frames = self.frames.index_select(0, indices.flatten()).unflatten(0, indices.shape)
        frames = frames[..., *crop] if crop else frames
        if (size := shrunk(*frames.shape[-2:], side)) == frames.shape[-2:]:
            return frames
        small = F.interpolate(frames.flatten(0, -4), size, mode="bilinear", antialias=True)
        return small.unflatten(0, indices.shape)


def shrunk(height: int, width: int, side: int | None) -> tuple[int, int]:
    """The height and width of a frame whose shorter side is at most `side` pixels; None leaves it as it is."""
    shorter = min(height, width)
    if side is None or shorter <= side:
        return height, width
    return tuple(side if length == shorter else round(length * side / shorter) for length in (height, width))


def check_memory(path: Path, frames: int, height: int, width: int, at_most: float | None = None) -> None:
    """VideoError where so many RGB frames take more than `at_most` GB, by default half of the free memory; the variable
    `TDN_VIDEO_GB` in the environment, where it is set, replaces both."""
    gigabytes = frames * height * width * 3 / 1e9
    limit = os.environ.get(LIMIT) or at_most
    if limit is None and gigabytes < 0.1:
        return  # whatever is free: asking takes as long as some frames
    try:
        allowed = float(limit or free_memory() / 2e9)
    except ValueError:
        raise ValueError(f"{LIMIT} in the environment must be a number of GB, not {limit!r}") from None
    if gigabytes > allowed:
        what = f"{frames} frames of {width} x {height} take {gigabytes:.3g} GB, more than the {allowed:.3g} GB allowed"
        raise VideoError(path, f"{what} ({LIMIT}={1.01 * gigabytes:.3g} in the environment allows it)")


def in_time(path: Path, work: Callable[..., Any], *arguments: Any, at_least: Callable[[], float] = lambda: 0) -> Any:
    """`work(*arguments)`, or what it raises, the errors of files and of PyAV as VideoError; VideoError after `SECONDS`,
    or `at_least()`, asked when these are over.

    It runs in its own thread, as nothing else can be given up; starting one takes 0.1 ms. What may block (decord,
    PyAV, the file system) lets other threads run meanwhile. No torch in there: a process that ends while one of its
    Python threads is in a function of torch aborts.
    """
    answers = queue.SimpleQueue()

    def answer() -> None:
        try:
            answers.put((work(*arguments), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=answer, name=f"reading {path}", daemon=True).start()  # daemon: the process ends without it
    try:
        result, error = answers.get(timeout=SECONDS)
    except queue.Empty:
        seconds = max(SECONDS, at_least())
        try:
            result, error = answers.get(timeout=seconds - SECONDS)
        except queue.Empty:
            raise VideoError(path, f"took more than {seconds} s") from None
    if error is None:
        return result
    try:
        if isinstance(error, MemoryError):
            raise VideoError(path, "not enough memory to decode it") from error
        if isinstance(error, (av.FFmpegError, OSError)):
            file = Path(fsdecode(error.filename or path))
            reason = error.strerror or type(error).__name__
            raise VideoError(path, f"{file.name}: {reason}" if file.parent == path else reason) from error
        raise error
    finally:
        del error  # or the error and this call would keep each other, and the reader, in memory
