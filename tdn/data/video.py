"""Frames from video files, through PyAV or, where it fails, decord; and from folders of JPEG frames."""

import functools
import queue
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

try:
    import decord
except ImportError:  # no wheel for this machine, say
    decord = None

SECONDS = 60  # that a decoder may take for one video: most take a thousandth, but disks can be slow and movies long

Choose = Callable[[int], np.ndarray]  # from the number of frames to the numbers of those wanted, 0-based, any shape
Cut = Callable[[int, int], tuple[slice, slice]]  # from height and width to the rows and columns wanted


class VideoError(Exception):
    """A video that can't be read: `path` and `reason`."""

    def __init__(self, path: Path, reason: str):
        super().__init__(path, reason)  # both as args, so that it survives pickling out of a worker process
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def read_frames(path: Path, choose: Choose, cut: Cut | None = None) -> tuple[Tensor, str | None]:
    """Decodes the frames whose numbers `choose(num_frames)` gives, in any shape `S`; of them, the rows and columns that
    `cut(height, width)` gives.

    Gives uint8 RGB `(*S, C, H, W')`, upright where the file says how it was held, the colours of a pixel side by side
    in memory (torch's channels_last); and why decord had to read it, None where PyAV did. A folder holds frames as
    JPEG or PNG files, in order of their names. The reader lives for this call alone, in the process that needs it.

    A decoder that hangs is left after `SECONDS`, with its thread, the open file and what it had decoded (and a core,
    if it runs in a loop): nothing can stop it but the end of the process, which it does not hold up.

    Raises:
        VideoError: the file can't be opened, is no video, has no frame, or a chosen frame can't be decoded, by
            neither decoder, in their time. (A Matroska file that breaks off is, to the decoders, a shorter video.)
    """
    path = Path(path)
    choose = functools.cache(choose)  # the second decoder is asked for the same frames, though the choice be random
    if _in_time(_is_folder, path):
        return _arrange(path, cut, *_read_folder(path, choose)), None
    try:
        return _arrange(path, cut, *_in_time(_read_av, path, choose)), None
    except VideoError as first:
        try:
            return _arrange(path, cut, *_in_time(_read_decord, path, choose)), first.reason
        except VideoError as second:
            raise VideoError(path, f"PyAV: {first.reason}; decord: {second.reason}") from second


def all_frames(num_frames: int) -> np.ndarray:
    """`choose` for a whole video."""
    return np.arange(num_frames)


