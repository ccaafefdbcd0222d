"""The papers' running-time table (CVPR Table 5, ICLR Table 6) on the machine at hand, and where the time goes."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from torch.profiler import ProfilerActivity, profile

from tdn.bench.networks import BASE, OURS, REFERENCE, call, measure_views, network
from tdn.bench.timing import Form, device_name, devices, prepared
from tdn.book.labels import label_points
from tdn.engine.distributed import to_device
from tdn.experiments.tables import published
from tdn.model.cost import measure_cost

SCALES = {"smoke": (1, 64, 1), "pocket": (2, 224, 3), "paper": (16, 224, 10)}  # batch, pixels, rounds
SCALES["record"] = SCALES["pocket"]


def running_times(scale: str) -> pd.DataFrame:
    """One row per device and network of the table, next to the published time on a V100: what `measure_views` measures,
    in milliseconds per video, which is a view times the number of views that the paper takes; with batch, size and
    rounds of `SCALES[scale]`."""
    batch, size, rounds = SCALES[scale]
    rows = []
    for device in devices():
        for name, view in measure_views(batch, size, rounds, device).iterrows():
            frames, views, milliseconds = _published(name)
            gmacs, taken = views * measure_cost(network(name), size).gmacs, views * view["network ms"]
            row = {"device": device_name(device), "network": name, "frames x clips x crops": frames}
            row |= {"published ms (V100)": milliseconds, f"published, times {BASE}": milliseconds / _published(BASE)[2]}
            row |= {"GMACs": gmacs, **(views * view.drop("peak MB")), "videos a second": 1000 / taken}
            row |= {"GMACs a second": 1000 * gmacs / taken, "peak MB": view["peak MB"], "batch": batch, "size": size}
            rows.append(row)
    return pd.DataFrame(rows)


def _published(name: str) -> tuple[str, int, float]:
    """Frames x clips x crops, the number of views and milliseconds per video of a row of CVPR Table 5."""
    row = published("tdn_running_time.csv", "cvpr2021", method=name).iloc[0]
    _, clips, crops = map(int, row["frames_x_clips_x_crops"].split("x"))
    return row["frames_x_clips_x_crops"], clips * crops, float(row["ms_per_video_v100"])


def where_time_goes(scale: str, most: int = 9) -> pd.DataFrame:
    """Milliseconds per video in each operator by torch's profiler, in inference on the CPU: one row per operator, with
    the rest and the sum. Columns: TDN as the reference implementation and as the package computes it; TDN and TSN as
    `optimize` makes them."""
    batch, size, _ = SCALES[scale]
    setting = Form(), batch, size, torch.device("cpu")
    calls = {REFERENCE: call(REFERENCE, *setting)}
    calls[OURS] = prepared(to_device(network(OURS), setting[-1]), *setting, as_is=True)
    calls |= {f"{name}, optimised": call(name, *setting) for name in (OURS, BASE)}
    columns = {}
    for name, infer in calls.items():
        infer()
        with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiled:
            infer()
        events = profiled.key_averages()
        columns[name] = {e.key.removeprefix("aten::"): e.self_cpu_time_total / 1000 / batch for e in events}
    table = pd.DataFrame(columns).fillna(0)
    table = table.loc[table.max(axis=1).sort_values(ascending=False).index]
    shown = table.head(most).copy()
    shown.loc["everything else"] = table.iloc[most:].sum()
    shown.loc["sum"] = table.sum()
    return shown.rename_axis("operator").reset_index()


def plot_running_times(table: pd.DataFrame) -> Figure:
    """Milliseconds per video against GMACs, published and measured, both axes logarithmic."""
    figure, axis = plt.subplots(figsize=(8, 5))
    kinds = {"published, V100": (table[table["device"] == "CPU"], "published ms (V100)")}
    kinds |= {f"measured, {device}": (rows, "network ms") for device, rows in table.groupby("device")}
    for (label, (rows, column)), marker in zip(kinds.items(), "osD", strict=False):
        axis.scatter(rows["GMACs"], rows[column], marker=marker, label=label)
    axis.set(xscale="log", yscale="log", xlabel="GMACs a video, all views", ylabel="ms a video")
    axis.xaxis.set_minor_formatter(NullFormatter())
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_formatter("{x:g}")
    axis.legend(loc="lower right")
    axis.grid(alpha=0.3)
    figure.tight_layout()
    places = np.concatenate([rows[["GMACs", column]].to_numpy(float) for rows, column in kinds.values()])
    names = [name for rows, _ in kinds.values() for name in rows["network"]]
    label_points(axis, places, names, places[:0])
    return figure
