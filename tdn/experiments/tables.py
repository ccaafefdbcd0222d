"""Which networks are in which table: of the papers, and of real video. A new row of a table is one line in its list
here: `DIFFERENCE_OPERATOR` and the others below; where it is published, the csv file in paper/ has its name too."""

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from tdn.utils import unknown_name

CSV_FOLDER = Path(__file__).parent / "paper"
FINAL = ("cvpr2021", "eccv2020")  # the editions that are compared with; iclr2021 is TDN's earlier submission


@dataclass(frozen=True)
class Row:
    """One line of a table: its name and its network."""

    name: str
    system: str
    options: dict[str, Any] = field(default_factory=dict)
    times: int = 1  # the profile's segments: 5 for the `++` rows, 2 for 16 frames, 0 for a single frame
    td_lambda: float = 2e-4  # weight of the TD loss of the full-size network, where it has one
    max_seeds: int | None = None  # of the profile's seeds; None for all
    deep: bool = False  # ResNet-101

    def segments(self, num_segments: int) -> int:
        """How many it has where TDN has `num_segments`."""
        return max(self.times * num_segments, 1)


@dataclass(frozen=True)
class Table:
    """A table of the papers. `files` are the csv files that have its published rows: the first that has a row counts.
    `references` are the rows with which the text compares all others, `pairs` what else it compares."""

    title: str
    paper: str  # TDN, TDRL or neither
    rows: list[Row]
    references: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    setting: str = "ssv1"  # data set and recipe, as in `profiles.Profile.settings`
    files: tuple[str, ...] = ()

    def published(self, row: Row, column: str, *editions: str) -> float | None:
        """`top1` (% on Something-Something V1) or `gmacs` of a row in an edition (default: the final one); None where
        it has none."""
        for file in self.files:
            if lines := _by_row(file).get(row.name):
                known = [line.get(column) for line in lines if line["edition"] in (editions or FINAL)]
                return next((float(of) for of in known if not pd.isna(of)), None)
        return None


def published(file: str, *editions: str, **values: str) -> pd.DataFrame:
    """The lines of paper/<file> in these editions (default: the final one) that have these values, all as text."""
    table = _csv(file)
    return table[(table[list(values)] == pd.Series(values)).all(axis=1) & table["edition"].isin(editions or FINAL)]


@functools.cache
def _by_row(file: str) -> dict[str, list[dict[str, str]]]:
    return {row: lines.to_dict("records") for row, lines in _csv(file).groupby("row")}


@functools.cache
def _csv(file: str) -> pd.DataFrame:
    return pd.read_csv(CSV_FOLDER / file, dtype=str).rename(columns={"top1_something_v1": "top1"})


# TDN's ablations -------------------------------------------------------------------------------
DIFFERENCE_OPERATOR = [
    Row("S-TDM concat, L-TDM avg", "tdn", {"s_tdm_input": "concat", "l_tdm_operator": "avg"}),
    Row("S-TDM concat, L-TDM diff", "tdn", {"s_tdm_input": "concat"}),
    Row("S-TDM diff, L-TDM avg", "tdn", {"l_tdm_operator": "avg"}),
    Row("S-TDM diff, L-TDM diff", "tdn"),
]
S_TDM_FUSION = [
    Row("F*H", "tdn", {"s_tdm_fusion": "F*H"}),
    Row("F + F*H", "tdn", {"s_tdm_fusion": "F+F*H"}),
    Row("F + H", "tdn"),
    Row("F*H_channel", "tdn", {"s_tdm_fusion": "F*H_channel"}),
    Row("F + F*H_channel", "tdn", {"s_tdm_fusion": "F+F*H_channel"}),
]
CHANNEL = {"l_tdm_fusion": "F+F*G_channel", "l_tdm_multi_scale": False}
L_TDM_DESIGN = [
    Row("F + G", "tdn", {"l_tdm_fusion": "F+G"}),
    Row("F + F*G_channel, one scale", "tdn", CHANNEL),
    Row("F + F*G, one direction", "tdn", {"l_tdm_bidirectional": False}),
    Row("F + F*G, one scale", "tdn", {"l_tdm_multi_scale": False}),
    Row("F + F*G", "tdn"),
]
NO_TDM = {"s_tdm_stages": (), "l_tdm_stages": ()}  # leaves the temporal convolution in stages 3 to 5
LOCATION = [
    Row("none", "tdn", NO_TDM),
    Row("S-TDM 1, L-TDM 2-5", "tdn", {"s_tdm_stages": (1,), "l_tdm_stages": (2, 3, 4, 5)}),
    Row("S-TDM 1-2, L-TDM 3-5", "tdn"),
    Row("S-TDM 1-3, L-TDM 4-5", "tdn", {"s_tdm_stages": (1, 2, 3), "l_tdm_stages": (4, 5)}),
]
SHORT_VS_LONG = [
    Row("TSN", "tsn"),
    Row("temporal convolution", "tdn", NO_TDM),
    Row("S-TDM in stage 1", "tdn", {"s_tdm_stages": (1,), "l_tdm_stages": ()}),
    Row("S-TDM in stages 1-2", "tdn", {"l_tdm_stages": ()}),
    Row("L-TDM in stages 3-5", "tdn", {"s_tdm_stages": ()}),
    Row("TDN (both)", "tdn"),
]

