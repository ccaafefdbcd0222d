"""Which runs make which table, at which scale. A new row of a table is one line in its list here."""

import argparse
import dataclasses
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from tdn import experiment
from tdn.cost import measure_cost
from tdn.data.pocket import PocketSpec
from tdn.experiment import ROOT, Result, Run
from tdn.model.zoo import create_model, resolve_options, unknown_name
from tdn.train import Recipe

PAPER = Path(__file__).parent / "paper"


# Profiles ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Profile:
    """The same study at one scale: its data, the networks' size and the one recipe for all of them."""

    name: str
    data: PocketSpec
    depth: int
    options: dict[str, Any]  # of every network
    num_segments: int
    size: int
    scales: tuple[float, ...]
    recipe: Recipe
    seeds: tuple[int, ...]

    @property
    def results(self) -> Path:
        return ROOT / "results" / self.name

    def runs(self, row: "Row") -> list[Run]:
        """The runs of a row, one a seed."""
        model = f"{row.system}_resnet{self.depth}"
        options = tuple(resolve_options(model, self.options | row.options).items())
        return [
            Run(model, options, self.num_segments, self.data, self.size, self.scales, self.recipe, seed)
            for seed in self.seeds
        ]


# The difficulty of the clips and this recipe were set on another rendering (seed 0), with TSN, the temporal
# convolution and TDN; the clips that results are reported on (seed 1) were first seen by the finished study.
POCKET = Profile(
    name="pocket",
    data=PocketSpec(train=1440, val=720, seed=1),
    depth=10,
    options={"width": 16, "dropout": 0.0},
    num_segments=8,
    size=64,
    scales=(64 / 76,),  # 64 of the videos' 76 pixels: cropped, never resized
    recipe=Recipe(
        epochs=15, batch=16, lr=0.01, optimizer="adamw", weight_decay=0.05, schedule="cosine", warmup_epochs=1
    ),
    seeds=(0,),
)
SMOKE = dataclasses.replace(
    POCKET,
    name="smoke",
    data=PocketSpec(train=30, val=18),
    options={"width": 8, "dropout": 0.0},
    num_segments=4,
    recipe=dataclasses.replace(POCKET.recipe, epochs=1),
)
PROFILES = {profile.name: profile for profile in (SMOKE, POCKET)}


def get_profile(name: str) -> Profile:
    """Raises ValueError with the valid names for one that does not exist."""
    if name not in PROFILES:
        raise ValueError(unknown_name("profile", name, PROFILES))
    return PROFILES[name]


# Tables --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One line of a table: what it is called, which network it is, and where it stands in the paper.

    `published` names the csv of tdn/paper and the values that pick its line there.
    """

    name: str
    system: str
    options: dict[str, Any] = field(default_factory=dict)
    published: tuple[str, dict[str, str]] | None = None

    def published_top1(self) -> float | None:
        """Top-1 in % on Something-Something V1 (CVPR edition)."""
        if self.published is None:
            return None
        file, values = self.published
        (line,) = published(file, **values).to_dict("records")
        return float(line["top1"] if "top1" in line else line["top1_something_v1"])


def published(file: str, **values: str) -> pd.DataFrame:
    """The lines of tdn/paper/<file> in the CVPR edition that have these values, all as text."""
    table = pd.read_csv(PAPER / file, dtype=str)
    return table[(table[list(values)] == pd.Series(values)).all(axis=1) & (table.edition == "cvpr2021")]


def _1e(s_tdm: str, l_tdm: str) -> tuple[str, dict[str, str]]:
    return "tdn_short_vs_long.csv", {"s_tdm_stages": s_tdm, "l_tdm_stages": l_tdm}


SHORT_VS_LONG = [
    Row("TSN", "tsn", published=("tdn_running_time.csv", {"method": "TSN"})),
    Row("temporal convolution", "tconv", published=_1e("-", "-")),
    Row("S-TDM in stage 1", "tdn", {"s_tdm_stages": (1,), "l_tdm_stages": ()}, _1e("conv1", "-")),
    Row("S-TDM in stages 1-2", "tdn", {"l_tdm_stages": ()}, _1e("conv1+res2", "-")),
    Row("L-TDM in stages 3-5", "tdn", {"s_tdm_stages": ()}, _1e("-", "res3+res4+res5")),
    Row("TDN (both)", "tdn", published=_1e("conv1+res2", "res3+res4+res5")),
]
TABLES = {"short_vs_long": SHORT_VS_LONG}


def get_table(name: str) -> list[Row]:
    """Raises ValueError with the valid names for one that does not exist."""
    if name not in TABLES:
        raise ValueError(unknown_name("table", name, TABLES))
    return TABLES[name]


@dataclass(frozen=True)
class Line:
    """A row with what was measured; `results` has one entry a seed."""

    row: Row
    results: list[Result]
    gmacs: float  # of the full-size network, see `full_size_cost`
    params: float

    @property
    def published(self) -> float | None:
        return self.row.published_top1()


def make_table(name: str, profile: Profile) -> list[Line]:
    """Every row of a table; runs whatever of it has not been run."""
    lines = []
    for row in get_table(name):
        results = [experiment.run(config, profile.results) for config in profile.runs(row)]
        gmacs, params = full_size_cost(row)
        lines.append(Line(row, results, gmacs, params))
    return lines


def full_size_cost(row: Row) -> tuple[float, float]:
    """GMACs and millions of parameters of the row's network as the paper has it: ResNet-50, 8 x 224 x 224."""
    cost = measure_cost(create_model(f"{row.system}_resnet50", **row.options))
    return cost.gmacs, cost.params


def all_runs(profile: Profile, tables: Sequence[str] = ()) -> list[Run]:
    """Every run of some tables (of all unless told), each once."""
    return list(dict.fromkeys(run for name in tables or TABLES for row in get_table(name) for run in profile.runs(row)))


# Command line: python -m tdn.train -------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tdn.train", description="Train every run of the study that is not there yet."
    )
    parser.add_argument("--profile", default="pocket", help="scale: smoke or pocket (default: %(default)s)")
    parser.add_argument("--table", nargs="+", default=[], help=f"only the runs of these: {', '.join(TABLES)}")
    parser.add_argument("--list", action="store_true", help="print the runs and train nothing")
    parser.add_argument(
        "--device-batch", type=int, help="clips on the device at once; gradients accumulate to the recipe's batch"
    )
    args = parser.parse_args(argv)
    try:
        profile = get_profile(args.profile)
        runs = all_runs(profile, args.table)
    except ValueError as error:
        parser.error(str(error))

    missing = [config for config in runs if not experiment.stored(config, profile.results).complete]
    print(
        f"profile {profile.name}: {len(runs)} runs, {len(runs) - len(missing)} of them done, on {experiment.device()}"
    )
    if args.list:
        for config in runs:
            print("  to do" if config in missing else "  done ", config.name, f"seed {config.seed}")
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # being terminated cleans up as Ctrl-C does
    recipe, fits = profile.recipe, args.device_batch or profile.recipe.batch
    print(f"  {recipe.epochs} epochs, batch {recipe.batch} ({fits} at once), learning rate {recipe.lr} for that batch")
    try:
        for config in tqdm(missing, "runs", unit="run", disable=not missing):
            result = experiment.run(config, profile.results, device_batch=args.device_batch)
            tqdm.write(f"{config.name}: top-1 {result.metrics['top1']:.1%} after {result.manifest['seconds']:.0f} s")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on from the last finished epoch")
