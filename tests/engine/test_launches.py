"""What a training step asks of a GPU, counted on tensors that stand for some of one."""

from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import tdn
from tdn.data.clips import Sample
from tdn.data.transforms import Crop, _mean_and_std
from tdn.engine import distributed, trainer
from tdn.engine.distributed import RunningStatistics
from tdn.engine.recipes import Recipe
from tdn.engine.trainer import Compute, Step, Training

GPU = torch.device("cuda", 0)


class Operators(TorchDispatchMode):
    """Counts operators by name, and those that make Python wait for a GPU: copies to or from one, and numbers."""

    def __init__(self):
        super().__init__()
        self.all, self.waits = Counter(), []

    def __torch_dispatch__(self, operator, types, arguments=(), options=None):
        result = operator(*arguments, **(options or {}))
        name = operator.overloadpacket.__name__
        self.all[name] += 1
        if name in ("_local_scalar_dense", "nonzero", "item"):
            self.waits.append(name)
        if name in ("_to_copy", "copy_") and not (options or {}).get("non_blocking"):
            tensors = [value for value in (*arguments, result) if isinstance(value, torch.Tensor)]
            self.waits += [name] * (len({tensor.device.type for tensor in tensors}) > 1)
        return result


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("name", ["tsn_resnet10", "tdn_resnet10", "tdrl_resnet10"])
def test_a_micro_batch_never_waits_for_the_device(name, resident, monkeypatch):
    with FakeTensorMode(allow_non_fake_inputs=True):
        resident = torch.zeros(99, 3, 56, 56, dtype=torch.uint8, device=GPU) if resident else None
        with GPU:
            model = tdn.create_model(name, 18, 2).train()
        training = object.__new__(Training)
        training.device, training.compute, training.size = GPU, Compute(precision="bf16"), 48
        training.recipe, training.network, training.model = Recipe(1, 4, 0.01), Step(model, torch.bfloat16), model
        training.graphed = None
        training.loader = SimpleNamespace(clips=SimpleNamespace(frames=resident))
        training.scaler = torch.amp.GradScaler("cuda", enabled=False)
        mean_and_std = tuple(torch.zeros(3, 1, 1, device=GPU) for _ in range(2))  # made once, in the first step
        monkeypatch.setattr("tdn.data.transforms._mean_and_std", lambda device: mean_and_std)
        monkeypatch.setattr(trainer.torch, "tensor", without_pinning(torch.tensor))
        monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
        monkeypatch.setattr(torch.Tensor, "backward", lambda loss: None)  # needs CUDA; it has no operators of ours
        clip = torch.zeros(2, model.window, 3, 56, 56, dtype=torch.uint8, device=GPU)
        if resident is not None:
            clip = torch.zeros(2, model.window, dtype=torch.int64)
        samples = [Sample(clip, 3, (Crop(2, 2, 48, 48, flip),), 0) for flip in (True, False)]
        with Operators() as operators:
            training._micro_batch(samples)
    assert operators.waits == [] and operators.all["convolution"] > 10
    assert _mean_and_std(torch.device("cpu")) is _mean_and_std(torch.device("cpu"))


def without_pinning(make):
    """A machine without a GPU can't pin memory."""
    return lambda values, pin_memory=False, **options: make(values, **options)


@pytest.mark.parametrize(("processes", "micro_batches", "most"), [(1, 1, 0), (8, 1, 10), (1, 8, 10)])
def test_running_statistics_cost_few_launches(processes, micro_batches, most, monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: processes)
    monkeypatch.setattr(distributed, "all_reduce", lambda flat: flat)
    with torch.device("meta"):
        statistics = RunningStatistics(tdn.create_model("tdn_resnet50"))
    assert len(statistics.buffers) > 150
    with Operators() as operators:
        statistics.start(micro_batches)
        for number in range(micro_batches):
            statistics.start_micro_batch(number)
        statistics.finish(processes * micro_batches)
    views = ("split", "split_with_sizes", "detach", "select")  # of memory that is there
    assert sum(count for name, count in operators.all.items() if name not in views) <= most, operators.all
