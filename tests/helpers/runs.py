"""A small run, for the tests of what is done with runs."""

import dataclasses

import pytest
import torch
from conftest import SPEC

from tdn.data.sampling import Views
from tdn.engine.recipes import Recipe
from tdn.experiments import runs as experiment
from tdn.experiments.runs import Run

TRAINED = {"data": SPEC, "size": 48, "scales": (0.8,), "views": Views(size=48, scale=0.8), "seed": 0}
TRAINED |= {"recipe": Recipe(epochs=4, batch=12, lr=0.01)}
TINY = Run(model="tsn_resnet10", options=(("dropout", 0.5), ("width", 8)), num_segments=2, **TRAINED)


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    """Where a run resumed ends in the same bits; also for the processes started here."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(experiment, "device", lambda: torch.device("cpu"))


def with_epochs(epochs):
    return dataclasses.replace(TINY, recipe=dataclasses.replace(TINY.recipe, epochs=epochs))


def weights(result):
    return torch.load(result.folder / "weights.pt", weights_only=True)["model"]
