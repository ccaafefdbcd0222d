"""A network in training as a function of tensors, and that function as one CUDA graph."""

import torch
from torch import Tensor, nn

from tdn.model.tdrl import temporal_diversity


class Step(nn.Module):
    """Normalised clips to scores `(N, classes)` and the sum of the TD loss over them, before its weight, 0 for a
    network without one. The network alone hands that out by the way (`temporal_diversity`), where neither
    DistributedDataParallel nor a CUDA graph would follow."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.model(clips)
        return scores, temporal_diversity(self.model).sum() if self.model.training else scores.new_zeros(())


def graphed(model: nn.Module, clips: Tensor, precision: torch.dtype) -> Step:
    """`Step(model)` whose forward and backward pass are each recorded as one CUDA graph, for clips like these (which it
    keeps, as its input): small networks wait for the launches of their kernels. Gradients must not be summed over
    micro-batches: each pass writes them into the same memory. Running statistics stay as they are."""
    buffers = {buffer: buffer.clone() for buffer in model.buffers()}
    step = Step(model).train()
    autocast = torch.autocast("cuda", precision, enabled=precision != torch.float32, cache_enabled=False)
    with autocast:  # a cache would keep weights of before the recording
        torch.cuda.make_graphed_callables(step, (clips,), allow_unused_input=True)
    for buffer, before in buffers.items():  # it is warmed up with these clips
        buffer.copy_(before)
    return step
