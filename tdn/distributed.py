"""What a process does among those that torchrun started; alone, it is the first of one."""

import itertools
import math
import os
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from tdn.data.clips import Sample, TrainingClips, Unreadable, collate, worker_count

LAUNCHED = "LOCAL_RANK" in os.environ  # set by torchrun


@contextmanager
def process_group() -> Iterator[None]:
    """Joins the processes of torchrun, over nccl with GPUs and gloo without; does nothing in a process of its own."""
    if not LAUNCHED:
        yield
        return
    gpu = device()
    if gpu.type == "cuda":
        torch.cuda.set_device(gpu)
    store, number, processes = next(dist.rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        # Workers that torchrun started again find in its store where those before them listened.
        store = dist.PrefixStore(f"start {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    backend = "nccl" if gpu.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=number, world_size=processes, timeout=timedelta(hours=2))
    yield
    dist.destroy_process_group()  # not after an error: it waits for processes that wait for this one


def device() -> torch.device:
    """This process's GPU, or the CPU where there is none."""
    return (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else torch.device("cpu")
    )


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def from_first(value: Any) -> Any:
    """The first process's `value`, in all of them."""
    if world() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, device=device())
    return box[0]


def from_all(value: Any) -> list[Any]:
    """Every process's `value`, in all of them, in order of their ranks."""
    if world() == 1:
        return [value]
    values = [None] * world()
    dist.all_gather_object(values, value)
    return values


def summed(value: Tensor) -> Tensor:
    """`value` (on this process's device) summed over all processes."""
    if world() > 1:
        dist.all_reduce(value)
    return value


def replicated(model: nn.Module, device: torch.device) -> nn.Module:
    """`model` with the first process's weights in all of them, and gradients that are averaged over them."""
    if world() == 1:
        return model
    ids = [device] if device.type == "cuda" else None
    for buffer in model.buffers():  # told to leave them to RunningStatistics, it does not do that at the start either
        dist.broadcast(buffer, 0)
    return DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False, gradient_as_bucket_view=True)


def gradients_summed(network: nn.Module, last: bool) -> AbstractContextManager:
    """Around a backward pass: gradients meet those of the other processes in the `last` one of an update."""
    return nullcontext() if last or world() == 1 else network.no_sync()


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
        if world() > self.parts:
            raise ValueError(
                f"{world()} processes, but a batch of {self.batch} has only {self.parts} parts of {part} videos: "
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
            yield [collate(list(itertools.islice(items, size))) for size in sizes[rank() :: world()]]


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
                yield from itertools.chain(*parts[rank() :: world()])


class RunningStatistics:
    """Running means and variances of the batch norms over an update that comes in parts: each part moves those from
    before the update, and the mean of what results is kept, whichever process had which part."""

    def __init__(self, model: nn.Module):
        norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        self.buffers = [buffer for norm in norms for buffer in (norm.running_mean, norm.running_var)]

    def start(self) -> None:
        self.before = [buffer.clone() for buffer in self.buffers]
        self.sums = [torch.zeros_like(buffer) for buffer in self.buffers]
        self.parts = 0

    def end_part(self) -> None:
        for buffer, before, total in zip(self.buffers, self.before, self.sums, strict=True):
            total += buffer
            buffer.copy_(before)
        self.parts += 1

    def finish(self) -> None:
        if not self.buffers:
            return
        flat = torch.cat([*self.sums, torch.tensor([self.parts], device=self.buffers[0].device)])
        summed(flat)
        if flat[-1]:
            means = (flat[:-1] / flat[-1]).split([len(buffer) for buffer in self.buffers])
            for buffer, mean in zip(self.buffers, means, strict=True):
                buffer.copy_(mean)
