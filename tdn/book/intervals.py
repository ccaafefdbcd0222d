"""95 % intervals of accuracies, differences and orders: over the choice of videos and over seeds.

`accuracy`, `difference` and `rank_correlation` take what was measured of a network (a row of a table): a `Result` of a
run or an `Answers` (`Evaluation` of an ensemble, or of other views), or several of one kind, one per seed.

A measurement is repeated: by a bootstrap other videos, the same for all rows, and for each row the effect of other
seeds. Draws of n videos vary too little, by sqrt((n - 1) / n), so what they do is enlarged by its inverse (Hesterberg,
What Teachers Should Know About the Bootstrap, The American Statistician 69(4), 2015). The half width of the seeds, by
Student's t, and that of the videos are added as lengths at a right angle. Both together count twice what chance does to
each seed in each video (Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1(2), 2007): it is taken out of
the variance between seeds.

Two or three seeds that happen to agree say little of the next one. So a row's variance between seeds is averaged with
what the study's other networks let one expect of it (`seed_error`), each with its degrees of freedom; of a single seed
that is all there is (Smyth, Linear models and empirical Bayes methods, Statistical Applications in Genetics and
Molecular Biology 3(1), 2004).
"""

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import optimize, special

from tdn.data.pocket.render import CLASSES, PocketSpec
from tdn.engine.evaluation import Answers
from tdn.experiments.profiles import Profile
from tdn.experiments.runs import Result, stored

Z = special.ndtri(0.975)
DRAWS = 2000
SUPPORTED, CONTRADICTED, INCONCLUSIVE = "supported", "contradicted", "inconclusive"
SMALLER = "smaller than published"
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


class SeedError(NamedTuple):
    """What is expected of top-1 between seeds: the standard deviation, in points, and its degrees of freedom: few
    where networks differ in it."""

    spread: float = 0.0
    freedom: float = np.inf

    @property
    def half(self) -> float:
        """Half width of the 95 % interval of one run."""
        return float(special.stdtrit(self.freedom, 0.975) * self.spread)

    def __str__(self) -> str:
        if not self.spread:
            return "No network has a second seed: intervals are for the choice of videos alone."
        usual = f"Top-1 of two seeds of a network differs by {math.sqrt(2) * self.spread:.1f} points as a rule"
        more = ", in some networks by far more" if self.freedom < 4 else ""
        return f"{usual}{more}: the 95 % interval of one seed is ± {self.half:.1f}."


NOT_KNOWN = SeedError()  # then intervals are for the choice of videos, and for a row's own seeds where it has several


@dataclass(frozen=True)
class Family:
    """A family of classes: its labels, and the `seed_error` of top-1 in it."""

    name: str
    labels: tuple[int, ...]
    seed_error: SeedError = NOT_KNOWN

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


def seed_error(study: Profile, family: str | None = None) -> SeedError:
    """Of top-1 (of a `family`, if told), as `expected_seed_error` of all networks of the study that have several seeds.
    What another pretraining would change is not included."""
    return expected_seed_error(_top1_of_seeds(study, family))


def expected_seed_error(top1: Sequence[Sequence[float]]) -> SeedError:
    """From the top-1 of networks, each of several seeds: their variances are scaled F variables whose scale and second
    degrees of freedom have the moments of their logarithms (Smyth 2004, section 6.2). `NOT_KNOWN` without a network."""
    freedom, variances = np.array([len(row) - 1 for row in top1]), np.array([np.var(row, ddof=1) for row in top1])
    if not variances.any():
        return NOT_KNOWN
    least = 1e-4 * np.median(variances[variances > 0])  # two seeds with equally many right answers have no logarithm
    logs = np.log(np.maximum(variances, least)) - special.digamma(freedom / 2) + np.log(freedom / 2)
    more = np.var(logs, ddof=1) - special.polygamma(1, freedom / 2).mean() if len(logs) > 1 else 0.0
    if more <= 0:  # networks differ no more than chance makes them
        return SeedError(float(np.sqrt(variances @ freedom / freedom.sum())), float(freedom.sum()))
    half = optimize.brentq(lambda half: special.polygamma(1, half) - more, 1e-3, 1e6)
    return SeedError(float(np.exp((logs.mean() + special.digamma(half) - np.log(half)) / 2)), 2 * half)


