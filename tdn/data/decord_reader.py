"""Frames through decord."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tdn.data.frames import VideoError, VideoReader, in_time


class DecordReader(VideoReader):
    """Jumps to the last key frame before each frame needed. Refuses files of which it would show other frames than a
    player: those whose packets are not all frames that are shown, with open groups of pictures, or interlaced."""

    def __init__(self, path: Path, num_frames: int, height: int, width: int, fit: bool):
        """With what PyAV finds of the file: number and size of its frames, upright, and whether decord shows them."""
        import torchvision  # noqa: F401  before decord: loaded after it, it reads no PNG

        try:
            import decord  # here, as it is optional: not every machine has a wheel
        except ImportError as error:
            raise ImportError("decord is not installed: pip install decord") from error
        self.path, self._decord = path, decord
        if not fit:
            raise VideoError(path, "decord may show others of its frames than a player does; reader='pyav' reads it")
        self.num_frames, self.height, self.width = num_frames, height, width
        self._asked(self._open)

    def _asked(self, work: Callable[[], Any]) -> Any:
        """`work()` in time, decord's errors as VideoError."""
        try:
            return in_time(self.path, work)
        except UnicodeEncodeError as error:
            raise VideoError(self.path, "its name is not UTF-8") from error
        except self._decord.DECORDLimitReachedError as error:
            raise VideoError(self.path, "frames that cannot be decoded") from error
        except (self._decord.DECORDError, RuntimeError, IndexError, AssertionError) as error:
            # without time and place in decord's source, the file, and numbers that differ each time
            text = re.sub(r"\[[\d:]+\] \S+:\d+: | \(-?\d+ vs\. -?\d+\)", "", str(error)).replace(f"[{self._url}]", "")
            reason = text.strip().partition("\n")[0] or type(error).__name__
            if "DECORDArrayCopyFromTo" in str(error):
                reason = "cannot read frames of this width (it fails at 16, 24, 48, 72 px)"
            raise VideoError(self.path, reason) from error

    @property
    def _url(self) -> str:
        return f"file:{self.path.absolute()}"  # else a colon in the name would open a protocol

    def _open(self) -> None:
        # One worker has one core. And without its tolerance of faults it does not repeat the frame before a broken one.
        self._reader = self._decord.VideoReader(self._url, num_threads=1, fault_tol=1e-9)
        if len(self._reader) != self.num_frames:
            raise VideoError(self.path, f"decord finds {len(self._reader)} of its {self.num_frames} frames")

    def _frames(self, needed: np.ndarray) -> Iterator[np.ndarray]:
        # After a jump to the last frame of an avi file decord 0.6.0 now and then repeats the frame before the jump;
        # not if it reads the last but one on the way.
        last = self.num_frames - 1
        on_the_way = np.union1d(needed, last - 1) if needed[-1] == last > 0 else needed
        frames = self._asked(lambda: self._reader.get_batch(on_the_way).asnumpy())
        return iter(frames[np.isin(on_the_way, needed)])
