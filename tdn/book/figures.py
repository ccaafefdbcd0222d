"""The figures of the notebooks, and how they are stored."""

import io
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from tdn.book import style
from tdn.book.intervals import NOT_KNOWN, SeedError, accuracy
from tdn.book.labels import label_points
from tdn.book.lines import Line
from tdn.book.real_video import WITNESSES
from tdn.experiments.profiles import Profile
from tdn.experiments.tables import get_table
from tdn.utils import write_whole

FIGURE_BYTES = 400_000  # figures are committed


def save_figure(figure: Figure, name: str, profile: Profile) -> Path:
    """Writes figures/<name>.png; gives its path."""
    for dpi in (110, 95, 80, 65, 50):  # noisy frames make large files: the highest resolution that fits
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=dpi, bbox_inches="tight")
        if png.tell() >= FIGURE_BYTES:  # a palette of 256 colours takes a third
            Image.open(png).convert("RGB").quantize(256).save(png := io.BytesIO(), "png", optimize=True)
        if png.tell() < FIGURE_BYTES:
            break
    write_whole(path := profile.output / "figures" / f"{name}.png", lambda file: file.write(png.getvalue()))
    return path


def plot_accuracy(table: pd.DataFrame) -> Figure:
    """Of `accuracy_table`, one row per network. On the left the published and the measured difference to the reference,
    the latter with its interval; an edition that has both rows counts, the final one first. On the right measured top-1
    by family."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 0.36 * len(table) + 1.8), sharey=True)
    rows, versus = np.arange(len(table))[::-1], next(name for name in table if name.startswith("vs "))
    is_reference = table["network"] == versus.removeprefix("vs ")
    published = pd.Series(np.nan, table.index)
    for edition in table.columns.intersection(["published top-1 (SSv1)", "in the ICLR edition"], sort=False):
        top1 = table[edition].astype(float)
        published = published.fillna(top1 - top1[is_reference].item())
    left.axvline(0, color="black", linewidth=0.8)
    for (_, row), place in zip(table.iterrows(), rows, strict=True):
        drawn = {"fmt": "o", "color": style.of_network(row["network"]), "capsize": 3}
        left.errorbar(row[versus], place, xerr=row["±"], **drawn, label="" if place else "measured")
    hollow = {"marker": "D", "facecolors": "none", "edgecolors": "black", "zorder": 3}
    if published.notna().any():
        left.scatter(published.mask(is_reference), rows, label="published, SSv1", **hollow)
    _around(left, pd.concat([table[versus], published]), table["±"])
    left.set_yticks(rows, table["network"] + np.where(is_reference, " (reference)", ""))
    left.set(ylim=(-0.6, len(table) - 0.4), xlabel=f"points of top-1, {versus}")
    left.set_title("Difference, 95 % interval" if table["measured top-1"].notna().any() else "Not run", pad=24)
    families = [name for name in style.FAMILIES if name in table]
    for marker, family in zip("os^", families, strict=False):
        right.scatter(table[family], rows, color=style.FAMILIES[family], marker=marker, label=family)
    right.set_title("By family of classes", pad=24)
    right.set(xlim=(-2, 102), xlabel="top-1 (%)", visible=bool(families))
    for axis in (left, right) if families else (left,):
        axis.grid(axis="y", color="0.9")
        axis.set_axisbelow(True)
        axis.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    return _tight(figure)


def plot_classes(table: pd.DataFrame) -> Figure:
    """Of `report.class_table`: top-1 of each network (rows) in each class (columns, in its order: by family)."""
    networks = table.columns.drop(["class", "family"], errors="ignore")
    figure, axis = plt.subplots(figsize=(0.27 * len(table) + 3.5, 0.27 * len(networks) + 4.5))
    if networks.empty:
        return _not_run(figure)
    families = table.get("family", pd.Series("all classes", table.index))
    image = axis.imshow(table[networks].to_numpy(float).T, vmin=0, vmax=100, aspect="auto")
    axis.set_yticks(range(len(networks)), networks, fontsize=9)
    axis.set_xticks(range(len(table)), table["class"], fontsize=8, rotation=90)
    sizes = families.value_counts(sort=False)
    for (family, size), end in zip(sizes.items(), sizes.cumsum(), strict=True):
        axis.axvline(end - size - 0.5, color="white", linewidth=3)
        axis.annotate(family, (end - size / 2 - 0.5, 1.02), xycoords=("data", "axes fraction"), ha="center")
    bar = figure.colorbar(image, label="top-1 (%)\nwhite: chance in a family", pad=0.02)
    for size in sizes.unique():
        bar.ax.axhline(100 / size, color="white", linewidth=2)
    return _tight(figure)


def plot_claims(claims: pd.DataFrame) -> Figure:
    """One row per claim (`report.claims`): the measured difference with its interval, and the published one."""
    figure, axis = plt.subplots(figsize=(9, 0.28 * len(claims) + 1))
    if claims.empty:
        return _not_run(figure)
    rows = np.arange(len(claims))[::-1]
    axis.axvline(0, color="black", linewidth=0.8)
    for verdict, colour in style.VERDICTS.items():
        of, here = claims[claims["verdict"] == verdict], rows[claims["verdict"] == verdict]
        axis.errorbar(of["measured"], here, xerr=of["±"], fmt="o", color=colour, capsize=3, label=verdict)
    other = claims["verdict"] != claims["after Holm"]
    axis.plot(claims["measured"][other], rows[other], "o", color="white", markersize=3, zorder=4)
    axis.scatter(claims["published"], rows, 18, marker="D", facecolors="none", edgecolors="black", label="published")
    axis.set_yticks(rows, claims["claim"], fontsize=8)
    title = "Measured difference, 95 % interval" if claims["measured"].notna().any() else "Not run"
    axis.set(xlabel="points of top-1 (hollow: another verdict after Holm's correction)", title=title)
    _around(axis, claims[["measured", "published"]].stack(), claims["±"])
    return _with_legend(figure, loc="upper left", bbox_to_anchor=(1.01, 1))


def _around(axis: plt.Axes, points: pd.Series, halves: pd.Series) -> None:
    """The x-axis shows these points, with as much beside them as most half widths of intervals take; of wider ones the
    part around them, or the rest would be flattened."""
    values = np.append(points.to_numpy(float), 0.0)
    low, high = np.nanmin(values), np.nanmax(values)
    beside = max(0.3 * (high - low) + 1, 1.1 * np.nan_to_num(halves.astype(float).quantile(0.8)))
    axis.set_xlim(low - beside, high + beside)


def plot_order(measured: Mapping[str, Sequence[Line]], seed_error: SeedError = NOT_KNOWN) -> Figure:
    """Published top-1 against measured top-1 with its interval, one colour per table (by name)."""
    figure, axis = plt.subplots(figsize=(7, 4.5))
    for name, lines in measured.items():
        known = [line for line in lines if line.results and line.published is not None]
        if known:
            top1, low, high = np.array([accuracy(line.results, seed_error) for line in known]).T
            published, errors = [line.published for line in known], [top1 - low, high - top1]
            axis.errorbar(published, top1, errors, fmt="o", capsize=2, label=get_table(name).title, alpha=0.7)
    axis.set(xlabel="published top-1 on SSv1 (%)", ylabel="measured top-1 (%)")
    return _with_legend(figure)


def plot_witnesses(rendered: pd.DataFrame, real: pd.DataFrame) -> Figure:
    """The rows of `real_video.WITNESSES` in two tables (`report.accuracy_table`): measured top-1 with its interval on
    rendered clips and on real video; a line is chance. Raises ValueError, with their names, for rows not measured."""
    names, places = pd.DataFrame(WITNESSES.items()), np.arange(len(WITNESSES))[::-1]
    panels = (rendered, names[0], "rendered clips, 24 classes", 24), (real, names[1], "real video, ten gestures", 10)
    tables = [table.set_index("network").reindex(of_table) for table, of_table, *_ in panels]
    for table, (*_, title, _) in zip(tables, panels, strict=True):
        if absent := table.index[table["measured top-1"].isna()].tolist():
            raise ValueError(f"not measured, {title}: {', '.join(absent)}")
    figure, axes = plt.subplots(1, 2, figsize=(9.2, 3.1), sharey=True)
    for axis, table, (*_, title, classes) in zip(axes, tables, panels, strict=True):
        top1, errors = _top1_and_errors(table)
        axis.barh(places, top1, xerr=errors, color=[*map(style.of_network, names[1])], capsize=4)
        for place, value, end in zip(places, top1, top1 + errors[1], strict=True):
            axis.text(end + 2, place, f"{value:.0f}", va="center", fontsize=11)
        axis.axvline(100 / classes, color="black", linestyle="--")
        axis.set_yticks(places, names[1], fontsize=11)
        axis.set_title(title, fontsize=12)
        explained = f"measured top-1 (%), 95 % interval\ndashed line: chance, 1 of {classes}"
        axis.set(xlim=(0, 112), xticks=range(0, 101, 20), xlabel=explained)
    return _tight(figure)


def plot_training(lines: Sequence[Line]) -> Figure:
    """Training loss over epochs, one curve per network (its first seed)."""
    figure, axis = plt.subplots(figsize=(8, 3.2))
    styles = defaultdict(lambda: itertools.cycle(("-", "--", ":")))  # of networks of one colour
    for line in lines:
        if line.results:
            name, colour = line.row.name, style.of_network(line.row.name)
            drawn = {"color": colour, "linestyle": next(styles[colour]), "label": name}
            axis.plot("epoch", "loss", data=line.results[0].history, **drawn)
    axis.set(xlabel="epoch", ylabel="training loss")
    return _with_legend(figure)


def plot_accuracy_cost(published: pd.DataFrame, measured: pd.DataFrame, title: str) -> Figure:
    """Figure 1: top-1 against GMACs (of `comparisons.accuracy_and_cost`), the published methods on the left, ours on
    the right; TDN's of the final text are joined by a line for each backbone, of one colour on both sides. A bubble's
    area is the number of parameters, as counted by this book; a network that it does not have is a cross."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5.4), width_ratios=(1.8, 1))
    known = published.dropna(subset=["GMACs", "top-1"])
    others = known[known["method"] != "TDN"].drop_duplicates(["GMACs", "top-1"])  # spelled otherwise in two editions
    tdn = known[(known["method"] == "TDN") & known["published in"].str.contains("CVPR")]
    own = measured.assign(**measured["network"].str.extract(r"(?P<backbone>.+), (?P<frames>.+) frames"))
    sized, cross = others.dropna(subset=["params (M)"]), {"s": 20, "c": "tab:gray", "marker": "x"}
    left.scatter(sized["GMACs"], sized["top-1"], 2 * sized["params (M)"], "tab:gray", alpha=0.7)
    for colour, (backbone, of_paper) in zip(
        (style.GREEN, style.BLUE), tdn.groupby("backbone", sort=False), strict=False
    ):
        for axis, rows, name in ((left, of_paper, f"TDN, {backbone}"), (right, own[own["backbone"] == backbone], "")):
            axis.plot(rows["GMACs"], rows["top-1"], color=colour, label=name)
            axis.scatter(rows["GMACs"], rows["top-1"], 2 * rows["params (M)"], color=colour, zorder=3)
    for millions in (25, 100):
        left.scatter([], [], 2 * millions, "none", edgecolors="tab:gray", label=f"{millions} M parameters")
    unknown = others.drop(sized.index)
    left.scatter(unknown["GMACs"], unknown["top-1"], **cross, label="parameters not known")
    left.set(xscale="log", xlabel="GMACs over all views, as published", ylabel="published top-1 (%)", title=title)
    left.xaxis.set_major_formatter("{x:g}")
    left.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=5, columnspacing=1)
    title = "Measured, 95 % interval, with frames" if len(measured) else "Not run"
    right.set(xlabel="GMACs of the full-size network, all views", ylabel="measured top-1 (%)", title=title)
    error = own["top-1"] - own["95% low"], own["95% high"] - own["top-1"]
    right.errorbar(own["GMACs"], own["top-1"], error, fmt="none", ecolor="0.6", capsize=3, zorder=1)
    for _, row in own.iterrows():
        right.annotate(row["frames"], (row["GMACs"], row["top-1"]), (7, 5), textcoords="offset points", fontsize=8)
    right.margins(x=0.15)
    if measured.empty:
        right.set_axis_off()
    figure.tight_layout()
    names = others["method"] + ", " + others["frames"].map(lambda frames: frames.split("x")[0].strip("()"))
    label_points(left, others[["GMACs", "top-1"]].to_numpy(), names, tdn[["GMACs", "top-1"]].to_numpy())
    return figure


