"""Intervals and verdicts against their definitions."""

import numpy as np
import pytest
from helpers.reference import stored
from scipy import stats

from tdn.book import intervals
from tdn.book.intervals import Difference
from tdn.engine.evaluation import ensemble
from tdn.experiments import runs
from tdn.experiments.profiles import PROFILES, get_profile
from tdn.experiments.tables import TABLES

NO = "inconclusive"


def test_wilson_interval_and_verdicts():
    assert intervals.wilson(0.8, 10) == pytest.approx((0.490, 0.943), abs=1e-3) and intervals.wilson(0.0, 50)[0] == 0
    low, high = intervals.wilson(0.5, 10_000)
    assert high - low == pytest.approx(2 * 1.96 * 0.005, rel=1e-2)
    for points, verdict in ((3, "better"), (-3, "worse"), (2.9, NO), (0, NO)):
        assert intervals.verdict(points, 2.9) == verdict
    assert intervals.verdict(0, 0) == NO


def test_claims_have_four_verdicts():
    """Of a published difference of 5 points, with intervals of 2 points to either side."""
    verdicts = {3: "supported", -3: "contradicted", 1: "excludes the published size", 0: "excludes the published size"}
    measured = [Difference(points, 2.0, np.inf) for points in verdicts]
    assert intervals.claim_verdicts(measured, [5.0] * 4) == [*verdicts.values()]
    wide, same = Difference(1.0, 4.5, np.inf), Difference(0.0, 0.0, np.inf)
    assert intervals.claim_verdicts([wide, intervals.UNKNOWN, same], [5.0] * 3) == [
        NO,
        NO,
        "excludes the published size",
    ]


def test_p_values_are_of_the_interval_and_of_holm():
    for freedom in (3.0, np.inf):
        assert Difference(2.0, 2.0, freedom).p() == pytest.approx(0.05)
        assert Difference(2.0, 2.0, freedom).p(4.0) == pytest.approx(0.05)
    assert Difference(2.0, 1.0, 4.0).p() == pytest.approx(2 * stats.t.sf(2 * stats.t.ppf(0.975, 4), 4))
    assert (Difference(0.0, 0.0, np.inf).p(), Difference(1.0, 0.0, np.inf).p()) == (1, 0)
    # The least one times four, the next times three, and none below the one before it.
    assert intervals.holm([0.03, 0.01, np.nan, 0.02, 0.9]).tolist() == pytest.approx(
        [0.06, 0.04, np.nan, 0.06, 0.9], nan_ok=True
    )
    twice = [Difference(2.0, 1.9, np.inf)] * 2  # p = 0.039 each
    assert intervals.claim_verdicts(twice, [2.0] * 2, intervals.holm) == [NO] * 2


def test_difference_is_paired_by_video(tmp_path):
    first = stored(tmp_path / "a", [1, 1, 0, 0, 1, 0, 0, 0, 1, 0] * 10)
    second = stored(tmp_path / "b", [1, 1, 1, 0, 0, 1, 0, 1, 1, 0] * 10, order=np.arange(100)[::-1])
    half = 100 * 1.96 * np.sqrt((0.4 - 0.04) / 99)  # 30 videos gained, 10 lost
    assert intervals.difference([first], [second])[:2] == pytest.approx((20, half), rel=0.04)
    assert intervals.difference([first], [first]) == (0, 0, np.inf)
    assert intervals.difference([first, second], [second, second])[0] == pytest.approx(10), "over seeds, the mean"


def test_ensembles_and_runs_are_compared_by_the_same_functions(tmp_path):
    first, second = (stored(tmp_path / str(n), np.arange(100) < n) for n in (40, 60))
    both = ensemble([first.evaluation, second.evaluation])
    assert intervals.accuracy(first, 3.0) == intervals.accuracy([first.evaluation], 3.0)
    assert intervals.difference(first, both, 3.0) == intervals.difference([first], [both], 3.0)
    assert intervals.difference(first, first.evaluation, 3.0) == (0, 0, np.inf), "one network with itself"
    half = intervals.difference(first, second).half
    assert intervals.difference(first, second, 9.0).half == pytest.approx(np.hypot(half, 9.0 * np.sqrt(2)), rel=0.04)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("spread", [0, 2, 6])
def test_intervals_over_seeds_cover_the_true_difference(seeds, spread):
    """Known effects of seeds, normal, in points, and videos of a known difficulty: about 95 of 100 intervals."""
    rng, covered, normal = np.random.default_rng(0), [], []
    for _ in range(400):
        easy = rng.uniform(0.3, 0.6, size=(240, 1))
        effects = [np.clip(gain + rng.normal(0, spread / 100, seeds), -0.3, 0.4) for gain in (0, 0.1)]
        rows = [(rng.random((240, seeds)) < easy + effect).astype(float) for effect in effects]
        measured = intervals.compare(*rows)
        covered.append(abs(measured.points - 10) <= measured.half)
        normal.append(abs(measured.points - 10) <= measured.half * 1.96 / stats.t.ppf(0.975, measured.freedom))
    assert 0.935 <= np.mean(covered) <= 0.99
    assert spread < 6 or np.mean(normal) < 0.93, "without Student's t it is too narrow"


