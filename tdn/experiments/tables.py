"""Which networks stand in which table of the papers. A new row of a table is one line in its list here:
`DIFFERENCE_OPERATOR` and the others below."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from tdn.utils import unknown_name

PAPER = Path(__file__).parent / "paper"
FINAL = ("cvpr2021", "eccv2020")  # the editions that are compared with; iclr2021 is TDN's earlier submission


@dataclass(frozen=True)
class Row:
    """One line of a table: what it is called, which network it is, and where it stands in the paper.

    `published` names the csv of tdn/paper and the values that pick its line there. `times` is 5 for the `++` rows,
    which read five times the segments, 2 for 16 frames. `deep` is ResNet-101. `td_lambda` weighs the TD loss of the
    full-size network, where it has one.
    `max_seeds` is how many of the profile's seeds the row is trained with, at most; None for all.
    """

    name: str
    system: str
    options: dict[str, Any] = field(default_factory=dict)
    published: tuple[str, dict[str, str]] | None = None
    times: int = 1
    td_lambda: float = 2e-4
    max_seeds: int | None = None
    deep: bool = False

    def printed(self, column: str, *editions: str) -> str | None:
        """`top1` (% on Something-Something V1) or `gmacs` as an edition prints it (the final one unless told); None
        where it does not."""
        if self.published is None:
            return None
        file, values = self.published
        lines = published(file, *editions, **values).rename(columns={"top1_something_v1": "top1"})
        return lines[column].item() if column in lines and len(lines) else None

    def published_as(self, column: str, *editions: str) -> float | None:
        """`printed`, as a number."""
        text = self.printed(column, *editions)
        return None if text is None or pd.isna(text) else float(text)


def published(file: str, *editions: str, **values: str) -> pd.DataFrame:
    """The lines of tdn/paper/<file> in these editions (the final one unless told) that have these values, all as
    text."""
    table = pd.read_csv(PAPER / file, dtype=str)
    return table[(table[list(values)] == pd.Series(values)).all(axis=1) & table.edition.isin(editions or FINAL)]


# TDN's ablations -------------------------------------------------------------------------------


def _1a(s_tdm: str, l_tdm: str) -> tuple[str, dict[str, str]]:
    return "tdn_difference_operator.csv", {"s_tdm": s_tdm, "l_tdm": l_tdm}


def _1b(formula: str) -> tuple[str, dict[str, str]]:
    return "tdn_s_tdm_fusion.csv", {"formula": formula}


def _1c(formula: str, multi_scale: str = "yes", bidirectional: str = "yes") -> tuple[str, dict[str, str]]:
    values = {"formula": formula, "multi_scale": multi_scale, "bidirectional": bidirectional}
    return "tdn_l_tdm_design.csv", values


def _1d(s_tdm: str, l_tdm: str) -> tuple[str, dict[str, str]]:
    return "tdn_location.csv", {"s_tdm_stages": s_tdm, "l_tdm_stages": l_tdm}


def _1e(s_tdm: str, l_tdm: str) -> tuple[str, dict[str, str]]:
    return "tdn_short_vs_long.csv", {"s_tdm_stages": s_tdm, "l_tdm_stages": l_tdm}


DIFFERENCE_OPERATOR = [
    Row("S-TDM concat, L-TDM avg", "tdn", {"s_tdm_input": "concat", "l_tdm_operator": "avg"}, _1a("concat", "avg")),
    Row("S-TDM concat, L-TDM diff", "tdn", {"s_tdm_input": "concat"}, _1a("concat", "diff")),
    Row("S-TDM diff, L-TDM avg", "tdn", {"l_tdm_operator": "avg"}, _1a("diff", "avg")),
    Row("S-TDM diff, L-TDM diff", "tdn", published=_1a("diff", "diff")),
]
S_TDM_FUSION = [
    Row("F*H", "tdn", {"s_tdm_fusion": "F*H"}, _1b("F*H")),
    Row("F + F*H", "tdn", {"s_tdm_fusion": "F+F*H"}, _1b("F+F*H")),
    Row("F + H", "tdn", published=_1b("F+H")),
    Row("F*H_channel", "tdn", {"s_tdm_fusion": "F*H_channel"}, _1b("F*H_channel")),
    Row("F + F*H_channel", "tdn", {"s_tdm_fusion": "F+F*H_channel"}, _1b("F+F*H_channel")),
]
CHANNEL = {"l_tdm_fusion": "F+F*G_channel", "l_tdm_multi_scale": False}
L_TDM_DESIGN = [
    Row("F + G", "tdn", {"l_tdm_fusion": "F+G"}, _1c("F+G")),
    Row("F + F*G_channel, one scale", "tdn", CHANNEL, _1c("F+F*G_channel", multi_scale="no")),
    Row("F + F*G, one direction", "tdn", {"l_tdm_bidirectional": False}, _1c("F+F*G", bidirectional="no")),
    Row("F + F*G, one scale", "tdn", {"l_tdm_multi_scale": False}, _1c("F+F*G", multi_scale="no")),
    Row("F + F*G", "tdn", published=_1c("F+F*G")),
]
NO_TDM = {"s_tdm_stages": (), "l_tdm_stages": ()}  # the temporal convolution in stages 3 to 5 is left
LOCATION = [
    Row("none", "tdn", NO_TDM, _1d("-", "-")),
    Row("S-TDM 1, L-TDM 2-5", "tdn", {"s_tdm_stages": (1,), "l_tdm_stages": (2, 3, 4, 5)}, _1d("1", "2-5")),
    Row("S-TDM 1-2, L-TDM 3-5", "tdn", published=_1d("1-2", "3-5")),
    Row("S-TDM 1-3, L-TDM 4-5", "tdn", {"s_tdm_stages": (1, 2, 3), "l_tdm_stages": (4, 5)}, _1d("1-3", "4-5")),
]
SHORT_VS_LONG = [
    Row("TSN", "tsn", published=("tdn_running_time.csv", {"method": "TSN"})),
    Row("temporal convolution", "tdn", NO_TDM, _1e("-", "-")),
    Row("S-TDM in stage 1", "tdn", {"s_tdm_stages": (1,), "l_tdm_stages": ()}, _1e("conv1", "-")),
    Row("S-TDM in stages 1-2", "tdn", {"l_tdm_stages": ()}, _1e("conv1+res2", "-")),
    Row("L-TDM in stages 3-5", "tdn", {"s_tdm_stages": ()}, _1e("-", "res3+res4+res5")),
    Row("TDN (both)", "tdn", published=_1e("conv1+res2", "res3+res4+res5")),
]

# TDN and the modules of others -------------------------------------------------------------------


def _1f(module: str) -> tuple[str, dict[str, str]]:
    return "tdn_temporal_modules.csv", {"module": module}


TEMPORAL_MODULES = [
    Row("TSN", "tsn", published=_1f("TSN")),
    Row("T-Conv", "tconv", published=_1f("T-Conv")),
    Row("TSM", "tsm", published=_1f("TSM")),
    Row("TEINet", "teinet", published=_1f("TEINet")),
    Row("TEA", "tea", published=_1f("TEA")),
    Row("TAM", "tam", published=_1f("TAM")),
    Row("STM", "stm", published=("tdn_running_time.csv", {"method": "STM"}), max_seeds=1),
    Row("TANet", "tanet", max_seeds=1),  # no table has it with 8 frames
    Row("T-Conv++", "tconv", published=_1f("T-Conv++"), times=5, max_seeds=1),
    Row("TSM++", "tsm", published=_1f("TSM++"), times=5, max_seeds=1),
    Row("TEINet++", "teinet", published=_1f("TEINet++"), times=5, max_seeds=1),
    Row("TDN", "tdn", published=_1f("TDM")),
]


# TDRL --------------------------------------------------------------------------------------------


def _tdrl(table: int, variant: str) -> tuple[str, dict[str, str]]:
    return "tdrl_ablations.csv", {"paper_table": str(table), "variant": variant}


def _blocks(*modules: str, **options: Any) -> dict[str, Any]:
    return {"before": modules, **options}


TDRL_TSM = [
    Row("TSM", "tsm", published=_tdrl(3, "baseline")),
    Row("TSM + PEM", "tdrl_tsm", _blocks("pem", "shift"), _tdrl(3, "+PEM"), max_seeds=1),
    Row("TSM + TD loss", "tdrl_tsm", _blocks("shift", "td_loss"), _tdrl(3, "+TDLoss"), max_seeds=1),
    Row("TSM + PEM + TD loss", "tdrl_tsm", published=_tdrl(3, "+PEM+TDLoss"), max_seeds=1),
]
PEM, TD_LOSS = _blocks("pem", "tim"), _blocks("tim", "td_loss")
TDRL_TIM = [
    Row("TIM", "tim", published=_tdrl(4, "baseline")),
    Row("TIM + MEM", "teinet", published=_tdrl(4, "+MEM")),
    Row("TIM + PEM", "tdrl", PEM, _tdrl(4, "+PEM"), max_seeds=1),
    Row("TIM + TD loss", "tdrl", TD_LOSS, _tdrl(4, "+TDLoss"), max_seeds=1),
    Row("TIM + PEM + TD loss", "tdrl", published=_tdrl(4, "+PEM+TDLoss"), max_seeds=1),
]
TDRL_SHARE = [
    Row("no TD loss", "tim", published=_tdrl(5, "0%")),
    Row("TD loss on 25 %", "tdrl", TD_LOSS | {"td_fraction": 0.25}, _tdrl(5, "25%"), max_seeds=1),
    Row("TD loss on 50 %", "tdrl", TD_LOSS, _tdrl(5, "50%"), max_seeds=1),
    Row("TD loss on 75 %", "tdrl", TD_LOSS | {"td_fraction": 0.75}, _tdrl(5, "75%"), max_seeds=1),
    Row("TD loss on 100 %", "tdrl", TD_LOSS | {"td_fraction": 1.0}, _tdrl(5, "100%"), max_seeds=1),
]
TDRL_POSITION = [
    Row("TIM", "tim", published=_tdrl(6, "TM only")),
    Row("PEM before TIM", "tdrl", PEM, _tdrl(6, "PEM before TM"), max_seeds=1),
    Row("PEM after TIM", "tdrl", _blocks("tim", "pem"), _tdrl(6, "PEM after TM"), max_seeds=1),
    Row("TD loss before TIM", "tdrl", _blocks("td_loss", "tim"), _tdrl(6, "TDLoss before TM"), max_seeds=1),
    Row("TD loss after TIM", "tdrl", TD_LOSS, _tdrl(6, "TDLoss after TM"), max_seeds=1),
]
TDRL_LAMBDA = [
    Row("lambda 0", "tim", published=_tdrl(7, "0")),
    Row("lambda 1e-4", "tdrl", TD_LOSS, _tdrl(7, "1e-4"), td_lambda=1e-4, max_seeds=1),
    Row("lambda 2e-4", "tdrl", TD_LOSS, _tdrl(7, "2e-4"), max_seeds=1),
    Row("lambda 3e-4", "tdrl", TD_LOSS, _tdrl(7, "3e-4"), td_lambda=3e-4, max_seeds=1),
    Row("lambda 4e-4", "tdrl", TD_LOSS, _tdrl(7, "4e-4"), td_lambda=4e-4, max_seeds=1),
]


# Beyond both papers ------------------------------------------------------------------------------

BEYOND = [
    Row("TDN", "tdn"),
    Row("TDN + PEM", "tdn", {"before": ("pem",)}),
    Row("TDN + TD loss", "tdn", {"between": ("td_loss",)}),
]


@dataclass(frozen=True)
class Table:
    """A table of the papers; `references` are the rows with which the text compares all others, `pairs` what else it
    compares, `setting` names the data set and recipe (`profiles.Profile.settings`)."""

    title: str
    paper: str  # TDN, TDRL or neither
    rows: list[Row]
    references: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    setting: str = "ssv1"


TABLES = {
    "difference_operator": Table(
        "Difference operator (CVPR 1a)", "TDN", DIFFERENCE_OPERATOR, ("S-TDM diff, L-TDM diff",)
    ),
    "s_tdm_fusion": Table("S-TDM fusion (CVPR 1b, ICLR 1a)", "TDN", S_TDM_FUSION, ("F + H",)),
    "l_tdm_design": Table("L-TDM design (CVPR 1c, ICLR 1b)", "TDN", L_TDM_DESIGN, ("F + F*G",)),
    "location": Table("Location (CVPR 1d, ICLR 5)", "TDN", LOCATION, ("S-TDM 1-2, L-TDM 3-5",)),
    "short_vs_long": Table(
        "Short-term against long-term (CVPR 1e, ICLR 1c)", "TDN", SHORT_VS_LONG, ("temporal convolution", "TDN (both)")
    ),
    "temporal_modules": Table(
        "Temporal modules (CVPR 1f, ICLR 1d)",
        "TDN",
        TEMPORAL_MODULES,
        ("TDN",),
    ),
    "tdrl_tsm": Table("Components on TSM (TDRL 3)", "TDRL", TDRL_TSM, ("TSM", "TSM + PEM + TD loss"), setting="tdrl"),
    "tdrl_tim": Table(
        "Components on TIM (TDRL 4)",
        "TDRL",
        TDRL_TIM,
        ("TIM", "TIM + PEM + TD loss"),
        (("TIM + MEM", "TIM + PEM"),),
        "tdrl",
    ),
    "tdrl_share": Table(
        "Share of channels in the TD loss (TDRL 5)",
        "TDRL",
        TDRL_SHARE,
        ("no TD loss", "TD loss on 50 %"),
        setting="tdrl",
    ),
    "tdrl_position": Table(
        "Before or after the temporal module (TDRL 6)",
        "TDRL",
        TDRL_POSITION,
        ("TIM",),
        (("TD loss before TIM", "TD loss after TIM"),),
        "tdrl",
    ),
    "tdrl_lambda": Table(
        "Weight of the TD loss (TDRL 7)", "TDRL", TDRL_LAMBDA, ("lambda 0", "lambda 2e-4"), setting="tdrl"
    ),
    "beyond": Table("TDN with TDRL's ideas", "neither", BEYOND, ("TDN",)),
}


# State of the art ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """A table of published results of many (CVPR 2 and 3) and the file of tdn/paper that has them; our rows stand
    beside those of `method`, by backbone and frames."""

    title: str
    file: str
    setting: str
    frames: str = "frames"  # the column that says them
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