def plot_views(table: pd.DataFrame) -> Figure:
    """Measured top-1 with its interval against the number of views (of `comparisons.sweep`), one colour per number of
    crops; on the right the paired difference to one view."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
    if table.empty:
        return _not_run(figure)
    for crops, rows in table.groupby(table["clips x crops"].str.split("x").str[1]):
        label = f"{crops} crop{'s' if crops != '1' else ''}"
        top1, errors = _top1_and_errors(rows)
        left.errorbar(rows["views"], top1, yerr=errors, fmt="o-", capsize=3, label=label)
        more = rows.dropna(subset=["±"])
        right.errorbar(more["views"], more["more than with the first"], yerr=more["±"], fmt="o", capsize=3, label=label)
    right.axhline(0, color="black", linewidth=0.8)
    left.set(xlabel="views of a video", ylabel="measured top-1 (%)", title="Measured, 95 % interval")
    right.set(xlabel="views of a video", ylabel="points of top-1", title="Difference to one view, paired")
    for axis in (left, right):
        axis.set_xscale("log", base=2)
        axis.set_xticks(sorted(table["views"].unique()), sorted(table["views"].unique()))
        axis.legend(fontsize=8)
    return _tight(figure)


def plot_transfer(published: pd.DataFrame, measured: pd.DataFrame) -> Figure:
    """Table 4: published top-1 of each method (`transfer.published_transfer`) on the left; measured means over splits
    (`transfer.transfer_table`) on the right, with the interval and one dot per split."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    rows = np.arange(len(published))[::-1]
    for name, colour in (("UCF101", style.BLUE), ("HMDB51", style.ORANGE)):
        left.plot(published[f"published {name}"], rows, "o", color=colour, label=name)
    left.set_yticks(rows, published["method"])
    left.grid(axis="y", color="0.9")
    left.set(xlabel="published top-1 (%)", title="Published, mean of three splits")
    left.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    rows = np.arange(len(measured))[::-1]
    top1, errors = _top1_and_errors(measured)
    right.barh(rows, top1, xerr=errors, color="tab:gray", height=0.4, capsize=3)
    for split in (column for column in measured if column.startswith("split ")):
        right.scatter(measured[split], rows, color="black", s=14, zorder=3)
    right.set_yticks(rows, measured["data"] + "\nfrom " + measured["initialised from"], fontsize=8)
    title = "Mean of three splits, 95 % interval; one dot per split" if top1.notna().any() else "Not run"
    right.set(xlim=(0, 100), ylim=(-1, len(measured)), xlabel="measured top-1 (%)", title=title)
    return _tight(figure)


