"""`tdn train`: the runs of the study that are missing, or one network on a data set."""

import argparse
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path

from tdn.data.disk.catalog import dataset_named
from tdn.engine.distributed import LAUNCHED, default_precision, device, process_group, rank, world_size
from tdn.engine.trainer import Compute
from tdn.experiments import queue
from tdn.experiments.profiles import PAPER, Profile, get_profile, own_run
from tdn.experiments.registry import Plan, all_runs, command, named_runs, plan, select, shard, with_pretrained
from tdn.experiments.runs import IMAGENET, Run, stored, videos
from tdn.experiments.runs import run as result_of


def run(options: argparse.Namespace) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # being terminated cleans up as Ctrl-C does
    weights = Path(options.pretrained) if options.pretrained not in (None, "none") else None
    if weights and not weights.is_file():
        raise FileNotFoundError(f"no weights file at {weights}")
    profile, runs = _own(options) if options.dataset else _study(options)
    compute = Compute(options.device_batch, options.precision or default_precision(), options.compile, options.reader)
    with process_group():
        todo = plan(runs, profile.results, weights is not None)
        if todo.impossible and (options.dataset or options.runs) and not options.list:
            raise ValueError(next(iter(todo.impossible.values())))
        if rank() == 0:
            _report(profile, todo, options)
        if options.list:
            return
        for config in todo.done:  # raises where one is damaged, or started from other weights
            result_of(config, profile.results, pretrained=weights)
        if todo.to_do:
            if rank() == 0:
                _announce(todo.to_do, compute, min(options.jobs or queue.default_jobs(), len(todo.to_do)))
            queue.train(todo, profile.results, jobs=options.jobs, compute=compute, pretrained=weights)
        if options.dataset and rank() == 0:
            print(f"weights, scores and manifest: {stored(runs[0], profile.results).folder}")


def _own(options: argparse.Namespace) -> tuple[Profile, list[Run]]:
    if options.runs or options.table or options.shard != "1/1" or options.profile not in ("pocket", PAPER.name):
        raise ValueError("--dataset trains one network of its own: without --profile, --table, --runs and --shard")
    pretrained = None if options.pretrained == "none" else IMAGENET
    data = dataset_named(options.dataset)
    if data.missing() is None:
        videos(data) if options.list else data.labelled()  # raises where there are none; the first prints notes on them
    return PAPER, [own_run(data, options.model, options.segments, pretrained)]


def _study(options: argparse.Namespace) -> tuple[Profile, list[Run]]:
    if options.pretrained == "none":
        raise ValueError("--pretrained none goes with --dataset: the study defines what its runs are initialised from")
    if options.runs and options.shard != "1/1":
        raise ValueError("--runs names the runs: without --shard")
    profile = get_profile(options.profile)
    runs = all_runs(profile, options.table)
    runs = runs if options.pretrained else with_pretrained(runs)
    return profile, select(runs, options.runs) if options.runs else shard(runs, options.shard)


def _report(profile: Profile, todo: Plan, options: argparse.Namespace) -> None:
    total = len(todo.done) + len(todo.to_do) + len(todo.impossible)
    print(f"profile {profile.argument}: {total} runs, {len(todo.done)} of them done; {device()}")
    reasons = list(todo.impossible.values())
    for reason in dict.fromkeys(reasons):
        print(f"  {reasons.count(reason)} runs are not possible here: {reason}")
    if options.list:
        given = f" --pretrained {shlex.quote(options.pretrained)}" if options.pretrained else ""
        names, gpus = named_runs(profile), 8 if profile.name == PAPER.name else 1
        for state, runs in (("done", todo.done), ("to do", todo.to_do), ("not possible", todo.impossible)):
            for config in runs:
                if options.dataset:
                    print(f"  {state:12} {config.name}: this command without --list")
                else:
                    what = names.get(config, "what others are initialised from")
                    print(f"  {state:12} {command(config, profile, gpus)}{given}  # {what}, seed {config.seed}")


def _announce(runs: Sequence[Run], compute: Compute, at_a_time: int) -> None:
    for recipe in dict.fromkeys(config.recipe for config in runs):
        print(
            f"  {recipe.epochs} epochs, batch {recipe.batch} in micro-batches of {compute.micro_batch(recipe)} over "
            f"{world_size()} processes, learning rate {recipe.lr} for that batch"
        )
    if LAUNCHED:
        print(f"  in {compute.precision}, one run after the other, on {world_size()} processes", flush=True)
    else:
        threads = ", each on one thread" if device().type == "cpu" else ""
        print(f"  in {compute.precision}, {at_a_time} at a time{threads}", flush=True)
