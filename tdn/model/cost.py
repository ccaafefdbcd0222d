"""What a network costs: multiply-adds and parameters."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unittest import mock

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.flop_counter import FlopCounterMode

from tdn.model.fused import PointwiseNorm
from tdn.model.resnet import VideoResNet
from tdn.model.temporal import TemporalAdaptive, TemporalAggregation, TemporalConv

if TYPE_CHECKING:
    import pandas as pd

SUMS_OF_NEIGHBOURS = (TemporalConv, TemporalAggregation)


@dataclass(frozen=True)
class Cost:
    """Cost of one view of `segments` x `window` frames at `size` x `size` pixels, in 10^9 operations.

    `gmacs` are multiply-adds (the papers' FLOPs) of convolutions and linear layers, `gmacs_by_module` those of every
    named submodule; `params` are in millions. Some tools count in addition: three multiply-adds for each value of a
    weighted sum over neighbouring segments (temporal convolutions, TAM, TANet's kernels), `neighbour_products`, 0.03
    in the full-size TDN; two operations for each value of a batch norm (scale and shift), `norms`; one for each value
    of the convolutions that have a bias in the released TDN, `biases`: all of the ResNet and of the motion branch,
    except the branch's stem; those of L-TDM have none. Of other networks, which have none, it means nothing.
    """

    gmacs: float
    params: float
    segments: int
    window: int
    size: int
    gmacs_by_module: dict[str, float]
    neighbour_products: float
    norms: float
    biases: float


def measure_cost(model: nn.Module, size: int = 224) -> Cost:
    """Counts a forward pass of one clip on torch's meta device: no memory, no arithmetic, any size. The model itself
    (weights, device, training mode) is left as it is."""
    names, outputs = {module: name for name, module in model.named_modules()}, []
    with (
        register_module_forward_hook(lambda module, _, output: outputs.append((module, output))),
        FlopCounterMode(display=False) as counter,
    ):
        _pass_through(model, size)
    root = type(model).__name__
    operations = {name.removeprefix(f"{root}."): sum(n.values()) for name, n in counter.get_flop_counts().items()}
    for summing in [name for name, module in model.named_modules() if isinstance(module, SUMS_OF_NEIGHBOURS)]:
        left_out = operations.get(summing, 0)
        for name in operations:
            if name in ("Global", root) or f"{summing}.".startswith(f"{name}."):  # it and what it is part of
                operations[name] -= left_out
    gmacs = operations["Global"] / 2e9
    by_module = {name: n / 2e9 for name, n in operations.items() if name not in ("Global", root)}
    params = sum(parameter.numel() for parameter in model.parameters()) / 1e6

    def values(counts: Callable[[nn.Module], bool]) -> float:
        return sum(output.numel() for module, output in outputs if counts(module)) / 1e9

    def has_bias(module: nn.Module) -> bool:
        of_l_tdm_or_stem = ".temporal." in names.get(module, "") or names.get(module) == "s_tdm.1.cnn.conv"
        return isinstance(module, nn.Conv2d) and not of_l_tdm_or_stem

    products = 3 * values(lambda module: isinstance(module, (*SUMS_OF_NEIGHBOURS, TemporalAdaptive)))
    norms = 2 * values(lambda module: isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d | PointwiseNorm))
    own = gmacs, params, model.num_segments, model.window, size, by_module
    return Cost(*own, products, norms, biases=values(has_bias))


def _pass_through(model: nn.Module, size: int) -> None:
    """One clip through the network in eval mode, on the meta device; the model is left as it was."""
    meta = {name: value.to("meta") for name, value in model.state_dict().items()}
    clip = torch.empty(1, model.num_segments, model.window, 3, size, size, device="meta")
    # The shape alone matters, and torch computes a batch norm on the meta device in slow Python.
    no_norms = mock.patch.object(nn.functional, "batch_norm", lambda values, *_, **__: values)
    with in_eval_mode(model), torch.no_grad(), no_norms:
        torch.func.functional_call(model, meta, (clip,))


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """In eval mode inside; afterwards each module is as it was (a network may have frozen parts)."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training


def cost_by_stage(model: VideoResNet, size: int = 224) -> "pd.DataFrame":
    """One row per stage: shape of its features `C x H x W` for one segment, its temporal modules, GMACs of one view.

    `S-TDM` is the motion branch next to the stage, `L-TDM` the sum over the stage's L-TDMs; both are part of `total`.
    """
    import pandas as pd  # a quarter of a second, for this table alone

    outputs, rows = {}, []
    with register_module_forward_hook(lambda module, _, out: outputs.update({module: out})):
        gmacs = measure_cost(model, size).gmacs_by_module
    for number, stage in enumerate(model.stages, start=1):
        blocks = [] if number == 1 else list(stage)
        temporal = dict(blocks[0].temporal.named_children()) if blocks else {}
        names = ["S-TDM"] * (str(number) in model.s_tdm)
        names += [{"l_tdm": "L-TDM", "conv": "temporal convolution"}.get(name, name) for name in temporal]
        network, s_tdm = gmacs[f"stage{number}"], gmacs.get(f"s_tdm.{number}", 0.0)
        l_tdm = sum(gmacs.get(f"stage{number}.{block}.temporal.l_tdm", 0.0) for block in range(len(blocks)))
        features = " x ".join(str(n) for n in outputs[stage].shape[1:])
        costs = network - l_tdm, s_tdm, l_tdm, network + s_tdm
        rows.append((f"stage {number}", len(blocks) or "stem", features, ", ".join(names), *costs))
    columns = ["stage", "blocks", "features", "temporal modules", "network", "S-TDM", "L-TDM", "total"]
    return pd.DataFrame(rows, columns=columns)
