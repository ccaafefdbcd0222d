"""The processes of torchrun; without torchrun, one process of rank 0."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

LAUNCHED = "LOCAL_RANK" in os.environ  # set by torchrun


@contextmanager
def process_group() -> Iterator[None]:
    """Joins the processes of torchrun, by nccl on GPUs and gloo on CPUs; does nothing in a process of its own."""
    if LAUNCHED:
        if torch.cuda.is_available():
            torch.cuda.set_device(device())
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=timedelta(hours=2))
    yield
    if LAUNCHED:
        dist.destroy_process_group()  # not after an error: it waits for processes that wait for this one


def device() -> torch.device:
    """This process's GPU, or the CPU where there is none."""
    return torch.device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu")


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
    ends with the mean of the results, whichever process had which micro-batch."""

    def __init__(self, model: nn.Module):
        names = ("running_mean", "running_var")
        self.buffers = [buffer for name, buffer in model.named_buffers() if name.endswith(names)]

    def start(self) -> None:
        self.before, self.count = [buffer.clone() for buffer in self.buffers], 0
        self.sums = [torch.zeros_like(buffer) for buffer in self.buffers]

    def end_micro_batch(self) -> None:
        for buffer, before, total in zip(self.buffers, self.before, self.sums, strict=True):
            total += buffer
            buffer.copy_(before)
        self.count += 1

    def finish(self) -> None:
        if not self.buffers:
            return
        flat = all_reduce(torch.cat([*self.sums, self.sums[0].new_tensor([self.count])]))
        *sums, count = flat.split([*map(len, self.buffers), 1])
        if count:
            for buffer, total in zip(self.buffers, sums, strict=True):
                buffer.copy_(total / count)
