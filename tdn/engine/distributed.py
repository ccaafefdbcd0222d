"""The processes of torchrun; without torchrun, one process of rank 0."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from filelock import FileLock, Timeout
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tdn.utils import refuse_unguarded

LAUNCHED = "LOCAL_RANK" in os.environ  # set by torchrun
_gpu = int(os.environ.get("LOCAL_RANK", 0))


@contextmanager
def process_group() -> Iterator[None]:
    """Joins the processes of torchrun, by nccl where each has a GPU, else by gloo; does nothing in a process of its
    own."""
    if LAUNCHED:
        import torch._dynamo  # DDP does; imported after the group is made, it keeps the group and its threads for ever

        own = torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"])  # nccl wants a GPU for each process
        if torch.cuda.is_available():
            use_gpu(_gpu if own else 0)
        dist.init_process_group("nccl" if own else "gloo", timeout=timedelta(hours=2))
    yield
    if LAUNCHED:
        gc.collect()  # DDP's cycles: a thread of gloo that outlives the group can abort the end of the process
        dist.destroy_process_group()  # not after an error: it waits for processes that wait for this one


def device() -> torch.device:
    """This process's GPU, or the CPU where there is none."""
    return torch.device(f"cuda:{_gpu}" if torch.cuda.is_available() else "cpu")


def use_gpu(index: int) -> None:
    """Of several, the one that this process computes on; by default that of torchrun's local rank, or the first."""
    global _gpu
    _gpu = index
    torch.cuda.set_device(index)


def default_precision() -> str:
    """In which the study is trained unless it is told: bf16 where the device computes in it (of CPUs, those with
    AVX512-BF16 or AMX), else fp32."""
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if native else "fp32"


def to_device(model: nn.Module, device: torch.device) -> nn.Module:
    """`model` on the device, with the memory layout of weights in which convolutions are fastest."""
    is_3d = any(parameter.ndim == 5 for parameter in model.parameters())
    return model.to(device, memory_format=torch.channels_last_3d if is_3d else torch.channels_last)


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def broadcast(value: Any) -> Any:
    """The first process's `value`, in every process."""
    box = [value]
    if world_size() > 1:
        dist.broadcast_object_list(box, device=device())
    return box[0]


def all_gather(value: Any) -> list[Any]:
    """The values of all processes in order of rank, in every process."""
    values = [value] * world_size()
    if world_size() > 1:
        dist.all_gather_object(values, value)
    return values


def all_reduce(value: Tensor) -> Tensor:
    """`value` (on this process's device) summed over all processes."""
    if world_size() > 1:
        dist.all_reduce(value)
    return value


@contextmanager
def lock_on_rank0(folder: Path) -> Iterator[None]:
    """All processes of this program are inside while rank 0 holds the lock of `folder`, which is made where missing.
    Raises RuntimeError in a script without its guard (`refuse_unguarded`)."""
    refuse_unguarded()
    if rank() == 0:
        folder.mkdir(parents=True, exist_ok=True)
    lock, seconds = FileLock(folder / ".lock"), 0
    while not broadcast(lock.is_locked):  # asked again and again, or waiting ranks run into a timeout
        try:
            if rank() == 0:
                lock.acquire(timeout=seconds)
        except Timeout:
            if not seconds:
                print(f"{folder.name} is being trained by another process; waiting for it", flush=True)
            seconds = 30
    try:
        if rank() == 0:
            for part in folder.glob(".*.part"):  # of a killed process: no other one holds the lock
                part.unlink()
        yield
    finally:
        if rank() == 0:
            lock.release()


def replicate(model: nn.Module, device: torch.device) -> nn.Module:
    """`model` with the first process's weights in every process, and gradients that are averaged over them."""
    if world_size() == 1:
        return model
    ids = [device] if device.type == "cuda" else None
    for buffer in model.buffers():  # with broadcast_buffers=False they are not broadcast at the start either
        dist.broadcast(buffer, 0)
    return DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False, gradient_as_bucket_view=True)


class RunningStatistics:
    """Running means and variances of batch norms: each micro-batch of a step updates those from before the step, which
    ends with the mean of the results, whichever process had which micro-batch.

    Where a step is one micro-batch they stay where they are (a CUDA graph knows their places), and nothing is to be
    done; else each micro-batch has a piece of memory for all of them, and they change places: four operations."""

    def __init__(self, model: nn.Module):
        names = ("running_mean", "running_var")
        self.buffers = [buffer for name, buffer in model.named_buffers() if name.endswith(names)]

    def start(self, count: int, keep: bool = False) -> None:
        """Before a step of `count` micro-batches in this process, which may be undone with `keep`."""
        self.count, self.before, self.of_each = count, None, None
        if self.buffers and (count > 1 or keep):
            self.before = torch.cat(self.buffers)
            self.of_each = self.before.repeat(count, 1) if count > 1 else None

    def start_micro_batch(self, number: int) -> None:
        """The next of those of this process, from 0 on."""
        if self.of_each is not None:
            self._place(self.of_each[number])

    def undo(self) -> None:
        """They are again what they were before the step."""
        if self.before is not None:
            torch._foreach_copy_(self.buffers, self._parts(self.before))

    def finish(self, count_of_all: int) -> None:
        """`count_of_all`: micro-batches of all processes."""
        if self.buffers and (count_of_all > 1 or (count_of_all and world_size() > 1)):
            of_one = torch.cat(self.buffers) if self.of_each is None else self.of_each.sum(0)
            # Without a micro-batch it is no sum.
            self._place(all_reduce(of_one * bool(self.count)).div_(count_of_all))

    def _place(self, flat: Tensor) -> None:
        for buffer, part in zip(self.buffers, self._parts(flat), strict=True):
            buffer.data = part

    def _parts(self, flat: Tensor) -> tuple[Tensor, ...]:
        return flat.split([len(buffer) for buffer in self.buffers])
