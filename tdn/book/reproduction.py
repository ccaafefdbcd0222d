"""A study of one's own against the committed record: has each network the top-1 that the record lets one expect, and do
the papers' claims get the same verdicts?"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.special import stdtrit

from tdn.book.figures import save_figure
from tdn.book.intervals import CONTRADICTED, SUPPORTED, SeedError, seed_error, seed_spread
from tdn.book.lines import Line, measured
from tdn.book.report import all_claims, save_table
from tdn.experiments.profiles import Profile
from tdn.experiments.tables import get_table

LEVEL = 0.99
MOST_OUTSIDE = 0.05  # of the rows of a study that is reproduced
INSIDE, OUTSIDE, UNKNOWN = "inside", "outside", "unknown"
SAME, OTHER, OPPOSITE = "same", "other", "opposite"
Rows = dict[str, list[Line]]  # by the name of their table


def compare(study: Profile, record: Profile) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`reproduction_table` and `verdict_table`, also written into the study's output with a figure: as `reproduction`
    and `reproduction_verdicts`. Nothing is trained. Raises as `rows_of_both`.

    A study of one seed does not know how much another seed changes: its verdicts are taken with the record's seed
    error. (Its own notebooks have intervals for the choice of videos alone, and so more that is decided.)
    """
    own, theirs = rows_of_both(study, record)
    rows = reproduction_table(own, theirs, *seed_spread(record))
    error = seed_error(record)
    own_error = seed_error(study)
    verdicts = verdict_table(own, theirs, own_error if own_error.spread else error, error)
    lines = [line for of_table in own.values() for line in of_table]
    save_table(rows, "reproduction", study, lines)
    save_table(verdicts, "reproduction_verdicts", study, lines)
    save_figure(plot_reproduction(rows), "reproduction", study)
    return rows, verdicts


def rows_of_both(study: Profile, record: Profile) -> tuple[Rows, Rows]:
    """The rows of the study's tables whose network both have complete: with the study's results, and with the record's.
    Raises ValueError where the record is of other networks, FileNotFoundError where one of the two has no results; each
    says what to do."""
    pairs = [
        (name, measured(row, table, study), measured(row, table, record))
        for name, table in study.tables.items()
        if name in record.tables
        for row in table.rows
    ]
    pairs = [(name, one, other) for name, one, other in pairs if set(one.runs) & set(other.runs)]
    if not pairs:
        raise ValueError(f"the networks of {study.name} are not those of the {record.name}: compare the profile pocket")
    pairs = [(name, one, other) for name, one, other in pairs if other.results]
    if not pairs:
        remedy = f"git checkout {record.results} restores it, tdn train --profile {record.name} makes it anew"
        raise FileNotFoundError(f"no complete run in the record, {record.results}: {remedy}")
    pairs = [(name, one, other) for name, one, other in pairs if one.results]
    if not pairs:
        remedy = f"train them first, tdn train --profile {study.argument}"
        raise FileNotFoundError(f"no complete run of the record's networks in {study.results}: {remedy}")
    own, theirs = {}, {}
    for name, one, other in pairs:
        own.setdefault(name, []).append(one)
        theirs.setdefault(name, []).append(other)
    return own, theirs


def reproduction_table(own: Rows, theirs: Rows, spread: float, freedom: int) -> pd.DataFrame:
    """One row per network, in the first table that has it: top-1 in %, the mean over the study's seeds and over the
    record's, and the prediction interval of the former given the latter.

    Of n seeds in the record and m of one's own that is the record's mean ± t(freedom) spread sqrt(1/n + 1/m), the
    `spread` between seeds and its `freedom` as `intervals.seed_spread` of the record gives them. The validation videos
    are the same, so their choice does not count. The interval is one of 99 %: outside of 95 % there is one row in
    twenty by definition, and the limit of 5 % (`MOST_OUTSIDE`) would be a coin toss. `top-1 is` "inside" of it or
    "outside"; with no second seed in the record there is no interval, and it is "unknown".
    """
    rows, seen = [], set()
    for one, other in ((a, b) for name in own for a, b in zip(own[name], theirs[name], strict=True)):
        if one.runs[0] in seen:
            continue
        seen.add(one.runs[0])
        (top1, expected), m, n = map(_top1, (one, other)), len(one.results), len(other.results)
        half = stdtrit(freedom, (1 + LEVEL) / 2) * spread * np.sqrt(1 / n + 1 / m) if freedom else np.nan
        place = UNKNOWN if not freedom else INSIDE if abs(top1 - expected) < half + 1e-9 else OUTSIDE
        cells = {"table": one.table.title, "network": one.row.name, "top-1": top1, "record top-1": expected}
        cells |= {"99% low": expected - half, "99% high": expected + half, "top-1 is": place}
        rows.append(cells | {"seeds": m, "seeds of the record": n})
    return pd.DataFrame(rows)


def _top1(line: Line) -> float:
    return float(100 * np.mean([result.metrics["top1"] for result in line.results]))


def reproduced(rows: pd.DataFrame) -> bool:
    """Whether at most 5 % of the rows (`reproduction_table`) are outside their intervals."""
    return (rows["top-1 is"] == OUTSIDE).mean() <= MOST_OUTSIDE


