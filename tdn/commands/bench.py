"""`tdn bench`: how fast clips are read, in how much memory, and how long TDN takes."""

import argparse
import os
import platform
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil

from tdn.bench.networks import measure_networks
from tdn.bench.reading import measure_data, measure_memory, measure_waiting
from tdn.experiments.runs import ROOT
from tdn.utils import markdown, write_text


def machine() -> str:
    """The model of the CPU and how many cores this process may use, fit for a file's name."""
    model = platform.processor()
    if Path("/proc/cpuinfo").exists():
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        model = found[1] if found else model
    cores = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count()
    return re.sub(r"[^a-z0-9]+", "-", f"{model or platform.machine()} {cores} cores".lower()).strip("-")


MEASUREMENTS = {
    # First: the worker is a fork of this process, and what other measurements leave in memory would count.
    "memory": (
        measure_memory,
        "memory of a process that reads 10,000 clips: makes 200 videos, then reads them; about 5 minutes",
    ),
    "data": (
        measure_data,
        "clips per second and core of PIL and of tdn: makes 34 videos, then reads 1,080 clips; about 2 minutes",
    ),
    "waiting": (
        measure_waiting,
        "how long a training waits for clips: TSN and TDN on ResNet-50, 16 videos twice; about 2 minutes",
    ),
    "networks": (
        lambda folder: measure_networks(),
        "TSN and TDN on ResNet-50, 2 and 16 clips of 8 x 224 x 224, inference and training; about 30 minutes",
    ),
}


def main(arguments: Sequence[str] | None = None, results: Path = ROOT / "results/bench") -> int:
    parser = argparse.ArgumentParser("tdn bench", description=__doc__)
    parser.add_argument("measurements", nargs="*", metavar="|".join(MEASUREMENTS), help="default: all")
    names = parser.parse_args(arguments).measurements or list(MEASUREMENTS)
    for name in names:
        if name not in MEASUREMENTS:
            parser.error(f"{name!r} is none of {', '.join(MEASUREMENTS)}")
    try:
        for name in names:
            measure, what = MEASUREMENTS[name]
            print(f"bench {name}: {what}", flush=True)
            with tempfile.TemporaryDirectory(prefix="tdn-bench-") as folder:
                table = measure(Path(folder))
            path = results / f"{machine()}-{name}"
            write_text(path.with_suffix(".csv"), table.to_csv(index=False, float_format="%.3f"))
            write_text(path.with_suffix(".md"), markdown(table, 2) + "\n")
            print(f"{markdown(table, 2)}\n\nwritten: {path}.csv and .md", flush=True)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0
