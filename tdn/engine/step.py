"""A network in training as a function of tensors, and that function as CUDA graphs."""

import gc

import torch
from torch import Tensor, nn

from tdn.model.tdrl import temporal_diversity


class Step(nn.Module):
    """Normalised clips to scores `(N, classes)` and the sum of the TD loss over them, before its weight, 0 for a
    network without one, computed in `precision`. The network alone hands the loss out by the way
    (`temporal_diversity`), where neither DistributedDataParallel nor a CUDA graph would follow."""

    def __init__(self, model: nn.Module, precision: torch.dtype = torch.float32, cache: bool = True):
        super().__init__()
        self.model, self.precision, self.cache = model, precision, cache

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        of = {"enabled": self.precision != torch.float32, "cache_enabled": self.cache}
        with torch.autocast(clips.device.type, self.precision, **of):  # not around the backward pass
            scores = self.model(clips)
            return scores, temporal_diversity(self.model).sum() if self.model.training else scores.new_zeros(())


def graphed(model: nn.Module, clips: Tensor, precision: torch.dtype) -> Step:
    """`Step` whose forward and backward pass are each recorded as one CUDA graph, for clips like these (which it keeps,
    as its input): small networks wait for the launches of their kernels.

    Gradients must not be summed over micro-batches: each pass writes them into the same memory. Running statistics are
    those of before, and must stay where they are in memory."""
    gc.collect()  # an earlier graph, and its memory, ends with a circle of references
    buffers = {buffer: buffer.clone() for buffer in model.buffers()}
    step = Step(model, precision, cache=False).train()  # of weights cast before the recording
    with torch.cuda.device(clips.device):
        torch.cuda.make_graphed_callables(step, (clips,), allow_unused_input=True)
    for buffer, before in buffers.items():  # it is warmed up with these clips
        buffer.copy_(before)
    return step
