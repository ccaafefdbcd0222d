"""Intervals and verdicts against their definitions."""

import numpy as np
import pytest
from helpers.reference import stored
from scipy import stats

from tdn.book import intervals
from tdn.book.intervals import Difference, SeedError
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
    verdicts = {3: "supported", -3: "contradicted", 1: "smaller than published", 0: "smaller than published"}
    measured = [Difference(points, 2.0, np.inf) for points in verdicts]
    assert intervals.claim_verdicts(measured, [5.0] * 4) == [*verdicts.values()]
    wide, same = Difference(1.0, 4.5, np.inf), Difference(0.0, 0.0, np.inf)
    assert intervals.claim_verdicts([wide, intervals.UNKNOWN, same], [5.0] * 3) == [
        NO,
        NO,
        "smaller than published",
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
    both, error = ensemble([first.evaluation, second.evaluation]), SeedError(1.5)
    assert intervals.accuracy(first, error) == intervals.accuracy([first.evaluation], error)
    assert intervals.difference(first, both, error) == intervals.difference([first], [both], error)
    assert intervals.difference(first, first.evaluation, error) == (0, 0, np.inf), "one network with itself"
    half = intervals.difference(first, second).half
    of_two_seeds = np.hypot(half, 9.0 * np.sqrt(2))
    assert intervals.difference(first, second, SeedError(9.0 / 1.96)).half == pytest.approx(of_two_seeds, rel=0.01)
    assert intervals.difference(first, second, SeedError(9.0 / 1.96, 3.0)).half > 1.1 * of_two_seeds, "Student's t"


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("spread", [0, 2, 6])
def test_intervals_over_seeds_cover_the_true_difference(seeds, spread):
    """Known effects of seeds, normal, in points, and videos of a known difficulty: about 95 of 100 intervals."""
    rng, covered, without = np.random.default_rng(0), [], []
    for _ in range(400):
        easy = rng.uniform(0.3, 0.6, size=(240, 1))
        effects = [np.clip(gain + rng.normal(0, spread / 100, seeds), -0.3, 0.4) for gain in (0, 0.1)]
        rows = [(rng.random((240, seeds)) < easy + effect).astype(float) for effect in effects]
        measured = intervals.compare(*rows)
        covered.append(abs(measured.points - 10) <= measured.half)
        of_videos = intervals.compare(*(row.mean(1, keepdims=True) for row in rows))
        without.append(abs(of_videos.points - 10) <= of_videos.half)
    assert 0.935 <= np.mean(covered) <= 0.99
    assert spread < 6 or np.mean(without) < 0.9, "without the seeds it is too narrow"


def test_the_variance_of_seeds_is_theirs_without_that_of_single_videos():
    rng = np.random.default_rng(0)
    videos = rng.uniform(0.2, 0.8, (5000, 1))
    values = np.clip(videos + np.array([-0.05, 0, 0.05]) + rng.normal(0, 0.2, (5000, 3)), -2, 2)
    variance, freedom = intervals._of_seeds(values, SeedError())
    assert (variance**0.5, freedom) == (pytest.approx(5, rel=0.05), 2), "n - 1 in place of n"
    noise = rng.normal(0, 0.2, (100, 4000, 3))
    left = [intervals._of_seeds(of, SeedError())[0] for of in noise]
    assert np.mean(left) < 0.5 * (100 * 0.2) ** 2 / 4000, "of chance alone little more than nothing is left"


def test_few_seeds_are_averaged_with_what_is_expected_of_them(tmp_path):
    """Two that agree do not prove that the next one will; five say more than what is expected."""
    shares = {"same": [(90, 0), (90, 1)], "apart": [(90, 0), (130, 1)]}
    same, apart = (
        [stored(tmp_path / f"{name}{seed}", np.arange(200) < right) for right, seed in row]
        for name, row in shares.items()
    )
    expected = SeedError(3.0, 4.0)
    for row, own in ((same, 0.0), (apart, 200.0)):  # of 45 and 65 %
        (values,) = intervals._right(row)
        chance = own - intervals._of_seeds(values, SeedError())[0]
        assert intervals._of_seeds(values, expected) == (pytest.approx(own / 5 + 9 * 4 / 5 - chance, abs=0.01), 5.0)
    assert intervals.difference(same, apart, expected).freedom < 12 < intervals.difference(same, same[:1]).freedom
    alone = intervals.difference(same[:1], apart[1:], expected)
    assert 8 < alone.freedom < np.inf, "4 of each, and the videos"
    top1, low, high = intervals.accuracy(same[:1], SeedError(2.0))
    halves = [np.hypot(top1 - 100 * end, 1.96 * 2.0) for end in intervals.wilson(0.45, 200)]
    assert [top1 - low, high - top1] == pytest.approx(halves, rel=1e-3)


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
    _, low, high = intervals.rank_correlation(published, results, SeedError(30.0))
    assert low < 0.2 and high == pytest.approx(1), "with such a seed error the order is not known"
    mixed, ties = [results[i] for i in (1, 0, 3, 3)], [0.3, 0.1, 0.7, 0.7]
    assert intervals.rank_correlation(published, mixed)[0] == pytest.approx(stats.spearmanr(published, ties).statistic)
    assert np.isnan(intervals.rank_correlation(published, results[:1] * 4)[0]), "no order"


def test_seed_error_of_a_profile_takes_each_network_once(tmp_path, monkeypatch):
    monkeypatch.setattr("tdn.experiments.profiles.ROOT", tmp_path)
    profile = get_profile("pocket:2")  # not the record, whose results are in the checkout
    assert intervals.seed_error(profile) == SeedError(0.0), "nothing trained"
    tdn = next(row for row in TABLES["s_tdm_fusion"].rows if row.name == "F + H")  # in five tables
    tsn = TABLES["short_vs_long"].rows[0]
    for row, shares in ((tdn, (60, 64)), (tsn, (30, 31))):
        for run, share in zip(profile.runs(row, TABLES["short_vs_long"]), shares, strict=True):
            stored(runs.stored(run, profile.results).folder, np.arange(100) < share)
    expected = np.sqrt((8 + 0.5) / 2), 2  # variances of 60 and 64, of 30 and 31: no further apart than chance has them
    assert intervals.seed_error(profile) == pytest.approx(expected) == intervals.seed_error(profile, "short")
    assert intervals.seed_spread(profile) == pytest.approx(expected)
    assert intervals.seed_error(profile).half == pytest.approx(stats.t.ppf(0.975, 2) * expected[0])


@pytest.mark.parametrize("seeds", [(1, 1), (1, 2), (2, 2), (5, 5)])
@pytest.mark.parametrize("freedom", [1.5, 8.0])
def test_intervals_with_an_expected_error_cover_the_true_difference(freedom, seeds):
    """Networks that differ in how much their seeds do: about 95 of 100 intervals, also of single seeds."""
    rng, covered = np.random.default_rng(0), []
    for _ in range(500):
        easy, spreads = rng.uniform(0.3, 0.6, (300, 1)), 2 * np.sqrt(freedom / rng.chisquare(freedom, 2))
        effects = [rng.normal(0, spread / 100, number) for spread, number in zip(spreads, seeds, strict=True)]
        rows = [easy + effect + rng.normal(0, 0.3, (300, 1)) for effect in effects]
        measured = intervals.compare(*rows, SeedError(2.0, freedom))
        covered.append(abs(measured.points) <= measured.half)
    assert 0.92 <= np.mean(covered) <= 0.985


@pytest.mark.parametrize("freedom", [1.5, 3.0])
def test_seed_error_finds_what_variances_were_drawn_from(freedom, monkeypatch):
    """Networks of two seeds, whose true variances are 4 * freedom / chi-squared(freedom)."""
    rng = np.random.default_rng(0)
    true = np.sqrt(4 * freedom / rng.chisquare(freedom, 20_000))
    monkeypatch.setattr(intervals, "_top1_of_seeds", lambda *_: rng.normal(50, true[:, None], (20_000, 2)).tolist())
    found = intervals.seed_error(PROFILES["smoke"])
    assert found.spread == pytest.approx(2, rel=0.08) and found.freedom == pytest.approx(freedom, rel=0.35)
