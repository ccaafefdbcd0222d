"""The rows of a table with what was measured of them."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tdn.engine.distributed import default_precision
from tdn.engine.trainer import Compute
from tdn.experiments import queue
from tdn.experiments.profiles import Profile
from tdn.experiments.registry import plan
from tdn.experiments.runs import Result, Run, changed_data, stored
from tdn.experiments.tables import Row, Table, get_table
from tdn.model.cost import Cost, measure_cost
from tdn.model.resnet import VideoResNet
from tdn.model.zoo import create_model


@dataclass(frozen=True)
class Line:
    """A row with what was measured."""

    row: Row
    results: list[Result]  # one per seed, none where nothing was run
    gmacs: float  # of the full-size network, as `params` (millions)
    params: float
    runs: Sequence[Run] = ()  # those that there should be
    table: Table | None = None

    @property
    def published(self) -> float | None:
        return self.published_as("top1")

    def published_as(self, column: str, *editions: str) -> float | None:
        """As `Table.published`."""
        return self.table.published(self.row, column, *editions) if self.table else None


def train_or_load(name: str, study: Profile) -> list[Line]:
    """All rows of a table, measured; trains as `train_missing`, and rows that were not run have no results."""
    table = get_table(name)
    train_missing([config for row in table.rows for config in study.runs(row, table)], study)
    return [measured(row, table, study) for row in table.rows]


def train_missing(runs: Sequence[Run], study: Profile) -> None:
    """Trains those of the runs that are not complete, where the study trains in notebooks."""
    if study.trains_in_notebooks:
        queue.train(plan(runs, study.results), study.results, compute=Compute(precision=default_precision()))


def measured(row: Row, table: Table, study: Profile) -> Line:
    """A row with the results that there are."""
    runs, cost = study.runs(row, table), full_size_cost(row)
    usable = [config for config in runs if not changed_data(config, study.results)]
    results = [result for result in (stored(config, study.results) for config in usable) if result.complete]
    return Line(row, results, cost.gmacs, cost.params, runs, table)


def full_size_cost(row: Row) -> Cost:
    """The cost of one view of the row's network in the paper's size."""
    return _cost(row.system, tuple(sorted(row.options.items())), row.times, row.deep)


@functools.lru_cache  # some networks are in several tables
def _cost(system: str, options: tuple[tuple[str, Any], ...], times: int, deep: bool) -> Cost:
    return measure_cost(full_size(Row("", system, dict(options), times=times, deep=deep)))


def full_size(row: Row) -> VideoResNet:
    """The row's network as in the paper (ResNet-50 or 101, 8 segments of 224 x 224, five times as many for a `++` row),
    on the meta device: for `measure_cost`."""
    with torch.device("meta"):
        return create_model(f"{row.system}_resnet{101 if row.deep else 50}", num_segments=8 * row.times, **row.options)