def verdict_table(own: Rows, theirs: Rows, own_error: SeedError, error: SeedError) -> pd.DataFrame:
    """The claims of TDN's and of TDRL's tables (`report.all_claims`, as notebook 29 has them), with what the study and
    what the record measured of each, in points, and both verdicts. `agreement` is "same", "opposite" (one supports what
    the other contradicts), or "other". `own_error` and `error` are the `seed_error` of the study and of the record."""
    tables = []
    for paper in ("TDN", "TDRL"):
        names = [name for name in own if get_table(name).paper == paper]
        mine = all_claims({name: own[name] for name in names}, own_error)
        recorded = all_claims({name: theirs[name] for name in names}, error)
        shown = mine[["table", "claim", "published", "measured", "±", "verdict"]].assign(paper=paper)
        tables.append(shown.join(recorded[["measured", "±", "verdict"]].add_suffix(" in the record")))
    claims = pd.concat([of for of in tables if len(of)] or tables, ignore_index=True)
    one, other = claims["verdict"], claims["verdict in the record"]
    decided = one.isin([SUPPORTED, CONTRADICTED]) & other.isin([SUPPORTED, CONTRADICTED])
    return claims.assign(agreement=np.select([one == other, decided], [SAME, OPPOSITE], OTHER))


def summary(rows: pd.DataFrame, verdicts: pd.DataFrame, study: Profile) -> str:
    """The findings of `compare` in a few lines, with every row outside and every opposite verdict by name."""
    networks = {study.runs(row, table)[0] for table in study.tables.values() for row in table.rows}
    seeds = f"seeds: {_range(rows['seeds'])}, of the record {_range(rows['seeds of the record'])}"
    lines = [f"compared with the record: {len(rows)} of {len(networks)} networks of all tables; {seeds}"]
    outside = rows[rows["top-1 is"] == OUTSIDE]
    if (rows["top-1 is"] == UNKNOWN).any():
        lines.append("the record has one seed: no interval")
    else:
        lines.append(f"outside the record's 99 % interval: {_part(len(outside), len(rows))}")
    for _, row in outside.iterrows():
        expected = f"{row['99% low']:.1f} to {row['99% high']:.1f} expected (the record has {row['record top-1']:.1f})"
        lines.append(f"  {row['table']}, {row['network']}: top-1 {row['top-1']:.1f} %, {expected}")
    for paper, of in verdicts.groupby("paper"):
        opposite = of[of["agreement"] == OPPOSITE]
        same = _part((of["agreement"] == SAME).sum(), len(of))
        lines.append(f"verdicts of {paper}'s tables: {same} are the record's, {len(opposite)} opposite")
        for _, row in opposite.iterrows():
            lines.append(f"  {row['claim']}: {row['verdict']}, {row['verdict in the record']} in the record")
    if (rows["top-1 is"] != UNKNOWN).any():
        answer = "reproduced: at most" if reproduced(rows) else "not reproduced: more than"
        lines.append(f"{answer} {100 * MOST_OUTSIDE:.0f} % of the networks are outside")
    return "\n".join(lines)


def _range(numbers: pd.Series) -> str:
    low, high = numbers.min(), numbers.max()
    return f"{low}" if low == high else f"{low} to {high}"


def _part(number: int, of: int) -> str:
    return f"{number} of {of} ({100 * number / max(of, 1):.0f} %)"


def plot_reproduction(rows: pd.DataFrame) -> Figure:
    """Of `reproduction_table`, one row per network below the title of its table: the record's interval as a bar with
    its mean, and the study's top-1 as a dot, or a cross where it is outside."""
    titles = rows["table"].unique()
    figure, axis = plt.subplots(figsize=(9, 0.2 * (len(rows) + len(titles)) + 1.2))
    axis.use_sticky_edges = False  # bars end before the frame
    # One place for each title and for each row, from the top.
    places = -(np.arange(len(rows)) + 1 + rows["table"].map({title: n for n, title in enumerate(titles)}))
    half = (rows["99% high"] - rows["record top-1"]).fillna(0)
    axis.barh(places, 2 * half, 0.8, rows["record top-1"] - half, color="0.85", label="record: 99 % interval")
    axis.scatter(rows["record top-1"], places, 60, marker="|", color="0.4", label="record: mean over seeds")
    for marker, colour, label, outside in (("o", "tab:blue", "own", False), ("X", "tab:red", "own, outside", True)):
        of = rows[(rows["top-1 is"] == OUTSIDE) == outside]
        axis.scatter(
            of["top-1"], places[of.index], 22 + 26 * outside, marker=marker, color=colour, label=label, zorder=3
        )
    heads = [places[rows["table"] == title].max() + 1 for title in titles]
    axis.set_yticks([*heads, *places], [*titles, *rows["network"]], fontsize=8)
    for label in axis.get_yticklabels()[: len(titles)]:
        label.set_fontweight("bold")
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color="0.93")
    axis.set_axisbelow(True)
    axis.set(xlabel="top-1 (%)", ylim=(places.min() - 0.7, 0.7))
    axis.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4)
    figure.tight_layout()
    return figure
