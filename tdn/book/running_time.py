"""The papers' running-time table (CVPR Table 5, ICLR Table 6) on the machine at hand, and where the time goes."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader

from tdn.bench.networks import BASE, NETWORKS, OURS, REFERENCE, network
from tdn.bench.synthetic import make_clip, write_mp4
from tdn.bench.timing import Form, devices, peak_memory, random_clips, summary, take_turns
from tdn.book.figures import label_points
from tdn.data.clips import TestClips, Video, VideoSet, collate
from tdn.data.sampling import Views
from tdn.data.transforms import to_input
from tdn.engine.evaluation import evaluate
from tdn.engine.inference import to_device
from tdn.engine.loading import worker_count
from tdn.experiments.tables import published
from tdn.model.cost import measure_cost
from tdn.model.folding import optimize

SCALES = {"smoke": (1, 64, 1), "pocket": (2, 224, 3), "paper": (16, 224, 10)}  # batch, pixels, turns


def running_times(scale: str) -> pd.DataFrame:
    """A row for each device and network of the table, in milliseconds a video: of its view, times the views that the
    paper takes.

    `network`: the scores of clips that lie on the device, median and quartiles over the turns; `data`: reading,
    cropping and normalising them, from mp4 files of 426 x 240 pixels and 45 frames; `together`: `evaluate`, which reads
    ahead in other processes. Networks are as `tdn.optimize` makes them, float32. Beside it the published V100.

    Args:
        scale: the profile's name; batch, size and turns are those of `SCALES`.
    """
    batch, size, turns = SCALES[scale]
    tables = []
    for device in devices():
        networks = {name: to_device(optimize(network(name)), device) for name in NETWORKS if name != REFERENCE}
        tables.append(_on(device, networks, batch, size, turns))
    return pd.concat(tables, ignore_index=True)


def _on(device: torch.device, networks: Mapping[str, nn.Module], batch: int, size: int, turns: int) -> pd.DataFrame:
    alone, reading, together = {}, {}, {}
    with tempfile.TemporaryDirectory(prefix="tdn-running-time-") as folder:
        files = [write_mp4(Path(folder, f"{n}.mp4"), make_clip(n, 45, 240, 426)) for n in range(batch)]
        videos = VideoSet([Video(path, 0) for path in files], ["thing"])
        for name, model in networks.items():
            clips = TestClips(videos, model.num_segments, model.window, Views(size=size))
            inputs = random_clips(model, batch, size, device)
            alone[name] = lambda model=model, inputs=inputs: _score(model, inputs)
            reading[name] = lambda clips=clips: _read(clips, batch, device)
            together[name] = lambda model=model, clips=clips: evaluate(model, clips, device, batch)
        of_network = summary(take_turns(alone, turns, device), batch, BASE)
        of_data = summary(take_turns(reading, turns, device), batch, BASE)
        of_both = summary(take_turns(together, max(turns // 3, 1), device), batch, BASE)
    rows = []
    for name, model in networks.items():
        paper = _published(name)
        views = paper["views"]
        gmacs = views * measure_cost(model, size).gmacs
        median, lowest, highest = views * of_network.loc[name, ["ms a video", "lowest", "highest"]]
        rows.append(
            {
                "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
                "network": name,
                "frames x clips x crops": paper["frames"],
                "published ms (V100)": paper["ms"],
                f"published, times {BASE}": paper["ms"] / _published(BASE)["ms"],
                "GMACs": gmacs,
                "network ms": median,
                "lowest": lowest,
                "highest": highest,
                f"times {BASE}": views * of_network.loc[name, f"times {BASE}"],
                "data ms": views * of_data.loc[name, "ms a video"],
                "together ms": views * of_both.loc[name, "ms a video"],
                f"together, times {BASE}": views * of_both.loc[name, f"times {BASE}"],
                "videos a second": 1000 / median,
                "GMACs a second": 1000 * gmacs / median,
                "peak MB": peak_memory(network, name, Form(), batch, size, device, plain=False),
                "batch": batch,
                "size": size,
            }
        )
    return pd.DataFrame(rows)


def _published(name: str) -> dict[str, object]:
    """Frames x clips x crops, the number of views and milliseconds a video of a row of CVPR Table 5."""
    row = published("tdn_running_time.csv", "cvpr2021", method=name).iloc[0]
    _, clips, crops = map(int, row["frames_x_clips_x_crops"].split("x"))
    return {"frames": row["frames_x_clips_x_crops"], "views": clips * crops, "ms": float(row["ms_per_video_v100"])}


def _score(model: nn.Module, inputs: Tensor) -> None:
    with torch.inference_mode():
        model.eval()(inputs)


def _read(clips: TestClips, batch: int, device: torch.device) -> None:
    """The same as `evaluate` without the network."""
    for samples, unreadable in DataLoader(clips, batch, collate_fn=collate, num_workers=worker_count(clips)):
        if unreadable:
            raise RuntimeError(f"a file made for this could not be read: {unreadable[0]}")
        to_input([sample.clip.to(device) for sample in samples], [s.crops[0] for s in samples], clips.views.size)


def where_time_goes(scale: str, most: int = 9) -> pd.DataFrame:
    """Milliseconds a video that torch's profiler counts for each operator in inference, a row each, with the rest and
    the sum; columns: TDN as written down from its equations, as this package computes it, and as `optimize` makes it;
    beside it TSN, likewise. On the CPU."""
    batch, size, _ = SCALES[scale]
    cpu = torch.device("cpu")
    forms = {
        REFERENCE: network(REFERENCE).eval(),
        OURS: to_device(network(OURS), cpu).eval(),
        f"{OURS}, optimised": to_device(optimize(network(OURS)), cpu),
        f"{BASE}, optimised": to_device(optimize(network(BASE)), cpu),
    }
    columns = {}
    for name, model in forms.items():
        inputs = random_clips(model, batch, size, cpu)
        _score(model, inputs)
        with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiled:
            _score(model, inputs)
        events = profiled.key_averages()
        columns[name] = pd.Series({e.key.removeprefix("aten::"): e.self_cpu_time_total / 1000 / batch for e in events})
    table = pd.DataFrame(columns).fillna(0)
    table = table.loc[table.max(axis=1).sort_values(ascending=False).index]
    shown = table.head(most).copy()
    shown.loc["everything else"] = table.iloc[most:].sum()
    shown.loc["sum"] = table.sum()
    return shown.rename_axis("operator").reset_index()


def plot_running_times(table: pd.DataFrame) -> Figure:
    """Milliseconds a video against GMACs, published and measured, both axes logarithmic."""
    figure, axis = plt.subplots(figsize=(8, 5))
    kinds = {"published, V100": (table[table["device"] == "CPU"], "published ms (V100)")}
    kinds |= {f"measured, {device}": (rows, "network ms") for device, rows in table.groupby("device")}
    for (label, (rows, column)), marker in zip(kinds.items(), "osD", strict=False):
        axis.scatter(rows["GMACs"], rows[column], marker=marker, label=label)
    axis.set(xscale="log", yscale="log", xlabel="GMACs a video, all views", ylabel="ms a video")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.yaxis.set_major_formatter("{x:g}")
    axis.legend(loc="lower right")
    axis.grid(alpha=0.3)
    figure.tight_layout()
    places = np.concatenate([rows[["GMACs", column]].to_numpy(float) for rows, column in kinds.values()])
    names = [name for rows, _ in kinds.values() for name in rows["network"]]
    label_points(axis, places, names, places[:0])
    return figure
