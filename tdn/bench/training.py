"""How fast networks train: the steps of the profiles pocket and paper, beside what the device could do."""

import functools
import gc
import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tdn.bench.timing import device_name, interleaved, precision_name
from tdn.data.clips import Sample, TrainingClips, VideoSet
from tdn.data.transforms import Crop
from tdn.engine.distributed import default_precision, to_device
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


SCALES = {"pocket": Scale(10, 16, 48, 32, "muon"), "paper": Scale(50, 64, 224, 8, "sgd")}
SYSTEMS = {"TSN": "tsn", "temporal convolution": "tconv", "TDN": "tdn"}
PASSES = 3  # multiply-adds of a training step: forward, and as many again for the gradients of features and of weights


class Clips:
    """What a `Training` asks of its loader, without videos."""

    def __init__(self, num_segments: int, window: int, batch: int):
        self.clips = TrainingClips(VideoSet([], []), num_segments, window)
        self.steps, self.left_out, self.batch, self.micro_batches = 1, [], batch, 1


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


def training_of(scale: Scale, system: str, device: torch.device, compute: Compute) -> Training:
    """A training of a network with random weights, of one step."""
    torch.manual_seed(0)
    model = to_device(create_model(f"{system}_resnet{scale.depth}", 24, width=scale.width), device).train()
    recipe = Recipe(1, scale.batch, 0.001, scale.optimizer)
    with tempfile.TemporaryDirectory() as folder:  # for a checkpoint that is never written
        loader = Clips(model.num_segments, model.window, scale.batch)
        return Training(model, loader, recipe, scale.size, Path(folder), device, compute)


def step_of(training: Training) -> Callable[[], Any]:
    """A call that trains a micro-batch of random clips, as a whole step."""
    model, size = training.model, training.size
    shape = model.num_segments, model.window, 3, size, size
    rng, crops = np.random.default_rng(0), (Crop(0, 0, size, size),)
    clips = [rng.integers(0, 256, shape, np.uint8) for _ in range(training.recipe.batch)]
    samples = [
        Sample(torch.from_numpy(c).to(training.device), index % 24, crops, index) for index, c in enumerate(clips)
    ]
    shard: Shard = [(samples, [])]
    return functools.partial(training.train_step, shard, 0)


def roofs(device: torch.device, precision: str, rounds: int = 5) -> tuple[float, float]:
    """What the device reaches: multiply-adds a second, in a product of matrices (of float32 on a GPU in TF32 where its
    convolutions are), and bytes a second, in a copy."""
    side, size = (8192, 2**30) if device.type == "cuda" else (2048, 2**28)
    a = torch.randn(side, side, device=device, dtype=PRECISIONS[precision])
    source, target = (torch.zeros(size, dtype=torch.uint8, device=device) for _ in range(2))
    calls = {"product": lambda: a @ a, "copy": lambda: target.copy_(source)}
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        fastest = interleaved(calls, rounds).min()
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    return side**3 / fastest["product"], 2 * size / fastest["copy"]


def measure_training(
    device: torch.device, rounds: int | None = None, scales: Mapping[str, Scale] = SCALES
) -> Iterator[dict[str, Any]]:
    """One row per profile, precision (fp32, and bf16 where it is `default_precision`), form and network, of steps in
    interleaved rounds (on a GPU 20; on a CPU 10, of the profile paper 3); on a CPU the networks of the profile pocket
    have one thread, as the study trains them. On a GPU the passes of a step are CUDA graphs, or compiled.

    `clips a second` and `steps a second` are medians; `of the product` and `of the copy` are what fraction, in %, they
    are of what the arithmetic and the memory of this device would allow (`roofs`). The second counts the inputs and
    outputs of every operator, as they are without a compiler: where caches help, or operators are fused, it may be more
    than 100 %. Of a CPU alone, a last row says that no GPU was measured."""
    on_gpu = device.type == "cuda"
    precisions = ("bf16", "fp32") if default_precision() == "bf16" else ("fp32",)  # elsewhere minutes a step
    for profile, precision in itertools.product(scales, precisions):
        scale, threads = scales[profile], torch.get_num_threads()
        if profile == "pocket" and not on_gpu:
            torch.set_num_threads(1)
        (multiply_adds, bandwidth), traffic = roofs(device, precision), {}
        for compiled in (False, True) if on_gpu else (False,):
            compute = Compute(precision=precision, compile=compiled)
            trainings = {name: training_of(scale, system, device, compute) for name, system in SYSTEMS.items()}
            calls = {name: step_of(training) for name, training in trainings.items()}
            count = rounds or (20 if on_gpu else 3 if profile == "paper" else 10)
            seconds = interleaved(calls, count, warm_up=3 if on_gpu else 1).median()
            for name, training in trainings.items():
                if not compiled:
                    training.graphed = None  # its operators are not called one by one
                    with Traffic() as traffic[name]:
                        calls[name]()
                needed = PASSES * scale.batch * 1e9 * measure_cost(training.model, scale.size).gmacs
                form = "compiled" if compiled else "graphs" if on_gpu else "eager"
                row = {"device": device_name(device), "precision": precision_name(PRECISIONS[precision], device)}
                row |= {"profile": profile, "form": form, "network": name}
                row |= {"batch": scale.batch, "clips a second": scale.batch / seconds[name]}
                row |= {"steps a second": 1 / seconds[name], "times TSN": seconds[name] / seconds["TSN"]}
                row |= {"of the product (%)": 100 * needed / multiply_adds / seconds[name]}
                yield row | {"of the copy (%)": 100 * traffic[name].bytes / bandwidth / seconds[name]}
            del trainings, calls, training
            gc.collect()  # graphs and their memory
        torch.set_num_threads(threads)
    if not torch.cuda.is_available():
        yield {"device": "GPU", "precision": "not measured"}
