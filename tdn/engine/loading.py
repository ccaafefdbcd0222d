"""Clips that are read, and copied to a GPU, while it computes on those before."""

import dataclasses
import functools
import itertools
import math
import os
import time
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from tdn.data.clips import Sample, TestClips, TrainingClips, Unreadable, collate
from tdn.engine.distributed import rank, world_size

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


class Deal:
    """Which videos make which update, in parts that go through the network at once, and which parts are this
    process's: every n-th.

    The order is drawn from the clips' seed and the epoch. The videos `left_out` (numbers; known to be unreadable) are
    not dealt, so that batches are full. A last batch that is not full is left for another epoch, so that every update
    has `batch` videos (all, where there are fewer).

    Raises ValueError where no video is left, or where there are more processes than parts.
    """

    def __init__(self, clips: TrainingClips, batch: int, part: int, left_out: Collection[int] = ()):
        self.clips, self.part = clips, part
        without = set(left_out)
        self.videos = [video for video in range(len(clips)) if video not in without]
        if not self.videos:
            raise ValueError(f"not one of {len(clips)} training videos could be read: {clips.videos.unreadable()[:1]}")
        self.batch = min(batch, len(self.videos))
        self.updates = len(self.videos) // self.batch  # of an epoch
        self.parts = math.ceil(self.batch / part)  # of an update
        if world_size() > self.parts:
            raise ValueError(
                f"{world_size()} processes, but a batch of {self.batch} has only {self.parts} parts of {part} videos: "
                "start fewer, or make the parts smaller (--device-batch)"
            )

    def epoch(self, epoch: int, first: int) -> Iterator[list[tuple[list[Sample], list[Unreadable]]]]:
        """This process's share of each update from number `first` on."""
        order = torch.Generator().manual_seed(1_000_003 * self.clips.seed + epoch)
        batches = BatchSampler(RandomSampler(self.videos, generator=order), self.batch, drop_last=True)
        # Video by video: a whole part of large videos would wait in memory for every worker.
        loader = DataLoader(
            self.clips,
            batch_size=None,
            sampler=_Share(batches, self.videos, self.part, first),
            generator=order,
            collate_fn=_as_it_is,
            num_workers=worker_count(self.clips),
        )
        items = iter(loader)
        sizes = [min(self.part, self.batch - start) for start in range(0, self.batch, self.part)]
        for _ in range(first, self.updates):
            yield [collate(list(itertools.islice(items, size))) for size in sizes[rank() :: world_size()]]


def _as_it_is(item: Sample | Unreadable) -> Sample | Unreadable:
    return item


class _Share:
    """The videos of this process's parts, in order, from the batch number `first` on."""

    def __init__(self, batches: BatchSampler, videos: list[int], part: int, first: int):
        self.batches, self.videos, self.part, self.first = batches, videos, part, first

    def __iter__(self) -> Iterator[int]:
        for number, batch in enumerate(self.batches):
            videos = [self.videos[place] for place in batch]
            parts = [videos[start : start + self.part] for start in range(0, len(videos), self.part)]
            if number >= self.first:
                yield from itertools.chain(*parts[rank() :: world_size()])


def worker_count(clips: TrainingClips | TestClips) -> int:
    """Processes of a DataLoader over `clips`: none where memory only has to be indexed, else one a core of this
    process's share of the machine, up to 16."""
    if clips.videos.in_memory:
        return 0
    beside = os.environ.get("LOCAL_WORLD_SIZE")  # torchrun sets this, and one thread for each process
    cores = len(os.sched_getaffinity(0)) // int(beside) if beside else torch.get_num_threads()
    return min(max(cores, 1), 16)
