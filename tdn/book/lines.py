"""A table's rows with what was measured of them."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tdn.experiments import queue as jobs
from tdn.experiments.profiles import Profile
from tdn.experiments.runs import Result, Run, stored
from tdn.experiments.tables import Row, Table, get_table
from tdn.model.cost import Cost, measure_cost
from tdn.model.resnet import VideoResNet
from tdn.model.zoo import create_model


@dataclass(frozen=True)
class Line:
    """A row with what was measured; `results` has one entry a seed, none where nothing was run; `runs` are those that
    there should be."""

    row: Row
    results: list[Result]
    gmacs: float  # of the full-size network, see `full_size`
    params: float
    runs: Sequence[Run] = ()

    @property
    def published(self) -> float | None:
        return self.row.published_as("top1")


def train_or_load(name: str, profile: Profile) -> list[Line]:
    """Every row of a table, measured. Where the profile trains in notebooks, what has not been trained is; else such a
    row has no results."""
    table = get_table(name)
    if profile.trains_in_notebooks:
        jobs.train([config for row in table.rows for config in profile.runs(row, table)], profile.results)
    return [measured(row, table, profile) for row in table.rows]


def measured(row: Row, table: Table, profile: Profile) -> Line:
    """What there is of a row."""
    cost = _cost(row.system, tuple(sorted(row.options.items())), row.times, row.deep)  # networks of several tables once
    runs = profile.runs(row, table)
    results = [result for result in (stored(config, profile.results) for config in runs) if result.complete]
    return Line(row, results, cost.gmacs, cost.params, runs)


@functools.lru_cache
def _cost(system: str, options: tuple[tuple[str, Any], ...], times: int, deep: bool) -> Cost:
    return measure_cost(full_size(Row("", system, dict(options), times=times, deep=deep)))


def full_size(row: Row) -> VideoResNet:
    """The row's network as the paper has it (ResNet-50 or 101, 8 x 224 x 224, five times the frames for a `++` row),
    without memory: for `measure_cost`."""
    depth = 101 if row.deep else 50
    with torch.device("meta"):
        return create_model(f"{row.system}_resnet{depth}", num_segments=8 * row.times, **row.options)
