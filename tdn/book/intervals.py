"""95 % intervals of accuracies, differences and orders: over the choice of videos and over seeds.

`accuracy`, `difference` and `rank_correlation` take what was measured of a network (a row of a table): a `Result` of a
run or an `Answers` (`Evaluation` of an ensemble, or of other views), or several of one kind, one per seed.

A measurement is repeated by a bootstrap: other videos are drawn (the same for all rows) and other seeds (of each row).
Draws of n seeds (or videos) vary too little, by sqrt((n - 1) / n), so their effects are enlarged by its inverse, and
half widths are standard errors times Student's t (Hesterberg, What Teachers Should Know About the Bootstrap, The
American Statistician 69(4), 2015), with Welch's and Satterthwaite's degrees of freedom. Drawing both ways counts twice
what chance does to each seed in each video (Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1(2), 2007):
it is taken out of the effects of seeds. A row with a single seed has a normal effect, its spread pooled over others.
"""

import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from tdn.data.pocket.render import CLASSES, PocketSpec
from tdn.engine.evaluation import Answers
from tdn.experiments.profiles import Profile
from tdn.experiments.runs import Result, stored

Z = special.ndtri(0.975)
DRAWS = 2000
SUPPORTED, CONTRADICTED, INCONCLUSIVE = "supported", "contradicted", "inconclusive"
SMALLER = "excludes the published size"
UNTRAINED = "not trained to the end"  # in place of a verdict (`lengths`)
Measured = Result | Answers | Sequence[Result] | Sequence[Answers]


class Difference(NamedTuple):
    """Points of 100, the half width of their 95 % interval, and its degrees of freedom (infinite: normal)."""

    points: float
    half: float
    freedom: float

    def p(self, true: float = 0.0) -> float:
        """Two-sided p-value of a true difference of so many points: below 0.05 where the interval excludes it. NaN
        where nothing was measured."""
        off, unit = abs(self.points - true), special.stdtrit(self.freedom, 0.975)
        return float(2 * special.stdtr(self.freedom, -off / self.half * unit) if self.half else off == 0)


