"""How long a network takes beside TSN, in inference and in training, and beside a straightforward implementation of
itself: what `python -m tdn.bench networks` measures."""

import copy
import itertools
import time
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from tdn.model.resnet import VideoResNet
from tdn.model.temporal import TemporalConv
from tdn.model.zoo import create_model

BASE = "TSN"


class PermutedTemporalConv(nn.Module):
    """`TemporalConv` as a one-dimensional convolution over time, which has to be the last axis in memory."""

    def __init__(self, conv: TemporalConv):
        super().__init__()
        self.num_segments, self.weight = conv.num_segments, conv.weight

    def forward(self, features: Tensor) -> Tensor:
        x = features.unflatten(0, (-1, self.num_segments))  # (N, T, C, H, W)
        lines = x.permute(0, 3, 4, 2, 1).flatten(0, 2)  # (N*H*W, C, T)
        out = functional.conv1d(lines, self.weight, padding=1, groups=len(self.weight))
        return out.unflatten(0, (len(x), *x.shape[3:])).permute(0, 4, 3, 1, 2).flatten(0, 1).contiguous()


def frame_wise_differences(clips: Tensor) -> Tensor:
    """`tdm.difference_input` frame by frame: subtracted at full resolution, then pooled."""
    frames = clips.flatten(0, 1).unbind(1)
    differences = [after - before for before, after in itertools.pairwise(frames)]
    return functional.avg_pool2d(torch.cat(differences, 1), 2)


def straightforward(model: VideoResNet) -> VideoResNet:
    """A copy of TDN that computes the same with the above in place of what this package does; one pass for each
    direction of L-TDM is what both do."""
    model = copy.deepcopy(model)
    model._motion_input = frame_wise_differences
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, TemporalConv):
                setattr(module, name, PermutedTemporalConv(child))
    return model


def networks() -> dict[str, VideoResNet]:
    """What is compared, by name; the first is what ratios are to."""
    torch.manual_seed(0)
    tdn = create_model("tdn_resnet50")
    made = {
        BASE: create_model("tsn_resnet50"),
        "S-TDM only": create_model("tdn_resnet50", l_tdm_stages=()),
        "L-TDM only": create_model("tdn_resnet50", s_tdm_stages=()),
        "TDN": tdn,
        "TDN, straightforward": straightforward(tdn),
    }
    return {name: network.to(memory_format=torch.channels_last) for name, network in made.items()}


def measure_networks(
    compared: Mapping[str, VideoResNet], batch: int = 2, size: int = 224, repetitions: int = 7
) -> pd.DataFrame:
    """Milliseconds a video on the CPU, a row a network and mode (inference, a training step without the optimiser).

    The networks take turns, so that what the machine does beside hits all alike; the first turn warms up and does not
    count. The figure is the median, `lowest` and `highest` the quartiles; `times TSN` is the median of the ratios
    within a turn.
    """
    seconds: dict[tuple[str, str], list[float]] = {}
    modes: dict[str, Callable[[VideoResNet, Tensor], None]] = {"inference": _infer, "training step": _train}
    with tqdm(total=len(modes) * (repetitions + 1) * len(compared), desc="networks", leave=False) as progress:
        for mode, run in modes.items():
            for repetition in range(repetitions + 1):
                for name, network in compared.items():
                    clips = torch.randn(batch, network.num_segments, network.window, 3, size, size)
                    began = time.perf_counter()
                    run(network, clips)
                    if repetition:
                        seconds.setdefault((mode, name), []).append((time.perf_counter() - began) / batch)
                    progress.update()
    rows = []
    for (mode, name), taken in seconds.items():
        low, median, high = np.quantile(1000 * np.array(taken), (0.25, 0.5, 0.75))
        ratio = np.median(np.array(taken) / np.array(seconds[mode, BASE]))
        rows.append(
            {"mode": mode, "network": name, "batch": batch, "size": size, "ms a video": median}
            | {"lowest": low, "highest": high, f"times {BASE}": ratio}
        )
    return pd.DataFrame(rows)


def _infer(network: VideoResNet, clips: Tensor) -> None:
    with torch.inference_mode():
        network.eval()(clips)


def _train(network: VideoResNet, clips: Tensor) -> None:
    network.train().zero_grad()
    functional.cross_entropy(network(clips), torch.zeros(len(clips), dtype=torch.long)).backward()
