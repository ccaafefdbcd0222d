"""Trains runs, several at a time."""

import os
import sys
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.queues import SimpleQueue
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from unittest import mock

import torch
from tqdm import tqdm

from tdn.data.disk.catalog import DatasetSpec
from tdn.engine.distributed import LAUNCHED, device, rank, use_gpu
from tdn.engine.trainer import Compute
from tdn.experiments.registry import Plan
from tdn.experiments.runs import DATA, Result, Run, impossible, run, stored, video_sets, videos
from tdn.utils import context, free_memory, worker_pool

MEMORY_OF_A_JOB = 3 * 2**30  # bytes: the decoded pocket benchmark and a network in training, with room to spare
JOBS_ON_A_GPU = 6  # small networks wait for the launches of their kernels, not for the arithmetic
OF_WORKERS = {  # environment
    # Threads that wait give their core up soon: beside another busy process training is several times faster, alone it
    # is as fast.
    "GOMP_SPINCOUNT": "1000",
    # glibc keeps freed memory for the next batch instead of returning it: training is 8 % faster.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
}
SECONDS_PER_SEGMENT = 5e-4  # of a training clip: the pocket benchmark's networks on one CPU core


def steps(config: Run, data: Path = DATA) -> int:
    """Steps of the optimiser in a whole training."""
    return config.recipe.epochs * max(len(videos(config.data, data)[0]) // config.recipe.batch, 1)


def default_jobs() -> int:
    """How many runs are trained at once: one per CPU core, or up to six on each GPU, with two cores for each, as far as
    the memory goes."""
    cores, gpus = torch.get_num_threads(), torch.cuda.device_count()
    jobs = gpus * max(1, min(JOBS_ON_A_GPU, cores // (2 * gpus))) if gpus else cores
    return max(1, min(jobs, free_memory() // MEMORY_OF_A_JOB))


def train(
    plan: Plan,
    results: Path,
    data: Path = DATA,
    jobs: int | None = None,
    compute: Compute = Compute(),  # noqa: B008 (it is frozen)
    pretrained: Path | None = None,
) -> None:
    """Trains the runs that a plan has to do; `compute` and `pretrained` as in `runs.run`. They are dealt to the GPUs.

    On a CPU each run has one thread, however many cores there are: the small networks gain little from a second
    one, and a run ends in the same bits whatever is trained next to it. Under torchrun all processes train one run
    after the other. The first error of a run ends all of them and is raised; RuntimeError where a process was killed.
    """
    to_do = plan.to_do
    if not to_do:
        return
    jobs = 1 if LAUNCHED else min(jobs or default_jobs(), len(to_do))
    if rank() == 0:
        needed = f"needs {len(plan.done) + len(to_do)} networks, {len(plan.done)} there"
        print(f"{needed}, {_time_needed(plan, results, data, jobs)}", flush=True)
    if LAUNCHED:
        for config in to_do:
            result = run(config, results, data, compute, pretrained=pretrained)
            if rank() == 0:
                print(_summary(config, result), flush=True)
        return
    counter = context.Value("L", 0)
    total = sum(steps(config, data) for config in to_do)  # renders the videos here, not in every worker
    wholes = {getattr(config.data, "whole", config.data) for config in to_do}
    wholes = {whole for whole in wholes if not getattr(whole, "pictures", False)}
    if len(wholes) == 1 and not isinstance(whole := wholes.pop(), DatasetSpec):
        for video_set in videos(whole, data):  # decoded here once, for all workers
            video_set.keep_in_memory()
    progress = tqdm(total=total, desc=f"{len(to_do)} runs", unit="step", file=sys.stdout)
    numbers = context.SimpleQueue()
    for number in range(jobs):
        numbers.put(number)
    arguments = counter, video_sets, numbers, jobs
    with (
        mock.patch.dict(os.environ, OF_WORKERS | os.environ),
        worker_pool(jobs, _start_worker, *arguments) as pool,
        progress,
    ):
        waiting, training = list(to_do), {}
        while waiting or training:
            unfinished = {*waiting, *training.values()}
            for config in [config for config in waiting if pretrained or config.pretrained not in unfinished]:
                waiting.remove(config)
                training[pool.submit(_train, config, results, data, compute, pretrained)] = config
            done, _ = wait(training, timeout=0.5, return_when=FIRST_COMPLETED)
            progress.update(counter.get_obj().value - progress.n)  # no lock: a killed worker may hold it
            for future in done:
                config = training.pop(future)
                try:
                    future.result()
                except BrokenProcessPool as error:
                    raise RuntimeError(
                        f"one of {jobs} training processes was killed or did not start; if memory ran out, train fewer "
                        "at a time (--jobs). The next call resumes from the last finished epochs."
                    ) from error
                progress.set_description(f"{len(waiting) + len(training)} runs")
                progress.write(_summary(config, stored(config, results)))


def _time_needed(plan: Plan, results: Path, data: Path, jobs: int) -> str:
    """In words, from the runs that are done; where there is none, from the constant."""

    def segments(runs: list[Run]) -> int:
        return sum(steps(config, data) * config.recipe.batch * config.num_segments for config in runs)

    rate = SECONDS_PER_SEGMENT
    if known := [config for config in plan.done if impossible(config) is None]:  # whose videos are still here
        rate = sum(stored(config, results).manifest["seconds"] for config in known) / segments(known)
    elif device().type != "cpu" or any(isinstance(config.data, DatasetSpec) for config in plan.to_do):
        return "for a time that is known once the first is trained"
    minutes = segments(plan.to_do) * rate / jobs / 60
    return f"about {max(round(minutes), 1)} minutes" if minutes < 90 else f"about {minutes / 60:.0f} hours"


def _summary(config: Run, result: Result) -> str:
    top1, seconds = result.metrics["top1"], result.manifest["seconds"]
    return f"{config.name} seed {config.seed}: top-1 {top1:.1%} after {seconds:.0f} s"


_steps: Synchronized  # of all workers together


def _start_worker(steps_done: Synchronized, decoded: dict, numbers: SimpleQueue, jobs: int) -> None:
    global _steps
    _steps = steps_done
    video_sets.update(decoded)
    if gpus := torch.cuda.device_count():
        use_gpu(numbers.get() % gpus)
    torch.set_num_threads(max(1, torch.get_num_threads() // jobs) if gpus else 1)


def _train(config: Run, results: Path, data: Path, compute: Compute, pretrained: Path | None) -> None:
    counted = 0

    def count(number: int) -> None:
        nonlocal counted
        counted += number
        with _steps.get_lock():
            _steps.value += number

    run(config, results, data, compute, count, pretrained)
    count(steps(config, data) - counted)  # another process may have trained it meanwhile
