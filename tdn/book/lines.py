"""The rows of a table with what was measured of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tdn.engine.distributed import default_precision
from tdn.engine.trainer import Compute
from tdn.experiments import queue
from tdn.experiments.profiles import Profile
from tdn.experiments.record import Recorded
from tdn.experiments.registry import plan
from tdn.experiments.runs import Result, Run, changed_data, stored
from tdn.experiments.tables import Row, Table, get_table
from tdn.model.cost import Cost
from tdn.model.zoo import Asked, cost_of


@dataclass(frozen=True)
class Line:
    """A row with what was measured."""

    row: Row
    results: list[Result]  # one per seed, none where nothing was run
    runs: Sequence[Run] = ()  # those that there should be
    table: Table | None = None

    @property
    def gmacs(self) -> float:
        """Of the full-size network, as `params` (millions)."""
        return full_size_cost(self.row).gmacs

    @property
    def params(self) -> float:
        return full_size_cost(self.row).params

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
    runs = study.runs(row, table)
    usable = [config for config in runs if not changed_data(config, study.results)]
    results = [result for result in (stored(config, study.results) for config in usable) if result.complete]
    return Line(row, results, runs, table)


def computable(lines: Iterable[Line]) -> bool:
    """Whether all these rows have whole results, with their networks' weights, and are not only read from a record:
    then what takes many clips is computed anew, else `report.kept` shows it."""
    return all(line.results and not any(isinstance(of, Recorded) for of in line.results) for line in lines)


def full_size(row: Row, size: int = 224) -> Asked:
    """One view of the network as in the paper: ResNet-50 or 101, 8 segments, five times as many for a `++` row."""
    options = tuple(sorted(row.options.items()))
    return f"{row.system}_resnet{101 if row.deep else 50}", options, row.segments(8), size


def full_size_cost(row: Row, size: int = 224) -> Cost:
    return cost_of(*full_size(row, size))
