"""How long the networks of the papers' running-time table take, and TDN next to a reference implementation of it."""

import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from tdn.bench.plain_tdn import reference_implementation
from tdn.bench.synthetic import write_mp4s
from tdn.bench.timing import Form, device_name, devices, interleaved, peak_memory, prepared, summary
from tdn.data.clips import TestClips, Video, VideoSet
from tdn.data.sampling import Views
from tdn.engine.evaluation import evaluate
from tdn.engine.inference import to_device
from tdn.model.folding import optimize
from tdn.model.zoo import create_model
from tdn.utils import worker_pool

BASE, OURS, REFERENCE = "TSN", "TDN", "TDN, reference implementation"
NETWORKS = {  # CVPR Table 5, ICLR Table 6; one view of each
    BASE: functools.partial(create_model, "tsn_resnet50"),
    "TSM": functools.partial(create_model, "tsm_resnet50", num_segments=16),
    "STM": functools.partial(create_model, "stm_resnet50"),
    "I3D": functools.partial(create_model, "i3d_resnet50", num_segments=32),
    "S-TDM": functools.partial(create_model, "tdn_resnet50", l_tdm_stages=()),
    "L-TDM": functools.partial(create_model, "tdn_resnet50", s_tdm_stages=()),
    OURS: functools.partial(create_model, "tdn_resnet50"),
    REFERENCE: lambda: reference_implementation(create_model("tdn_resnet50")),
}
BATCHES = {2: (BASE, "S-TDM", "L-TDM", OURS, REFERENCE), 16: (BASE, OURS, REFERENCE)}
BF16 = torch.bfloat16
COMPUTED = ((False, torch.float32), (False, BF16), (True, torch.float32), (True, BF16))  # training, precision
GPU_FORMS = [Form(*computed, compiled) for computed in COMPUTED for compiled in (False, True)]
FORMS = GPU_FORMS[:6]  # no processor here trains in bfloat16


def network(name: str) -> nn.Module:
    """One of `NETWORKS` with 174 classes and the same random weights each time."""
    torch.manual_seed(0)
    return NETWORKS[name]()


def call(name: str, form: Form, batch: int, size: int, device: torch.device) -> Callable[[], None]:
    """As `prepared`, for one of `NETWORKS`; the reference implementation as it is."""
    return prepared(network(name), form, batch, size, device, as_is=name == REFERENCE)


def measure_networks(
    batches: Mapping[int, Sequence[str]] = BATCHES, size: int = 224, rounds: int = 5
) -> Iterator[dict[str, Any]]:
    """One row per device, form, batch and network: milliseconds per video, as `summary`; how many times as long the
    reference implementation takes; for training steps the peak of memory in MB (not compiled: compilation takes more)
    and as a fraction of the reference implementation's. Where there is no GPU, one row reports it.

    Args:
        batches: which networks are compared with so many videos at once.
        rounds: of inference; training steps take `2 * rounds // batch`, at least 3.
    """
    for device in devices():
        for form in GPU_FORMS if device.type == "cuda" else FORMS:
            for batch, names in batches.items():
                count = max(2 * rounds // batch, 3) if form.training else rounds
                print(f"{device.type}, {form}, batch {batch}: {count} rounds of {', '.join(names)}", flush=True)
                # In a process of its own: what one form leaves in memory would be missing for the next.
                with worker_pool(1) as alone:
                    table = alone.submit(_measure, names, form, batch, size, count, device).result()
                if form.training and not form.compiled:
                    makes = [functools.partial(call, name, form, batch, size, device) for name in names]
                    table["peak MB"] = [peak_memory(make, device) for make in makes]
                    table["of the reference's"] = table["peak MB"] / table["peak MB"][REFERENCE]
                what = {"device": device_name(device), "form": str(form), "batch": batch, "size": size}
                yield from ({**what, **row} for row in table.reset_index().to_dict("records"))
    if not torch.cuda.is_available():
        yield {"device": "GPU", "form": "not measured"}


def _measure(
    names: Sequence[str], form: Form, batch: int, size: int, rounds: int, device: torch.device
) -> pd.DataFrame:
    seconds = interleaved({name: call(name, form, batch, size, device) for name in names}, rounds)
    table = summary(seconds, batch, BASE)
    table["reference takes"] = seconds.rdiv(seconds[REFERENCE], axis=0).median()
    return table


class NoNetwork(nn.Module):
    """With it `evaluate` takes as long as reading, cropping and normalising the clips."""

    fc = nn.Linear(1, 2)  # `evaluate` asks for the number of classes

    def forward(self, clips: Tensor) -> Tensor:
        return clips.flatten(1)[:, :2]


def measure_views(batch: int, size: int, rounds: int, device: torch.device) -> pd.DataFrame:
    """One row per network of the published table (optimised, float32), in milliseconds per view: `network ms`, the
    scores of clips that are on the device, with quartiles over the rounds; `data ms`, reading the clips from mp4 files
    of 426 x 240 pixels and 45 frames; `together ms`, `evaluate`, which reads ahead in other processes."""
    names = [name for name in NETWORKS if name != REFERENCE]
    calls = {name: functools.partial(call, name, Form(), batch, size, device) for name in names}
    models = {name: to_device(optimize(network(name)), device) for name in names}
    alone = summary(interleaved({name: make() for name, make in calls.items()}, rounds), batch, BASE)
    with tempfile.TemporaryDirectory(prefix="tdn-bench-") as folder:
        videos = VideoSet([Video(path, 0) for path in write_mp4s(Path(folder), batch)], ["a class"])
        clips = {n: TestClips(videos, m.num_segments, m.window, Views(size=size)) for n, m in models.items()}
        reading = {name: functools.partial(evaluate, NoNetwork(), clips[name], device, batch) for name in names}
        both = {name: functools.partial(evaluate, models[name], clips[name], device, batch) for name in names}
        data = summary(interleaved(reading, rounds), batch, BASE)
        together = summary(interleaved(both, max(rounds // 3, 1)), batch, BASE)
    table = alone.rename(columns={"ms a video": "network ms"}).drop(columns="videos a second")
    table["data ms"], table["together ms"] = data["ms a video"], together["ms a video"]
    table[f"together, times {BASE}"] = together[f"times {BASE}"]
    table["peak MB"] = [peak_memory(calls[name], device) for name in names]
    return table
