"""How much more networks get right of the clips that they are trained on than of validation videos: the gap.

TDRL, section 4.4, has training accuracies after 50 epochs, 79.03 % with TIM, 77.98 % with PEM and 74.45 % with the TD
loss, and concludes from the decline that both avoid overfitting. It compares no gaps."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.special import stdtrit

from tdn.book.intervals import verdict
from tdn.book.lines import Line
from tdn.utils import NOT_RUN, escaped_text

WORDS = {"worse": "lowers the gap", "better": "raises the gap"}  # of verdicts on how much larger a gap is
TRAINING, VALIDATION = TOP1 = ["training top-1", "validation top-1"]


def gap_table(lines: Sequence[Line]) -> pd.DataFrame:
    """One row per line, of one or several tables, each compared with the first reference of its own table.

    `training top-1` is that of the training videos in %, tested as the validation videos are (in one view). `gap` is
    how much it is above `validation top-1`, in points; all are means over seeds. `vs reference` is how much larger the
    gap is than the reference's, mean over the seeds that both have, `±` the half width of its 95 % interval (Student's
    t over these seeds, paired, for the videos as they are; NaN with one seed). NaN, and "not run", where there is no
    result.
    """
    rows = []
    for line in lines:
        own, is_reference = _by_seed(line), line.row.name == line.table.references[0]
        (reference,) = (of for of in lines if of.table == line.table and of.row.name == line.table.references[0])
        more = (own["gap"] - _by_seed(reference)["gap"]).dropna()
        points, half = more.mean(), stdtrit(max(len(more) - 1, 1), 0.975) * more.sem()  # of one seed NaN
        answer = verdict(points, half)
        row = {"table": line.table.title, "network": line.row.name, **own.mean()}
        row |= {"vs reference": np.nan, "±": np.nan} if is_reference else {"vs reference": points, "±": half}
        row["verdict"] = NOT_RUN if own.empty else "reference" if is_reference else WORDS.get(answer, answer)
        rows.append(row | {"seeds": len(own)})
    return pd.DataFrame(rows)


def _by_seed(line: Line) -> pd.DataFrame:
    runs = {of.manifest["seed"]: (of.metrics["train_top1"], of.metrics["top1"]) for of in line.results}
    table = 100 * pd.DataFrame.from_dict(runs, orient="index", columns=TOP1, dtype=float)
    return table.assign(gap=table[TRAINING] - table[VALIDATION])


def findings(gaps: pd.DataFrame) -> str:
    """Of a `gap_table`, markdown: the gaps of the references, and which networks lower or raise the gap."""
    sentences = []
    for _, row in gaps[gaps["verdict"] == "reference"].drop_duplicates([*TOP1]).iterrows():
        top1 = f"{row[TRAINING]:.1f} % of the training clips and {row[VALIDATION]:.1f} % of the validation videos"
        none = ": no overfitting that could be lowered" if row["gap"] <= 0 else ""
        sentences.append(f"{row['network']} gets {top1} right, a gap of {row['gap']:.1f} points{none}.")
    compared = gaps[~gaps["verdict"].isin(["reference", NOT_RUN])]
    for answer, rows in compared.groupby("verdict"):
        halves = np.where(rows["±"].isna(), "", rows["±"].map(" ± {:.1f}".format))
        names = ", ".join(rows["network"] + " (" + rows["vs reference"].map("{:+.1f}".format) + halves + ")")
        sentences.append(f"{answer.capitalize()}, {len(rows)} of {len(compared)}: {names}.")
    return "\n".join(f"- {escaped_text(sentence)}" for sentence in sentences)


def plot_gaps(gaps: pd.DataFrame) -> Figure:
    """Of a `gap_table`: training and validation top-1 joined by a line, and on the right the gap's difference to the
    reference's with its interval, where there is one."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 0.26 * len(gaps) + 1.4), sharey=True)
    rows = np.arange(len(gaps))[::-1]
    left.hlines(rows, gaps[VALIDATION], gaps[TRAINING], color="0.7")
    for column, marker in zip(TOP1, ("o", "s"), strict=True):
        left.scatter(gaps[column], rows, 20, marker=marker, label=column, zorder=3)
    left.set_yticks(rows, gaps["network"] + np.where(gaps["verdict"] == "reference", " (reference)", ""), fontsize=8)
    left.set(xlabel="top-1 (%)", ylim=(-0.6, len(gaps) - 0.4))
    left.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    right.axvline(0, color="black", linewidth=0.8)
    right.errorbar(gaps["vs reference"], rows, xerr=gaps["±"], fmt="o", color="tab:blue", capsize=3, markersize=4)
    right.set(xlabel="points by which the gap is larger", title="Difference to the reference, 95 % interval")
    figure.tight_layout()
    return figure
