"""Is it motion that tells? The paper's question on one's own videos: networks without and with temporal differences."""

import dataclasses
from collections.abc import Mapping, Sequence

import pandas as pd

from tdn.book.intervals import accuracy, difference, expected_seed_error, verdict
from tdn.engine.distributed import rank
from tdn.experiments import queue
from tdn.experiments.record import Result
from tdn.experiments.registry import plan
from tdn.experiments.runs import IMAGENET, Run, stored
from tdn.experiments.tables import GESTURES
from tdn.maps.pictures import save_png
from tdn.model.zoo import resolve_options
from tdn.own.choice import SCRATCH, Choice
from tdn.own.pictures import plot_comparison
from tdn.own.training import COMPARISON, Job
from tdn.utils import write_text

COMPARED = ("TSN", "temporal convolution", "S-TDM", "TDN", "single frame", "TDN, segments shuffled")  # of GESTURES
REFERENCE = "TDN"


def compared_runs(job: Job, seeds: int) -> dict[str, list[Run]]:
    """The runs of each row of `COMPARED`: all with the recipe of the job, from its seed on."""
    runs = {}
    for row in (row for row in GESTURES if row.name in COMPARED):
        name = f"{row.system}_resnet{job.choice.depth}"
        options = tuple(resolve_options(name, {**_shared(job.config), **row.options}).items())
        first = dataclasses.replace(
            job.config, model=name, options=options, num_segments=row.segments(job.choice.segments)
        )
        of_seeds = range(job.choice.seed, job.choice.seed + seeds)
        runs[row.name] = [dataclasses.replace(first, seed=seed) for seed in of_seeds]
    return runs


def _shared(config: Run) -> Mapping[str, object]:
    return {name: value for name, value in config.options if name in ("width", "dropout")}


def require_comparable(choice: Choice) -> None:
    """ValueError for choices that would not treat all networks alike."""
    if choice.initialised_from not in (SCRATCH, IMAGENET):
        start = f"--from {choice.initialised_from} has the weights of {choice.model} alone"
        raise ValueError(f"{start}: --compare goes with --from {SCRATCH} or {IMAGENET}")
    if choice.patience:
        raise ValueError("--patience ends each network after other epochs: --compare goes without (patience 0)")


def compare_networks(job: Job, seeds: int, jobs: int | None = None) -> pd.DataFrame:
    """Trains what is missing of `compared_runs`, several at a time, and writes compare.csv and compare.png; under
    torchrun every process calls it, and rank 0 writes. Raises as `require_comparable` and `queue.train`; ValueError
    where a network can't be trained, or was trained on other videos."""
    require_comparable(job.choice)
    rows = compared_runs(job, seeds)
    todo = plan([config for runs in rows.values() for config in runs], job.folder)
    if todo.impossible:
        folders = ", ".join(str(stored(config, job.folder).folder) for config in todo.impossible)
        raise ValueError(f"{next(iter(todo.impossible.values()))}. So it is with {len(todo.impossible)}: {folders}")
    queue.train(todo, job.folder, job.data, jobs, compute=job.compute)
    table = comparison_table({name: [stored(config, job.folder) for config in of] for name, of in rows.items()})
    if rank() == 0:
        write_text(job.folder / COMPARISON, table.to_csv(index=False))
        save_png(plot_comparison(table[table["network"] != REFERENCE]), job.folder / "compare.png")
    return table


def comparison_table(results: Mapping[str, Sequence[Result]]) -> pd.DataFrame:
    """One row per network: top-1 in %, the mean of its seeds, with the 95 % interval over videos and seeds; and by how
    many points TDN is better on the same videos, ± half of the 95 % interval, in a word."""
    seeds = [[100 * one.metrics["top1"] for one in of] for of in results.values() if len(of) > 1]
    error, rows = expected_seed_error(seeds), []
    for name, of in results.items():
        top1, low, high = accuracy(of, error)
        row = {"network": name, "seeds": len(of), "top-1": top1, "95% low": low, "95% high": high}
        if name != REFERENCE:
            points, half, _ = difference(of, results[REFERENCE], error)
            row |= {"TDN is better by": points, "±": half, "so TDN is": verdict(points, half)}
        rows.append(row)
    return pd.DataFrame(rows)