# TDN and the modules of others -------------------------------------------------------------------
TEMPORAL_MODULES = [
    Row("TSN", "tsn"),
    Row("T-Conv", "tconv"),
    Row("TSM", "tsm"),
    Row("TEINet", "teinet"),
    Row("TEA", "tea"),
    Row("TAM", "tam"),
    Row("STM", "stm"),
    Row("TANet", "tanet"),  # published with more frames only
    Row("T-Conv++", "tconv", times=5, max_seeds=3),
    Row("TSM++", "tsm", times=5, max_seeds=3),
    Row("TEINet++", "teinet", times=5, max_seeds=3),
    Row("TDN", "tdn"),
]

# TDRL --------------------------------------------------------------------------------------------
PEM, TD_LOSS = {"before": ("pem", "tim")}, {"before": ("tim", "td_loss")}
TDRL_TSM = [
    Row("TSM", "tsm"),
    Row("TSM + PEM", "tdrl_tsm", {"before": ("pem", "shift")}),
    Row("TSM + TD loss", "tdrl_tsm", {"before": ("shift", "td_loss")}),
    Row("TSM + PEM + TD loss", "tdrl_tsm"),
]
TDRL_TIM = [
    Row("TIM", "tim"),
    Row("TIM + MEM", "teinet"),
    Row("TIM + PEM", "tdrl", PEM),
    Row("TIM + TD loss", "tdrl", TD_LOSS),
    Row("TIM + PEM + TD loss", "tdrl"),
]
TDRL_SHARE = [
    Row("no TD loss", "tim"),
    Row("TD loss on 25 %", "tdrl", TD_LOSS | {"td_fraction": 0.25}),
    Row("TD loss on 50 %", "tdrl", TD_LOSS),
    Row("TD loss on 75 %", "tdrl", TD_LOSS | {"td_fraction": 0.75}),
    Row("TD loss on 100 %", "tdrl", TD_LOSS | {"td_fraction": 1.0}),
]
TDRL_POSITION = [
    Row("TIM", "tim"),
    Row("PEM before TIM", "tdrl", PEM),
    Row("PEM after TIM", "tdrl", {"before": ("tim", "pem")}),
    Row("TD loss before TIM", "tdrl", {"before": ("td_loss", "tim")}),
    Row("TD loss after TIM", "tdrl", TD_LOSS),
]
TDRL_LAMBDA = [
    Row("lambda 0", "tim"),
    Row("lambda 1e-4", "tdrl", TD_LOSS, td_lambda=1e-4),
    Row("lambda 2e-4", "tdrl", TD_LOSS),
    Row("lambda 3e-4", "tdrl", TD_LOSS, td_lambda=3e-4),
    Row("lambda 4e-4", "tdrl", TD_LOSS, td_lambda=4e-4),
]

