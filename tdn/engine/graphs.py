"""CUDA graphs of a training's step."""

import gc
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def graphed(step: Module, clips: Tensor) -> Module:
    """The same module in training, its forward and backward pass each recorded as one CUDA graph, for clips like these
    (which it keeps, as its input): small networks wait for the launches of their kernels.

    Weights that autocast has cast must not be cached from before. Gradients must not be summed over micro-batches: each
    pass writes them into the same memory. Running statistics are those of before, and must stay where they are."""
    gc.collect()  # an earlier graph, and its memory, ends with a circle of references
    buffers = {buffer: buffer.clone() for buffer in step.buffers()}
    with torch.cuda.device(clips.device):
        torch.cuda.make_graphed_callables(step.train(), (clips,), allow_unused_input=True)
    for buffer, before in buffers.items():  # it is warmed up with these clips
        buffer.copy_(before)
    return step
