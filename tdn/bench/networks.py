"""How long the networks of the papers' running-time table take, and TDN beside a straightforward implementation of
itself: what `tdn bench networks` measures."""

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import nn

from tdn.bench.plain_tdn import straightforward
from tdn.bench.timing import Form, devices, peak_memory, prepared, product_speed, summary, take_turns
from tdn.model.cost import measure_cost
from tdn.model.zoo import create_model
from tdn.utils import worker_pool

BASE, OURS, REFERENCE = "TSN", "TDN", "TDN, straightforward"
NETWORKS = {  # CVPR Table 5, ICLR Table 6; one view of each
    BASE: functools.partial(create_model, "tsn_resnet50"),
    "TSM": functools.partial(create_model, "tsm_resnet50", num_segments=16),
    "STM": functools.partial(create_model, "stm_resnet50"),
    "I3D": functools.partial(create_model, "i3d_resnet50", num_segments=32),
    "S-TDM": functools.partial(create_model, "tdn_resnet50", l_tdm_stages=()),
    "L-TDM": functools.partial(create_model, "tdn_resnet50", s_tdm_stages=()),
    OURS: functools.partial(create_model, "tdn_resnet50"),
    REFERENCE: lambda: straightforward(create_model("tdn_resnet50")),
}
BATCHES = {2: (BASE, "S-TDM", "L-TDM", OURS, REFERENCE), 16: (BASE, OURS, REFERENCE)}
BF16 = torch.bfloat16
FORMS = (
    Form(),
    Form(compiled=True),
    Form(precision=BF16),
    Form(precision=BF16, compiled=True),
    Form(training=True),
    Form(training=True, compiled=True),
)
GPU_FORMS = (*FORMS, Form(True, BF16), Form(True, BF16, compiled=True))


def network(name: str) -> nn.Module:
    """One of `NETWORKS` with 174 classes and the same random weights each time."""
    torch.manual_seed(0)
    return NETWORKS[name]()


def measure_networks(batches: Mapping[int, Sequence[str]] = BATCHES, size: int = 224, turns: int = 5) -> pd.DataFrame:
    """A row for each device, form, batch and network: milliseconds a video, as `timing.summary`; how many times as long
    the straightforward TDN takes; the peak of memory of a training step in MB (not compiled: compilation takes
    more) and its share of the straightforward one's; and the arithmetic done, as a share of what a matrix product
    reaches in that precision.

    Args:
        batches: which networks are compared with so many videos at once.
        turns: of inference; training steps take `2 * turns // batch`, at least 3.

    Where there is no GPU, one row says so.
    """
    tables = []
    for device in devices():
        for form in GPU_FORMS if device.type == "cuda" else FORMS:
            for batch, names in batches.items():
                count = max(2 * turns // batch, 3) if form.training else turns
                # In a process of its own: what one form leaves in memory would be missing for the next.
                with worker_pool(1) as alone:
                    made = alone.submit(_measure, names, form, batch, size, count, device)
                    table = made.result()
                if form.training and not form.compiled:
                    peaks = [peak_memory(network, n, form, batch, size, device, n == REFERENCE) for n in names]
                    table["peak MB"] = peaks
                    table["of straightforward's"] = table["peak MB"] / peaks[names.index(REFERENCE)]
                tables.append(table)
    table = pd.concat(tables, ignore_index=True)
    if not torch.cuda.is_available():
        table.loc[len(table)] = {"device": "GPU", "form": "not measured"}
    return table


def _measure(names: Sequence[str], form: Form, batch: int, size: int, turns: int, device: torch.device) -> pd.DataFrame:
    print(f"{device.type}, {form}, batch {batch}: {turns} turns of {', '.join(names)}", flush=True)
    calls = {name: prepared(network(name), form, batch, size, device, name == REFERENCE) for name in names}
    seconds = take_turns(calls, turns, device)
    table = summary(seconds, batch, BASE)
    table["straightforward takes"] = seconds.rdiv(seconds[REFERENCE], axis=0).median()
    if device.type == "cuda":
        operations = [2e9 * (3 if form.training else 1) * measure_cost(network(name), size).gmacs for name in names]
        speed = 1e12 * product_speed(form.precision, device)
        table["of a product's speed (%)"] = 100 * np.array(operations) * table["videos a second"] / speed
    what = {"device": _name(device), "form": str(form), "batch": batch, "size": size}
    return table.reset_index().assign(**what)[[*what, "network", *table.columns]]


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
