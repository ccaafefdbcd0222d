"""Frames from video files, through decord or, where it fails, PyAV; and from folders of JPEG frames."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

try:
    import decord
except ImportError:  # no wheel for this machine, say
    decord = None

Choose = Callable[[int], np.ndarray]  # from the number of frames to the numbers of those wanted, 0-based, any shape


class VideoError(Exception):
    """A video that can't be read: `path` and `reason`."""

    def __init__(self, path: Path, reason: str):
        super().__init__(path, reason)  # both as args, so that it survives pickling out of a worker process
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def read_frames(path: Path, choose: Choose) -> tuple[Tensor, str | None]:
    """Decodes the frames whose numbers `choose(num_frames)` gives, in any shape `S`.

    Gives uint8 RGB `(*S, C, H, W')`, upright where the file says how it was held; and why PyAV had to read it, None
    where decord did. A folder holds frames as JPEG or PNG files, in order of their names. The reader lives for this
    call alone, in the process that needs it.

    Raises:
        VideoError: the file can't be opened, is no video, has no frame, or a chosen frame can't be decoded, by
            neither decoder. (A Matroska file that breaks off is, to the decoders, a shorter video.)
    """
    path = Path(path)
    try:
        if path.is_dir():
            return _read_folder(path, choose), None
        if path.stat().st_size == 0:
            raise VideoError(path, "empty file")
    except OSError as error:
        raise VideoError(path, error.strerror or str(error)) from error
    try:
        return _read_decord(path, choose), None
    except VideoError as first:
        try:
            return _read_av(path, choose), first.reason
        except VideoError as second:
            raise VideoError(path, f"decord: {first.reason}; PyAV: {second.reason}") from second


def all_frames(num_frames: int) -> np.ndarray:
    """`choose` for a whole video."""
    return np.arange(num_frames)


def _distinct(path: Path, choose: Choose, num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """The chosen frames once each, in order, and where each stands in what was asked for."""
    if num_frames == 0:
        raise VideoError(path, "no frames")
    indices = np.asarray(choose(num_frames))
    needed, place = np.unique(indices, return_inverse=True)
    return needed, place.reshape(indices.shape)


def _read_decord(path: Path, choose: Choose) -> Tensor:
    if decord is None:
        raise VideoError(path, "not installed")
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
        num_frames = len(reader)
        needed, place = _distinct(path, choose, num_frames)
        # After a jump to the last frame of an avi file decord 0.6.0 now and then repeats the frame before the jump;
        # not if it reads the last but one on the way.
        on_the_way = np.union1d(needed, num_frames - 2) if needed[-1] == num_frames - 1 > 0 else needed
        frames = reader.get_batch(on_the_way).asnumpy()[np.isin(on_the_way, needed)]
    except (decord.DECORDError, RuntimeError, IndexError) as error:
        if "DECORDArrayCopyFromTo" in str(error):
            raise VideoError(path, "cannot read frames of this width (it fails at 16, 24, 48, 72 px)") from error
        said = re.sub(r"\[[\d:]+\] \S+:\d+: ", "", str(error))  # without time and place in decord's source
        raise VideoError(path, said.strip().partition("\n")[0] or type(error).__name__) from error
    return torch.from_numpy(frames).permute(0, 3, 1, 2)[place]


def _read_av(path: Path, choose: Choose) -> Tensor:
    """Frame by frame from the start, keeping what is wanted; as many frames as the stream has packets."""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.best("video")
            if stream is None:
                raise VideoError(path, "no video in the file")
            num_frames = sum(1 for packet in container.demux(stream) if packet.size)
        needed, place = _distinct(path, choose, num_frames)
        with av.open(str(path)) as container:
            kept = _decode(container.decode(container.streams.best("video")), needed)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(path, error.strerror or type(error).__name__) from error
    if len(kept) < len(needed):
        raise VideoError(path, f"breaks off before frame {needed[len(kept)] + 1} of {num_frames}")
    return torch.from_numpy(np.stack(kept)).permute(0, 3, 1, 2)[place]


def _decode(frames: Iterable[av.VideoFrame], needed: Sequence[int]) -> list[np.ndarray]:
    kept = []
    for number, frame in enumerate(frames):
        if number == needed[len(kept)]:
            turns = frame.rotation // 90 if frame.rotation in (-270, -180, -90, 90, 180, 270) else 0
            kept.append(np.rot90(frame.to_ndarray(format="rgb24"), turns))
            if len(kept) == len(needed):
                break
    return kept


def _read_folder(path: Path, choose: Choose) -> Tensor:
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
    needed, place = _distinct(path, choose, len(files))
    frames = []
    for number in needed:
        try:
            frames.append(decode_image(str(files[number]), ImageReadMode.RGB))
        except (RuntimeError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise VideoError(path, f"{files[number].name} is no image that can be read: {reason}") from error
    if len({frame.shape for frame in frames}) > 1:
        raise VideoError(path, "its frames are not all of one size")
    return torch.stack(frames)[place]
