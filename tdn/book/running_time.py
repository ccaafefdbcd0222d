"""The papers' running-time table (CVPR Table 5, ICLR Table 6) on the machine at hand, and where the time goes."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch.profiler import ProfilerActivity, profile

from tdn.bench.networks import BASE, OURS, REFERENCE, call, measure_views, network
from tdn.bench.timing import Form, device_name, devices, prepared
from tdn.book import style
from tdn.engine.distributed import to_device
from tdn.experiments.tables import published
from tdn.model.cost import measure_cost

SCALES = {"smoke": (1, 64, 1), "pocket": (2, 224, 3), "paper": (16, 224, 10)}  # batch, pixels, rounds
SCALES["record"] = SCALES["pocket"]
EDITIONS = {"cvpr2021": "CVPR 1e", "iclr2021": "ICLR 1c"}
ABLATED = {"S-TDM": "S-TDM in stages 1-2", "L-TDM": "L-TDM in stages 3-5", "TDN": "TDN (both)"}  # in those tables


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


def published_times() -> pd.DataFrame:
    """CVPR Table 5: milliseconds per video on a V100, how many times TSN's that is, and top-1 (%) on
    Something-Something V1; the last next to that of the same network in the ablations, in both editions. `same as`
    names the edition whose ablation has the top-1 of Table 5; empty where the ablations do not have the network."""
    rows = []
    for _, line in published("tdn_running_time.csv", "cvpr2021").iterrows():
        milliseconds, top1 = float(line["ms_per_video_v100"]), float(line["top1"])
        row = {"network": line["method"], "frames x clips x crops": line["frames_x_clips_x_crops"]}
        row |= {"ms": milliseconds, f"times {BASE}": milliseconds / _published(BASE)[2], "top-1": top1}
        of = {}
        for edition, name in EDITIONS.items():
            ablation = published("tdn_short_vs_long.csv", edition, row=ABLATED.get(line["method"], ""))
            of[name] = float(ablation["top1"].iloc[0]) if len(ablation) else np.nan
        rows.append(row | {f"ablation, {name}": value for name, value in of.items()})
        rows[-1]["same as"] = ", ".join(name for name, value in of.items() if value == top1)
    return pd.DataFrame(rows)


def plot_running_times(table: pd.DataFrame) -> Figure:
    """How many times TSN's: bars of multiply-adds, published time (V100) and the time measured on each device, one
    group per network; the axis is logarithmic and begins at 1."""
    by_device = {device: rows.set_index("network") for device, rows in table.groupby("device")}
    first = by_device["CPU"]
    bars = {"multiply-adds": first["GMACs"] / first["GMACs"][BASE]}
    bars["time, published, V100"] = first[f"published, times {BASE}"]
    bars |= {f"time, measured, {device}": rows[f"times {BASE}"] for device, rows in by_device.items()}
    figure, axis = plt.subplots(figsize=(8, 0.14 * len(bars) * len(first) + 1.5), layout="constrained")
    places, height = np.arange(len(first)), 0.8 / len(bars)
    colours = ("0.75", "0.45", style.SKY, style.BLUE)
    for number, ((label, values), colour) in enumerate(zip(bars.items(), colours, strict=False)):
        at = places + (number - (len(bars) - 1) / 2) * height
        shown = axis.barh(at, values[first.index], height, color=colour, label=label)
        axis.bar_label(
            shown, [f"{value:.{2 if value < 10 else 0}f}" for value in values[first.index]], padding=3, size=7
        )
    axis.set(xscale="log", xlim=(1, 2 * max(values.max() for values in bars.values())), xlabel=f"times {BASE}")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_yticks(places, first.index)
    axis.invert_yaxis()
    axis.legend(fontsize=8, loc="lower right")
    return figure
