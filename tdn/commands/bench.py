"""Measure how fast clips are read, in how much memory, and how long TDN takes. Tables go to results/bench/."""

import argparse
import os
import platform
import re
import tempfile
from pathlib import Path

import pandas as pd
import psutil

from tdn.bench.networks import measure_networks
from tdn.bench.reading import measure_data, measure_memory, measure_waiting
from tdn.utils import home, markdown, write_text

EXAMPLES = """\
examples:
  tdn bench             all, one after the other: an hour
  tdn bench data        one of them"""
MEASUREMENTS = {
    # First: the worker is a fork of this process, and what other measurements leave in memory would count.
    "memory": (measure_memory, "memory of a process that reads 10,000 clips of 200 videos; about 5 minutes"),
    "data": (measure_data, "clips per second and core of PIL and of tdn, on 18 videos; about 3 minutes"),
    "waiting": (measure_waiting, "how long a training of TSN and TDN waits for clips; about 2 minutes"),
    "networks": (
        lambda folder: measure_networks(),
        "TSN and TDN on ResNet-50, 2 and 16 clips of 8 x 224 x 224, inference and training; about 30 minutes",
    ),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    texts = "; ".join(f"{name}: {what}" for name, (_, what) in MEASUREMENTS.items())
    # Not by `choices`, which does not go together with nargs="*" and no default.
    parser.add_argument("measurements", nargs="*", metavar="MEASUREMENT", help=f"{texts} (default: all)")
    parser.set_defaults(run=run, interrupted="rows that were measured are kept")


def run(options: argparse.Namespace) -> None:
    for name in options.measurements:
        if name not in MEASUREMENTS:
            raise ValueError(f"{name!r} is none of {', '.join(MEASUREMENTS)}")
    for name in options.measurements or MEASUREMENTS:
        measure, what = MEASUREMENTS[name]
        print(f"bench {name}: {what}", flush=True)
        path = home() / "results/bench" / f"{machine()}-{name}"
        rows = []
        with tempfile.TemporaryDirectory(prefix="tdn-bench-") as folder:
            for row in measure(Path(folder)):  # written as they come
                rows.append(row)
                table = pd.DataFrame(rows)
                write_text(path.with_suffix(".csv"), table.to_csv(index=False, float_format="%.3f"))
                write_text(path.with_suffix(".md"), markdown(table, 2) + "\n")
        print(f"{markdown(table, 2)}\n\nwritten: {path}.csv and .md", flush=True)


def machine() -> str:
    """The model of the CPU and the number of cores that this process may use, fit for a file's name."""
    about = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", about, re.MULTILINE)
    model = found[1] if found else platform.processor() or platform.machine()
    cores = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count()
    return re.sub(r"[^a-z0-9]+", "-", f"{model} {cores} cores".lower()).strip("-")