UNKNOWN = Difference(np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class Family:
    """A family of classes: its labels, and the `seed_error` of top-1 in it."""

    name: str
    labels: tuple[int, ...]
    seed_error: float = 0.0

    def part(self, measured: Measured) -> list[Answers]:
        """Its videos alone, per seed."""
        parts = [(of, np.isin(of.labels, self.labels)) for of in _evaluations(measured)]
        arrays = ("answers", "ranks", "labels", "videos")
        return [Answers(*(getattr(of, name)[here] for name in arrays), of.classes) for of, here in parts]


def families(study: Profile) -> list[Family]:
    """Those of the study's benchmark; none on published data sets."""
    if not isinstance(study.settings["ssv1"].data, PocketSpec):
        return []
    labels = pd.Series([of_class.family for of_class in CLASSES])
    return [Family(name, tuple(labels.index[labels == name]), seed_error(study, name)) for name in labels.unique()]


def seed_error(study: Profile, family: str | None = None) -> float:
    """Half width of the 95 % interval of one run's top-1 over seeds, in points of 100, for rows with a single seed.

    Student's t times the `seed_spread`. The part of it that shows in single videos is counted again with them, so it is
    rather too wide. 0 where no network has a second seed: then intervals are for the choice of videos alone. What
    another pretraining would change is not included: all seeds are initialised from one network.
    """
    spread, freedom = seed_spread(study, family)
    return float(special.stdtrit(freedom, 0.975) * spread) if freedom else 0.0


def seed_spread(study: Profile, family: str | None = None) -> tuple[float, int]:
    """Standard deviation of one run's top-1 (of a `family`, if told) between seeds, in points of 100, and its degrees
    of freedom. It is taken to be the same for every network and so pooled over all of the study that have several
    seeds; 0 and 0 where none has."""
    networks = dict.fromkeys(tuple(study.runs(row, table)) for table in study.tables.values() for row in table.rows)
    results = [[stored(config, study.results) for config in runs] for runs in networks]
    metrics = [[of.metrics for of in of_network if of.complete] for of_network in results]
    top1 = [[100 * (of["groups"][family] if family else of)["top1"] for of in row] for row in metrics if len(row) > 1]
    freedom, squares = sum(len(row) - 1 for row in top1), sum(len(row) * np.var(row) for row in top1)
    return (float(np.sqrt(squares / freedom)), freedom) if freedom else (0.0, 0)


def accuracy(measured: Measured, seed_error: float = 0.0) -> tuple[float, float, float]:
    """Top-1 in %, mean over seeds, and the ends of its 95 % interval: Wilson's for the number of videos, widened for
    the seeds (a single one: by `seed_error`, as the function of this name)."""
    evaluations = _evaluations(measured)
    fraction = np.mean([evaluation.top(1) for evaluation in evaluations])
    low, high = wilson(fraction, len(evaluations[0].labels))
    (right,) = _right(measured)
    of_seeds = np.mean(_seed_effects(right) ** 2) / len(evaluations) if len(evaluations) > 1 else (seed_error / Z) ** 2
    freedom = _freedom((50 * (high - low) / Z) ** 2 + of_seeds, right)
    wider, top1 = special.stdtrit(freedom, 0.975) / Z, 100 * fraction
    low, high = (wider * np.hypot(top1 - 100 * end, Z * np.sqrt(of_seeds)) for end in (low, high))
    return float(top1), float(max(top1 - low, 0)), float(min(top1 + high, 100))


def wilson(fraction: float, videos: int) -> tuple[float, float]:
    """95 % interval of a `fraction` (0 to 1) of so many videos."""
    centre = (fraction + Z**2 / (2 * videos)) / (1 + Z**2 / videos)
    half = Z / (1 + Z**2 / videos) * np.sqrt(fraction * (1 - fraction) / videos + Z**2 / (4 * videos**2))
    return float(centre - half), float(centre + half)


def difference(first: Measured, second: Measured, seed_error: float = 0.0) -> Difference:
    """How much more `second` gets right than `first`, both tested on the same videos, as `compare`. A network does not
    differ from itself. An ensemble counts as one run, though it depends less on the seed."""
    one, other = ([of.ranks.tobytes() + of.answers.tobytes() for of in _evaluations(row)] for row in (first, second))
    return Difference(0.0, 0.0, np.inf) if one == other else compare(*_right(first, second), seed_error)


def compare(first: np.ndarray, second: np.ndarray, seed_error: float = 0.0) -> Difference:
    """How much higher the values `(videos, seeds)`, 0 to 1, of `second` are than those of `first`, over the same
    videos; `seed_error` of rows with a single seed, in points. The interval is by the module's bootstrap; NaN for less
    than two videos."""
    if len(first) < 2:  # of one video nothing is known of others
        return Difference(float(100 * (second.mean() - first.mean())) if len(first) else np.nan, np.nan, np.nan)
    repeated = _repeated((first, second), seed_error)
    error = float(np.std(repeated[:, 1] - repeated[:, 0], ddof=1))
    freedom = _freedom(error**2, first, second)
    return Difference(float(100 * (second.mean() - first.mean())), special.stdtrit(freedom, 0.975) * error, freedom)


def verdict(points: float, half: float) -> str:
    """Either "better" or "worse", or "inconclusive" where the interval contains zero or is unknown (nan)."""
    return INCONCLUSIVE if not abs(points) > half else "better" if points > 0 else "worse"


def claim_verdicts(
    measured: Sequence[Difference], published: Sequence[float], adjusted: Callable = np.asarray
) -> list[str]:
    """Of claims that a difference is positive, with the `published` sizes in points.

    "supported" or "contradicted" where the interval excludes 0; else "excludes the published size" where it lies below
    that, or "inconclusive". `holm` as `adjusted` takes all of these intervals together.
    """
    of_zero = adjusted([of.p() for of in measured]) < 0.05
    of_size = adjusted([of.p(size) for of, size in zip(measured, published, strict=True)]) < 0.05
    below = [other and of.points < size for of, size, other in zip(measured, published, of_size, strict=True)]
    signs = np.where([of.points > 0 for of in measured], SUPPORTED, CONTRADICTED)
    return np.where(of_zero, signs, np.where(below, SMALLER, INCONCLUSIVE)).tolist()


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's adjusted p-values: with those below 0.05, any error at all has a chance of 5 % at most. NaN stays."""
    values = np.asarray(p_values, float)
    order = np.argsort(values)  # NaN last
    times = np.maximum(np.isfinite(values).sum() - np.arange(len(values)), 1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(times * values[order]), 1)
    return adjusted


def rank_correlation(
    published: Sequence[float], measured: Sequence[Measured], seed_error: float = 0.0
) -> tuple[float, float, float]:
    """Spearman's rank correlation of published and measured top-1 of rows, and its 95 % interval: the percentiles over
    the module's repetitions. The rows are taken as given. Repeating a noisy order adds noise to it, so the interval
    leans towards 0."""
    from scipy.stats import pearsonr, rankdata  # a second to load, for this function alone

    right, ranks = _right(*measured), rankdata(published)[None]
    now, repeated = np.array([[row.mean() for row in right]]), _repeated(right, seed_error)
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # NaN: all equal, no order
        now, repeated = (pearsonr(ranks, rankdata(of, axis=1), axis=1).statistic for of in (now, repeated))
        return float(now[0]), *np.nanquantile(repeated, [0.025, 0.975])


def _right(*rows: Measured) -> list[np.ndarray]:
    """Right answers, 0 or 1, of each row `(videos, seeds)`, on the videos that all could read."""
    of_rows = [[pd.Series(of.correct, of.videos, dtype=float) for of in _evaluations(row)] for row in rows]
    table = pd.concat([column for row in of_rows for column in row], axis=1, join="inner").to_numpy()
    return np.split(table, np.cumsum([len(row) for row in of_rows])[:-1], axis=1)


def _repeated(rows: Sequence[np.ndarray], seed_error: float) -> np.ndarray:
    """Means of rows of values `(videos, seeds)` in repeated measurements, in points, `(DRAWS, rows)`."""
    rng, means = np.random.default_rng(1), np.stack([row.mean(1) for row in rows], axis=1)
    drawn, wider = _drawn_videos(len(means)), np.sqrt(len(means) / (len(means) - 1))
    repeated = 100 * (means.mean(0) + wider * (drawn @ (means - means.mean(0)).astype(np.float32)))
    for column, row in enumerate(rows):
        seeds = row.shape[1]
        drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS) / seeds
        repeated[:, column] += drawn @ _seed_effects(row) if seeds > 1 else rng.normal(0, seed_error / Z, DRAWS)
    return repeated


