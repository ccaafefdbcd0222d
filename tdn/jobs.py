"""Runs that are missing, trained several at a time."""

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import psutil
import torch
from tqdm import tqdm

from tdn import experiment
from tdn.data import pocket
from tdn.experiment import DATA, Run, stored
from tdn.processes import context, worker_pool

MEMORY_OF_A_JOB = 3 * 2**30  # bytes: the decoded pocket benchmark and a network in training, with room to spare


def default_jobs() -> int:
    """How many runs are trained at once: one a CPU core as far as the memory goes, or one on a GPU."""
    if torch.cuda.is_available():
        return 1
    return max(1, min(torch.get_num_threads(), psutil.virtual_memory().available // MEMORY_OF_A_JOB))


def train(
    runs: Sequence[Run], results: Path, data: Path = DATA, jobs: int | None = None, device_batch: int | None = None
) -> None:
    """Trains those of `runs` that are not complete below `results`; `device_batch` as in `train.fit`.

    On a CPU each run has one thread, however many cores there are: the small networks gain little from a second
    one, and a run ends in the same bits whatever is trained beside it. The first error of a run ends all of them;
    what is half done is gone on with next time.

    Raises whatever a run raises; RuntimeError where a process was killed.
    """
    missing = [config for config in dict.fromkeys(runs) if not stored(config, results).complete]
    starts = [config.start for config in missing if config.start]
    if starts:
        train(starts, results, data, jobs, device_batch)
        missing = [config for config in missing if not stored(config, results).complete]
    if not missing:
        return
    for spec in dict.fromkeys(config.data for config in missing):
        pocket.render(data, spec)
    jobs = min(jobs or default_jobs(), len(missing))
    updates = context.Value("L", 0)
    with (
        worker_pool(jobs, _start_worker, updates) as pool,
        tqdm(total=sum(config.updates for config in missing), desc=f"{len(missing)} runs", unit="update") as progress,
    ):
        waiting = {pool.submit(_train, config, results, data, device_batch): config for config in missing}
        while waiting:
            done, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
            progress.update(updates.get_obj().value - progress.n)  # no lock: a killed worker may hold it
            for future in done:
                config = waiting.pop(future)
                _raise_error(future, jobs)
                result = stored(config, results)
                seconds = result.manifest["seconds"]
                progress.set_description(f"{len(waiting)} runs")
                progress.write(
                    f"{config.name} seed {config.seed}: top-1 {result.metrics['top1']:.1%} after {seconds:.0f} s"
                )


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


def _train(config: Run, results: Path, data: Path, device_batch: int | None) -> None:
    counted = 0

    def count(number: int) -> None:
        nonlocal counted
        counted += number
        with _updates.get_lock():
            _updates.value += number

    experiment.run(config, results, data, device_batch, count)
    count(config.updates - counted)  # another process may have trained it meanwhile
