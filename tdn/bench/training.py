"""How fast networks train: the steps of the profiles pocket and paper, beside what the device could do."""

import functools
import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tdn.bench.timing import device_name, devices, interleaved
from tdn.data.clips import Sample, TrainingClips, VideoSet
from tdn.data.transforms import Crop
from tdn.engine.distributed import to_device
from tdn.engine.loading import Shard
from tdn.engine.recipes import Recipe
from tdn.engine.trainer import PRECISIONS, Compute, Training
from tdn.model.cost import measure_cost
from tdn.model.zoo import create_model


class Scale(NamedTuple):
    """A profile's networks and its micro-batch."""

    depth: int
    width: int
    size: int  # pixels
    batch: int
    optimizer: str


SCALES = {"pocket": Scale(10, 16, 48, 32, "adamw"), "paper": Scale(50, 64, 224, 8, "sgd")}
SYSTEMS = {"TSN": "tsn", "temporal convolution": "tconv", "TDN": "tdn"}
PASSES = 3  # multiply-adds of a training step: forward, and as many again for the gradients of features and of weights


class Clips:
    """What a `Training` asks of its loader, without videos."""

    def __init__(self, num_segments: int, window: int):
        self.clips = TrainingClips(VideoSet([], []), num_segments, window)
        self.steps, self.left_out = 1, []


class Traffic(TorchDispatchMode):
    """`bytes` that operators read and write if nothing stays in a cache: of their inputs and outputs, but views."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, operator, types, arguments=(), options=None):
        result = operator(*arguments, **(options or {}))
        if not operator.is_view:
            tensors = [value for value in tree_leaves((arguments, result)) if isinstance(value, Tensor)]
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return result


def step_of(scale: Scale, system: str, device: torch.device, precision: str) -> tuple[Callable[[], Any], nn.Module]:
    """A call that trains a micro-batch of random clips, as a whole step, and the network."""
    torch.manual_seed(0)
    model = to_device(create_model(f"{system}_resnet{scale.depth}", 18, width=scale.width), device).train()
    recipe, compute = Recipe(1, scale.batch, 0.001, scale.optimizer), Compute(precision=precision)
    with tempfile.TemporaryDirectory() as folder:  # for a checkpoint that is never written
        loader = Clips(model.num_segments, model.window)
        training = Training(model, loader, recipe, scale.size, Path(folder), device, compute)
    shape = model.num_segments, model.window, 3, scale.size, scale.size
    rng, crops = np.random.default_rng(0), (Crop(0, 0, scale.size, scale.size),)
    clips = [torch.from_numpy(rng.integers(0, 256, shape, np.uint8)).to(device) for _ in range(scale.batch)]
    shard: Shard = [([Sample(clip, index % 18, crops, index) for index, clip in enumerate(clips)], [])]
    return functools.partial(training._train_step, shard, 0), model


def roofs(device: torch.device, precision: str, rounds: int = 5) -> tuple[float, float]:
    """What the device reaches: multiply-adds a second, in a product of matrices, and bytes a second, in a copy."""
    side, size = (8192, 2**30) if device.type == "cuda" else (2048, 2**28)
    a = torch.randn(side, side, device=device, dtype=PRECISIONS[precision])
    source, target = (torch.zeros(size, dtype=torch.uint8, device=device) for _ in range(2))
    calls = {"product": lambda: a @ a, "copy": lambda: target.copy_(source)}
    fastest = interleaved(calls, rounds).min()
    return side**3 / fastest["product"], 2 * size / fastest["copy"]


def measure_training(rounds: int = 10, scales: Mapping[str, Scale] = SCALES) -> Iterator[dict[str, Any]]:
    """One row per device, precision, profile and network, of steps in interleaved rounds; on a CPU the networks of the
    profile pocket have one thread, as the study trains them.

    `clips a second` and `steps a second` are medians; `of the product` and `of the copy` are what fraction, in %, they
    are of what the arithmetic and the memory of this device would allow (`roofs`). The second counts the inputs and
    outputs of every operator: where caches help it may be more than 100 %."""
    for device, precision, profile in itertools.product(devices(), ("fp32", "bf16"), scales):
        scale, threads = scales[profile], torch.get_num_threads()
        if device.type == "cpu" and profile == "pocket":
            torch.set_num_threads(1)
        multiply_adds, bandwidth = roofs(device, precision)
        made = {name: step_of(scale, system, device, precision) for name, system in SYSTEMS.items()}
        seconds = interleaved({name: step for name, (step, _) in made.items()}, rounds).median()
        for name, (step, model) in made.items():
            with Traffic() as traffic:
                step()
            needed = PASSES * scale.batch * 1e9 * measure_cost(model, scale.size).gmacs
            row = {"device": device_name(device), "precision": precision, "profile": profile, "network": name}
            row |= {"batch": scale.batch, "clips a second": scale.batch / seconds[name]}
            row |= {"steps a second": 1 / seconds[name], "times TSN": seconds[name] / seconds["TSN"]}
            row |= {"of the product (%)": 100 * needed / multiply_adds / seconds[name]}
            yield row | {"of the copy (%)": 100 * traffic.bytes / bandwidth / seconds[name]}
        torch.set_num_threads(threads)
    if not torch.cuda.is_available():
        yield {"device": "GPU", "precision": "not measured"}
