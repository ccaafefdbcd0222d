"""Why the pocket benchmark has its recipe: accuracy against the clips seen, on the tuning rendering (seed 0), of the
recipe of before and of this one."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tdn.engine.distributed import default_precision
from tdn.engine.recipes import Recipe
from tdn.engine.trainer import Compute
from tdn.experiments import queue
from tdn.experiments.profiles import ADAMW, MUON, POCKET, Profile
from tdn.experiments.registry import plan
from tdn.experiments.runs import DATA, ROOT, stored
from tdn.experiments.tables import Row, Table

NETWORKS = {"TSN": "tsn", "temporal convolution": "tconv", "TDN": "tdn"}
EPOCHS = {"AdamW": (ADAMW, (7, 14, 28)), "Muon": (MUON, (5, 9, 18))}
SEEDS = (0, 1, 2)


def measure_recipes(
    profile: Profile = POCKET,
    epochs: Mapping[str, tuple[Recipe, tuple[int, ...]]] = EPOCHS,
    results: Path = ROOT / "results/tuning",
    data: Path = DATA,
) -> Iterator[dict[str, Any]]:
    """One row per network, recipe and number of epochs: the clips that the network was trained on; its top-1 (%), mean,
    lowest and highest of the seeds, that of each family, and that of training in the last epoch; seconds of a run. The
    runs are kept in `results`."""
    runs = {}
    for network, (name, (recipe, numbers)) in itertools.product(NETWORKS, epochs.items()):
        for number in numbers:
            tuning = _on_tuning_clips(profile, dataclasses.replace(recipe, epochs=number))
            row = Row(network, NETWORKS[network])
            runs[network, name, number] = tuning.runs(row, Table("", "neither", [row], ()))
    compute = Compute(precision=default_precision())
    queue.train(plan([config for seeds in runs.values() for config in seeds], results), results, data, compute=compute)
    for (network, name, number), seeds in runs.items():
        of_seeds = [stored(config, results) for config in seeds]
        top1 = [100 * result.metrics["top1"] for result in of_seeds]
        clips = queue.steps(seeds[0], data) * seeds[0].recipe.batch
        row = {
            "device": of_seeds[0].manifest["device"],
            "network": network,
            "recipe": name,
            "epochs": number,
            "clips seen": clips,
            "seeds": len(seeds),
        }
        row |= {"top-1 (%)": np.mean(top1), "lowest": min(top1), "highest": max(top1)}
        for family in of_seeds[0].metrics["groups"]:
            row[family] = 100 * np.mean([result.metrics["groups"][family]["top1"] for result in of_seeds])
        row["training top-1 (%)"] = 100 * np.mean([result.history["train_top1"].iloc[-1] for result in of_seeds])
        yield row | {"seconds": np.mean([result.manifest["seconds"] for result in of_seeds])}


def _on_tuning_clips(profile: Profile, recipe: Recipe) -> Profile:
    data, flat = profile.pretraining
    data = dataclasses.replace(data, seed=0)
    setting = dataclasses.replace(profile.settings["ssv1"], data=data, recipe=recipe)
    return dataclasses.replace(profile, settings={"ssv1": setting}, pretraining=(data, flat), seeds=SEEDS)
