"""What real video answers: questions to the rows of its table, opposite gestures, and the order on rendered clips."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tdn.book.intervals import (
    INCONCLUSIVE,
    NOT_KNOWN,
    UNKNOWN,
    Difference,
    SeedError,
    accuracy,
    difference,
    holm,
    verdict,
)
from tdn.book.lines import Line
from tdn.engine.evaluation import Answers
from tdn.experiments.record import Result
from tdn.utils import NOT_RUN

WITNESSES = {  # rows of rendered clips (table short_vs_long), and their names in the table gestures
    "TSN": "TSN",
    "temporal convolution": "temporal convolution",
    "L-TDM in stages 3-5": "L-TDM",
    "S-TDM in stages 1-2": "S-TDM",
    "TDN (both)": "TDN",
}
OPPOSITES = (("up", "down"), ("left", "right"))
T_CONV = "temporal convolution"
FUSED, FUSED_2D = f"{T_CONV} on stacked differences", "2D network on stacked differences"
SHUFFLED, ONE_FRAME = "TDN, segments shuffled", "single frame"
QUESTIONS = (  # is the second row better than the first?
    ("Is it motion: does S-TDM improve the temporal convolution?", T_CONV, "S-TDM"),
    ("Does L-TDM improve the temporal convolution?", T_CONV, "L-TDM"),
    ("Does L-TDM improve a network that has S-TDM?", "S-TDM", "TDN"),
    ("Is it only more input: do stacked differences improve the 2D network?", "TSN", FUSED_2D),
    ("Do stacked differences improve the temporal convolution?", T_CONV, FUSED),
    ("Is S-TDM better than the same differences, stacked?", FUSED, "S-TDM"),
    ("Is it order: does TDN need its segments in order?", SHUFFLED, "TDN"),
    ("Without that order, is TDN still better than TSN?", "TSN", SHUFFLED),
    ("Do eight frames without order tell more than one?", ONE_FRAME, "TSN"),
)
ANSWERS = {"better": "yes", "worse": "no, the other way round", INCONCLUSIVE: INCONCLUSIVE}


def findings(lines: Sequence[Line], num_classes: int, seed_error: SeedError = NOT_KNOWN) -> str:
    """The `QUESTIONS` with their answers, and whether a single frame, and segments without order, are above chance: one
    sentence each, markdown. "Yes" and "no" where the 95 % interval excludes zero, or chance; `seed_error` as in
    `intervals.difference`."""
    results = {line.row.name: line.results for line in lines}
    measured = [_difference(results[less], results[more], seed_error) for _, less, more in QUESTIONS]
    sentences = []
    for (text, less, more), of, after in zip(QUESTIONS, measured, holm([of.p() for of in measured]), strict=True):
        later = f"; {INCONCLUSIVE} after Holm's correction" if of.p() < 0.05 <= after else ""
        numbers = f"{more} vs. {less}: {of.points:+.1f} ± {of.half:.1f} points{later}"
        answer = f"**{ANSWERS[verdict(of.points, of.half)]}** ({numbers})"
        sentences.append(f"{text} {NOT_RUN if np.isnan(of.points) else answer}.")
    for name in (ONE_FRAME, SHUFFLED):
        answer, chance = NOT_RUN, 100 / num_classes
        if results[name]:
            top1, low, high = accuracy(results[name], seed_error)
            found = "yes" if low > chance else "no, below it" if high < chance else INCONCLUSIVE
            answer = f"**{found}** (top-1 {top1:.1f} %, {low:.1f} to {high:.1f})"
        sentences.append(f"Is the row *{name}* above chance, {chance:.1f} %? {answer}.")
    return "\n".join(f"- {sentence}" for sentence in sentences)


def opposites_table(lines: Sequence[Line], class_names: Sequence[str]) -> pd.DataFrame:
    """How networks answer clips of `OPPOSITES`, in % of these clips, over all seeds: one row per line that was run. The
    columns of a pair, and of all four with the 95 % interval, are how often a gesture is taken for its opposite; then
    how often for another wrong one."""
    label_of = {name: label for label, name in enumerate(class_names)}
    pairs = {" and ".join(pair): [label_of[name] for name in pair] for pair in OPPOSITES}
    opposite = np.arange(len(class_names))
    for one, other in pairs.values():
        opposite[[one, other]] = other, one
    every, same, rows = [label for pair in pairs.values() for label in pair], np.arange(len(class_names)), []
    for line in (line for line in lines if line.results):
        row = {"network": line.row.name, "correct": _answered(line, every, same)[0]}
        row |= {f"opposite, {pair}": _answered(line, labels, opposite)[0] for pair, labels in pairs.items()}
        row |= dict(zip(("opposite, all four", "95% low", "95% high"), _answered(line, every, opposite), strict=True))
        rows.append(row | {"another gesture": 100 - row["correct"] - row["opposite, all four"]})
    return pd.DataFrame(rows)


def _answered(line: Line, labels: Sequence[int], wanted: np.ndarray) -> tuple[float, float, float]:
    """How often videos of these labels are answered with `wanted[label]`, as `intervals.accuracy`."""
    parts = []
    for of in (result.evaluation for result in line.results):
        here = np.isin(of.labels, labels)
        ranks = (of.answers != wanted[of.labels]).astype(int)
        parts.append(Answers(of.answers[here], ranks[here], of.labels[here], of.videos[here], of.classes))
    return accuracy(parts)


def order_on_both(
    rendered: Sequence[Line], real: Sequence[Line], seed_errors: tuple[SeedError, SeedError] = (NOT_KNOWN, NOT_KNOWN)
) -> pd.DataFrame:
    """One row per pair of `WITNESSES`: how many points of top-1 the first has more, with its 95 % interval and verdict,
    on rendered clips and on real video. `same order` is "yes" or "no", and "inconclusive" where one verdict is."""
    by_name = [{line.row.name: line.results for line in lines} for lines in (rendered, real)]
    rows = []
    for (less, less_real), (more, more_real) in itertools.combinations(WITNESSES.items(), 2):
        row, verdicts = {"pair": f"{more_real} vs. {less_real}"}, []
        of_both = zip(("rendered clips", "real video"), ((less, more), (less_real, more_real)), strict=True)
        for (what, names), results, error in zip(of_both, by_name, seed_errors, strict=True):
            points, half, _ = _difference(*(results[name] for name in names), error)
            verdicts.append(NOT_RUN if np.isnan(points) else verdict(points, half))
            row[what] = NOT_RUN if np.isnan(points) else f"{points:+.1f} ± {half:.1f}, {verdicts[-1]}"
        unsure = [word for word in (NOT_RUN, INCONCLUSIVE) if word in verdicts]
        rows.append(row | {"same order": unsure[0] if unsure else "yes" if verdicts[0] == verdicts[1] else "no"})
    return pd.DataFrame(rows)


def _difference(first: Sequence[Result], second: Sequence[Result], seed_error: SeedError) -> Difference:
    return difference(first, second, seed_error) if first and second else UNKNOWN
