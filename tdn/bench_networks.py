"""How long a network takes beside TSN, in inference and in training, and beside a straightforward implementation of
itself: what `python -m tdn.bench networks` measures."""

import time
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from tdn.bench_reference import straightforward
from tdn.model.resnet import VideoResNet
from tdn.model.zoo import create_model

BASE = "TSN"


def networks() -> dict[str, VideoResNet]:
    """What is compared, by name; the first is what ratios are to."""
    torch.manual_seed(0)
    tdn = create_model("tdn_resnet50")
    made = {
        BASE: create_model("tsn_resnet50"),
        "S-TDM only": create_model("tdn_resnet50", l_tdm_stages=()),
        "L-TDM only": create_model("tdn_resnet50", s_tdm_stages=()),
        "TDN": tdn,
    }
    made = {name: network.to(memory_format=torch.channels_last) for name, network in made.items()}
    return made | {"TDN, straightforward": straightforward(tdn)}


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
