"""The study: which runs there are, and which are done. `tables` has the rows, `profiles` the scales."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tdn.engine.distributed import broadcast
from tdn.experiments.profiles import Profile
from tdn.experiments.runs import Run, changed_data, impossible, stored
from tdn.experiments.tables import COMPARISONS, OURS, Table
from tdn.utils import unknown_name


def all_runs(profile: Profile, tables: Sequence[str] = ()) -> list[Run]:
    """As `named_runs`, without the names."""
    return list(named_runs(profile, tables))


def named_runs(profile: Profile, tables: Sequence[str] = ()) -> dict[Run, str]:
    """Every run of these tables, comparisons or the transfer (default: of all), each once, and what it is there; the
    first seed of all comes before the second. Raises ValueError for a name that the profile does not have."""
    runs: dict[Run, str] = {}
    for name in tables or profile.table_names:
        if name not in profile.table_names:
            raise ValueError(unknown_name(f"table of the profile {profile.name}", name, profile.table_names))
        if name == "transfer":
            for target in profile.transfer.targets:
                for transferred, what in ((True, "fine-tuned"), (False, "for comparison")):
                    for config in profile.transfer_runs(target, transferred):
                        runs.setdefault(config, f"{name}, {what}: {target}, split {config.data.split}")
        else:
            table = comparison_table(name) if name in COMPARISONS else profile.tables[name]
            for row in table.rows:
                for config in profile.runs(row, table):
                    runs.setdefault(config, f"{name}: {row.name}")
    return dict(sorted(runs.items(), key=lambda item: item[0].seed))


def comparison_table(name: str) -> Table:
    """Our rows of a comparison, as a table."""
    return Table(COMPARISONS[name].title, "TDN", list(OURS.values()), (), setting=COMPARISONS[name].setting)


def with_pretrained(runs: Sequence[Run]) -> list[Run]:
    """The runs and those that they are initialised from, these first, each once."""
    ordered: dict[Run, None] = {}
    for config in runs:
        if isinstance(config.pretrained, Run):
            ordered |= dict.fromkeys(with_pretrained([config.pretrained]))
        ordered[config] = None
    return list(ordered)


def select(runs: Sequence[Run], names: Sequence[str]) -> list[Run]:
    """The runs of these names. Raises ValueError for a name that none has."""
    by_name = {config.name: config for config in runs}
    for name in names:
        if name not in by_name:
            raise ValueError(unknown_name("run", name, by_name, "those that --list prints"))
    return [by_name[name] for name in names]


def shard(runs: Sequence[Run], text: str) -> list[Run]:
    """Shard i of n, such as "3/8": every n-th run from the i-th on (1 to n). Raises ValueError for another text."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise ValueError(f"--shard is i/n with i from 1 to n, such as 3/8; got {text!r}")
    return list(runs[int(index) - 1 :: int(count)])


@dataclass(frozen=True)
class Plan:
    """Which of some runs are complete, which are to be trained (after those that they are initialised from), and which
    this machine cannot train, with the reason."""

    done: list[Run]
    to_do: list[Run]
    impossible: dict[Run, str]


def plan(runs: Sequence[Run], results: Path, has_weights: bool = False) -> Plan:
    """What there is to do for `runs` and those that they are initialised from, below `results`. Under torchrun it is
    what rank 0 sees: others may be on other machines. `has_weights`: a weights file is given to initialise from."""
    every = list(dict.fromkeys(runs)) if has_weights else with_pretrained(runs)
    changed = {config: reason for config in every if (reason := changed_data(config, results))}
    done = [config for config in every if stored(config, results).complete and config not in changed]
    complete, needed = set(done), set(runs)
    for config in reversed(every):  # whoever needs a run comes after it
        if config in needed and config not in complete:
            needed.add(config.pretrained)
    reasons = {c: changed.get(c) or impossible(c, has_weights) for c in every if c in needed and c not in complete}
    to_do = [config for config, reason in reasons.items() if reason is None]
    return broadcast(Plan(done, to_do, {config: reason for config, reason in reasons.items() if reason}))


def command(config: Run, profile: Profile, gpus: int = 1) -> str:
    """The command line that trains one run."""
    program = f"torchrun --nproc-per-node {gpus} -m tdn" if gpus > 1 else "tdn"
    return f"{program} train --profile {profile.argument} --runs {config.name}"