def seed_spread(study: Profile) -> tuple[float, int]:
    """Standard deviation of one run's top-1 between seeds, in points of 100, pooled over all networks of the study that
    have several, and its degrees of freedom; 0 and 0 where none has."""
    top1 = _top1_of_seeds(study)
    freedom, squares = sum(len(row) - 1 for row in top1), sum(len(row) * np.var(row) for row in top1)
    return (float(np.sqrt(squares / freedom)), freedom) if freedom else (0.0, 0)


def _top1_of_seeds(study: Profile, family: str | None = None) -> list[list[float]]:
    networks = dict.fromkeys(tuple(study.runs(row, table)) for table in study.tables.values() for row in table.rows)
    results = [[stored(config, study.results) for config in runs] for runs in networks]
    metrics = [[of.metrics for of in of_network if of.complete] for of_network in results]
    return [[100 * (of["groups"][family] if family else of)["top1"] for of in row] for row in metrics if len(row) > 1]


def accuracy(measured: Measured, seed_error: SeedError = NOT_KNOWN) -> tuple[float, float, float]:
    """Top-1 in %, mean over seeds, and the ends of its 95 % interval: Wilson's for the number of videos, widened for
    the seeds."""
    evaluations = _evaluations(measured)
    fraction = np.mean([evaluation.top(1) for evaluation in evaluations])
    low, high = wilson(fraction, len(evaluations[0].labels))
    (right,) = _right(measured)
    variance, freedom = _of_all_seeds([right], seed_error)
    of_seeds, top1 = special.stdtrit(freedom, 0.975) * np.sqrt(variance), 100 * fraction
    low, high = (np.hypot(top1 - 100 * end, of_seeds) for end in (low, high))
    return float(top1), float(max(top1 - low, 0)), float(min(top1 + high, 100))


def wilson(fraction: float, videos: int) -> tuple[float, float]:
    """95 % interval of a `fraction` (0 to 1) of so many videos."""
    centre = (fraction + Z**2 / (2 * videos)) / (1 + Z**2 / videos)
    half = Z / (1 + Z**2 / videos) * np.sqrt(fraction * (1 - fraction) / videos + Z**2 / (4 * videos**2))
    return float(centre - half), float(centre + half)


def difference(first: Measured, second: Measured, seed_error: SeedError = NOT_KNOWN) -> Difference:
    """How much more `second` gets right than `first`, both tested on the same videos, as `compare`. A network does not
    differ from itself. An ensemble counts as one run, though it depends less on the seed."""
    one, other = ([of.ranks.tobytes() + of.answers.tobytes() for of in _evaluations(row)] for row in (first, second))
    return Difference(0.0, 0.0, np.inf) if one == other else compare(*_right(first, second), seed_error)


def compare(first: np.ndarray, second: np.ndarray, seed_error: SeedError = NOT_KNOWN) -> Difference:
    """How much higher the values `(videos, seeds)`, 0 to 1, of `second` are than those of `first`, over the same
    videos. The interval is by the module's bootstrap; NaN for less than two videos."""
    if len(first) < 2:  # of one video nothing is known of others
        return Difference(float(100 * (second.mean() - first.mean())) if len(first) else np.nan, np.nan, np.nan)
    of_videos = np.var(np.diff(_other_videos((first, second))), ddof=1)
    of_seeds, freedom = _of_all_seeds((first, second), seed_error)
    half = np.hypot(Z * np.sqrt(of_videos), special.stdtrit(freedom, 0.975) * np.sqrt(of_seeds))
    freedom *= ((of_videos + of_seeds) / of_seeds) ** 2 if of_seeds else 1
    return Difference(float(100 * (second.mean() - first.mean())), float(half), float(freedom))


