"""A small run, for the tests of what is done with runs."""

import dataclasses
import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SPEC

from tdn.data.sampling import Views
from tdn.engine.evaluation import Answers
from tdn.engine.recipes import Recipe
from tdn.experiments import runs as experiment
from tdn.experiments.profiles import weights_of
from tdn.experiments.record import pack
from tdn.experiments.registry import all_runs
from tdn.experiments.runs import Run, save_weights

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


def made_up_record(results, profile, tables):
    """Packs a record of random answers of all runs of these tables, with untrained weights of those that it keeps."""
    rng, made = np.random.default_rng(0), {}
    for config in all_runs(profile, tables):
        labels = np.arange(config.data.val) % config.data.num_classes
        ranks = np.where(rng.random(len(labels)) < 0.6, 0, 1)
        answers = Answers((labels + ranks) % config.data.num_classes, ranks, labels, np.arange(len(labels)), 24)
        history, metrics = pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0]}), answers.metrics(config.data.groups)
        metrics |= {"train_top1": rng.uniform(0.7, 0.9), "train_of": config.data.train, "train_unreadable": []}
        manifest = {"run": config.name, "seed": config.seed}
        what = {"evaluation": answers, "metrics": metrics, "manifest": manifest, "history": history, "others": {}}
        made[config] = SimpleNamespace(folder=results / "runs" / config.name, **what)
    kept = [config for config in weights_of(profile) if config in made]
    results.mkdir(parents=True)
    for config in kept:
        file = results.with_name(f"{config.name}.pt")
        save_weights(config.create_model(), config, config.data.class_names, file)
        content = io.BytesIO(file.read_bytes())
        file.unlink()
        made[config].file = lambda _, content=content: content.seek(0) or content
    pack(results, made.values(), [made[config] for config in kept])