# All ablations -----------------------------------------------------------------------------------
BEYOND = [
    Row("TDN", "tdn"),
    Row("TDN + PEM", "tdn", {"before": ("pem",)}),
    Row("TDN + TD loss", "tdn", {"between": ("td_loss",)}),
]

# Controls: what could explain the papers' rows without their modules ----------------------------
EQUAL = {"s_tdm_weights": (0.5, 0.5)}
CONTROLS = [
    Row("TDN", "tdn"),
    Row("TDN, sum of 0.75 F and 0.25 H", "tdn", {"s_tdm_weights": (0.75, 0.25)}),
    Row("TDN, sum of F and H", "tdn", {"s_tdm_weights": (1.0, 1.0)}),
    Row("TDN, 16 frames", "tdn", times=2),  # as released: 0.75 F and 0.25 H
    Row("TDN, 16 frames, sum of 0.5 F and 0.5 H", "tdn", EQUAL, times=2),
    Row("S-TDM in stages 1-2", "tdn", {"l_tdm_stages": ()}),
    Row("temporal convolution", "tdn", NO_TDM),
    Row("temporal convolution on stacked differences", "tdn", NO_TDM | {"stacked": "diff"}),
    Row("temporal convolution on stacked frames", "tdn", NO_TDM | {"stacked": "concat"}),
    Row("2D network on stacked differences", "tsn", {"stacked": "diff"}),
    Row("2D network on stacked frames", "tsn", {"stacked": "concat"}),
    Row("TSN", "tsn"),
    Row("TDN, segments shuffled", "tdn", {"shuffled": True}),
    Row("single frame", "tsn", times=0),
]
# The same two moments are two and three times as many segments apart with 16 and 24 frames.
REACH = [
    Row(name + frames, "tdn", options, times=times, max_seeds=3 if frames else None)
    for frames, times in (("", 1), (", 16 frames", 2), (", 24 frames", 3))
    for name, options in (("temporal convolution", NO_TDM), ("L-TDM in stages 3-5", {"s_tdm_stages": ()}))
]
REACH += [
    Row("temporal convolution, ends repeated", "tdn", NO_TDM | {"repeat_ends": True}, max_seeds=3),
    Row("temporal convolution, deeper, 24 frames", "tdn", NO_TDM, times=3, max_seeds=3, deep=True),
    Row("temporal convolution with gaps, 24 frames", "tdn", NO_TDM | {"dilation": 3}, times=3, max_seeds=3),
]


def _tdn(file: str, title: str, rows: list[Row], *references: str, pairs: tuple[tuple[str, str], ...] = ()) -> Table:
    # STM and TSN have a published top-1 in the table of running times, too.
    return Table(title, "TDN", rows, references, pairs, files=(f"tdn_{file}.csv", "tdn_running_time.csv"))


def _tdrl(title: str, rows: list[Row], *references: str, pairs: tuple[tuple[str, str], ...] = ()) -> Table:
    return Table(title, "TDRL", rows, references, pairs, "tdrl", ("tdrl_ablations.csv",))


