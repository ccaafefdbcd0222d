"""Which runs make which table, at which scale. A new row of a table is one line in its list here: `DIFFERENCE_OPERATOR`
and the others below."""

import argparse
import dataclasses
import functools
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from tdn import experiment, jobs
from tdn.cost import Cost, measure_cost
from tdn.data.pocket import PocketSpec
from tdn.experiment import ROOT, Result, Run
from tdn.model.resnet import VideoResNet
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
    pretraining: Recipe
    recipe: Recipe
    seeds: tuple[int, ...]

    @property
    def start(self) -> Run:
        """The plain 2D network that all others start from, as the papers' start from ImageNet: trained on the same
        videos, two frames of each at a time."""
        model = f"tsn_resnet{self.depth}"
        options = tuple(resolve_options(model, self.options).items())
        return Run(model, options, 2, self.data, self.size, self.scales, self.pretraining, seed=0)

    @property
    def results(self) -> Path:
        return ROOT / "results" / self.name

    def runs(self, row: "Row") -> list[Run]:
        """The runs of a row, one a seed."""
        model = f"{row.system}_resnet{self.depth}"
        options = tuple(resolve_options(model, self.options | row.options).items())
        return [
            Run(model, options, self.num_segments, self.data, self.size, self.scales, self.recipe, seed, self.start)
            for seed in self.seeds
        ]


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

    def printed(self, column: str, edition: str = "cvpr2021") -> str | None:
        """`top1` (% on Something-Something V1) or `gmacs` as an edition prints it; None where it does not."""
        if self.published is None:
            return None
        file, values = self.published
        lines = published(file, edition, **values).rename(columns={"top1_something_v1": "top1"})
        return lines[column].item() if column in lines and len(lines) else None

    def published_as(self, column: str, edition: str = "cvpr2021") -> float | None:
        """`printed`, as a number."""
        text = self.printed(column, edition)
        return None if text is None else float(text)


def published(file: str, edition: str = "cvpr2021", **values: str) -> pd.DataFrame:
    """The lines of tdn/paper/<file> in that edition that have these values, all as text."""
    table = pd.read_csv(PAPER / file, dtype=str)
    return table[(table[list(values)] == pd.Series(values)).all(axis=1) & (table.edition == edition)]


def _1a(s_tdm: str, l_tdm: str) -> tuple[str, dict[str, str]]:
    return "tdn_difference_operator.csv", {"s_tdm": s_tdm, "l_tdm": l_tdm}


def _1b(formula: str) -> tuple[str, dict[str, str]]:
    return "tdn_s_tdm_fusion.csv", {"formula": formula}


def _1c(formula: str, multi_scale: str = "yes", bidirectional: str = "yes") -> tuple[str, dict[str, str]]:
    values = {"formula": formula, "multi_scale": multi_scale, "bidirectional": bidirectional}
    return "tdn_l_tdm_design.csv", values


def _1d(s_tdm: str, l_tdm: str) -> tuple[str, dict[str, str]]:
    return "tdn_location.csv", {"s_tdm_stages": s_tdm, "l_tdm_stages": l_tdm}


def _1e(s_tdm: str, l_tdm: str) -> tuple[str, dict[str, str]]:
    return "tdn_short_vs_long.csv", {"s_tdm_stages": s_tdm, "l_tdm_stages": l_tdm}


