"""Frames of video files, read through PyAV or decord, of folders of images, and of tensors: open, choose, read."""

import queue
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from os import PathLike, fsdecode
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

from tdn.utils import unknown_name

SECONDS = 60  # to open a video, and to read from it: most take a thousandth, but disks can be slow and films long
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")  # of the frames in a folder

CropSlices = tuple[slice, slice]  # rows and columns


class VideoError(Exception):
    """A video that can't be read: `path` and `reason`."""

    def __init__(self, path: Path, reason: str):
        super().__init__(path, reason)  # both as args, so that it survives pickling out of a worker process
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def open_video(path: str | PathLike, reader: str = "pyav") -> "VideoReader":
    """Opens a video file, or a folder that holds frames as JPEG or PNG files in the order of their names.

    `reader`, for files, is "pyav" or "decord" (else ValueError; ImportError where decord is not installed). A decoder
    that hangs is given up after `SECONDS`, with its thread, its open file and its memory: nothing can stop it but the
    end of the process, which it does not delay.

    Raises VideoError where the file can't be opened in time, is no whole video, or its first frame can't be decoded.
    (A Matroska file that breaks off is a shorter video to both readers.)
    """
    readers = {"pyav": _PyAVReader, "decord": _DecordReader}
    if reader not in readers:
        raise ValueError(unknown_name("reader", reader, readers))
    path = Path(path)
    is_folder, size = _in_time(path, lambda: (path.is_dir(), path.stat().st_size))
    if size == 0 and not is_folder:
        raise VideoError(path, "empty file")
    return _FolderReader(path) if is_folder else readers[reader](path)


class VideoReader:
    """An open video: `num_frames`, `height` and `width` of its frames, upright where the file has a rotation."""

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *error: object) -> None:
        """Closes the file."""

    def read(self, indices: np.ndarray | Sequence, crop: CropSlices | None = None) -> Tensor:
        """Decodes frames: uint8 RGB `(*S, C, H, W)`, the colours of a pixel side by side in memory (channels last).

        `indices` are 0-based, in any order and shape `S`, also repeated; `crop` keeps some rows and columns. Raises
        VideoError where a frame can't be decoded in time or has another size than the first, IndexError past the end.
        """
        indices = np.asarray(indices)
        needed, place = np.unique(indices, return_inverse=True)
        if needed[0] < 0 or needed[-1] >= self.num_frames:
            raise IndexError(f"{self.path} has frames 0 to {self.num_frames - 1}, not {needed[0]} to {needed[-1]}")
        frames = self._frames(needed)  # each (H, W, C): what the readers below have of their own
        if any(frame.shape[:2] != (self.height, self.width) for frame in frames):
            raise VideoError(self.path, "its frames are not all of one size")
        stacked = np.stack([frames[index][crop or ...] for index in place.flat])  # the only copy
        return torch.from_numpy(stacked).permute(0, 3, 1, 2).unflatten(0, indices.shape)


class TensorVideo(VideoReader):
    """Frames in memory, uint8 RGB `(F, C, H, W)`."""

    def __init__(self, frames: Tensor):
        self.frames = frames
        self.num_frames, _, self.height, self.width = frames.shape

    def read(self, indices: np.ndarray | Sequence, crop: CropSlices | None = None) -> Tensor:
        """As `VideoReader.read`, with the memory layout of the tensor."""
        indices = torch.as_tensor(indices, device=self.frames.device)
        part = self.frames[..., *crop] if crop else self.frames
        return part.index_select(0, indices.flatten()).unflatten(0, indices.shape)  # [] takes twenty times as long


