"""Runs that are missing, trained several at a time."""

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import psutil
import torch
from tqdm import tqdm

from tdn.engine.distributed import LAUNCHED, broadcast, rank
from tdn.engine.trainer import Compute
from tdn.experiments import runs as experiment
from tdn.experiments.runs import DATA, Result, Run, stored, updates
from tdn.utils import context, worker_pool

MEMORY_OF_A_JOB = 3 * 2**30  # bytes: the decoded pocket benchmark and a network in training, with room to spare


def default_jobs() -> int:
    """How many runs are trained at once: one a CPU core as far as the memory goes, or one on a GPU."""
    if torch.cuda.is_available():
        return 1
    return max(1, min(torch.get_num_threads(), psutil.virtual_memory().available // MEMORY_OF_A_JOB))


def train(
    runs: Sequence[Run],
    results: Path,
    data: Path = DATA,
    jobs: int | None = None,
    compute: Compute = Compute(),  # noqa: B008 (it is frozen)
    pretrained: Path | None = None,
) -> None:
    """Trains those of `runs` that are not complete below `results`; `compute` and `pretrained` as in `experiment.run`.

    On a CPU each run has one thread, however many cores there are: the small networks gain little from a second
    one, and a run ends in the same bits whatever is trained beside it. Under torchrun all processes train one run
    after the other. The first error of a run ends all of them; what is half done is gone on with next time.

    Raises whatever a run raises; RuntimeError where a process was killed.
    """
    missing = [config for config in dict.fromkeys(runs) if not broadcast(stored(config, results).complete)]
    sources = (
        [config.pretrained for config in missing if isinstance(config.pretrained, Run)] if pretrained is None else []
    )
    if sources:
        train(sources, results, data, jobs, compute)
        missing = [config for config in missing if not broadcast(stored(config, results).complete)]
    if not missing:
        return
    if LAUNCHED:
        for config in missing:
            result = experiment.run(config, results, data, compute, pretrained=pretrained)
            if rank() == 0:
                print(_summary(config, result), flush=True)
        return
    for spec in dict.fromkeys(config.data for config in missing):
        experiment.videos(spec, data)  # rendered here, not in every worker
    jobs = min(jobs or default_jobs(), len(missing))
    counter = context.Value("L", 0)
    total = sum(updates(config, data) for config in missing)
    with (
        worker_pool(jobs, _start_worker, counter) as pool,
        tqdm(total=total, desc=f"{len(missing)} runs", unit="update") as progress,
    ):
        waiting = {pool.submit(_train, config, results, data, compute, pretrained): config for config in missing}
        while waiting:
            done, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
            progress.update(counter.get_obj().value - progress.n)  # no lock: a killed worker may hold it
            for future in done:
                config = waiting.pop(future)
                _raise_error(future, jobs)
                progress.set_description(f"{len(waiting)} runs")
                progress.write(_summary(config, stored(config, results)))


def _summary(config: Run, result: Result) -> str:
    seconds = result.manifest["seconds"]
    return f"{config.name} seed {config.seed}: top-1 {result.metrics['top1']:.1%} after {seconds:.0f} s"


def _raise_error(future: Future, jobs: int) -> None:
    try:
        future.result()
    except BrokenProcessPool as error:
        raise RuntimeError(
            f"one of {jobs} training processes was killed or did not start; if memory ran out, train fewer at a time "
            "(--jobs). The next call goes on from the last finished epochs."
        ) from error


_updates: Synchronized  # of all workers together


def _start_worker(updates: Synchronized) -> None:
    global _updates
    _updates = updates
    if not torch.cuda.is_available():
        torch.set_num_threads(1)


def _train(config: Run, results: Path, data: Path, compute: Compute, pretrained: Path | None) -> None:
    counted = 0

    def count(number: int) -> None:
        nonlocal counted
        counted += number
        with _updates.get_lock():
            _updates.value += number

    experiment.run(config, results, data, compute, count, pretrained)
    count(updates(config, data) - counted)  # another process may have trained it meanwhile