def test_effects_of_seeds_are_theirs_without_that_of_single_videos():
    rng = np.random.default_rng(0)
    videos = rng.uniform(0.2, 0.8, (5000, 1))
    values = np.clip(videos + np.array([-0.05, 0, 0.05]) + rng.normal(0, 0.2, (5000, 3)), -2, 2)
    spread = (np.mean(intervals._seed_effects(values) ** 2) / 3) ** 0.5  # of the mean of three
    assert spread == pytest.approx(5 / 3**0.5, rel=0.05), "standard deviation 5, n - 1 in place of n"
    noise = rng.normal(0, 0.2, (100, 4000, 3))
    left = [np.mean(intervals._seed_effects(of) ** 2) for of in noise]
    assert np.mean(left) < 0.4 * (100 * 0.2) ** 2 / 4000, "of chance alone little more than nothing is left"


def test_single_seeds_have_the_pooled_error(tmp_path):
    """Two networks of three seeds and one of a single seed: the error is added for that one alone."""
    shares = [[49, 50, 51], [58, 60, 62], [90]]
    first, second, third = ([stored(tmp_path / str(n), np.arange(100) < n) for n in row] for row in shares)
    assert intervals.difference(first, second, 30.0) == intervals.difference(first, second), "each has its own"
    assert intervals.difference(first, third, 30.0).half > intervals.difference(first, third).half + 10
    top1, low, high = intervals.accuracy(third, 4.0)
    halves = [np.hypot(90 - 100 * end, 4.0) for end in intervals.wilson(0.9, 100)]
    assert [top1, top1 - low, high - top1] == pytest.approx([90, halves[0], min(halves[1], 10)])
    spread = [stored(tmp_path / f"w{n}", np.arange(100) < n) for n in (40, 50, 60)]
    narrow, wide = (np.diff(intervals.accuracy(of)[1:])[0] for of in (first, spread))
    assert wide > 1.5 * narrow


def test_families_are_parts_of_the_videos(tmp_path):
    first, second = (stored(tmp_path / str(n), np.arange(90) % 18 < n) for n in (6, 9))  # right on so many classes
    low, high = intervals.Family("low", tuple(range(6))), intervals.Family("high", tuple(range(6, 18)))
    assert [len(of.part(first)[0].labels) for of in (low, high)] == [30, 60]
    assert [intervals.difference(of.part(first), of.part(second)).points for of in (low, high)] == [0, 25]
    names = {of.name: len(of.labels) for of in intervals.families(PROFILES["smoke"])}
    assert names == {"short": 8, "order": 8, "both": 8} and intervals.families(PROFILES["paper"]) == []


def test_rank_correlation(tmp_path):
    results = [[stored(tmp_path / str(n), np.arange(200) < n)] for n in (20, 60, 100, 140)]
    published = [41.5, 51.4, 51.6, 52.3]
    assert intervals.rank_correlation(published, results) == pytest.approx((1, 1, 1)), "20 points apart on 200 videos"
    assert intervals.rank_correlation(published, results[::-1]) == pytest.approx((-1, -1, -1))
    _, low, high = intervals.rank_correlation(published, results, 60.0)
    assert low < 0.2 and high == pytest.approx(1), "with such a seed error the order is not known"
    mixed, ties = [results[i] for i in (1, 0, 3, 3)], [0.3, 0.1, 0.7, 0.7]
    assert intervals.rank_correlation(published, mixed)[0] == pytest.approx(stats.spearmanr(published, ties).statistic)
    assert np.isnan(intervals.rank_correlation(published, results[:1] * 4)[0]), "no order"


def test_seed_error_of_a_profile_takes_each_network_once(tmp_path, monkeypatch):
    monkeypatch.setattr("tdn.experiments.profiles.ROOT", tmp_path)
    profile = get_profile("pocket:2")  # not the record, whose results are in the checkout
    assert intervals.seed_error(profile) == 0, "nothing trained"
    tdn = next(row for row in TABLES["s_tdm_fusion"].rows if row.name == "F + H")  # in five tables
    tsn = TABLES["short_vs_long"].rows[0]
    for row, shares in ((tdn, (60, 64)), (tsn, (30, 31))):
        for run, share in zip(profile.runs(row, TABLES["short_vs_long"]), shares, strict=True):
            stored(runs.stored(run, profile.results).folder, np.arange(100) < share)
    expected = stats.t.ppf(0.975, 2) * np.sqrt((8 + 0.5) / 2)  # variances of 60 and 64, of 30 and 31
    assert intervals.seed_error(profile) == pytest.approx(expected) == intervals.seed_error(profile, "short")
