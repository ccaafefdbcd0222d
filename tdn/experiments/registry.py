"""The study: which runs there are, how they are trained, and what was measured. `tdn.tables` has the tables' rows,
`tdn.profiles` the scales."""

from collections.abc import Sequence

from tdn.experiments.profiles import Profile
from tdn.experiments.runs import Run
from tdn.experiments.tables import COMPARISONS, OURS, TABLES, Table
from tdn.utils import unknown_name


def all_runs(profile: Profile, tables: Sequence[str] = ()) -> list[Run]:
    """As `named_runs`, without the names."""
    return list(named_runs(profile, tables))


def named_runs(profile: Profile, tables: Sequence[str] = ()) -> dict[Run, str]:
    """Every run of some tables, comparisons, or the transfer (of all unless told), each once, and what it is there.

    Raises ValueError for a name that does not exist.
    """
    runs: dict[Run, str] = {}
    for name in tables or table_names():
        if name not in table_names():
            raise ValueError(unknown_name("table", name, table_names()))
        if name == "transfer":
            for target in profile.transfer.targets:
                for transferred, start in ((True, "fine-tuned"), (False, "for comparison")):
                    for config in profile.transfer_runs(target, transferred):
                        runs.setdefault(config, f"{name}, {start}: {target}, split {config.data.split}")
        else:
            table = comparison_table(name) if name in COMPARISONS else TABLES[name]
            for row in table.rows:
                for config in profile.runs(row, table):
                    runs.setdefault(config, f"{name}: {row.name}")
    return runs


def table_names() -> list[str]:
    """What `--table` takes."""
    return [*TABLES, *COMPARISONS, "transfer"]


def comparison_table(name: str) -> Table:
    """Our rows of a comparison, as a table."""
    comparison = COMPARISONS[name]
    rows = list(OURS.values())
    return Table(comparison.title, "TDN", rows, (rows[0].name,), setting=comparison.setting)


def with_starts(runs: Sequence[Run]) -> list[Run]:
    """The runs and those that they start from, these first, each once."""
    ordered: dict[Run, None] = {}
    for config in runs:
        if isinstance(config.pretrained, Run):
            ordered |= dict.fromkeys(with_starts([config.pretrained]))
        ordered[config] = None
    return list(ordered)


# Command line: tdn train -------------------------------------------------------------


def command(config: Run, profile: Profile, gpus: int | str = 1) -> str:
    """What trains one run alone."""
    program = f"torchrun --nproc-per-node {gpus} -m tdn" if gpus not in (0, 1) else "tdn"
    return f"{program} train --profile {profile.name} --runs {config.name}"