SHORT, DIFF = "Short-term against long-term (CVPR 1e, ICLR 1c)", "S-TDM diff, L-TDM diff"
CONCAT = (("S-TDM concat, L-TDM avg", "S-TDM concat, L-TDM diff"),)
ALONE = (("L-TDM in stages 3-5", "S-TDM in stages 1-2"),)
MEM, POSITION = ("TIM + MEM", "TIM + PEM"), ("TD loss before TIM", "TD loss after TIM")
TABLES = {
    "difference_operator": _tdn(
        "difference_operator", "Difference operator (CVPR 1a)", DIFFERENCE_OPERATOR, DIFF, pairs=CONCAT
    ),
    "s_tdm_fusion": _tdn("s_tdm_fusion", "S-TDM fusion (CVPR 1b, ICLR 1a)", S_TDM_FUSION, "F + H"),
    "l_tdm_design": _tdn("l_tdm_design", "L-TDM design (CVPR 1c, ICLR 1b)", L_TDM_DESIGN, "F + F*G"),
    "location": _tdn("location", "Location (CVPR 1d, ICLR 5)", LOCATION, "S-TDM 1-2, L-TDM 3-5"),
    "short_vs_long": _tdn("short_vs_long", SHORT, SHORT_VS_LONG, "temporal convolution", "TDN (both)", pairs=ALONE),
    "temporal_modules": _tdn("temporal_modules", "Temporal modules (CVPR 1f, ICLR 1d)", TEMPORAL_MODULES, "TDN"),
    "tdrl_tsm": _tdrl("Components on TSM (TDRL 3)", TDRL_TSM, "TSM", "TSM + PEM + TD loss"),
    "tdrl_tim": _tdrl("Components on TIM (TDRL 4)", TDRL_TIM, "TIM", "TIM + PEM + TD loss", pairs=(MEM,)),
    "tdrl_share": _tdrl("Fraction of channels in the TD loss (TDRL 5)", TDRL_SHARE, "no TD loss", "TD loss on 50 %"),
    "tdrl_position": _tdrl("Before or after the temporal module (TDRL 6)", TDRL_POSITION, "TIM", pairs=(POSITION,)),
    "tdrl_lambda": _tdrl("Weight of the TD loss (TDRL 7)", TDRL_LAMBDA, "lambda 0", "lambda 2e-4"),
    "beyond": Table("TDN with TDRL's ideas", "neither", BEYOND, ("TDN",)),
    "controls": Table("What makes the difference", "neither", CONTROLS, ("TDN",)),
    "reach": Table("How far a network must see", "neither", REACH, ("temporal convolution",)),
}

# Real video ------------------------------------------------------------------------------------
GESTURES = [
    Row("TSN", "tsn"),
    Row("temporal convolution", "tdn", NO_TDM),
    Row("TSM", "tsm"),
    Row("TEA", "tea"),
    Row("S-TDM", "tdn", {"l_tdm_stages": ()}),
    Row("L-TDM", "tdn", {"s_tdm_stages": ()}),
    Row("TDN", "tdn"),
    # Controls, with the names that they have above.
    Row("single frame", "tsn", times=0),
    Row("TDN, segments shuffled", "tdn", {"shuffled": True}),
    Row("temporal convolution on stacked differences", "tdn", NO_TDM | {"stacked": "diff"}),
    Row("2D network on stacked differences", "tsn", {"stacked": "diff"}),
]
# In no paper, and so no part of TABLES: only the profile that has their setting measures them.
MORE_TABLES = {
    "gestures": Table("Pointing gestures, real video", "neither", GESTURES, ("TDN",), setting="gestures"),
}

# State of the art --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """A table of published results of many networks (CVPR 2 and 3), and the csv file that has them. Our rows are next
    to those of `method`, by backbone and frames."""

    title: str
    file: str
    setting: str
    frames: str = "frames"  # the column that has them
    method: str = "TDN"


COMPARISONS = {
    "something_v1": Comparison("Something-Something V1 (CVPR 2)", "tdn_something_v1.csv", "ssv1"),
    "something_v2": Comparison("Something-Something V2 (CVPR 2)", "tdn_something_v2.csv", "ssv2"),
    "kinetics": Comparison("Kinetics-400 (CVPR 3)", "tdn_kinetics400.csv", "k400", "frames_x_clips_x_crops"),
}
# By backbone and frames as published; 8+16 is the mean of two networks' scores.
OURS = {
    ("ResNet50", "8"): Row("TDN, 8 frames", "tdn"),
    ("ResNet50", "16"): Row("TDN, 16 frames", "tdn", times=2),
    ("ResNet101", "8"): Row("TDN, deeper, 8 frames", "tdn", max_seeds=3, deep=True),
    ("ResNet101", "16"): Row("TDN, deeper, 16 frames", "tdn", times=2, max_seeds=3, deep=True),
}


def get_table(name: str) -> Table:
    """Raises ValueError with the valid names for one that does not exist."""
    known = TABLES | MORE_TABLES
    if name not in known:
        raise ValueError(unknown_name("table", name, known))
    return known[name]
