"""The published costs of this book's networks, and what is counted here.

They are the rows of the csv files in experiments/paper that name a network. Not among them: TDN's own forms, which
notebook 07 has, and rows that repeat another table's figure or multiply it by views.
"""

import functools
from dataclasses import dataclass

import pandas as pd
import torch
from torch import nn

from tdn.experiments.tables import CSV_FOLDER
from tdn.model.cost import measure_cost, neighbour_products, norms_and_biases
from tdn.model.resnet import VideoResNet
from tdn.model.zoo import SYSTEMS, create_model

FILES = (
    "tdn_temporal_modules.csv",
    "tdn_something_v1.csv",
    "tdn_kinetics400.csv",
    "tdn_something_v2.csv",
    "tdrl_something.csv",
    "tdrl_kinetics400.csv",
)


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
    options: tuple[tuple[str, int], ...]
    note: str


def published_costs() -> list[PublishedCost]:
    """The published costs, in the order of the files."""
    costs = []
    for file in FILES:
        lines = pd.read_csv(CSV_FOLDER / file, dtype=str, keep_default_na=False)
        for line in lines[lines["network"] != ""].to_dict("records"):
            options = (option.split("=") for option in line["network_options"].split())
            costs.append(
                PublishedCost(
                    paper=f"{line['edition']}, {line['paper_table']}",
                    method=line.get("method") or line["module"],
                    frames=line.get("frames") or line["frames_x_clips_x_crops"],
                    gmacs=line["gmacs"].split("x")[0],  # "67x30": of one of 30 views
                    network=line["network"],
                    segments=tuple(map(int, line["segments"].split("+"))),
                    size=int(line["counted_at"]),
                    options=tuple((name, int(value)) for name, value in options),
                    note=line["cost_note"],
                )
            )
    return costs


def compare_costs() -> pd.DataFrame:
    """One row per published cost, counted with 174 classes.

    `GMACs` is counted at `size`; `sums over neighbours` and `norms and biases` are what some tools count in addition,
    and `comes from` says which of them give the published figure when rounded as it is, or that none does. `GMACs at
    224` and `at 256` are the like-for-like columns: the same clips, all networks at one size.
    """
    rows = []
    for cost in published_costs():
        counted = [_count(cost.network, cost.options, segments, cost.size) for segments in cost.segments]
        gmacs, sums, norms = (sum(values) for values in zip(*counted, strict=True))
        rows.append(
            {
                "paper": cost.paper,
                "method": cost.method,
                "frames": cost.frames,
                "network": cost.network,
                "published GMACs": float(cost.gmacs),
                "size": cost.size,
                "GMACs": gmacs,
                "sums over neighbours": sums,
                "norms and biases": norms,
                "comes from": _explain(cost, gmacs, sums, norms),
                "GMACs at 224": sum(_gmacs(cost.network, cost.options, t, 224) for t in cost.segments),
                "GMACs at 256": sum(_gmacs(cost.network, cost.options, t, 256) for t in cost.segments),
            }
        )
    return pd.DataFrame(rows)


def _explain(cost: PublishedCost, gmacs: float, sums: float, norms: float) -> str:
    published, unit = float(cost.gmacs), 10.0 ** -len(cost.gmacs.partition(".")[2])

    def agrees(value: float) -> bool:
        return abs(value - published) <= unit / 2

    note = f"; {cost.note}" if cost.note else ""
    if agrees(gmacs):
        return "convolutions and linear layers" + note
    if agrees(gmacs + sums):
        return "with sums over neighbours" + note
    # Figures of more frames are often a multiple of the rounded one of 8 frames.
    times, eight = sum(cost.segments) / 8, round((gmacs + sums) * 8 / sum(cost.segments))
    if SYSTEMS[cost.network.rsplit("_", 1)[0]].network is VideoResNet and published == eight * times:
        return f"{eight} for 8 frames, {times:.0f} times" + note
    if agrees(gmacs + sums + norms):
        return "with norms and biases" + note
    return f"not explained: {100 * (gmacs / published - 1):+.1f} %" + note


@functools.lru_cache
def _count(name: str, options: tuple[tuple[str, int], ...], segments: int, size: int) -> tuple[float, float, float]:
    """GMACs, sums over neighbours, norms and biases."""
    model = _network(name, options, segments)
    norms = norms_and_biases(model, size, biases=name.startswith("tdn_"))
    return _gmacs(name, options, segments, size), neighbour_products(model, size), norms


@functools.lru_cache
def _gmacs(name: str, options: tuple[tuple[str, int], ...], segments: int, size: int) -> float:
    return measure_cost(_network(name, options, segments), size).gmacs


@functools.lru_cache
def _network(name: str, options: tuple[tuple[str, int], ...], segments: int) -> nn.Module:
    with torch.device("meta"):
        return create_model(name, num_segments=segments, **dict(options))