@functools.lru_cache(maxsize=4)  # all videos and three families
def _drawn_videos(videos: int) -> np.ndarray:
    """How often each of the videos is drawn, as a fraction of all, `(DRAWS, videos)`."""
    times = np.random.default_rng(0).multinomial(videos, np.full(videos, 1 / videos), size=DRAWS)
    return (times / videos).astype(np.float32)


def _seed_effects(values: np.ndarray) -> np.ndarray:
    """How much more each seed of a row `(videos, seeds)`, two or more, has than their mean, in points: scaled so that
    draws of them spread as new seeds would, without what chance does in single videos."""
    videos, seeds = values.shape
    effects = 100 * (values.mean(0) - values.mean())
    chance = 100 * (values - values.mean(1, keepdims=True)) - effects
    of_chance = (chance**2).sum() / ((seeds - 1) * (videos - 1) * videos)  # variance of one seed's mean
    spread = effects.var(ddof=1)
    return effects * np.sqrt(max(1 - of_chance / spread, 0) * seeds / (seeds - 1)) if spread else effects


def _freedom(variance: float, *rows: np.ndarray) -> float:
    """Degrees of freedom of an estimated `variance`, points squared, with part from seeds (Welch and Satterthwaite);
    infinitely many where seeds have no part, or each row `(videos, seeds)` has one."""
    several = [row for row in rows if row.shape[1] > 1 and _seed_effects(row).any()]
    squares = sum((1e4 * row.mean(0).var(ddof=1) / row.shape[1]) ** 2 / (row.shape[1] - 1) for row in several)
    return variance**2 / squares if squares and variance else np.inf


def _evaluations(measured: Measured) -> list[Answers]:
    several = [measured] if isinstance(measured, Result | Answers) else measured
    return [one.evaluation if isinstance(one, Result) else one for one in several]
