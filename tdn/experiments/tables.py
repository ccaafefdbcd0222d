"""Which networks are in which table of the papers. A new row of a table is one line in its list here:
`DIFFERENCE_OPERATOR` and the others below; where it is published, the csv file in paper/ has its name too."""

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
    times: int = 1  # 5 for the `++` rows, which read five times the segments, 2 for 16 frames
    td_lambda: float = 2e-4  # weight of the TD loss of the full-size network, where it has one
    max_seeds: int | None = None  # of the profile's seeds; None for all
    deep: bool = False  # ResNet-101


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
            lines = _csv(file)
            lines = lines[lines["row"] == row.name]
            if len(lines):
                lines = lines[lines["edition"].isin(editions or FINAL)]
                known = lines[column].dropna() if column in lines else ()
                return float(known.iloc[0]) if len(known) else None
        return None


def published(file: str, *editions: str, **values: str) -> pd.DataFrame:
    """The lines of paper/<file> in these editions (default: the final one) that have these values, all as text."""
    table = _csv(file)
    return table[(table[list(values)] == pd.Series(values)).all(axis=1) & table["edition"].isin(editions or FINAL)]


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
    Row("STM", "stm", max_seeds=1),
    Row("TANet", "tanet", max_seeds=1),  # published with more frames only
    Row("T-Conv++", "tconv", times=5, max_seeds=1),
    Row("TSM++", "tsm", times=5, max_seeds=1),
    Row("TEINet++", "teinet", times=5, max_seeds=1),
    Row("TDN", "tdn"),
]

# TDRL --------------------------------------------------------------------------------------------
PEM, TD_LOSS = {"before": ("pem", "tim")}, {"before": ("tim", "td_loss")}
TDRL_TSM = [
    Row("TSM", "tsm"),
    Row("TSM + PEM", "tdrl_tsm", {"before": ("pem", "shift")}, max_seeds=1),
    Row("TSM + TD loss", "tdrl_tsm", {"before": ("shift", "td_loss")}, max_seeds=1),
    Row("TSM + PEM + TD loss", "tdrl_tsm", max_seeds=1),
]
TDRL_TIM = [
    Row("TIM", "tim"),
    Row("TIM + MEM", "teinet"),
    Row("TIM + PEM", "tdrl", PEM, max_seeds=1),
    Row("TIM + TD loss", "tdrl", TD_LOSS, max_seeds=1),
    Row("TIM + PEM + TD loss", "tdrl", max_seeds=1),
]
TDRL_SHARE = [
    Row("no TD loss", "tim"),
    Row("TD loss on 25 %", "tdrl", TD_LOSS | {"td_fraction": 0.25}, max_seeds=1),
    Row("TD loss on 50 %", "tdrl", TD_LOSS, max_seeds=1),
    Row("TD loss on 75 %", "tdrl", TD_LOSS | {"td_fraction": 0.75}, max_seeds=1),
    Row("TD loss on 100 %", "tdrl", TD_LOSS | {"td_fraction": 1.0}, max_seeds=1),
]
TDRL_POSITION = [
    Row("TIM", "tim"),
    Row("PEM before TIM", "tdrl", PEM, max_seeds=1),
    Row("PEM after TIM", "tdrl", {"before": ("tim", "pem")}, max_seeds=1),
    Row("TD loss before TIM", "tdrl", {"before": ("td_loss", "tim")}, max_seeds=1),
    Row("TD loss after TIM", "tdrl", TD_LOSS, max_seeds=1),
]
TDRL_LAMBDA = [
    Row("lambda 0", "tim"),
    Row("lambda 1e-4", "tdrl", TD_LOSS, td_lambda=1e-4, max_seeds=1),
    Row("lambda 2e-4", "tdrl", TD_LOSS, max_seeds=1),
    Row("lambda 3e-4", "tdrl", TD_LOSS, td_lambda=3e-4, max_seeds=1),
    Row("lambda 4e-4", "tdrl", TD_LOSS, td_lambda=4e-4, max_seeds=1),
]

# All ablations -----------------------------------------------------------------------------------
BEYOND = [
    Row("TDN", "tdn"),
    Row("TDN + PEM", "tdn", {"before": ("pem",)}),
    Row("TDN + TD loss", "tdn", {"between": ("td_loss",)}),
]


def _tdn(file: str, title: str, rows: list[Row], *references: str) -> Table:
    # STM and TSN have a published top-1 in the table of running times, too.
    return Table(title, "TDN", rows, references, files=(f"tdn_{file}.csv", "tdn_running_time.csv"))


def _tdrl(title: str, rows: list[Row], *references: str, pairs: tuple[tuple[str, str], ...] = ()) -> Table:
    return Table(title, "TDRL", rows, references, pairs, "tdrl", ("tdrl_ablations.csv",))


SHORT, DIFF = "Short-term against long-term (CVPR 1e, ICLR 1c)", "S-TDM diff, L-TDM diff"
MEM, POSITION = ("TIM + MEM", "TIM + PEM"), ("TD loss before TIM", "TD loss after TIM")
TABLES = {
    "difference_operator": _tdn("difference_operator", "Difference operator (CVPR 1a)", DIFFERENCE_OPERATOR, DIFF),
    "s_tdm_fusion": _tdn("s_tdm_fusion", "S-TDM fusion (CVPR 1b, ICLR 1a)", S_TDM_FUSION, "F + H"),
    "l_tdm_design": _tdn("l_tdm_design", "L-TDM design (CVPR 1c, ICLR 1b)", L_TDM_DESIGN, "F + F*G"),
    "location": _tdn("location", "Location (CVPR 1d, ICLR 5)", LOCATION, "S-TDM 1-2, L-TDM 3-5"),
    "short_vs_long": _tdn("short_vs_long", SHORT, SHORT_VS_LONG, "temporal convolution", "TDN (both)"),
    "temporal_modules": _tdn("temporal_modules", "Temporal modules (CVPR 1f, ICLR 1d)", TEMPORAL_MODULES, "TDN"),
    "tdrl_tsm": _tdrl("Components on TSM (TDRL 3)", TDRL_TSM, "TSM", "TSM + PEM + TD loss"),
    "tdrl_tim": _tdrl("Components on TIM (TDRL 4)", TDRL_TIM, "TIM", "TIM + PEM + TD loss", pairs=(MEM,)),
    "tdrl_share": _tdrl("Share of channels in the TD loss (TDRL 5)", TDRL_SHARE, "no TD loss", "TD loss on 50 %"),
    "tdrl_position": _tdrl("Before or after the temporal module (TDRL 6)", TDRL_POSITION, "TIM", pairs=(POSITION,)),
    "tdrl_lambda": _tdrl("Weight of the TD loss (TDRL 7)", TDRL_LAMBDA, "lambda 0", "lambda 2e-4"),
    "beyond": Table("TDN with TDRL's ideas", "neither", BEYOND, ("TDN",)),
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
    ("ResNet50", "16"): Row("TDN, 16 frames", "tdn", times=2, max_seeds=1),
    ("ResNet101", "8"): Row("TDN, deeper, 8 frames", "tdn", max_seeds=1, deep=True),
    ("ResNet101", "16"): Row("TDN, deeper, 16 frames", "tdn", times=2, max_seeds=1, deep=True),
}


def get_table(name: str) -> Table:
    """Raises ValueError with the valid names for one that does not exist."""
    if name not in TABLES:
        raise ValueError(unknown_name("table", name, TABLES))
    return TABLES[name]