def verdict(points: float, half: float) -> str:
    """Either "better" or "worse", or "inconclusive" where the interval contains zero or is unknown (nan)."""
    return INCONCLUSIVE if not abs(points) > half else "better" if points > 0 else "worse"


def claim_verdicts(
    measured: Sequence[Difference], published: Sequence[float], adjusted: Callable = np.asarray
) -> list[str]:
    """Of claims that a difference is positive, with the `published` sizes in points.

    "supported" or "contradicted" where the interval excludes 0; else "smaller than published" where it lies below
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
    published: Sequence[float], measured: Sequence[Measured], seed_error: SeedError = NOT_KNOWN
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


def _repeated(rows: Sequence[np.ndarray], seed_error: SeedError) -> np.ndarray:
    """Means of rows of values `(videos, seeds)` in repeated measurements, in points, `(DRAWS, rows)`."""
    rng, repeated = np.random.default_rng(1), _other_videos(rows)
    variances, freedoms = zip(*(_of_seeds(row, seed_error) for row in rows), strict=True)
    errors = np.sqrt([variance / row.shape[1] for variance, row in zip(variances, rows, strict=True)])
    return repeated + errors * rng.standard_t(np.clip(freedoms, 0.5, 1e6), repeated.shape)  # finite, to normal


def _other_videos(rows: Sequence[np.ndarray]) -> np.ndarray:
    """The same of other videos, with these seeds."""
    means = np.stack([row.mean(1) for row in rows], axis=1)
    drawn, wider = _drawn_videos(len(means)), np.sqrt(len(means) / (len(means) - 1))
    return 100 * (means.mean(0) + wider * (drawn @ (means - means.mean(0)).astype(np.float32)))


@functools.lru_cache(maxsize=4)  # all videos and three families
def _drawn_videos(videos: int) -> np.ndarray:
    """How often each of the videos is drawn, as a fraction of all, `(DRAWS, videos)`."""
    times = np.random.default_rng(0).multinomial(videos, np.full(videos, 1 / videos), size=DRAWS)
    return (times / videos).astype(np.float32)


def _of_seeds(values: np.ndarray, seed_error: SeedError) -> tuple[float, float]:
    """Variance between the seeds of a row `(videos, seeds)`, in points squared, and its degrees of freedom: its own,
    averaged with what is expected. Of several seeds what chance does in single videos is taken out."""
    videos, seeds = values.shape
    freedom = seeds - 1
    own = 1e4 * values.mean(0).var(ddof=1) if freedom else 0.0
    if seed_error.spread:
        part = freedom / (freedom + seed_error.freedom)
        own, freedom = part * own + (1 - part) * seed_error.spread**2, freedom + seed_error.freedom
    if seeds == 1:
        return own, freedom
    chance = 100 * (values - values.mean(1, keepdims=True) - values.mean(0) + values.mean())
    of_chance = (chance**2).sum() / ((seeds - 1) * (videos - 1) * videos)  # variance of one seed's mean
    return max(own - of_chance, 0.0), freedom


def _of_all_seeds(rows: Sequence[np.ndarray], seed_error: SeedError) -> tuple[float, float]:
    """Variance of the sum of the rows' means over their seeds, in points squared, and its degrees of freedom: of the
    row that has the fewest. With as few as these are, Welch's sum of them gives intervals that hold 77 to 92 of 100
    true values."""
    parts = [(variance / row.shape[1], of) for row in rows for variance, of in [_of_seeds(row, seed_error)] if variance]
    return sum(variance for variance, _ in parts), min((of for _, of in parts), default=np.inf)


def _evaluations(measured: Measured) -> list[Answers]:
    several = [measured] if isinstance(measured, Result | Answers) else measured
    return [one.evaluation if isinstance(one, Result) else one for one in several]
