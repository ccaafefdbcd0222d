"""`tdn train`: the runs of the study that are missing; with a folder, a network on one's own videos."""

import argparse
import shlex
import signal
from collections.abc import Sequence

from tdn.commands import train_own
from tdn.engine.distributed import LAUNCHED, default_precision, device, process_group, rank, world_size
from tdn.engine.trainer import Compute
from tdn.experiments import queue
from tdn.experiments.profiles import PAPER, Profile, get_profile
from tdn.experiments.registry import Plan, all_runs, command, named_runs, plan, select, shard, with_pretrained
from tdn.experiments.runs import Run
from tdn.experiments.runs import run as result_of

OF_STUDY = {"profile": "pocket", "table": [], "runs": [], "shard": "1/1", "list": False, "pretrained": None}


def run(options: argparse.Namespace) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # being terminated cleans up as Ctrl-C does
    train_own.launch(options.devices if options.folder else None)
    compute = Compute(options.device_batch, options.precision or default_precision(), options.compile, options.reader)
    if options.folder:
        _refuse(options, "goes with the study, not with a folder", OF_STUDY)
        train_own.run(options, compute)
        return
    _refuse(options, "goes with a folder of your videos: tdn train FOLDER", dict.fromkeys(train_own.OF_FOLDER))
    if options.pretrained and not options.pretrained.is_file():
        raise FileNotFoundError(f"no weights file at {options.pretrained}")
    profile, runs = _study(options)
    with process_group():
        todo = plan(runs, profile.results, options.pretrained is not None)
        if todo.impossible and options.runs and not options.list:
            raise ValueError(next(iter(todo.impossible.values())))
        if rank() == 0:
            _report(profile, todo, options)
        if options.list:
            return
        for config in todo.done:  # raises where one is damaged, or started from other weights
            result_of(config, profile.results, pretrained=options.pretrained)
        if todo.to_do:
            if rank() == 0:
                _announce(todo.to_do, compute, min(options.jobs or queue.default_jobs(), len(todo.to_do)))
            queue.train(todo, profile.results, jobs=options.jobs, compute=compute, pretrained=options.pretrained)


def _refuse(options: argparse.Namespace, why: str, defaults: dict[str, object]) -> None:
    """ValueError where an option is not at its default."""
    for name, default in defaults.items():
        if getattr(options, name) not in (default, False):
            shown = "from" if name == "initialised_from" else name.replace("_", "-")
            raise ValueError(f"--{shown} {why}")


def _study(options: argparse.Namespace) -> tuple[Profile, list[Run]]:
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
        given = f" --pretrained {shlex.quote(str(options.pretrained))}" if options.pretrained else ""
        names, gpus = named_runs(profile), 8 if profile.name == PAPER.name else 1
        for state, runs in (("done", todo.done), ("to do", todo.to_do), ("not possible", todo.impossible)):
            for config in runs:
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
