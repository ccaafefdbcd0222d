"""Train the runs of the study that are missing, or, with --dataset, one network on a data set."""

import argparse
import signal
from collections.abc import Sequence
from pathlib import Path

from tdn.commands.options import add_reader, positive
from tdn.data.disk.catalog import dataset_named
from tdn.engine.distributed import LAUNCHED, device, process_group, rank, world_size
from tdn.engine.trainer import PRECISIONS, Compute
from tdn.experiments import queue
from tdn.experiments.profiles import PAPER, Profile, get_profile, own_run
from tdn.experiments.registry import (
    Plan,
    all_runs,
    command,
    named_runs,
    plan,
    select,
    shard,
    table_names,
    with_pretrained,
)
from tdn.experiments.runs import IMAGENET, Run, stored

EXAMPLES = """\
examples:
  tdn train                                                   all of the pocket benchmark
  tdn train --profile paper --table temporal_modules --list   what there is to train, with a command for each run
  tdn train --dataset ./mine --pretrained weights.pt          one network on your videos
  torchrun --nproc-per-node 8 -m tdn train --profile paper    every run on 8 GPUs together"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """No option may begin one of torchrun's, which would take it (`--run-path`, ...)."""
    add = parser.add_argument_group("the study").add_argument
    add("--profile", default="pocket", help="scale: smoke, pocket or paper (default: %(default)s)")
    add("--table", nargs="+", default=[], help=f"only the runs of these: {', '.join(table_names())}")
    add("--runs", nargs="+", default=[], help="only these runs and those they are initialised from, by name")
    add("--shard", default="1/1", metavar="I/N", help="every n-th of the runs to do, from the i-th on (1 to n)")
    add("--list", action="store_true", help="print the runs with their commands and train nothing")
    add = parser.add_argument_group("your own data").add_argument
    add("--dataset", help="train on this data set, by its name or folder, with the recipe of the profile paper")
    add("--model", default="tdn_resnet50", help="default: %(default)s")
    add("--segments", type=positive, default=8, help="default: %(default)s")
    options = parser.add_argument_group("how it is trained")
    add = options.add_argument
    what = "weights file to initialise from, not ImageNet's or another run's; none, with --dataset: random weights"
    add("--pretrained", metavar="FILE|none", help=what)
    add("--precision", default="fp32", choices=PRECISIONS, help="default: %(default)s")
    add("--compile", action="store_true", help="networks by torch.compile")
    add("--device-batch", type=positive, help="clips on a device at once, where a micro-batch is too large for it")
    add("--jobs", type=positive, default=queue.default_jobs(), help="runs at a time (default: %(default)s)")
    add_reader(options)
    parser.set_defaults(run=run, interrupted="the same command resumes from the last checkpoint")


def run(options: argparse.Namespace) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # being terminated cleans up as Ctrl-C does
    weights = Path(options.pretrained) if options.pretrained not in (None, "none") else None
    if weights and not weights.is_file():
        raise FileNotFoundError(f"no weights file at {weights}")
    profile, runs = _own(options) if options.dataset else _study(options)
    compute = Compute(options.device_batch, options.precision, options.compile, options.reader)
    with process_group():
        todo = plan(runs, profile.results, weights is not None)
        if rank() == 0:
            _report(profile, todo, options.list)
        if options.list:
            return
        if todo.impossible and (options.dataset or options.runs):
            raise ValueError(next(iter(todo.impossible.values())))
        if todo.to_do:
            if rank() == 0:
                _announce(todo.to_do, compute, options.jobs)
            queue.train(todo, profile.results, jobs=options.jobs, compute=compute, pretrained=weights)
        if options.dataset and rank() == 0:
            print(f"weights, scores and manifest: {stored(runs[0], profile.results).folder}")


def _own(options: argparse.Namespace) -> tuple[Profile, list[Run]]:
    if options.runs or options.table or options.shard != "1/1":
        raise ValueError("--dataset trains one network of its own: without --table, --runs and --shard")
    pretrained = None if options.pretrained == "none" else IMAGENET
    return PAPER, [own_run(dataset_named(options.dataset), options.model, options.segments, pretrained)]


def _study(options: argparse.Namespace) -> tuple[Profile, list[Run]]:
    if options.pretrained == "none":
        raise ValueError("--pretrained none goes with --dataset: the study says what its runs are initialised from")
    profile = get_profile(options.profile)
    runs = all_runs(profile, options.table)
    runs = runs if options.pretrained else with_pretrained(runs)
    return profile, select(runs, options.runs) if options.runs else shard(runs, options.shard)


def _report(profile: Profile, todo: Plan, each: bool) -> None:
    total = len(todo.done) + len(todo.to_do) + len(todo.impossible)
    print(f"profile {profile.name}: {total} runs, {len(todo.done)} of them done; {device()}")
    reasons = list(todo.impossible.values())
    for reason in dict.fromkeys(reasons):
        print(f"  {reasons.count(reason)} runs are not possible here: {reason}")
    if each:
        names, gpus = named_runs(profile), 1 if profile.trains_in_notebooks else 8
        for state, runs in (("done", todo.done), ("to do", todo.to_do), ("not possible", todo.impossible)):
            for config in runs:
                what = names.get(config, "what others are initialised from")
                print(f"  {state:12} {command(config, profile, gpus)}  # {what}, seed {config.seed}")


def _announce(runs: Sequence[Run], compute: Compute, at_a_time: int) -> None:
    for recipe in dict.fromkeys(config.recipe for config in runs):
        print(
            f"  {recipe.epochs} epochs, batch {recipe.batch} in micro-batches of {compute.micro_batch(recipe)} over "
            f"{world_size()} processes, learning rate {recipe.lr} for that batch"
        )
    if LAUNCHED:
        print(f"  one run after the other, on {world_size()} processes", flush=True)
    else:
        print(f"  {at_a_time} at a time{', each on one thread' if device().type == 'cpu' else ''}", flush=True)
