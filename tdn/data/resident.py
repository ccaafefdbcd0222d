"""Decoded videos in memory, of which several processes share one copy."""

import mmap
import os
import tempfile
from multiprocessing.reduction import DupFd

import torch
from torch import Tensor

from tdn.data.frames import TensorVideo


class SharedBytes:
    """`size` bytes, as the uint8 tensor `bytes`. A process that is started with this object gets the same memory.

    They take no memory until something is written. It is a file without a name, of Linux's memory where there is such
    a thing: what a container allows for /dev/shm may be too small."""

    def __init__(self, size: int, descriptor: int | None = None):
        if descriptor is None:
            descriptor = os.memfd_create("frames") if hasattr(os, "memfd_create") else _unnamed_file()
            os.ftruncate(descriptor, size)
        self._descriptor, self._size = descriptor, size
        self.bytes = torch.frombuffer(mmap.mmap(descriptor, size), dtype=torch.uint8)

    def __reduce__(self) -> tuple:
        return _received, (DupFd(self._descriptor), self._size)

    def __del__(self) -> None:
        os.close(self._descriptor)  # the tensor keeps what it shows


def _unnamed_file() -> int:
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _received(descriptor: "DupFd", size: int) -> SharedBytes:
    return SharedBytes(size, descriptor.detach())


class Resident:
    """The frames of videos, one after the other in at most `limit` bytes."""

    def __init__(self, limit: int):
        self._shared, self._used = SharedBytes(limit), 0
        self._places: dict[int, tuple[int, torch.Size]] = {}

    def keep(self, video: int, frames: Tensor) -> None:
        """A copy of uint8 `(F, C, H, W)`."""
        self._places[video], self._used = (self._used, frames.shape), self._used + frames.numel()
        self.open(video).frames.copy_(frames)

    def open(self, video: int) -> TensorVideo:
        start, shape = self._places[video]
        return TensorVideo(self._shared.bytes[start : start + shape.numel()].view(shape))
