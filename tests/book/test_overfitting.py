"""The gap between training and validation, and differences by family: against their definitions."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from helpers.reference import stored
from scipy import stats

from tdn.book import overfitting, report
from tdn.book.intervals import Family
from tdn.book.lines import Line
from tdn.experiments.tables import BEYOND, TABLES, TDRL_TIM


def line(row, table, **top1_of_seeds):
    """A row with (training, validation) top-1 in % by seed."""
    results = [
        SimpleNamespace(manifest={"seed": int(seed[1:])}, metrics={"train_top1": train / 100, "top1": validation / 100})
        for seed, (train, validation) in top1_of_seeds.items()
    ]
    return Line(row, results, table=TABLES[table])


def test_gaps_are_compared_with_the_reference_of_their_table_seed_by_seed():
    tim, mem, pem, loss, both = TDRL_TIM
    lines = [
        line(tim, "tdrl_tim", s0=(90, 70), s1=(80, 50), s2=(95, 70)),  # gaps 20, 30, 25
        line(mem, "tdrl_tim", s0=(90, 71)),
        line(pem, "tdrl_tim"),
        line(loss, "tdrl_tim", s2=(85, 76), s1=(78, 60), s0=(80, 75), s3=(50, 0)),  # 9, 18, 5; 50 without a partner
        line(both, "tdrl_tim", s0=(95, 60), s1=(80, 49)),  # 35, 31: 15 and 1 more
        line(BEYOND[0], "beyond", s0=(40, 60)),
    ]
    gaps = overfitting.gap_table(lines)
    verdicts = ["reference", "inconclusive", "not run", "lowers the gap", "inconclusive", "reference"]
    assert gaps["verdict"].tolist() == verdicts and gaps["seeds"].tolist() == [3, 1, 0, 4, 2, 1]
    assert gaps["gap"].tolist() == pytest.approx([25, 19, np.nan, 20.5, 33, -20], nan_ok=True)
    more = np.array([5 - 20, 18 - 30, 9 - 25])
    assert gaps["vs reference"].tolist() == pytest.approx([np.nan, -1, np.nan, more.mean(), 8, np.nan], nan_ok=True)
    half = stats.t.ppf(0.975, 2) * more.std(ddof=1) / np.sqrt(3)
    assert gaps.loc[3, "±"] == pytest.approx(half) and gaps.loc[[0, 1, 2, 5], "±"].isna().all()
    text = overfitting.findings(gaps)
    assert "TIM gets 88.3 % of the training clips and 63.3 % of the validation videos right" in text
    assert f"Lowers the gap, 1 of 3: TIM + TD loss ({more.mean():+.1f} ± {half:.1f})." in text
    assert "TIM + MEM (-1.0), TIM + PEM + TD loss (+8.0 ± " in text and "no overfitting that could be lowered" in text
    assert len(overfitting.plot_gaps(gaps).axes) == 2
    absent = overfitting.gap_table([line(row, "beyond") for row in BEYOND])
    assert (
        set(absent["verdict"]) == {"not run"} and overfitting.findings(absent) == "" and overfitting.plot_gaps(absent)
    )


def test_families_are_compared_and_sorted_by_their_camera(tmp_path):
    """TDN + PEM gets right what has a label below 9, TDN the rest: +100 points in one family, -100 in the other."""
    labels, rows = np.arange(180) % 18, {}
    for row, correct in zip(BEYOND, (labels >= 9, labels < 9), strict=False):
        rows[row.name] = Line(row, [stored(tmp_path / row.name, correct)], table=TABLES["beyond"])
    pair, absent = tuple(rows.values()), Line(BEYOND[2], [])
    families = [Family("short", tuple(range(9))), Family("order", tuple(range(9, 18)))]
    table = report.family_table([pair, (pair[0], absent)], families)
    assert table["points"].tolist() == pytest.approx([100, -100]) and table["verdict"].tolist() == ["better", "worse"]
    moving, still = report.family_findings(table).splitlines()
    assert moving.startswith(
        "- Where the camera pans and sways: better in 1 of 1 differences (TDN + PEM vs. TDN in *short*)"
    )
    assert still.startswith("- Where the camera stands still: better in 0 of 1 differences; worse in 1 of 1")
    assert report.family_table([pair], []).empty and report.family_findings(pd.DataFrame()) == ""
