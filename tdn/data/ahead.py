"""Clips that are read, and copied to a GPU, while it computes on those before."""

import dataclasses
import functools
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from tdn.data.clips import Sample, Unreadable

T = TypeVar("T")
Share = list[tuple[list[Sample], list[Unreadable]]]  # parts of an update


def on_device(shares: Iterable[Share], device: torch.device) -> Iterator[Share]:
    """`shares` as they are; for a GPU, with their clips on it: while one is computed, the next is read and copied, in a
    thread and on a stream of its own."""
    if device.type != "cuda":
        return iter(shares)
    return one_ahead(map(functools.partial(_copied, device, torch.cuda.Stream(device)), shares))


def _copied(device: torch.device, stream: torch.cuda.Stream, share: Share) -> Share:
    """Ends when the copies have arrived, so nobody has to wait for the stream."""
    with torch.cuda.stream(stream):
        copied = [
            ([dataclasses.replace(s, clip=s.clip.pin_memory().to(device, non_blocking=True)) for s in samples], bad)
            for samples, bad in share
        ]
    stream.synchronize()
    return copied


def one_ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items, in the same order; a thread fetches each while the one before is in use. What goes wrong in it is
    raised when its item's turn has come."""
    items, end = iter(items), object()
    with ThreadPoolExecutor(1, "reads-ahead") as thread:
        following = thread.submit(next, items, end)
        while (item := following.result()) is not end:
            following = thread.submit(next, items, end)
            yield item


class Timed(Iterator[T]):
    """The same items; `seconds` is how long one waited for them."""

    def __init__(self, items: Iterable[T]):
        self.items, self.seconds = iter(items), 0.0

    def __next__(self) -> T:
        began = time.monotonic()
        try:
            return next(self.items)
        finally:
            self.seconds += time.monotonic() - began
