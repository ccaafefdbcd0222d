"""Which videos make which step, and clips that are read, and copied to a GPU, while it computes on those before."""

import dataclasses
import functools
import itertools
import multiprocessing
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader

from tdn.data.clips import Sample, TestClips, TrainingClips, Unreadable, collate
from tdn.engine.distributed import broadcast, rank, world_size
from tdn.utils import UNGUARDED, check_script

Shard = list[tuple[list[Sample], list[Unreadable]]]  # a process's micro-batches of one step
# Forks of a process without threads: in a fork of this one, whose gloo and autograd start some, a lock may never open.
worker_context = multiprocessing.get_context("forkserver")
worker_context.set_forkserver_preload(["tdn.data.clips"])


def micro_batches(order: Sequence[int], batch: int, size: int) -> list[list[list[int]]]:
    """The steps of an epoch, each a list of micro-batches: `order`, cut into batches and these into micro-batches of
    `size` (the last of a step may be smaller). A last batch that is not full is left out."""
    return [
        [list(order[at : min(at + size, start + batch)]) for at in range(start, start + batch, size)]
        for start in range(0, len(order) - batch + 1, batch)
    ]


class TrainingLoader:
    """The clips of a training, step by step; each of n processes gets every n-th micro-batch of a step.

    Every step has `batch` videos over all processes, or all where there are fewer; `micro_batch` of them go through the
    network at once. Their order depends on the clips' seed and the epoch. Raises ValueError where no video is readable,
    or where there are more processes than micro-batches.
    """

    def __init__(self, clips: TrainingClips, batch: int, micro_batch: int):
        self.clips, self.largest_batch, self.micro_batch = clips, batch, micro_batch
        self.leave_out(broadcast(sorted(clips.videos.known_unreadable)))

    def leave_out(self, videos: Collection[int]) -> None:
        """Sets the videos (indices) that take no part in any step, known to be unreadable."""
        self.left_out = list(videos)
        self.videos = sorted(set(range(len(self.clips))).difference(videos))
        if not self.videos:
            first = "; ".join(f"{path}: {reason}" for path, reason in self.clips.videos.unreadable()[:3])
            raise ValueError(f"not one of {len(self.clips)} training videos could be read: {first}")
        self.batch = min(self.largest_batch, len(self.videos))
        self.steps = len(self.videos) // self.batch  # of an epoch
        self.micro_batches = -(-self.batch // self.micro_batch)  # of a step
        if world_size() > self.micro_batches:
            raise ValueError(
                f"{world_size()} processes, but a batch of {self.batch} has only {self.micro_batches} micro-batches of "
                f"{self.micro_batch} videos: start fewer processes, or make micro-batches smaller (--device-batch)"
            )

    def epoch(self, epoch: int, first: int = 0, unreadable: Mapping[str, str] | None = None) -> Iterator[Shard]:
        """This process's micro-batches of each step from index `first` on. `unreadable` as `clips.start_epoch`."""
        self.clips.start_epoch(epoch, unreadable)
        generator = torch.Generator().manual_seed(1_000_003 * self.clips.seed + epoch)
        torch.empty((), dtype=torch.int64).random_(generator=generator)  # published results have this order
        order = [self.videos[place] for place in torch.randperm(len(self.videos), generator=generator).tolist()]
        shards = [step[rank() :: world_size()] for step in micro_batches(order, self.batch, self.micro_batch)[first:]]
        # Video by video: a whole micro-batch of large videos would wait in memory for every worker.
        indices = [index for shard in shards for micro_batch in shard for index in micro_batch]
        items = iter(DataLoader(self.clips, None, sampler=indices, generator=generator, **workers(self.clips)))
        with named_loss_of_workers():
            yield from ([collate(list(itertools.islice(items, len(part)))) for part in shard] for shard in shards)


def workers(clips: TrainingClips | TestClips) -> dict[str, Any]:
    """The processes of a DataLoader over `clips`: none where clips are only to be copied, else one per core that this
    process may use, at most 16."""
    processes = os.environ.get("LOCAL_WORLD_SIZE")  # torchrun sets this, and one thread for each process
    cores = len(os.sched_getaffinity(0)) // int(processes) if processes else torch.get_num_threads()
    count = 0 if clips.videos.decoded else min(max(cores, 1), 16)
    if count:
        check_script()
    return {"num_workers": count, "multiprocessing_context": worker_context if count else None}


@contextmanager
def named_loss_of_workers() -> Iterator[None]:
    """What torch calls "exited unexpectedly": a worker that ended before it read a clip, as in a script without its
    guard."""
    try:
        yield
    except RuntimeError as error:
        if "exited unexpectedly" not in str(error):
            raise
        raise RuntimeError(f"a process that reads clips ended ({error}); likely {UNGUARDED}") from None


def on_device(shards: Iterable[Shard], device: torch.device) -> Iterator[Shard]:
    """`shards` unchanged on a CPU. For a GPU, their clips are copied to it: the next shard is read and copied, in a
    thread and on a stream of its own, while one is computed."""
    if device.type != "cuda":
        return iter(shards)
    stream = _copying(device)

    def copied(sample: Sample) -> Sample:
        return dataclasses.replace(sample, clip=sample.clip.pin_memory().to(device, non_blocking=True))

    def copy(shard: Shard) -> Shard:
        with torch.cuda.stream(stream):
            shard = [([copied(sample) for sample in samples], bad) for samples, bad in shard]
        stream.synchronize()  # here, so that the computation need not wait for the copies
        return shard

    return one_ahead(map(copy, shards))


@functools.cache
def _copying(device: torch.device) -> "torch.cuda.Stream":
    """One for all epochs: each has a pool of memory of its own."""
    return torch.cuda.Stream(device)


def one_ahead(items: Iterable[Any]) -> Iterator[Any]:
    """The same items in the same order; a thread fetches each while the one before is in use. Its error is raised when
    the item is asked for."""
    items, end = iter(items), object()
    with ThreadPoolExecutor(1, "reads-ahead") as thread:
        following = thread.submit(next, items, end)
        while (item := following.result()) is not end:
            following = thread.submit(next, items, end)
            yield item
