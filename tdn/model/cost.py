"""What a network costs: multiply-adds and parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from tdn.model.resnet import VideoResNet
from tdn.model.tdm import PointwiseNorm
from tdn.model.temporal import TemporalAdaptive, TemporalAggregation, TemporalConv


@dataclass(frozen=True)
class Cost:
    """Cost of one view of `segments` x `window` frames at `size` x `size` pixels.

    `gmacs` are 10^9 multiply-adds (what the papers call FLOPs) of convolutions and linear layers. Norms,
    activations and element-wise products are not counted, nor are sums over neighbouring segments (the depthwise
    temporal convolution, 0.03 GMACs in the full-size network): `neighbour_products`. `params` are in millions.
    `gmacs_by_module` splits the sum over every named submodule.
    """

    gmacs: float
    params: float
    segments: int
    window: int
    size: int
    gmacs_by_module: dict[str, float]


def measure_cost(model: nn.Module, size: int = 224) -> Cost:
    """Counts a forward pass of one clip on torch's meta device: no memory, no arithmetic, any size.

    The model itself is left as it is (weights, device, training mode).
    """
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution: _convolution}) as counter:
        _pass_through(model, size)
    root = type(model).__name__
    by_module = {
        name.removeprefix(f"{root}."): sum(counts.values()) / 2e9
        for name, counts in counter.get_flop_counts().items()
        if name not in ("Global", root)
    }
    params = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    gmacs = counter.get_total_flops() / 2e9
    return Cost(gmacs, params, model.num_segments, model.window, size, by_module)


def _convolution(inputs: torch.Size, weight: torch.Size, *_: Any, out_shape: torch.Size, **__: Any) -> int:
    """Operations, as torch counts them: none for a sum over neighbouring segments."""
    return 0 if tuple(weight[1:]) == (1, 3, 1) else conv_flop_count(inputs, weight, out_shape)


def norms_and_biases(model: nn.Module, size: int = 224, biases: bool = True) -> float:
    """10^9 operations of one view that some tools count beside multiply-adds: two for each value of a batch norm
    (scale and shift), one for each bias. In the released TDN every convolution of the ResNet and of the motion branch
    has a bias, except the branch's stem; those of L-TDM have none. Other networks have no `biases`.
    """

    def each(name: str, module: nn.Module) -> int:
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d | PointwiseNorm):
            return 2
        has_bias = isinstance(module, nn.Conv2d) and ".temporal." not in name and name != "s_tdm.1.cnn.conv"
        return int(biases and has_bias)

    return _outputs(model, size, each)


def neighbour_products(model: nn.Module, size: int = 224) -> float:
    """10^9 multiply-adds of one view in weighted sums over neighbouring segments (temporal convolutions, TAM, TANet's
    kernels): three for each value, which `measure_cost` leaves out."""
    sums = (TemporalConv, TemporalAggregation, TemporalAdaptive)
    return _outputs(model, size, lambda _, module: 3 * isinstance(module, sums))


def _outputs(model: nn.Module, size: int, each: Callable[[str, nn.Module], int]) -> float:
    """10^9 values of the modules' outputs, each module's times what `each` gives for it."""
    operations = []
    hooks = [
        module.register_forward_hook(lambda _, __, out, times=times: operations.append(times * out.numel()))
        for name, module in model.named_modules()
        if (times := each(name, module))
    ]
    try:
        _pass_through(model, size)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(operations) / 1e9


def _pass_through(model: nn.Module, size: int) -> None:
    """One clip through the network as it is in evaluation, on the meta device; the model is left as it was."""
    meta = {name: value.to("meta") for name, value in model.state_dict().items()}
    clip = torch.empty(1, model.num_segments, model.window, 3, size, size, device="meta")
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            torch.func.functional_call(model, meta, (clip,))
    finally:
        model.train(was_training)


def cost_by_stage(model: VideoResNet, size: int = 224) -> pd.DataFrame:
    """A row a stage: shape of its features `C x H x W` for one segment, what stands in it, GMACs of one view.

    `S-TDM` is the motion branch beside the stage, `L-TDM` what the stage's L-TDMs take; both are part of
    `total`.
    """
    shapes = []
    hooks = [stage.register_forward_hook(lambda _, __, out: shapes.append(out.shape)) for stage in model.stages]
    try:
        gmacs = measure_cost(model, size).gmacs_by_module
    finally:
        for hook in hooks:
            hook.remove()
    rows = []
    for number, (stage, shape) in enumerate(zip(model.stages, shapes, strict=True), start=1):
        blocks = [] if number == 1 else list(stage)
        s_tdm = gmacs.get(f"s_tdm.{number}", 0.0)
        l_tdm = sum(gmacs.get(f"stage{number}.{block}.temporal.l_tdm", 0.0) for block in range(len(blocks)))
        rows.append(
            {
                "stage": f"stage {number}",
                "blocks": len(blocks) or "stem",
                "features": " x ".join(str(n) for n in shape[1:]),
                "temporal modules": ", ".join(_modules(model, number, blocks)),
                "network": gmacs[f"stage{number}"] - l_tdm,
                "S-TDM": s_tdm,
                "L-TDM": l_tdm,
                "total": gmacs[f"stage{number}"] + s_tdm,
            }
        )
    return pd.DataFrame(rows)


def _modules(model: VideoResNet, number: int, blocks: list) -> list[str]:
    found = ["S-TDM"] if str(number) in model.s_tdm else []
    temporal = dict(blocks[0].temporal.named_children()) if blocks else {}
    return found + [{"l_tdm": "L-TDM", "conv": "temporal convolution"}.get(name, name) for name in temporal]
