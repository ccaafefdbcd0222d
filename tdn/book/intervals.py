"""How sure a measured accuracy, difference or order is: for the choice of videos and for the random start."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from tdn.book.lines import Line
from tdn.experiments.profiles import Profile
from tdn.experiments.runs import Result, stored
from tdn.experiments.tables import TABLES

Z = stats.norm.ppf(0.975)


def seed_error(profile: Profile) -> float:
    """Half width of the 95 % interval that the random start alone gives one run, in points of 100.

    From the spread of top-1 between seeds, taken to be the same for every network and so pooled over all of the
    profile that have been trained from more than one (a few seeds of a single row say little). A mean of n seeds has
    1/sqrt(n) of it. 0 where no network has a second seed: then intervals are for the choice of videos alone.

    All seeds share one start (`Profile.pretrained`): what another pretraining would change is not in it.
    """
    networks = dict.fromkeys(tuple(profile.runs(row, table)) for table in TABLES.values() for row in table.rows)
    results = [[stored(config, profile.results) for config in runs] for runs in networks]
    return pooled_error([[result for result in of_network if result.complete] for of_network in results])


def pooled_error(networks: Iterable[Sequence[Result]]) -> float:
    """`seed_error` of these networks, a sequence of results (one a seed) each."""
    return pooled([[100 * result.metrics["top1"] for result in results] for results in networks])


def pooled(values: Iterable[Sequence[float]]) -> float:
    """Half width of the 95 % interval of one value, from groups that spread alike: Student's t times the root of
    their mean variance. 0 where no group has a second value."""
    groups = [group for group in values if len(group) > 1]
    if not groups:
        return 0.0
    freedom = sum(len(group) - 1 for group in groups)
    squares = sum((len(group) - 1) * np.var(group, ddof=1) for group in groups)
    return float(stats.t.ppf(0.975, freedom) * np.sqrt(squares / freedom))


def accuracy(results: Sequence[Result], seeds: float = 0.0) -> tuple[float, float, float]:
    """Top-1 in %, mean over seeds, and the ends of its 95 % interval: Wilson's for so many videos, widened by the
    random start (`seeds`, from `seed_error`)."""
    share = np.mean([result.metrics["top1"] for result in results])
    low, high = wilson(share, results[0].metrics["videos"])
    top1, start = 100 * share, seeds / np.sqrt(len(results))
    low, high = top1 - np.hypot(top1 - 100 * low, start), top1 + np.hypot(100 * high - top1, start)
    return float(top1), float(max(low, 0)), float(min(high, 100))


def wilson(share: float, videos: int) -> tuple[float, float]:
    """95 % interval of a `share` (0 to 1) of so many videos."""
    centre = (share + Z**2 / (2 * videos)) / (1 + Z**2 / videos)
    half = Z / (1 + Z**2 / videos) * np.sqrt(share * (1 - share) / videos + Z**2 / (4 * videos**2))
    return float(centre - half), float(centre + half)


def difference(first: Sequence[Result], second: Sequence[Result], seeds: float = 0.0) -> tuple[float, float]:
    """How much more `second` gets right than `first`, in points of 100, and the half width of its 95 % interval.

    Paired: both answered the same videos, and only those that they answer differently count. Over seeds, each
    video's share of right answers is taken. To the choice of videos the random start of both is added (`seeds`, from
    `seed_error`); what part of it shows in single videos is counted in both, so the interval is rather too wide.
    """
    change = (right_share(second) - right_share(first)).dropna()  # videos that both could read
    videos = 100 * Z * change.std(ddof=1) / np.sqrt(len(change))
    same = [result.folder for result in first] == [result.folder for result in second]
    starts = 0.0 if same else seeds * np.sqrt(1 / len(first) + 1 / len(second))
    return float(100 * change.mean()), float(np.hypot(videos, starts))


def verdict(points: float, half: float) -> str:
    """What a difference with its interval says: "better", "worse", or "indistinguishable"."""
    if abs(points) <= half:
        return "indistinguishable"
    return "better" if points > 0 else "worse"


def rank_correlation(lines: Sequence[Line], seeds: float, draws: int = 2000) -> tuple[float, float, float]:
    """Spearman's rank correlation of published and measured top-1, and its 95 % interval.

    The interval is of `draws` repetitions of the measurement: other videos (a bootstrap, the same for all rows),
    other random starts (normal, `seeds` as in `accuracy`). Which rows there are is taken as given. Repeating a noisy
    order adds noise to it, so the interval leans towards 0. Every line needs a published top-1.
    """
    published = np.array([line.published for line in lines], float)
    right = pd.concat([right_share(line.results) for line in lines], axis=1).dropna().to_numpy()  # (videos, rows)
    rng = np.random.default_rng(0)
    times = rng.multinomial(len(right), np.full(len(right), 1 / len(right)), size=draws)  # each video is drawn
    number = np.array([len(line.results) for line in lines])
    starts = rng.normal(size=(draws, len(lines))) * seeds / (100 * Z * np.sqrt(number))
    repeated = [_spearman(published, row) for row in times @ right / len(right) + starts]
    defined = [correlation for correlation in repeated if not np.isnan(correlation)]
    low, high = np.percentile(defined, [2.5, 97.5]) if defined else (np.nan, np.nan)
    return _spearman(published, right.mean(0)), float(low), float(high)


def _spearman(published: np.ndarray, measured: np.ndarray) -> float:
    """NaN where all are measured alike: then there is no order."""
    return float(stats.spearmanr(published, measured).statistic) if np.ptp(measured) else np.nan


def right_share(results: Sequence[Result]) -> pd.Series:
    """For each video (its number in the set is the index), the share of `results` that got it right, 0 to 1."""
    per_seed = [pd.Series(r.evaluation.correct, r.evaluation.videos, dtype=float) for r in results]
    return pd.concat(per_seed, axis=1).mean(axis=1).sort_index()
