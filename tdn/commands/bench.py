"""`tdn bench`: tables of what was measured, in results/bench/."""

import argparse
import os
import platform
import re
import tempfile
from pathlib import Path

import pandas as pd
import psutil
import torch

from tdn.bench.networks import measure_networks
from tdn.bench.reading import measure_data, measure_memory, measure_waiting
from tdn.bench.timing import device_name
from tdn.bench.training import measure_training
from tdn.engine import distributed
from tdn.experiments.tuning import measure_epochs, measure_recipes
from tdn.utils import home, markdown, write_text

MEASUREMENTS = {
    "memory": lambda folder, device: measure_memory(folder),
    "data": lambda folder, device: measure_data(folder),
    "waiting": lambda folder, device: measure_waiting(folder),
    "training": lambda folder, device: measure_training(device),
    "networks": lambda folder, device: measure_networks(device),
    "recipes": lambda folder, device: measure_recipes(),
    "epochs": lambda folder, device: measure_epochs(),
}

TRAINED = ("recipes", "epochs")  # which take long
ON_A_DEVICE = ("training", "networks")  # that is chosen


def run(options: argparse.Namespace) -> None:
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("torch finds no GPU on this machine: --device cpu")
    if options.device and options.measurement not in ON_A_DEVICE:
        raise ValueError(f"--device goes with {' and '.join(ON_A_DEVICE)}")
    device = torch.device("cpu") if options.device == "cpu" else distributed.device()
    every = [name for name in MEASUREMENTS if name not in TRAINED]
    for name in [options.measurement] if options.measurement else every:
        on = torch.device("cpu") if name in ("memory", "data") else device
        print(f"bench {name}, {device_name(on)}", flush=True)
        path = home() / "results/bench" / f"{machine() if on.type == 'cpu' else as_file_name(device_name(on))}-{name}"
        rows = []
        with tempfile.TemporaryDirectory(prefix="tdn-bench-") as folder:
            for row in MEASUREMENTS[name](Path(folder), on):  # written as they come
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
    return as_file_name(f"{model} {cores} cores")


def as_file_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
