"""Intervals and verdicts against their definitions."""

import numpy as np
import pytest
from helpers.reference import stored
from scipy import stats

from tdn.book import intervals as statistics
from tdn.book.lines import Line
from tdn.experiments import runs
from tdn.experiments.profiles import PROFILES
from tdn.experiments.tables import TABLES, Row


def line(results, published="diff"):
    values = {"s_tdm": published, "l_tdm": "avg"}
    return Line(Row("row", "tdn", published=("tdn_difference_operator.csv", values)), results, 33.0, 24.0)


def test_wilson_interval():
    assert statistics.wilson(0.8, 10) == pytest.approx((0.490, 0.943), abs=1e-3)
    assert statistics.wilson(0.0, 50)[0] == 0
    low, high = statistics.wilson(0.5, 10_000)
    assert high - low == pytest.approx(2 * 1.96 * 0.005, rel=1e-2)


def test_difference_is_paired_by_video(tmp_path):
    first = stored(tmp_path / "a", [1, 1, 0, 0, 1, 0, 0, 0, 1, 0] * 10)
    second = stored(tmp_path / "b", [1, 1, 1, 0, 0, 1, 0, 1, 1, 0] * 10, order=np.arange(100)[::-1])
    points, half = statistics.difference([first], [second])
    assert points == pytest.approx(20)  # 30 videos gained, 10 lost
    assert half == pytest.approx(100 * 1.96 * np.sqrt((0.4 - 0.04) / 99), rel=1e-3)
    assert statistics.difference([first], [first]) == (0, 0)
    points, _ = statistics.difference([first, second], [second, second])
    assert points == pytest.approx(10), "over seeds, the mean"


def test_verdicts():
    assert statistics.verdict(3.0, 2.9) == "better"
    assert statistics.verdict(-3.0, 2.9) == "worse"
    assert statistics.verdict(2.9, 3.0) == statistics.verdict(0, 0) == "indistinguishable"


def test_seed_error_is_pooled_over_networks(tmp_path):
    """Two networks of three seeds, standard deviations of 1 and 2 points, and one of a single seed."""
    shares = [[49, 50, 51], [58, 60, 62], [90]]
    lines = [line([stored(tmp_path / str(n), np.arange(100) < n) for n in row]) for row in shares]
    expected = stats.t.ppf(0.975, 4) * np.sqrt((1**2 + 2**2) / 2)
    assert statistics.pooled_error([line.results for line in lines]) == pytest.approx(expected)
    assert statistics.pooled_error([lines[2].results]) == 0, "not known from one seed"

    points, half = statistics.difference(lines[0].results, lines[1].results, expected)
    _, videos = statistics.difference(lines[0].results, lines[1].results)
    assert points == pytest.approx(10)
    assert half == pytest.approx(np.hypot(videos, expected * np.sqrt(2 / 3)))
    top1, low, high = statistics.accuracy(lines[0].results, expected)
    wilson_low, wilson_high = statistics.wilson(0.5, 100)
    assert top1 == pytest.approx(50)
    assert top1 - low == pytest.approx(np.hypot(50 - 100 * wilson_low, expected / np.sqrt(3)))
    assert high - top1 == pytest.approx(np.hypot(100 * wilson_high - 50, expected / np.sqrt(3)))


def test_rank_correlation(tmp_path):
    results = [[stored(tmp_path / str(n), np.arange(200) < n)] for n in (20, 60, 100, 140)]
    published = [("concat", "avg"), ("concat", "diff"), ("diff", "avg"), ("diff", "diff")]  # 41.5 51.4 51.6 52.3
    csv = "tdn_difference_operator.csv"
    rows = [Row("row", "tdn", published=(csv, {"s_tdm": s, "l_tdm": l_tdm})) for s, l_tdm in published]
    lines = [Line(row, result, 33.0, 24.0) for row, result in zip(rows, results, strict=True)]
    assert statistics.rank_correlation(lines, 0.0) == pytest.approx((1, 1, 1)), "20 points apart on 200 videos"
    turned = [Line(row, result, 33.0, 24.0) for row, result in zip(rows, results[::-1], strict=True)]
    assert statistics.rank_correlation(turned, 0.0) == pytest.approx((-1, -1, -1))
    _, low, high = statistics.rank_correlation(lines, 60.0)
    assert low < 0.2 and high == pytest.approx(1), "with such random starts the order is not known"


def test_seed_error_of_a_profile_takes_each_network_once(tmp_path, monkeypatch):
    monkeypatch.setattr("tdn.experiments.profiles.ROOT", tmp_path)
    profile = PROFILES["pocket"]
    assert statistics.seed_error(profile) == 0, "nothing trained"
    tdn = next(row for row in TABLES["s_tdm_fusion"].rows if row.name == "F + H")  # stands in five tables
    tsn = TABLES["short_vs_long"].rows[0]
    results = {}
    for row, shares in ((tdn, (60, 64, 62)), (tsn, (30, 31))):  # TSN's third seed is missing
        folders = [runs.stored(run, profile.results).folder for run in profile.runs(row, TABLES["short_vs_long"])]
        results[row.name] = [stored(f, np.arange(100) < n) for f, n in zip(folders, shares, strict=False)]
    assert statistics.seed_error(profile) == pytest.approx(statistics.pooled_error(results.values()))
    assert statistics.seed_error(profile) > 0
