"""Why the pocket benchmark has its recipe and its number of epochs: accuracy against the clips seen, on the tuning
rendering (seed 0)."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
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
from tdn.experiments.tables import NO_TDM, Row, Table

TSN, T_CONV, TDN = Row("TSN", "tsn"), Row("temporal convolution", "tdn", NO_TDM), Row("TDN", "tdn")
S_TDM, L_TDM = (
    Row(name, "tdn", {without: ()}) for name, without in (("S-TDM", "l_tdm_stages"), ("L-TDM", "s_tdm_stages"))
)
Lengths = Mapping[str, tuple[Recipe, Sequence[int]]]  # numbers of epochs of each recipe, by its name
RECIPES: Lengths = {"AdamW": (ADAMW, (16, 32, 64)), "Muon": (MUON, (16, 32, 64))}
# Trained long enough: so are those whose accuracy twice the epochs would move by at most FLAT points.
LONGEST = (TSN, T_CONV, S_TDM, L_TDM, TDN, Row("T-Conv++", "tconv", times=5))
FLAT = 1.5


def measure_recipes() -> Iterator[dict[str, Any]]:
    """`measure` of the recipe of before and of this one, with three seeds."""
    yield from measure(POCKET, (TSN, T_CONV, TDN), RECIPES, (0, 1, 2))


def measure_epochs() -> Iterator[dict[str, Any]]:
    """`measure` of a quarter, half, all and twice the epochs of the pocket recipe, with three seeds."""
    recipe = POCKET.settings["ssv1"].recipe
    epochs = [recipe.epochs * part // 4 for part in (1, 2, 4, 8)]
    yield from measure(POCKET, LONGEST, {recipe.optimizer: (recipe, epochs)}, (0, 1, 2))


def measure(
    profile: Profile,
    networks: Sequence[Row],
    lengths: Lengths,
    seeds: Sequence[int],
    results: Path = ROOT / "results/tuning",
    data: Path = DATA,
) -> Iterator[dict[str, Any]]:
    """One row per network, recipe and number of epochs: the clips that the network was trained on; its top-1 (%), mean,
    lowest and highest of the seeds, that of each family, and that of training in the last epoch; seconds of a run. The
    runs are kept in `results`."""
    runs = {}
    for network, (name, (recipe, numbers)) in itertools.product(networks, lengths.items()):
        for number in numbers:
            tuning = _on_tuning_clips(profile, dataclasses.replace(recipe, epochs=number), seeds)
            runs[network.name, name, number] = tuning.runs(network, Table("", "neither", [network], ()))
    compute = Compute(precision=default_precision())
    queue.train(plan([config for of in runs.values() for config in of], results), results, data, compute=compute)
    for (network, name, number), configs in runs.items():
        of_seeds = [stored(config, results) for config in configs]
        top1 = [100 * result.metrics["top1"] for result in of_seeds]
        clips = queue.steps(configs[0], data) * configs[0].recipe.batch
        row = {
            "device": of_seeds[0].manifest["device"],
            "network": network,
            "recipe": name,
            "epochs": number,
            "clips seen": clips,
            "seeds": len(configs),
        }
        row |= {"top-1 (%)": np.mean(top1), "lowest": min(top1), "highest": max(top1)}
        for family in of_seeds[0].metrics["groups"]:
            row[family] = 100 * np.mean([result.metrics["groups"][family]["top1"] for result in of_seeds])
        row["training top-1 (%)"] = 100 * np.mean([result.history["train_top1"].iloc[-1] for result in of_seeds])
        yield row | {"seconds": np.mean([result.manifest["seconds"] for result in of_seeds])}


def _on_tuning_clips(profile: Profile, recipe: Recipe, seeds: Sequence[int]) -> Profile:
    """The profile with its clips of another seed of the rendering."""
    pictures, flat = profile.pretraining
    setting = profile.settings["ssv1"]
    setting = dataclasses.replace(setting, data=dataclasses.replace(setting.data, seed=0), recipe=recipe)
    pretraining = dataclasses.replace(pictures, seed=0), flat
    return dataclasses.replace(profile, settings={"ssv1": setting}, pretraining=pretraining, seeds=tuple(seeds))
