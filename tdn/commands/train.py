"""`tdn train`: trains the runs of the study, or one network on a data set."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import record

from tdn.data.disk.catalog import dataset_named
from tdn.engine.distributed import LAUNCHED, broadcast, device, process_group, rank, world_size
from tdn.engine.trainer import PRECISIONS, Compute
from tdn.experiments import queue as jobs
from tdn.experiments.profiles import PAPER, Profile, get_profile, own_run
from tdn.experiments.registry import all_runs, command, named_runs, table_names, with_starts
from tdn.experiments.runs import Run, impossible, stored
from tdn.utils import unknown_name


def parser() -> argparse.ArgumentParser:
    """The command line. No option may begin one of torchrun's, which would take it (`--run-path`, ...)."""
    command_line = argparse.ArgumentParser(
        prog="tdn train",
        description="Train every run of the study that is not there yet. Under torchrun all processes train one run "
        "after the other together.",
    )
    add = command_line.add_argument
    add("--profile", default="pocket", help="scale: smoke, pocket or paper (default: %(default)s)")
    add("--table", nargs="+", default=[], help=f"only the runs of these: {', '.join(table_names())}")
    add("--runs", nargs="+", default=[], help="only these runs and what they start from, by name")
    add(
        "--dataset", help="in place of the study: train on this data set, by its name or folder, with the profile paper"
    )
    add("--model", default="tdn_resnet50", help="for --dataset (default: %(default)s)")
    add("--segments", type=int, default=8, help="for --dataset (default: %(default)s)")
    add("--shard", default="1/1", help="i/n: of the runs to do every n-th, from the i-th on (1 to n)")
    add("--list", action="store_true", help="print the runs with their commands and train nothing")
    add("--pretrained", type=Path, help="weights file to initialise from in place of ImageNet's, or of another run's")
    add("--precision", default="fp32", choices=PRECISIONS, help="default: %(default)s")
    add("--compile", action="store_true", help="networks by torch.compile")
    add("--device-batch", type=int, help="clips on a device at once, where a batch norm's share is too many")
    add("--jobs", type=int, default=jobs.default_jobs(), help="runs at a time (default: %(default)s)")
    return command_line


@record  # a worker's error is the one that torchrun shows
def main(argv: Sequence[str] | None = None) -> None:
    command_line = parser()
    args = command_line.parse_args(argv)
    try:
        if args.dataset:
            if args.runs or args.table or args.shard != "1/1":
                raise ValueError("--dataset trains one network of its own: without --table, --runs and --shard")
            profile, spec = PAPER, dataset_named(args.dataset)
            spec.missing()  # an unknown name is an error
            runs = [own_run(spec, args.model, args.segments)]
        else:
            profile = get_profile(args.profile)
            runs = all_runs(profile, args.table)
            runs = _selected(runs if args.pretrained else with_starts(runs), args.runs, args.shard)
        compute = Compute(args.device_batch, args.precision, args.compile)
        for name, number in (("--jobs", args.jobs), ("--device-batch", args.device_batch)):
            if number is not None and number < 1:
                raise ValueError(f"{name} is a number, 1 or more; got {number}")
        if args.pretrained and not args.pretrained.is_file():
            raise ValueError(f"no weights file at {args.pretrained}")
    except ValueError as error:
        command_line.error(str(error))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # being terminated cleans up as Ctrl-C does
    try:
        with process_group():
            _train(profile, runs, compute, args)
    except ConnectionError as error:  # ImageNet's weights
        if LAUNCHED:
            raise
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on from the last checkpoint")


def _selected(runs: list[Run], names: Sequence[str], shard: str) -> list[Run]:
    by_name = {config.name: config for config in runs}
    for name in names:
        if name not in by_name:
            raise ValueError(unknown_name("run", name, by_name, "those that --list prints"))
    if names:
        return [by_name[name] for name in names]  # what they start from comes with them
    first, _, of = shard.partition("/")
    if not (first.isdecimal() and of.isdecimal() and 1 <= int(first) <= int(of)):
        raise ValueError(f"--shard is i/n with i from 1 to n, such as 3/8; got {shard!r}")
    return runs[int(first) - 1 :: int(of)]


def _train(profile: Profile, runs: list[Run], compute: Compute, args: argparse.Namespace) -> None:
    # The first process looks: others may be on machines that do not see the results.
    complete = broadcast([stored(config, profile.results).complete for config in runs])
    missing = [config for config, done in zip(runs, complete, strict=True) if not done]
    why_not = broadcast([impossible(config, args.pretrained is not None) for config in missing])
    reasons = dict(zip(missing, why_not, strict=True))
    possible = [config for config in missing if not reasons[config]]
    if rank() == 0:
        done = len(runs) - len(missing)
        print(f"profile {profile.name}: {len(runs)} runs, {done} of them done; {device()}")
        for reason in dict.fromkeys(filter(None, reasons.values())):
            of = sum(other == reason for other in reasons.values())
            print(f"  {of} runs are not possible here: {reason}")
        if args.list and not args.dataset:
            _list(profile, runs, missing, reasons)
    if args.list or not possible:
        return
    if rank() == 0:
        _say_recipes(possible, compute, args.jobs)
    jobs.train(possible, profile.results, jobs=args.jobs, compute=compute, pretrained=args.pretrained)
    if args.dataset and rank() == 0:
        print(f"weights, scores and manifest: {stored(possible[0], profile.results).folder}")


def _list(profile: Profile, runs: list[Run], missing: list[Run], reasons: dict[Run, str | None]) -> None:
    names = named_runs(profile)
    for config in runs:
        state = "done   " if config not in missing else "not possible" if reasons[config] else "to do  "
        of = command(config, profile, 1 if profile.trains_in_notebooks else 8)
        print(f"  {state} {of}  # {names.get(config, 'what others start from')}, seed {config.seed}")


def _say_recipes(runs: Sequence[Run], compute: Compute, at_a_time: int) -> None:
    for recipe in dict.fromkeys(config.recipe for config in runs):
        part = compute.part(recipe)
        print(
            f"  {recipe.epochs} epochs, batch {recipe.batch} in parts of {part} over {world_size()} processes, "
            f"learning rate {recipe.lr} for that batch"
        )
    if LAUNCHED:
        print(f"  one run after the other, on {world_size()} processes", flush=True)
    else:
        each = ", each on one thread" if device().type == "cpu" else ""
        print(f"  {at_a_time} at a time{each}", flush=True)