DIFFERENCE_OPERATOR = [
    Row("S-TDM concat, L-TDM avg", "tdn", {"s_tdm_input": "concat", "l_tdm_operator": "avg"}, _1a("concat", "avg")),
    Row("S-TDM concat, L-TDM diff", "tdn", {"s_tdm_input": "concat"}, _1a("concat", "diff")),
    Row("S-TDM diff, L-TDM avg", "tdn", {"l_tdm_operator": "avg"}, _1a("diff", "avg")),
    Row("S-TDM diff, L-TDM diff", "tdn", published=_1a("diff", "diff")),
]
S_TDM_FUSION = [
    Row("F*H", "tdn", {"s_tdm_fusion": "F*H"}, _1b("F*H")),
    Row("F + F*H", "tdn", {"s_tdm_fusion": "F+F*H"}, _1b("F+F*H")),
    Row("F + H", "tdn", published=_1b("F+H")),
    Row("F*H_channel", "tdn", {"s_tdm_fusion": "F*H_channel"}, _1b("F*H_channel")),
    Row("F + F*H_channel", "tdn", {"s_tdm_fusion": "F+F*H_channel"}, _1b("F+F*H_channel")),
]
CHANNEL = {"l_tdm_fusion": "F+F*G_channel", "l_tdm_multi_scale": False}
L_TDM_DESIGN = [
    Row("F + G", "tdn", {"l_tdm_fusion": "F+G"}, _1c("F+G")),
    Row("F + F*G_channel, one scale", "tdn", CHANNEL, _1c("F+F*G_channel", multi_scale="no")),
    Row("F + F*G, one direction", "tdn", {"l_tdm_bidirectional": False}, _1c("F+F*G", bidirectional="no")),
    Row("F + F*G, one scale", "tdn", {"l_tdm_multi_scale": False}, _1c("F+F*G", multi_scale="no")),
    Row("F + F*G", "tdn", published=_1c("F+F*G")),
]
LOCATION = [
    Row("none", "tconv", published=_1d("-", "-")),
    Row("S-TDM 1, L-TDM 2-5", "tdn", {"s_tdm_stages": (1,), "l_tdm_stages": (2, 3, 4, 5)}, _1d("1", "2-5")),
    Row("S-TDM 1-2, L-TDM 3-5", "tdn", published=_1d("1-2", "3-5")),
    Row("S-TDM 1-3, L-TDM 4-5", "tdn", {"s_tdm_stages": (1, 2, 3), "l_tdm_stages": (4, 5)}, _1d("1-3", "4-5")),
]
SHORT_VS_LONG = [
    Row("TSN", "tsn", published=("tdn_running_time.csv", {"method": "TSN"})),
    Row("temporal convolution", "tconv", published=_1e("-", "-")),
    Row("S-TDM in stage 1", "tdn", {"s_tdm_stages": (1,), "l_tdm_stages": ()}, _1e("conv1", "-")),
    Row("S-TDM in stages 1-2", "tdn", {"l_tdm_stages": ()}, _1e("conv1+res2", "-")),
    Row("L-TDM in stages 3-5", "tdn", {"s_tdm_stages": ()}, _1e("-", "res3+res4+res5")),
    Row("TDN (both)", "tdn", published=_1e("conv1+res2", "res3+res4+res5")),
]


@dataclass(frozen=True)
class Table:
    """A table of the papers; `references` are the rows with which the text compares all others."""

    title: str
    rows: list[Row]
    references: tuple[str, ...]


TABLES = {
    "difference_operator": Table("Difference operator (CVPR 1a)", DIFFERENCE_OPERATOR, ("S-TDM diff, L-TDM diff",)),
    "s_tdm_fusion": Table("S-TDM fusion (CVPR 1b, ICLR 1a)", S_TDM_FUSION, ("F + H",)),
    "l_tdm_design": Table("L-TDM design (CVPR 1c, ICLR 1b)", L_TDM_DESIGN, ("F + F*G",)),
    "location": Table("Location (CVPR 1d, ICLR 5)", LOCATION, ("S-TDM 1-2, L-TDM 3-5",)),
    "short_vs_long": Table(
        "Short-term against long-term (CVPR 1e, ICLR 1c)", SHORT_VS_LONG, ("temporal convolution", "TDN (both)")
    ),
}


def get_table(name: str) -> Table:
    """Raises ValueError with the valid names for one that does not exist."""
    if name not in TABLES:
        raise ValueError(unknown_name("table", name, TABLES))
    return TABLES[name]


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
    """Every row of a table; trains whatever of it has not been trained."""
    rows = get_table(name).rows
    jobs.train([config for row in rows for config in profile.runs(row)], profile.results)
    lines = []
    for row in rows:
        cost = _cost(row.system, tuple(sorted(row.options.items())))  # networks of several tables once
        results = [experiment.run(config, profile.results) for config in profile.runs(row)]
        lines.append(Line(row, results, cost.gmacs, cost.params))
    return lines


@functools.lru_cache
def _cost(system: str, options: tuple[tuple[str, Any], ...]) -> Cost:
    return measure_cost(full_size(Row("", system, dict(options))))


def full_size(row: Row) -> VideoResNet:
    """The row's network as the paper has it (ResNet-50, 8 x 224 x 224), without memory: for `measure_cost`."""
    with torch.device("meta"):
        return create_model(f"{row.system}_resnet50", **row.options)


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
