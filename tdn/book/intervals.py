"""95 % intervals of accuracies, differences and orders: over the choice of videos and over seeds.

`accuracy`, `difference` and `fraction_correct` take what was measured of a network: a `Result` of a run or an
`Evaluation` (of an ensemble, or of other views), or several of one kind, one per seed.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from tdn.book.lines import Line
from tdn.engine.evaluation import Evaluation
from tdn.experiments.profiles import Profile
from tdn.experiments.runs import Result, stored
from tdn.experiments.tables import TABLES

Z = stats.norm.ppf(0.975)
SUPPORTED, CONTRADICTED, INCONCLUSIVE = "supported", "contradicted", "inconclusive"
Measured = Result | Evaluation | Sequence[Result] | Sequence[Evaluation]


def seed_error(study: Profile) -> float:
    """Half width of the 95 % interval of one run's top-1 over seeds, in points of 100.

    From the spread of top-1 between seeds, taken to be the same for every network and so pooled over all of the study
    that have several seeds (a few seeds of one row say little). A mean of n seeds has 1/sqrt(n) of it. 0 where no
    network has a second seed: then intervals are for the choice of videos alone. What another pretraining would change
    is not included: all seeds are initialised from the same network.
    """
    networks = dict.fromkeys(tuple(study.runs(row, table)) for table in TABLES.values() for row in table.rows)
    results = [[stored(config, study.results) for config in runs] for runs in networks]
    return pooled([[100 * of.metrics["top1"] for of in of_network if of.complete] for of_network in results])


def pooled(values: Iterable[Sequence[float]]) -> float:
    """Half width of the 95 % interval of one value, from groups with the same spread: Student's t times the root of
    their mean variance. 0 where no group has a second value."""
    groups = [group for group in values if len(group) > 1]
    if not groups:
        return 0.0
    freedom = sum(len(group) - 1 for group in groups)
    squares = sum((len(group) - 1) * np.var(group, ddof=1) for group in groups)
    return float(stats.t.ppf(0.975, freedom) * np.sqrt(squares / freedom))


def accuracy(measured: Measured, seed_error: float = 0.0) -> tuple[float, float, float]:
    """Top-1 in %, mean over seeds, and the ends of its 95 % interval: Wilson's for the number of videos, widened by
    `seed_error` (of one run, as the function of this name)."""
    evaluations = _evaluations(measured)
    fraction = np.mean([evaluation.top(1) for evaluation in evaluations])
    low, high = wilson(fraction, len(evaluations[0].labels))
    top1, of_seeds = 100 * fraction, seed_error / np.sqrt(len(evaluations))
    low, high = top1 - np.hypot(top1 - 100 * low, of_seeds), top1 + np.hypot(100 * high - top1, of_seeds)
    return float(top1), float(max(low, 0)), float(min(high, 100))


def wilson(fraction: float, videos: int) -> tuple[float, float]:
    """95 % interval of a `fraction` (0 to 1) of so many videos."""
    centre = (fraction + Z**2 / (2 * videos)) / (1 + Z**2 / videos)
    half = Z / (1 + Z**2 / videos) * np.sqrt(fraction * (1 - fraction) / videos + Z**2 / (4 * videos**2))
    return float(centre - half), float(centre + half)


def difference(first: Measured, second: Measured, seed_error: float = 0.0) -> tuple[float, float]:
    """How much more `second` gets right than `first`, in points of 100, and the half width of its 95 % interval.

    Paired: both were tested on the same videos, and only those with different answers count. Over seeds, each video's
    fraction of right answers is taken. `seed_error` of both is added; what part of it shows in single videos is counted
    twice, so the interval is rather too wide. An ensemble counts as one run, though it depends less on the seed.
    """
    first, second = _evaluations(first), _evaluations(second)
    change = (fraction_correct(second) - fraction_correct(first)).dropna()  # videos that both could read
    of_videos = 100 * Z * change.std(ddof=1) / np.sqrt(len(change))
    pairs = zip(first, second, strict=False)
    same = len(first) == len(second) and all(np.array_equal(one.scores, other.scores) for one, other in pairs)
    of_seeds = 0.0 if same else seed_error * np.sqrt(1 / len(first) + 1 / len(second))
    return float(100 * change.mean()), float(np.hypot(of_videos, of_seeds))


def verdict(points: float, half: float) -> str:
    """Either "better" or "worse", or "inconclusive" where the interval contains zero or is unknown (nan)."""
    return INCONCLUSIVE if not abs(points) > half else "better" if points > 0 else "worse"


def claim_verdict(points: float, half: float) -> str:
    """Of the claim that the difference is positive: "supported", "contradicted" or "inconclusive"."""
    return {"better": SUPPORTED, "worse": CONTRADICTED}.get(verdict(points, half), INCONCLUSIVE)


def rank_correlation(lines: Sequence[Line], seed_error: float, draws: int = 2000) -> tuple[float, float, float]:
    """Spearman's rank correlation of published and measured top-1, and its 95 % interval.

    The interval is of `draws` repetitions of the measurement, with other videos (a bootstrap, the same for all rows)
    and other seeds (normal, `seed_error` as in `accuracy`). The rows are taken as given. Repeating a noisy order adds
    noise to it, so the interval leans towards 0. Every line needs a published top-1.
    """
    published = np.array([line.published for line in lines], float)
    right = pd.concat([fraction_correct(line.results) for line in lines], axis=1).dropna().to_numpy()  # (videos, rows)
    rng = np.random.default_rng(0)
    times = rng.multinomial(len(right), np.full(len(right), 1 / len(right)), size=draws)  # each video is drawn
    num_seeds = np.array([len(line.results) for line in lines])
    noise = rng.normal(size=(draws, len(lines))) * seed_error / (100 * Z * np.sqrt(num_seeds))
    repeated = [_spearman(published, row) for row in times @ right / len(right) + noise]
    defined = [correlation for correlation in repeated if not np.isnan(correlation)]
    low, high = np.percentile(defined, [2.5, 97.5]) if defined else (np.nan, np.nan)
    return _spearman(published, right.mean(0)), float(low), float(high)


def _spearman(published: np.ndarray, measured: np.ndarray) -> float:
    """NaN where all measured values are equal: then there is no order."""
    return float(stats.spearmanr(published, measured).statistic) if np.ptp(measured) else np.nan


def fraction_correct(measured: Measured) -> pd.Series:
    """For each video (by its index in the set), the fraction of seeds that got it right, 0 to 1."""
    per_seed = [pd.Series(of.correct, of.videos, dtype=float) for of in _evaluations(measured)]
    return pd.concat(per_seed, axis=1).mean(axis=1).sort_index()


def _evaluations(measured: Measured) -> list[Evaluation]:
    several = [measured] if isinstance(measured, Result | Evaluation) else measured
    return [one.evaluation if isinstance(one, Result) else one for one in several]
