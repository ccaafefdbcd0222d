"""Intervals and verdicts against their definitions."""

import numpy as np
import pytest
from helpers.reference import stored
from scipy import stats

from tdn.book import intervals
from tdn.book.lines import Line
from tdn.engine.evaluation import ensemble
from tdn.experiments import runs
from tdn.experiments.profiles import PROFILES
from tdn.experiments.tables import TABLES

NO = "inconclusive"


def test_wilson_interval_and_verdicts():
    assert intervals.wilson(0.8, 10) == pytest.approx((0.490, 0.943), abs=1e-3) and intervals.wilson(0.0, 50)[0] == 0
    low, high = intervals.wilson(0.5, 10_000)
    assert high - low == pytest.approx(2 * 1.96 * 0.005, rel=1e-2)
    for points, verdict, claim in ((3, "better", "supported"), (-3, "worse", "contradicted"), (2.9, NO, NO)):
        assert (intervals.verdict(points, 2.9), intervals.claim_verdict(points, 2.9)) == (verdict, claim)
    assert intervals.verdict(0, 0) == intervals.claim_verdict(0, 0) == intervals.claim_verdict(3, np.nan) == NO


def test_difference_is_paired_by_video(tmp_path):
    first = stored(tmp_path / "a", [1, 1, 0, 0, 1, 0, 0, 0, 1, 0] * 10)
    second = stored(tmp_path / "b", [1, 1, 1, 0, 0, 1, 0, 1, 1, 0] * 10, order=np.arange(100)[::-1])
    half = 100 * 1.96 * np.sqrt((0.4 - 0.04) / 99)  # 30 videos gained, 10 lost
    assert intervals.difference([first], [second]) == pytest.approx((20, half), rel=1e-3)
    assert intervals.difference([first], [first]) == (0, 0)
    assert intervals.difference([first, second], [second, second])[0] == pytest.approx(10), "over seeds, the mean"


def test_ensembles_and_runs_are_compared_by_the_same_functions(tmp_path):
    first, second = (stored(tmp_path / str(n), np.arange(100) < n) for n in (40, 60))
    both = ensemble([first.evaluation, second.evaluation])
    assert intervals.accuracy(first, 3.0) == intervals.accuracy([first.evaluation], 3.0)
    assert intervals.difference(first, both, 3.0) == intervals.difference([first], [both], 3.0)
    assert intervals.difference(first, first.evaluation, 3.0) == (0, 0), "one network with itself"
    _, half = intervals.difference(first, second)
    assert intervals.difference(first, second, 3.0)[1] == pytest.approx(np.hypot(half, 3.0 * np.sqrt(2)))


def test_seed_error_is_pooled_over_networks(tmp_path):
    """Two networks of three seeds, standard deviations of 1 and 2 points, and one of a single seed."""
    shares = [[49, 50, 51], [58, 60, 62], [90]]
    first, second, _ = ([stored(tmp_path / str(n), np.arange(100) < n) for n in row] for row in shares)
    expected = stats.t.ppf(0.975, 4) * np.sqrt((1**2 + 2**2) / 2)
    assert intervals.pooled(shares) == pytest.approx(expected)
    assert intervals.pooled(shares[2:]) == 0, "not known from one seed"
    half = np.hypot(intervals.difference(first, second)[1], expected * np.sqrt(2 / 3))
    assert intervals.difference(first, second, expected) == pytest.approx((10, half))
    top1, low, high = intervals.accuracy(first, expected)
    halves = [np.hypot(50 - 100 * end, expected / np.sqrt(3)) for end in intervals.wilson(0.5, 100)]
    assert [top1, top1 - low, high - top1] == pytest.approx([50, *halves])


def test_rank_correlation(tmp_path):
    results = [[stored(tmp_path / str(n), np.arange(200) < n)] for n in (20, 60, 100, 140)]
    table = TABLES["difference_operator"]  # 41.5 51.4 51.6 52.3
    pairs = (zip(table.rows, order, strict=True) for order in (results, results[::-1]))
    lines, turned = ([Line(row, result, 33.0, 24.0, table=table) for row, result in pair] for pair in pairs)
    assert intervals.rank_correlation(lines, 0.0) == pytest.approx((1, 1, 1)), "20 points apart on 200 videos"
    assert intervals.rank_correlation(turned, 0.0) == pytest.approx((-1, -1, -1))
    _, low, high = intervals.rank_correlation(lines, 60.0)
    assert low < 0.2 and high == pytest.approx(1), "with such a seed error the order is not known"


def test_seed_error_of_a_profile_takes_each_network_once(tmp_path, monkeypatch):
    monkeypatch.setattr("tdn.experiments.profiles.ROOT", tmp_path)
    profile = PROFILES["pocket"]
    assert intervals.seed_error(profile) == 0, "nothing trained"
    tdn = next(row for row in TABLES["s_tdm_fusion"].rows if row.name == "F + H")  # in five tables
    tsn = TABLES["short_vs_long"].rows[0]
    for row, shares in ((tdn, (60, 64)), (tsn, (30, 31))):
        for run, share in zip(profile.runs(row, TABLES["short_vs_long"]), shares, strict=True):
            stored(runs.stored(run, profile.results).folder, np.arange(100) < share)
    assert 0 < intervals.seed_error(profile) == pytest.approx(intervals.pooled([(60, 64), (30, 31)]))
