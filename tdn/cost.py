"""What a network costs: multiply-adds and parameters."""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from tdn.model.resnet import VideoResNet


@dataclass(frozen=True)
class Cost:
    """Cost of one view of `segments` x `window` frames at `size` x `size` pixels.

    `gmacs` are 10^9 multiply-adds (what the papers call FLOPs) of convolutions and linear layers; norms,
    activations and element-wise sums are not counted, as in the papers. `params` are in millions.
    `gmacs_by_module` splits the sum over every named submodule.
    """

    gmacs: float
    params: float
    segments: int
    window: int
    size: int
    gmacs_by_module: dict[str, float]


def measure_cost(model: VideoResNet, size: int = 224) -> Cost:
    """Counts a forward pass of one clip on torch's meta device: no memory, no arithmetic, any size.

    The model itself is left as it is (weights, device, training mode).
    """
    meta = {name: value.to("meta") for name, value in model.state_dict().items()}
    clip = torch.empty(1, model.num_segments, model.window, 3, size, size, device="meta")
    was_training = model.training
    model.eval()
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            torch.func.functional_call(model, meta, (clip,))
    finally:
        model.train(was_training)
    root = type(model).__name__
    by_module = {
        name.removeprefix(f"{root}."): sum(counts.values()) / 2e9
        for name, counts in counter.get_flop_counts().items()
        if name not in ("Global", root)
    }
    params = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    gmacs = counter.get_total_flops() / 2e9
    return Cost(gmacs, params, model.num_segments, model.window, size, by_module)
