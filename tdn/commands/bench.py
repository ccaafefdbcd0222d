"""`tdn bench`: tables of what was measured, in results/bench/."""

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
from tdn.bench.training import measure_training
from tdn.utils import home, markdown, write_text

MEASUREMENTS = {
    "memory": measure_memory,
    "data": measure_data,
    "waiting": measure_waiting,
    "training": lambda folder: measure_training(),
    "networks": lambda folder: measure_networks(),
}


def run(options: argparse.Namespace) -> None:
    for name in [options.measurement] if options.measurement else MEASUREMENTS:
        print(f"bench {name}", flush=True)
        path = home() / "results/bench" / f"{machine()}-{name}"
        rows = []
        with tempfile.TemporaryDirectory(prefix="tdn-bench-") as folder:
            for row in MEASUREMENTS[name](Path(folder)):  # written as they come
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