def _in_time(read: Callable[..., Any], path: Path, *arguments: Any) -> Any:
    """`read(path, *arguments)`, or what it raises; VideoError after `SECONDS`.

    It runs in a thread of its own, as nothing else can be given up; starting one takes 0.1 ms. What may block (decord,
    PyAV, the file system) lets other threads run meanwhile. No torch in there: where the process ends while a thread
    of Python is in a function of torch, it ends in an abort.
    """
    answers = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put((read(path, *arguments), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=work, name=f"reading {path}", daemon=True).start()  # daemon: the process ends without it
    try:
        result, error = answers.get(timeout=SECONDS)
    except queue.Empty:
        raise VideoError(path, f"took more than {SECONDS} s") from None
    if error is None:
        return result
    try:
        raise error
    finally:
        del error  # or the error and this call would keep each other, and the reader, in memory


def _is_folder(path: Path) -> bool:
    try:
        if path.is_dir():
            return True
        if path.stat().st_size == 0:
            raise VideoError(path, "empty file")
    except OSError as error:
        raise VideoError(path, error.strerror or str(error)) from error
    return False


def _distinct(path: Path, choose: Choose, num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """The chosen frames once each, in order, and where each stands in what was asked for."""
    if num_frames == 0:
        raise VideoError(path, "no frames")
    indices = np.asarray(choose(num_frames))
    needed, place = np.unique(indices, return_inverse=True)
    return needed, place.reshape(indices.shape)


def _arrange(path: Path, cut: Cut | None, frames: Sequence[np.ndarray], place: np.ndarray) -> Tensor:
    """What `read_frames` gives of distinct frames `(H, W', C)` and the places where they are wanted."""
    if len({frame.shape for frame in frames}) > 1:
        raise VideoError(path, "its frames are not all of one size")
    part = cut(*frames[0].shape[:2]) if cut else ...
    stacked = np.stack([frames[number][part] for number in place.flat])  # the only copy
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).unflatten(0, place.shape)


def _read_decord(path: Path, choose: Choose) -> tuple[Sequence[np.ndarray], np.ndarray]:
    if decord is None:
        raise VideoError(path, "not installed")
    try:
        # One worker has one core. And without its tolerance of faults it does not repeat the frame before a broken one.
        reader = decord.VideoReader(str(path), num_threads=1, fault_tol=1e-9)
        num_frames = len(reader)
        if _has_cut_off_frames(path):
            raise VideoError(path, "counts frames that an edit list cuts off, and mixes up the others")
        needed, place = _distinct(path, choose, num_frames)
        # After a jump to the last frame of an avi file decord 0.6.0 now and then repeats the frame before the jump;
        # not if it reads the last but one on the way.
        on_the_way = np.union1d(needed, num_frames - 2) if needed[-1] == num_frames - 1 > 0 else needed
        frames = reader.get_batch(on_the_way).asnumpy()
    except UnicodeEncodeError as error:
        raise VideoError(path, "its name is not UTF-8") from error
    except decord.DECORDLimitReachedError as error:
        raise VideoError(path, "frames that cannot be decoded") from error
    except (decord.DECORDError, RuntimeError, IndexError, AssertionError) as error:
        if "DECORDArrayCopyFromTo" in str(error):
            raise VideoError(path, "cannot read frames of this width (it fails at 16, 24, 48, 72 px)") from error
        # without time and place in decord's source, the file, and numbers that are another each time
        said = re.sub(r"\[[\d:]+\] \S+:\d+: | \(-?\d+ vs\. -?\d+\)", "", str(error)).replace(f"[{path}]", "")
        raise VideoError(path, said.strip().partition("\n")[0] or type(error).__name__) from error
    return frames, np.searchsorted(on_the_way, needed)[place]


def _has_cut_off_frames(path: Path) -> bool:
    """Whether the file holds frames that are not to be shown, such as an mp4 or mov file cut without encoding anew."""
    try:
        with av.open(str(path)) as container:
            return any(packet.is_discard for packet in container.demux(_video_stream(path, container)))
    except (av.FFmpegError, OSError):
        return False  # where decord can open it, let it try


def _video_stream(path: Path, container: av.container.InputContainer) -> av.VideoStream:
    stream = container.streams.best("video")
    if stream is None or stream.disposition & av.stream.Disposition.attached_pic:  # the cover of a piece of music
        raise VideoError(path, "no video in the file")
    if container.format.name.endswith("_pipe") or container.format.name in ("image2", "tty"):  # what FFmpeg calls them
        raise VideoError(path, "a picture or text, no video")
    return stream


def _read_av(path: Path, choose: Choose) -> tuple[Sequence[np.ndarray], np.ndarray]:
    """Frame by frame from the start, keeping what is wanted; as many frames as there are packets to be shown."""
    try:
        with av.open(str(path)) as container:
            stream = _video_stream(path, container)
            stream.codec_context.thread_count = 1
            packets = list(container.demux(stream))  # compressed, so all of them are less than a few frames
            whole = sum(1 for packet in packets[:-1] if not packet.is_corrupt)  # the last one only says that it ends
            if container.format.name.startswith("mov") and whole < stream.frames:  # mp4 and mov say how many there are
                raise VideoError(path, f"breaks off: holds {whole} of its {stream.frames} frames")
            num_frames = sum(1 for packet in packets if packet.size and not packet.is_discard)
            needed, place = _distinct(path, choose, num_frames)
            kept = _decode((frame for packet in packets for frame in packet.decode()), needed)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(path, error.strerror or type(error).__name__) from error
    if len(kept) < len(needed):
        raise VideoError(path, f"breaks off before frame {needed[len(kept)] + 1} of {num_frames}")
    return kept, place


def _decode(frames: Iterable[av.VideoFrame], needed: Sequence[int]) -> list[np.ndarray]:
    kept = []
    for number, frame in enumerate(frames):
        if number == needed[len(kept)]:
            turns = frame.rotation // 90 if frame.rotation in (-270, -180, -90, 90, 180, 270) else 0
            kept.append(np.rot90(frame.to_ndarray(format="rgb24", threads=1), turns))
            if len(kept) == len(needed):
                break
    return kept


def _read_folder(path: Path, choose: Choose) -> tuple[Sequence[np.ndarray], np.ndarray]:
    contents, place = _in_time(_read_files, path, choose)
    frames = []
    for name, content in contents.items():
        try:
            image = decode_image(torch.frombuffer(content, dtype=torch.uint8), ImageReadMode.RGB)
        except (RuntimeError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise VideoError(path, f"{name} is no image that can be read: {reason}") from error
        frames.append(image.permute(1, 2, 0).numpy())  # as it was decoded: the colours of a pixel side by side
    return frames, place


def _read_files(path: Path, choose: Choose) -> tuple[dict[str, bytearray], np.ndarray]:
    try:
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
        needed, place = _distinct(path, choose, len(files))
        return {files[number].name: bytearray(files[number].read_bytes()) for number in needed}, place
    except OSError as error:
        raise VideoError(path, f"{Path(error.filename).name}: {error.strerror}") from error
