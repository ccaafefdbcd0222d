"""`tdn train FOLDER`: a network on one's own videos."""

import argparse
import os
import shlex
import sys
import time
from pathlib import Path

import matplotlib

from tdn.engine.distributed import LAUNCHED, process_group, rank
from tdn.engine.trainer import Compute
from tdn.own.choice import read_recipe
from tdn.own.compare import COMPARED, compare_networks, require_comparable
from tdn.own.result import write_result
from tdn.own.training import describe, prepare, train_network
from tdn.utils import markdown

CHOICES = ("model", "depth", "width", "size", "segments", "window_stride", "epochs", "lr", "batch", "seed")
CHOICES += ("initialised_from", "patience", "mirror")
OF_FOLDER = (*CHOICES, "out", "recipe", "compare", "tensorboard", "devices")


def run(options: argparse.Namespace, compute: Compute) -> None:
    matplotlib.use("Agg")  # no window
    chosen = {name: value for name in CHOICES if (value := getattr(options, name)) is not None}
    if "mirror" in chosen:
        chosen["mirror"] = tuple(chosen["mirror"])
    given = (read_recipe(options.recipe) if options.recipe else {}) | chosen
    with process_group():
        job = prepare(options.folder, given, options.out, compute)
        if options.compare:
            require_comparable(job.choice)
        lines = describe(job, len(COMPARED) * options.compare - 1 if options.compare else 0)
        if rank() == 0:
            print("\n".join(lines), flush=True)
        started = time.monotonic()
        log = job.folder / "tensorboard" if options.tensorboard else None
        train_network(job, log)
        if rank() == 0:
            page, metrics = write_result(job), job.result.metrics
            top1 = f"{metrics['top1']:.1%} top-1 of {metrics['videos']} validation videos"
            print(f"{top1}, after {time.monotonic() - started:.0f} s; open {page}", flush=True)
        table = compare_networks(job, options.compare, options.jobs) if options.compare else None
        if rank() == 0:
            if table is not None:
                write_result(job)
                print(markdown(table))
            folder = os.path.relpath(job.folder) if job.folder.is_relative_to(Path.cwd()) else job.folder
            folder = shlex.quote(str(folder))
            print(f"next: tdn predict VIDEO --weights {folder}; tdn cam VIDEO --weights {folder} --frames all")


def launch(devices: int | str | None) -> None:
    """Starts this command again, as so many processes; cpu: hides the GPUs from this one, which has not asked for them
    yet."""
    if devices is None or LAUNCHED:
        return
    if devices == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif devices > 1:
        at = next(place for place, text in enumerate(sys.argv) if text.startswith("--devices"))
        rest = sys.argv[1:at] + sys.argv[at + (1 if "=" in sys.argv[at] else 2) :]
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(devices), "-m", "tdn"]
        os.execv(sys.executable, [sys.executable, *launcher, *rest])
