"""Decoded videos in memory, which training processes share."""

import threading
from typing import Any

import torch
from torch import Tensor

from tdn.data.frames import TensorVideo
from tdn.utils import SharedMemory


class Resident:
    """The frames of videos, one after the other in at most `limit` bytes, which processes that are started with this
    object share."""

    def __init__(self, limit: int):
        self._memory, self.used = SharedMemory(limit), 0
        self._on_device: dict[torch.device, Tensor] = {}
        self._places: dict[int, tuple[int, torch.Size]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_on_device": {}}  # another process has a GPU of its own

    def keep(self, video: int, frames: Tensor) -> None:
        """A copy of uint8 `(F, C, H, W)`."""
        self._places[video], self.used = (self.used, frames.shape), self.used + frames.numel()
        self.open(video).frames.copy_(frames)

    def open(self, video: int) -> TensorVideo:
        start, shape = self._places[video]
        frames = torch.frombuffer(self._memory.buffer, dtype=torch.uint8, count=shape.numel(), offset=start)
        return TensorVideo(frames.view(shape))

    @property
    def frame_size(self) -> torch.Size | None:
        """`(C, H, W)` where all videos have one size."""
        sizes = {shape[1:] for _, shape in self._places.values()}
        return sizes.pop() if len(sizes) == 1 else None

    def frames(self, device: torch.device) -> Tensor:
        """Those of all videos, uint8 `(F, C, H, W)` of one size, on a device: copied once."""
        if device not in self._on_device:
            frames = torch.frombuffer(self._memory.buffer, dtype=torch.uint8, count=self.used)
            self._on_device[device] = frames.view(-1, *self.frame_size).to(device)
        return self._on_device[device]

    def first(self, video: int) -> int:
        """The number of its first frame in `frames`."""
        start, shape = self._places[video]
        return start // shape[1:].numel()


class Room:
    """Bytes that several threads share; once they did not suffice, nothing is given any more."""

    def __init__(self, limit: float):
        self.left, self.exceeded, self._lock = limit, False, threading.Lock()

    def take(self, size: int) -> bool:
        with self._lock:
            self.left -= size
            self.exceeded |= self.left < 0
            return not self.exceeded
