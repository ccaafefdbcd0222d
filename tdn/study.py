"""The study at one scale: which runs make which table, and their training. `tdn.tables` has the tables' rows."""

import argparse
import dataclasses
import functools
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tdn import experiment, jobs
from tdn.cost import Cost, measure_cost
from tdn.data.pocket import PocketSpec
from tdn.experiment import ROOT, Result, Run
from tdn.model.resnet import VideoResNet
from tdn.model.tdrl import TemporalDiversity
from tdn.model.zoo import create_model, resolve_options, unknown_name
from tdn.tables import TABLES, Row, get_table
from tdn.train import Recipe

# Channels of the blocks that have the TD loss in ResNet-50, for which lambda is published.
TD_CHANNELS = 512 + 1024 + 2048


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
    pretraining: Recipe
    recipe: Recipe
    seeds: tuple[int, ...]

    @property
    def results(self) -> Path:
        return ROOT / "results" / self.name

    def runs(self, row: Row) -> list[Run]:
        """The runs of a row, one a seed."""
        model = f"{row.system}_resnet{self.depth}"
        options = tuple(resolve_options(model, {**self.options, **row.options}).items())
        start = self.start("res2net" if dict(options).get("conv2", "dense") != "dense" else "tsn")
        recipe = dataclasses.replace(self.recipe, td_lambda=self._td_lambda(row))
        segments = row.times * self.num_segments
        return [
            Run(model, options, segments, self.data, self.size, self.scales, recipe, seed, start)
            for seed in self.seeds[: row.seeds]
        ]

    def start(self, system: str = "tsn") -> Run:
        """The plain 2D network that all others start from, as the papers' start from ImageNet: trained on the same
        videos, two frames of each at a time. TEA starts from "res2net", the 2D network that it is made of."""
        model = f"{system}_resnet{self.depth}"
        options = tuple(resolve_options(model, self.options).items())
        return Run(model, options, 2, self.data, self.size, self.scales, self.pretraining, seed=0)

    def _td_lambda(self, row: Row) -> float:
        """The row's lambda, so scaled that the TD loss weighs as much here as in ResNet-50: equation (7) sums over
        channels, of which there are fewer. 0 for a network without TD loss."""
        channels = _td_channels(f"{row.system}_resnet{self.depth}", tuple({**self.options, **row.options}.items()))
        return row.td_lambda * TD_CHANNELS / channels if channels else 0.0


@functools.lru_cache
def _td_channels(model: str, options: tuple[tuple[str, Any], ...]) -> int:
    with torch.device("meta"):
        network = create_model(model, **dict(options))
    return sum(module.channels for module in network.modules() if isinstance(module, TemporalDiversity))


# The difficulty of the clips and the recipes were set on another rendering (seed 0), with TSN, the temporal
# convolution and TDN; on the clips that results are reported on (seed 1) only whole studies were run.
ADAMW = Recipe(epochs=7, batch=32, lr=0.02, optimizer="adamw", weight_decay=0.05, schedule="cosine", warmup_epochs=0.5)
POCKET = Profile(
    name="pocket",
    data=PocketSpec(train=1440, val=720, seed=1),
    depth=10,
    options={"width": 16, "dropout": 0.0},
    num_segments=8,
    size=48,
    scales=(48 / 56,),  # 48 of the videos' 56 pixels: cropped, never resized
    pretraining=dataclasses.replace(ADAMW, epochs=20, lr=0.01),
    recipe=ADAMW,
    seeds=(0, 1),
)
SMOKE = dataclasses.replace(
    POCKET,
    name="smoke",
    data=PocketSpec(train=30, val=18),
    options={"width": 8, "dropout": 0.0},
    num_segments=4,
    pretraining=dataclasses.replace(ADAMW, epochs=1),
    recipe=dataclasses.replace(ADAMW, epochs=1),
    seeds=(0,),
)
PROFILES = {profile.name: profile for profile in (SMOKE, POCKET)}


def get_profile(name: str) -> Profile:
    """Raises ValueError with the valid names for one that does not exist."""
    if name not in PROFILES:
        raise ValueError(unknown_name("profile", name, PROFILES))
    return PROFILES[name]


# Measured ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A row with what was measured; `results` has one entry a seed."""

    row: Row
    results: list[Result]
    gmacs: float  # of the full-size network, see `full_size`
    params: float

    @property
    def published(self) -> float | None:
        return self.row.published_as("top1")


def make_table(name: str, profile: Profile) -> list[Line]:
    """Every row of a table, measured; trains whatever of it has not been trained."""
    rows = get_table(name).rows
    jobs.train([config for row in rows for config in profile.runs(row)], profile.results)
    lines = []
    for row in rows:
        cost = _cost(row.system, tuple(sorted(row.options.items())), row.times)  # networks of several tables once
        results = [experiment.run(config, profile.results) for config in profile.runs(row)]
        lines.append(Line(row, results, cost.gmacs, cost.params))
    return lines


@functools.lru_cache
def _cost(system: str, options: tuple[tuple[str, Any], ...], times: int) -> Cost:
    return measure_cost(full_size(Row("", system, dict(options), times=times)))


def full_size(row: Row) -> VideoResNet:
    """The row's network as the paper has it (ResNet-50, 8 x 224 x 224, five times the frames for a `++` row), without
    memory: for `measure_cost`."""
    with torch.device("meta"):
        return create_model(f"{row.system}_resnet50", num_segments=8 * row.times, **row.options)


def all_runs(profile: Profile, tables: Sequence[str] = ()) -> list[Run]:
    """Every run of some tables (of all unless told), each once."""
    rows = [row for name in tables or TABLES for row in get_table(name).rows]
    return list(dict.fromkeys(run for row in rows for run in profile.runs(row)))


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
    parser.add_argument("--jobs", type=int, default=jobs.default_jobs(), help="runs at a time (default: %(default)s)")
    args = parser.parse_args(argv)
    if args.jobs < 1:
        parser.error(f"--jobs is a number of runs, 1 or more; got {args.jobs}")
    try:
        profile = get_profile(args.profile)
        runs = all_runs(profile, args.table)
    except ValueError as error:
        parser.error(str(error))

    missing = [config for config in runs if not experiment.stored(config, profile.results).complete]
    print(f"profile {profile.name}: {len(runs)} runs, {len(runs) - len(missing)} of them done; {experiment.device()}")
    if args.list:
        for config in runs:
            print("  to do" if config in missing else "  done ", config.name, f"seed {config.seed}")
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # being terminated cleans up as Ctrl-C does
    recipe, fits = profile.recipe, args.device_batch or profile.recipe.batch
    at_once = f"{args.jobs} at a time" + (", each on one thread" if experiment.device().type == "cpu" else "")
    print(f"  {recipe.epochs} epochs, batch {recipe.batch} ({fits} at once), learning rate {recipe.lr} for that batch")
    print(f"  {at_once}", flush=True)
    try:
        jobs.train(missing, profile.results, jobs=args.jobs, device_batch=args.device_batch)
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on from the last finished epoch")
