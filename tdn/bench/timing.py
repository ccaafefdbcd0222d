"""How long networks take, in interleaved rounds, and how much memory."""

import ctypes
import math
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import psutil
import torch
import torch.nn.functional as F
from torch import nn
from torch._inductor import config as inductor
from tqdm import tqdm

from tdn.engine.distributed import to_device
from tdn.model.folding import optimize
from tdn.utils import worker_pool

CLEAR_REFS = Path("/proc/self/clear_refs")
Make = Callable[[], Callable[[], None]]  # prepares the call that is measured


class Form(NamedTuple):
    """What is timed: inference (of the network as `optimize` makes it) or a training step without the optimizer."""

    training: bool = False
    precision: torch.dtype = torch.float32
    compiled: bool = False  # by torch.compile

    def on(self, device: torch.device) -> str:
        """Its name there."""
        precision = precision_name(self.precision, device)
        return f"{'training step' if self.training else 'inference'}, {precision}{', compiled' * self.compiled}"


def precision_name(precision: torch.dtype, device: torch.device) -> str:
    """With what a GPU makes of it: convolutions in float32 are TF32 unless they are told otherwise."""
    tf32 = precision == torch.float32 and device.type == "cuda" and torch.backends.cudnn.allow_tf32
    return str(precision).removeprefix("torch.") + " (convolutions in TF32)" * tf32


def devices() -> list[torch.device]:
    """The CPU, and the first GPU where there is one."""
    return [torch.device("cpu")] + [torch.device("cuda", 0)] * torch.cuda.is_available()


def wall_clock() -> float:
    """Seconds; where there is a GPU, once it has done its work, as Python does not wait for it."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def prepared(
    network: nn.Module, form: Form, batch: int, size: int, device: torch.device, as_is: bool = False
) -> Callable[[], None]:
    """A call that computes `form` of `network` for a batch of random clips. A network taken `as_is` is neither
    optimised, nor laid out channels-last, nor compiled."""
    if not as_is:
        network = to_device(network if form.training else optimize(network), device)
    network.train(form.training).to(device, torch.float32 if form.training else form.precision)
    clips = torch.randn(batch, network.num_segments, network.window, 3, size, size, device=device)
    mode = "reduce-overhead" if device.type == "cuda" else None
    called = torch.compile(network, mode=mode) if form.compiled and not as_is else network
    labels = torch.zeros(batch, dtype=torch.long, device=device)

    def infer() -> None:
        # Weights as constants, laid out for the kernels; as an option of torch.compile it comes too late to do that.
        with torch.no_grad(), inductor.patch(freezing=device.type == "cpu"):
            called(clips.to(form.precision))

    def train() -> None:
        network.zero_grad()
        with torch.autocast(device.type, form.precision, enabled=form.precision != torch.float32):
            scores = called(clips)
        F.cross_entropy(scores.float(), labels).backward()

    return train if form.training else infer


def interleaved(
    calls: Mapping[Any, Callable], rounds: int, clock: Callable[[], float] = wall_clock, warm_up: int = 1
) -> pd.DataFrame:
    """Seconds of each call, one column per call and one row per round. A round makes every call once, so that other
    programs on the machine slow all of them equally. The first rounds do not count: one for compilation and caches;
    three where torch.compile records graphs, as it compiles in the first, records in the second and replays in the
    third."""
    rows = []
    for _ in tqdm(range(warm_up + rounds), "measuring", unit="round", leave=False):
        rows.append({})
        for name, call in calls.items():
            began = clock()
            call()
            rows[-1][name] = clock() - began
    return pd.DataFrame(rows[warm_up:])


def summary(seconds: pd.DataFrame, videos: int, base: str) -> pd.DataFrame:
    """One row per column of `interleaved`, in milliseconds per video: median and quartiles (`lowest`, `highest`), and
    the median over rounds of the ratio to `base`."""
    quartiles = (1000 * seconds / videos).quantile([0.5, 0.25, 0.75]).T
    table = quartiles.set_axis(["ms a video", "lowest", "highest"], axis=1)
    table["videos a second"] = 1000 / table["ms a video"]
    table[f"times {base}"] = seconds.div(seconds[base], axis=0).median()
    return table.rename_axis("network")


def timed(makes: Mapping[str, Make], rounds: int, warm_up: int = 1) -> pd.DataFrame:
    """`interleaved`, of the calls that these functions prepare."""
    return interleaved({name: make() for name, make in makes.items()}, rounds, warm_up=warm_up)


def in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    with worker_pool(1) as alone:
        return alone.submit(function, *arguments).result()


def peak_memory(make: Make, device: torch.device) -> float:
    """MB that the call which `make` prepares needs at most beyond weights and clips: on a CPU of resident memory, NaN
    where the system is not Linux; on a GPU of what torch allocates. In a process of its own."""
    return in_own_process(_peak, make, device)


def _peak(make: Make, device: torch.device) -> float:
    call = make()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    if not CLEAR_REFS.exists():
        return math.nan
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # memory that is free but kept would count as there before
    CLEAR_REFS.write_text("5")  # the peak begins anew: getrusage's is at least that of the process that began this one
    before = psutil.Process().memory_info().rss
    call()
    peak = re.search(r"^VmHWM:\s*(\d+) kB", CLEAR_REFS.with_name("status").read_text(), re.MULTILINE)
    return (1024 * int(peak[1]) - before) / 1e6