def plot_localisation(table: pd.DataFrame, baselines: Sequence[str]) -> Figure:
    """Of `map_quality.localisation_table`: one bar per row, those of the `baselines` in grey."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 0.45 * len(table) + 1.2), sharey=True)
    colours = [style.GRAY if name in baselines else style.BLUE for name in table["maps of"]]
    for axis, what in zip(axes, ("energy inside (%)", "pointing game (%)"), strict=True):
        axis.barh(table["maps of"], table[what], color=colours, height=0.6)
        axis.set(xlabel=what, xlim=(0, max(60, table[what].max() + 5)))
    axes[0].invert_yaxis()
    return _tight(figure)


def plot_curves(table: pd.DataFrame) -> Figure:
    """Of `map_quality.curves_table`: deletion on the left, insertion on the right."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), sharey=True)
    fractions = [column for column in table if column.endswith(" %")]
    for axis, kind in zip(axes, ("deletion", "insertion"), strict=True):
        for _, row in table[table["curve"] == kind].iterrows():
            axis.plot(fractions, row[fractions].astype(float), label=f"{row['maps of']}: {row['area']:.0f}")
        axis.set(title=f"{kind}: area under the curve", xlabel="of the pixels, highest activation first", ylim=(0, 100))
        axis.legend(fontsize=8)
    axes[0].set_ylabel("probability of the true class (%)")
    return _tight(figure)


def _top1_and_errors(table: pd.DataFrame) -> tuple[pd.Series, list[pd.Series]]:
    """Measured top-1, and the distances to the ends of its interval as matplotlib takes them."""
    top1, low, high = (table[name].astype(float) for name in ("measured top-1", "95% low", "95% high"))
    return top1, [top1 - low, high - top1]


def _tight(figure: Figure, pad: float = 1.08) -> Figure:
    figure.tight_layout(pad=pad)
    return figure


def _with_legend(figure: Figure, **place: Any) -> Figure:
    """The figure of one axis with a legend, or `_not_run` where nothing is drawn."""
    (axis,) = figure.axes
    if not axis.has_data():
        return _not_run(figure)
    axis.legend(fontsize=8, **place)
    return figure


def _not_run(figure: Figure) -> Figure:
    """The figure, small, with nothing but these words."""
    figure.clear()
    figure.set_size_inches(6, 0.8)
    axis = figure.add_subplot()
    axis.text(0.5, 0.5, "Not run", ha="center", va="center", color="tab:gray")
    axis.set_axis_off()
    return figure