def _in_time(path: Path, work: Callable[..., Any], *arguments: Any) -> Any:
    """`work(*arguments)`, or what it raises, the errors of files and of PyAV as VideoError; VideoError after `SECONDS`.

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
        raise VideoError(path, f"took more than {SECONDS} s") from None
    if error is None:
        return result
    try:
        if isinstance(error, (av.FFmpegError, OSError)):
            file = Path(fsdecode(error.filename or path))
            reason = error.strerror or type(error).__name__
            raise VideoError(path, f"{file.name}: {reason}" if file.parent == path else reason) from error
        raise error
    finally:
        del error  # or the error and this call would keep each other, and the reader, in memory


def _demux(path: Path, container: av.container.InputContainer) -> tuple[av.VideoStream, list[av.Packet]]:
    """The stream of the video and all of its packets, compressed: they take less memory than a few frames."""
    stream = container.streams.best("video")
    if stream is None or stream.disposition & av.stream.Disposition.attached_pic:  # the cover of a piece of music
        raise VideoError(path, "no video in the file")
    if container.format.name.endswith("_pipe") or container.format.name in ("image2", "tty"):  # FFmpeg's names
        raise VideoError(path, "a picture or text, no video")
    stream.codec_context.thread_count = 1  # one worker has one core
    return stream, list(container.demux(stream))


def _quarter_turns(frame: av.VideoFrame) -> int:
    """How often to turn a frame by 90 degrees, counterclockwise, to have it upright."""
    return 0 if frame.rotation % 90 else frame.rotation // 90


def _upright_size(frame: av.VideoFrame) -> tuple[int, int]:
    return (frame.width, frame.height) if _quarter_turns(frame) % 2 else (frame.height, frame.width)


class _PyAVReader(VideoReader):
    """Decodes frame by frame from the start. There are as many frames as packets to be shown."""

    def __init__(self, path: Path):
        self.path = path
        self._busy = False
        _in_time(path, self._open)

    def __exit__(self, *error: object) -> None:
        if not self._busy:  # a thread that hangs still uses it
            self._container.close()

    def _open(self) -> None:
        """Demuxes all packets, and decodes the first frame, as only it has the rotation; reading continues from it."""
        self._container = av.open(str(self.path))
        try:
            self._stream, self._packets = _demux(self.path, self._container)
            whole = sum(1 for packet in self._packets[:-1] if not packet.is_corrupt)  # the last one only marks the end
            expected = self._stream.frames if self._container.format.name.startswith("mov") else 0  # also mp4
            if whole < expected:
                raise VideoError(self.path, f"breaks off: holds {whole} of its {expected} frames")
            self.num_frames = sum(1 for packet in self._packets if packet.size and not packet.is_discard)
            if self.num_frames == 0:
                raise VideoError(self.path, "no frames")
            others = self._decode()
            if (first := next(others, None)) is None:
                raise VideoError(self.path, f"breaks off before frame 1 of {self.num_frames}")
        except BaseException:
            self._container.close()
            raise
        self._undecoded = chain([first], others)
        self.height, self.width = _upright_size(first)

    def _decode(self) -> Iterator[av.VideoFrame]:
        self._stream.codec_context.flush_buffers()
        return (frame for packet in self._packets for frame in packet.decode())

    def _frames(self, needed: np.ndarray) -> Sequence[np.ndarray]:
        self._busy = True
        return _in_time(self.path, self._keep, needed)

    def _keep(self, needed: np.ndarray) -> Sequence[np.ndarray]:
        frames, self._undecoded = self._undecoded or self._decode(), None
        kept = []
        try:
            for index, frame in enumerate(frames):
                if index == needed[len(kept)]:
                    kept.append(np.rot90(frame.to_ndarray(format="rgb24", threads=1), _quarter_turns(frame)))
                    if len(kept) == len(needed):
                        return kept
        finally:
            self._busy = False
        raise VideoError(self.path, f"breaks off before frame {needed[len(kept)] + 1} of {self.num_frames}")


class _DecordReader(VideoReader):
    """Jumps to the last key frame before each frame needed."""

    def __init__(self, path: Path):
        try:
            import decord  # here, as it is optional: not every machine has a wheel
        except ImportError as error:
            raise ImportError("decord is not installed: pip install decord") from error
        self.path, self._decord = path, decord
        self._asked(self._open)

    def _asked(self, work: Callable[[], Any]) -> Any:
        """`work()` in time, decord's errors as VideoError."""
        try:
            return _in_time(self.path, work)
        except UnicodeEncodeError as error:
            raise VideoError(self.path, "its name is not UTF-8") from error
        except self._decord.DECORDLimitReachedError as error:
            raise VideoError(self.path, "frames that cannot be decoded") from error
        except (self._decord.DECORDError, RuntimeError, IndexError, AssertionError) as error:
            # without time and place in decord's source, the file, and numbers that differ each time
            text = re.sub(r"\[[\d:]+\] \S+:\d+: | \(-?\d+ vs\. -?\d+\)", "", str(error)).replace(f"[{self.path}]", "")
            reason = text.strip().partition("\n")[0] or type(error).__name__
            if "DECORDArrayCopyFromTo" in str(error):
                reason = "cannot read frames of this width (it fails at 16, 24, 48, 72 px)"
            raise VideoError(self.path, reason) from error

    def _open(self) -> None:
        # One worker has one core. And without its tolerance of faults it does not repeat the frame before a broken one.
        self._reader = self._decord.VideoReader(str(self.path), num_threads=1, fault_tol=1e-9)
        self.num_frames = len(self._reader)
        if self.num_frames == 0:
            raise VideoError(self.path, "no frames")
        first = None
        with (
            suppress(av.FFmpegError, OSError),
            av.open(str(self.path)) as container,
        ):  # else let decord try
            _, packets = _demux(self.path, container)
            first = next((frame for packet in packets for frame in packet.decode()), None)
            if any(packet.is_discard for packet in packets):  # such as an mp4 file cut without encoding anew
                raise VideoError(self.path, "counts frames that an edit list cuts off, and mixes up the others")
        # Not reader[0]: decord decodes ahead, so that a later, damaged frame would now and then fail the others.
        self.height, self.width = _upright_size(first) if first else self._reader[0].shape[:2]

    def _frames(self, needed: np.ndarray) -> Sequence[np.ndarray]:
        # After a jump to the last frame of an avi file decord 0.6.0 now and then repeats the frame before the jump;
        # not if it reads the last but one on the way.
        last = self.num_frames - 1
        on_the_way = np.union1d(needed, last - 1) if needed[-1] == last > 0 else needed
        frames = self._asked(lambda: self._reader.get_batch(on_the_way).asnumpy())
        return frames[np.isin(on_the_way, needed)]


class _FolderReader(VideoReader):
    def __init__(self, path: Path):
        self.path = path
        files = _in_time(path, lambda: [file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES])
        if not files:
            raise VideoError(path, "no frames")
        self._files = sorted(files)
        self.num_frames = len(files)
        (self._first,) = self._decoded(self._files[:1])
        self.height, self.width, _ = self._first.shape

    def _frames(self, needed: np.ndarray) -> Sequence[np.ndarray]:
        later = self._decoded([self._files[index] for index in needed if index > 0])
        return later if len(later) == len(needed) else [self._first, *later]

    def _decoded(self, files: Sequence[Path]) -> list[np.ndarray]:
        contents = _in_time(self.path, lambda: [bytearray(file.read_bytes()) for file in files])
        images = []
        for file, content in zip(files, contents, strict=True):
            try:
                image = decode_image(torch.frombuffer(content, dtype=torch.uint8), ImageReadMode.RGB)
            except (RuntimeError, ValueError) as error:
                reason = str(error).partition("\n")[0]
                raise VideoError(self.path, f"{file.name} is no image that can be read: {reason}") from error
            images.append(image.permute(1, 2, 0).numpy())  # as it was decoded: the colours of a pixel side by side
        return images
