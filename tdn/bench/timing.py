"""How long networks take, one after the other in turns, and how much memory."""

import ctypes
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._inductor import config as inductor
from tqdm import tqdm

from tdn.engine.inference import to_device
from tdn.model.folding import optimize
from tdn.utils import worker_pool

CLEAR_REFS = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Form:
    """What is timed: scores (of the network as `optimize` makes it), or a training step without the optimiser; in which
    precision; by torch.compile or as it stands."""

    training: bool = False
    precision: torch.dtype = torch.float32
    compiled: bool = False

    def __str__(self) -> str:
        what = "training step" if self.training else "inference"
        precision = {torch.float32: "float32", torch.bfloat16: "bfloat16"}[self.precision]
        return f"{what}, {precision}{', compiled' if self.compiled else ''}"


def random_clips(network: nn.Module, batch: int, size: int, device: torch.device) -> Tensor:
    return torch.randn(batch, network.num_segments, network.window, 3, size, size, device=device)


def prepared(
    network: nn.Module, form: Form, batch: int, size: int, device: torch.device, plain: bool = False
) -> Callable[[], None]:
    """A call without arguments that takes `form` of `network` for a batch of random clips. A `plain` network is taken
    as it stands: neither optimised, nor laid out channels-last, nor compiled."""
    if form.training:
        network = (network if plain else to_device(network, device)).to(device).train()
    elif plain:
        network = network.to(device, form.precision).eval()
    else:
        network = to_device(optimize(network), device).to(form.precision)
    clips = random_clips(network, batch, size, device)
    called = network
    if form.compiled and not plain:
        called = torch.compile(network, mode="reduce-overhead" if device.type == "cuda" else None)
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


def take_turns(
    calls: Mapping[str, Callable[[], None]], turns: int, device: torch.device, warm_up: int = 1
) -> pd.DataFrame:
    """Seconds of each call, a column each, a row a turn: every call once in a turn, so that what the machine does
    beside hits all alike. The first `warm_up` turns (compilation, caches) do not count."""
    rows = []
    for turn in tqdm(range(warm_up + turns), "taking turns", unit="turn", leave=False):
        row = {}
        for name, call in calls.items():
            _wait(device)
            began = time.perf_counter()
            call()
            _wait(device)
            row[name] = time.perf_counter() - began
        if turn >= warm_up:
            rows.append(row)
    return pd.DataFrame(rows)


def _wait(device: torch.device) -> None:
    """Until the device has done what it was told: a GPU works on while Python goes on."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def summary(seconds: pd.DataFrame, videos: int, base: str) -> pd.DataFrame:
    """A row for each column of `take_turns`, in milliseconds a video: median and quartiles (`lowest`, `highest`),
    and the median of the ratios to `base` within a turn."""
    milliseconds = 1000 * seconds / videos
    quartiles = milliseconds.quantile([0.25, 0.5, 0.75]).T.to_numpy()
    table = pd.DataFrame(quartiles[:, [1, 0, 2]], seconds.columns, ["ms a video", "lowest", "highest"])
    table["videos a second"] = 1000 / table["ms a video"]
    table[f"times {base}"] = seconds.div(seconds[base], axis=0).median()
    return table.rename_axis("network")


def peak_memory(
    make: Callable[[str], nn.Module], name: str, form: Form, batch: int, size: int, device: torch.device, plain: bool
) -> float:
    """MB that a call of `prepared` needs at most beside weights and clips. On a CPU the resident memory of a process
    of its own, which `make(name)`s the network, NaN where the system is not Linux; on a GPU what torch allocates."""
    if device.type == "cuda":
        return _peak(make, name, form, batch, size, device, plain)
    with worker_pool(1) as alone:
        return alone.submit(_peak, make, name, form, batch, size, device, plain).result()


def _peak(
    make: Callable[[str], nn.Module], name: str, form: Form, batch: int, size: int, device: torch.device, plain: bool
) -> float:
    call = prepared(make(name), form, batch, size, device, plain)
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


def product_speed(precision: torch.dtype, device: torch.device, size: int = 4096, turns: int = 5) -> float:
    """10^12 operations a second of a product of two square matrices: what a device can do of a network's arithmetic."""
    a, b = (torch.randn(size, size, device=device, dtype=precision) for _ in range(2))
    seconds = take_turns({"product": lambda: torch.mm(a, b)}, turns, device)["product"]
    return 2 * size**3 / seconds.min() / 1e12


def devices() -> Iterator[torch.device]:
    """The CPU, and the first GPU where there is one."""
    yield torch.device("cpu")
    if torch.cuda.is_available():
        yield torch.device("cuda", 0)
