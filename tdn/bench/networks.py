"""How long the networks of the papers' running-time table take, and TDN next to a reference implementation of it."""

import functools
import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from tdn.bench import timing
from tdn.bench.plain_tdn import reference_implementation
from tdn.bench.synthetic import write_mp4s
from tdn.bench.timing import Form, in_own_process, interleaved, peak_memory, summary, timed
from tdn.data.clips import TestClips, Video, VideoSet
from tdn.data.sampling import Views
from tdn.engine.distributed import to_device
from tdn.engine.evaluation import evaluate
from tdn.model.folding import optimize
from tdn.model.zoo import create_model

BASE, OURS, REFERENCE = "TSN", "TDN", "TDN, reference implementation"
NETWORKS = {  # CVPR Table 5, ICLR Table 6; one view of each
    BASE: ("tsn_resnet50", {}),
    "TSM": ("tsm_resnet50", {"num_segments": 16}),
    "STM": ("stm_resnet50", {}),
    "I3D": ("i3d_resnet50", {"num_segments": 32}),
    "S-TDM": ("tdn_resnet50", {"l_tdm_stages": ()}),
    "L-TDM": ("tdn_resnet50", {"s_tdm_stages": ()}),
    OURS: ("tdn_resnet50", {}),
}
BATCHES = {2: (BASE, "S-TDM", "L-TDM", OURS, REFERENCE), 16: (BASE, OURS, REFERENCE)}
FLOAT, BFLOAT = torch.float32, torch.bfloat16
FORMS = {  # by the type of device, what is wanted first in front; no processor here trains in bfloat16
    "cpu": [Form(*of) for of in itertools.product((False,), (FLOAT, BFLOAT), (False, True))]
    + [Form(True, FLOAT, compiled) for compiled in (False, True)],
    "cuda": [Form(*of) for of in itertools.product((True, False), (BFLOAT,), (True, False))]
    + [Form(training, FLOAT) for training in (True, False)],
}


def network(name: str) -> nn.Module:
    """One of `NETWORKS`, or `REFERENCE`, with 174 classes and the same random weights each time."""
    if name == REFERENCE:
        return reference_implementation(network(OURS))
    torch.manual_seed(0)
    system, options = NETWORKS[name]
    return create_model(system, **options)


def call(name: str, form: Form, batch: int, size: int, device: torch.device) -> Callable[[], None]:
    """As `prepared`, for a `network`; the reference implementation as it is."""
    return timing.prepared(network(name), form, batch, size, device, as_is=name == REFERENCE)


def measure_networks(
    device: torch.device, batches: Mapping[int, tuple] | None = None, size: int = 224, rounds: int | None = None
) -> Iterator[dict]:
    """One row per form, batch and network: milliseconds per video, as `summary`; how many times as long the reference
    implementation takes; for training steps the peak of memory in MB (not compiled: compilation takes more) and as a
    fraction of the reference implementation's. `batches`: which networks are compared with so many videos at once, by
    default on a GPU the larger one alone; `rounds` (5; on a GPU 20) of inference, `2 * rounds // batch`, at least 3, of
    training steps on a CPU. Of a CPU alone, a last row says that no GPU was measured."""
    on_gpu = device.type == "cuda"
    rounds = rounds or (20 if on_gpu else 5)
    batches = batches or ({16: BATCHES[16]} if on_gpu else BATCHES)
    for form, (batch, names) in itertools.product(FORMS[device.type], batches.items()):
        count = max(2 * rounds // batch, 3) if form.training and not on_gpu else rounds
        print(f"{device.type}, {form.on(device)}, batch {batch}: {count} rounds of {', '.join(names)}", flush=True)
        makes = {name: functools.partial(call, name, form, batch, size, device) for name in names}
        # In its own process: what one form leaves in memory would be missing for the next.
        seconds = in_own_process(timed, makes, count, 3 if on_gpu else 1)
        table = summary(seconds, batch, BASE)
        table["reference takes"] = seconds.rdiv(seconds[REFERENCE], axis=0).median()
        if form.training and not form.compiled:
            table["peak MB"] = [peak_memory(make, device) for make in makes.values()]
            table["of the reference's"] = table["peak MB"] / table["peak MB"][REFERENCE]
        what = {"device": timing.device_name(device), "form": form.on(device), "batch": batch, "size": size}
        yield from ({**what, **row} for row in table.reset_index().to_dict("records"))
    if not torch.cuda.is_available():
        yield {"device": "GPU", "form": "not measured"}


class NoNetwork(nn.Module):
    """With it `evaluate` takes as long as reading, cropping and normalising the clips."""

    fc = nn.Linear(1, 2)  # `evaluate` asks for the number of classes

    def forward(self, clips: Tensor) -> Tensor:
        return clips.flatten(1)[:, :2]


def measure_views(batch: int, size: int, rounds: int, device: torch.device) -> pd.DataFrame:
    """One row per network of the published table (optimised, float32), in milliseconds per view: `network ms`, the
    scores of clips that are on the device, with quartiles over the rounds; `data ms`, reading the clips from mp4 files
    of 426 x 240 pixels and 45 frames; `together ms`, `evaluate`, which reads ahead in other processes."""
    makes = {name: functools.partial(call, name, Form(), batch, size, device) for name in NETWORKS}
    table = summary(timed(makes, rounds), batch, BASE)
    table = table.rename(columns={"ms a video": "network ms"}).drop(columns="videos a second")
    evaluations = {}
    with tempfile.TemporaryDirectory(prefix="tdn-bench-") as folder:
        videos = VideoSet([Video(path, 0) for path in write_mp4s(Path(folder), batch)], ["a class"])
        for name in NETWORKS:
            model = to_device(optimize(network(name)), device)
            clips = TestClips(videos, model.num_segments, model.window, Views(size=size))
            for column, of in (("data ms", NoNetwork()), ("together ms", model)):
                evaluations[column, name] = functools.partial(evaluate, of, clips, device, batch)
        seconds = interleaved(evaluations, max(rounds // 3, 1)).median()
    for column in ("data ms", "together ms"):
        table[column] = [1000 * seconds[column, name] / batch for name in NETWORKS]
    table["peak MB"] = [peak_memory(make, device) for make in makes.values()]
    return table
