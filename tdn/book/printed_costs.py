"""The published costs of this book's networks, and what is counted here.

They are the rows of the csv files in experiments/paper that name a network. Not among them: TDN's own forms, which
notebook 10 has, and rows that repeat another table's figure or multiply it by views.
"""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tdn.book.lines import full_size
from tdn.experiments.tables import CSV_FOLDER, MORE_TABLES, OURS, TABLES, get_table
from tdn.model.resnet import VideoResNet
from tdn.model.zoo import SYSTEMS, Asked, cost_of, listed

TDN_FILES = ("tdn_temporal_modules.csv", "tdn_something_v1.csv", "tdn_kinetics400.csv", "tdn_something_v2.csv")
TDRL_FILES = ("tdrl_something.csv", "tdrl_kinetics400.csv")
Options = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class PublishedCost:
    """A published cost and the network that it is of; paper/README.md explains the columns of the csv files."""

    paper: str  # edition and table
    method: str
    frames: str
    gmacs: str  # as published, of one view
    network: str
    segments: tuple[int, ...]  # of the clips that the figure adds up
    size: int  # pixels at which it was counted
    options: Options
    note: str


def published_costs() -> list[PublishedCost]:
    """The published costs, in the order of the files."""
    costs = []
    for file in (*TDN_FILES, *TDRL_FILES):
        lines = pd.read_csv(CSV_FOLDER / file, dtype=str, keep_default_na=False)
        for line in lines[lines["network"] != ""].to_dict("records"):
            paper, method = f"{line['edition']}, {line['paper_table']}", line.get("method") or line["module"]
            frames = line.get("frames") or line["frames_x_clips_x_crops"]
            gmacs = line["gmacs"].split("x")[0]  # "67x30": of one of 30 views
            segments = tuple(map(int, line["segments"].split("+")))
            pairs = (option.split("=") for option in line["network_options"].split())
            of = (line["network"], segments, int(line["counted_at"]), tuple((name, int(n)) for name, n in pairs))
            costs.append(PublishedCost(paper, method, frames, gmacs, *of, line["cost_note"]))
    return costs


def all_asked() -> list[Asked]:
    """Every network whose cost the book shows."""
    rows = [row for table in (*TABLES, *MORE_TABLES) for row in get_table(table).rows]
    ours = [full_size(row) for row in rows] + [full_size(row, size) for row in OURS.values() for size in (224, 256)]
    sizes = [(of, size) for of in published_costs() for size in (of.size, 224, 256)]
    return [*listed(), *ours, *((of.network, of.options, t, size) for of, size in sizes for t in of.segments)]


def compare_costs() -> pd.DataFrame:
    """One row per published cost, counted with 174 classes.

    `GMACs` is counted at `size`; `sums over neighbours` and `norms and biases` are what some tools count in addition,
    and `comes from` says which of them give the published figure when rounded as it is, or that none does. `GMACs at
    224` and `at 256` are the like-for-like columns: the same clips, all networks at one size.
    """
    rows = []
    for cost in published_costs():
        counted = [cost_of(cost.network, cost.options, segments, cost.size) for segments in cost.segments]
        gmacs, sums = sum(of.gmacs for of in counted), sum(of.neighbour_products for of in counted)
        norms = sum(of.norms + of.biases * cost.network.startswith("tdn_") for of in counted)
        row = {"paper": cost.paper, "method": cost.method, "frames": cost.frames, "network": cost.network}
        row |= {"published GMACs": float(cost.gmacs), "size": cost.size, "GMACs": gmacs, "sums over neighbours": sums}
        row |= {"norms and biases": norms, "comes from": _explain(cost, gmacs, sums, norms)}
        for size in (224, 256):
            row[f"GMACs at {size}"] = sum(cost_of(cost.network, cost.options, t, size).gmacs for t in cost.segments)
        rows.append(row)
    return pd.DataFrame(rows)


def plot_published_costs(table: pd.DataFrame) -> Figure:
    """The difference of each count of `compare_costs` from the published figure, in %: convolutions and linear layers
    alone, with sums over neighbours, with norms and biases too. The bar is the rounding of the published figure."""
    figure, axis = plt.subplots(figsize=(8, 0.2 * len(table) + 1))
    axis.use_sticky_edges = False  # or points at the ends of bars are cut
    rows = np.arange(len(table))[::-1]
    published = table["published GMACs"]
    rounding = 100 * 0.5 * 10.0 ** -published.map(lambda value: len(f"{value:g}".partition(".")[2])) / published
    axis.barh(rows, 2 * rounding, left=-rounding, color="0.85", label="rounds to the published figure")
    sums, norms = table["sums over neighbours"], table["norms and biases"]
    labels = ("convolutions and linear layers", "with sums over neighbours", "with norms and biases")
    for marker, label, more in zip("osD", labels, (0, sums, sums + norms), strict=True):
        axis.scatter(100 * ((table["GMACs"] + more) / published - 1), rows, marker=marker, s=16, label=label)
    axis.set_yticks(rows, table["method"] + ", " + table["frames"] + " (" + table["paper"] + ")", fontsize=7)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set(xlabel="counted against published (%)", ylim=(-1, len(table)))
    axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2)
    return figure


def _explain(cost: PublishedCost, gmacs: float, sums: float, norms: float) -> str:
    published, error = float(cost.gmacs), 10.0 ** -len(cost.gmacs.partition(".")[2]) / 2
    # Figures of more frames are often a multiple of the rounded one of 8 frames.
    times, eight = sum(cost.segments) / 8, round((gmacs + sums) * 8 / sum(cost.segments))
    if abs(gmacs - published) <= error:
        text = "convolutions and linear layers"
    elif abs(gmacs + sums - published) <= error:
        text = "with sums over neighbours"
    elif SYSTEMS[cost.network.rsplit("_", 1)[0]].network is VideoResNet and published == eight * times:
        text = f"{eight} for 8 frames, {times:.0f} times"
    elif abs(gmacs + sums + norms - published) <= error:
        text = "with norms and biases"
    else:
        text = f"not explained: {100 * (gmacs / published - 1):+.1f} %"
    return f"{text}; {cost.note}" if cost.note else text
