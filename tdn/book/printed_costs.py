"""The costs that the papers print of this book's networks, beside what is counted here.

Not here: TDN's own forms, which notebook 07 has, and lines that repeat another table's figure or multiply it by views.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from torch import nn

from tdn.experiments.tables import published
from tdn.model.cost import measure_cost, neighbour_products, norms_and_biases
from tdn.model.resnet import VideoResNet
from tdn.model.zoo import SYSTEMS, create_model

V1, MODULES, KINETICS = "tdn_something_v1.csv", "tdn_temporal_modules.csv", "tdn_kinetics400.csv"
TDRL_V1, TDRL_KINETICS = "tdrl_something.csv", "tdrl_kinetics400.csv"


@dataclass(frozen=True)
class Printed:
    """A printed cost: the csv of tdn/paper and the values that pick its line there, and the network that it is of.

    `segments` are the clips that the figure adds up (8 + 16, say); `size` the pixels at which it must have been
    counted, which only TDN's Table 1 says; `note` what explains it where counting does not.
    """

    file: str
    edition: str
    values: Mapping[str, str]
    model: str
    segments: tuple[int, ...]
    size: int = 224
    options: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


def _v1(method: str, frames: str, model: str, *segments: int, edition: str = "cvpr2021", **more: Any) -> Printed:
    backbone = {"backbone": "ResNet101" if "101" in model else "ResNet50"}
    return Printed(V1, edition, {"method": method, "frames": frames} | backbone, model, segments, **more)


def _modules(module: str, frames: str, model: str, edition: str = "cvpr2021", note: str = "") -> Printed:
    return Printed(MODULES, edition, {"module": module, "frames": frames}, model, (int(frames),), note=note)


def _kinetics(method: str, frames: str, model: str, *segments: int, **more: Any) -> Printed:
    values = {"method": method, "frames_x_clips_x_crops": frames}
    if "resnet" in model:
        values["backbone"] = model.split("_")[-1].replace("resnet", "ResNet")
    return Printed(KINETICS, "cvpr2021", values, model, segments, **more)


def _tdrl(file: str, method: str, frames: str, model: str, *segments: int) -> Printed:
    return Printed(file, "eccv2020", {"method": method, "frames": frames}, model, segments)


FOUR_SLOW = {"alpha": 8, "lateral_kernel": 5}
PRINTED = [
    _modules("TSN", "8", "tsn_resnet50", "iclr2021"),
    _modules("T-Conv", "8", "tconv_resnet50", note="only a depthwise convolution comes to this"),
    _modules("T-Conv++", "40", "tconv_resnet50"),
    _modules("TSM", "8", "tsm_resnet50"),
    _modules("TSM++", "40", "tsm_resnet50"),
    _modules("TEINet", "8", "teinet_resnet50"),
    _modules("TEINet++", "40", "teinet_resnet50"),
    _modules("TEA", "8", "tea_resnet50", "iclr2021"),
    _modules("TDM", "8", "tdn_resnet50"),
    _v1("TSM", "16", "tsm_resnet50", 16, edition="iclr2021"),
    _v1("TSM", "8+16", "tsm_resnet50", 8, 16),
    _v1("TEINet", "16", "teinet_resnet50", 16, edition="iclr2021"),
    _v1("TEINet", "8+16", "teinet_resnet50", 8, 16),
    _v1("TANet", "8+16", "tanet_resnet50", 8, 16),
    _v1("TEA", "16", "tea_resnet50", 16),
    _v1("STM", "16x30", "stm_resnet50", 16),
    _v1("I3D", "32x2", "i3d_resnet50", 32, 32, note="an I3D is built in many ways, this one comes nearest"),
    _v1("TDN", "8", "tdn_resnet50", 8),
    _v1("TDN", "16", "tdn_resnet50", 16),
    _v1("TDN", "8+16", "tdn_resnet50", 8, 16),
    _v1("TDN", "8", "tdn_resnet101", 8),
    _v1("TDN", "16", "tdn_resnet101", 16),
    _v1("TDN", "8+16", "tdn_resnet101", 8, 16),
    _kinetics("TSM", "16x10x3", "tsm_resnet50", 16),
    _kinetics("TEINet", "16x10x3", "teinet_resnet50", 16),
    _kinetics("TEA", "16x10x3", "tea_resnet50", 16),
    _kinetics("TANet", "16x4x3", "tanet_resnet50", 16, size=256),
    _kinetics("SlowOnly", "8x10x3", "slowonly_resnet50", 8),
    _kinetics("SlowFast", "(4+32)x10x3", "slowfast_resnet50", 32, size=256, options=FOUR_SLOW),
    _kinetics("SlowFast", "(8+32)x10x3", "slowfast_resnet50", 32, size=256),
    _kinetics("R(2+1)D", "32x10x1", "r2plus1d_resnet34", 32, size=112, note="torchvision's network is 1 % cheaper"),
    _kinetics("S3D-G", "64x10x3", "s3d_inception", 64, note="torchvision's S3D, without the G's gates"),
    _kinetics("TDN", "8x10x3", "tdn_resnet50", 8),
    _kinetics("TDN", "16x10x3", "tdn_resnet50", 16),
    _kinetics("TDN", "(8+16)x10x3", "tdn_resnet50", 8, 16),
    _kinetics("TDN", "8x10x3", "tdn_resnet101", 8),
    _kinetics("TDN", "16x10x3", "tdn_resnet101", 16),
    _kinetics("TDN", "(8+16)x10x3", "tdn_resnet101", 8, 16),
    Printed("tdn_something_v2.csv", "cvpr2021", {"method": "TEINet", "frames": "8+16"}, "teinet_resnet50", (8, 16)),
    _tdrl(TDRL_V1, "TSM", "8", "tsm_resnet50", 8),
    _tdrl(TDRL_V1, "TEINet", "8", "teinet_resnet50", 8),
    _tdrl(TDRL_V1, "TDRL", "8", "tdrl_resnet50", 8),
    _tdrl(TDRL_V1, "TDRL", "16", "tdrl_resnet50", 16),
    _tdrl(TDRL_V1, "TDRL", "8+16", "tdrl_resnet50", 8, 16),
    _tdrl(TDRL_KINETICS, "TDRL", "16", "tdrl_resnet50", 16),
]


def printed_costs() -> pd.DataFrame:
    """A row a printed cost, counted with 174 classes.

    `GMACs` is counted at `size`; `sums over neighbours` and `norms and biases` are what some tools count beside, and
    `comes from` says which of them give the printed figure when rounded as it is, or why none does. `GMACs at 224`
    and `at 256` are the like-for-like columns: the same clips, all networks at one size.
    """
    rows = []
    for entry in PRINTED:
        lines = published(entry.file, entry.edition, **entry.values)
        text = lines["gmacs"].item().split("x")[0]  # "67x30": of one of 30 views
        gmacs = _gmacs(entry, entry.size)
        sums, norms = _beside(entry)
        rows.append(
            {
                "paper": f"{entry.edition}, {lines['paper_table'].item()}",
                "method": next(iter(entry.values.values())),
                "frames": entry.values.get("frames") or entry.values["frames_x_clips_x_crops"],
                "network": entry.model,
                "published GMACs": float(text),
                "size": entry.size,
                "GMACs": gmacs,
                "sums over neighbours": sums,
                "norms and biases": norms,
                "comes from": _explain(entry, text, gmacs, sums, norms),
                "GMACs at 224": _gmacs(entry, 224),
                "GMACs at 256": _gmacs(entry, 256),
            }
        )
    return pd.DataFrame(rows)


def _explain(entry: Printed, text: str, gmacs: float, sums: float, norms: float) -> str:
    printed, unit = float(text), 10.0 ** -len(text.partition(".")[2])

    def agrees(value: float) -> bool:
        return abs(value - printed) <= unit / 2

    note = f"; {entry.note}" if entry.note else ""
    if agrees(gmacs):
        return "convolutions and linear layers" + note
    if agrees(gmacs + sums):
        return "with sums over neighbours" + note
    # Figures of more frames are often the rounded one of 8 frames, so many times.
    times, eight = sum(entry.segments) / 8, round((gmacs + sums) * 8 / sum(entry.segments))
    if SYSTEMS[entry.model.rsplit("_", 1)[0]].network is VideoResNet and printed == eight * times:
        return f"{eight} for 8 frames, {times:.0f} times" + note
    if agrees(gmacs + sums + norms):
        return "with norms and biases" + note
    return f"not explained: {100 * (gmacs / printed - 1):+.1f} %" + note


def _gmacs(entry: Printed, size: int) -> float:
    return sum(_clip_gmacs(entry.model, tuple(entry.options.items()), t, size) for t in entry.segments)


def _beside(entry: Printed) -> tuple[float, float]:
    """Sums over neighbours, norms and biases."""
    clips = [_clip_beside(entry.model, tuple(entry.options.items()), t, entry.size) for t in entry.segments]
    sums, norms = zip(*clips, strict=True)
    return sum(sums), sum(norms)


@functools.lru_cache
def _clip_gmacs(name: str, options: tuple[tuple[str, Any], ...], segments: int, size: int) -> float:
    return measure_cost(_network(name, options, segments), size).gmacs


@functools.lru_cache
def _clip_beside(name: str, options: tuple[tuple[str, Any], ...], segments: int, size: int) -> tuple[float, float]:
    model = _network(name, options, segments)
    return neighbour_products(model, size), norms_and_biases(model, size, biases=name.startswith("tdn_"))


@functools.lru_cache
def _network(name: str, options: tuple[tuple[str, Any], ...], segments: int) -> nn.Module:
    with torch.device("meta"):
        return create_model(name, num_segments=segments, **dict(options))
