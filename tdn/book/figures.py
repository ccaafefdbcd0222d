"""The pictures of the notebooks, and how they are kept."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from torch import Tensor

from tdn.book.intervals import accuracy
from tdn.book.lines import Line
from tdn.book.report import CONTRADICTED, OPEN, SUPPORTED
from tdn.experiments.profiles import Profile
from tdn.experiments.tables import get_table
from tdn.utils import write_whole

FIGURE_BYTES = 200_000  # figures are committed
FAMILY_COLOURS = {"short": "tab:orange", "long": "tab:blue", "both": "tab:green"}


def save_figure(figure: Figure, name: str, profile: Profile) -> Path:
    """Writes figures/<name>.png; gives its path."""
    for dpi in (110, 95, 80, 65, 50):  # noisy photographs are large: as sharp as fits
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=dpi, bbox_inches="tight")
        if png.tell() < FIGURE_BYTES:
            break
    path = profile.results / "figures" / f"{name}.png"
    write_whole(path, lambda file: file.write(png.getvalue()))
    return path


def plot_accuracy(table: pd.DataFrame) -> Figure:
    """Measured top-1 with its interval on the left, by family on the right, a row of the table each."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 0.5 * len(table) + 1.4), sharey=True)
    places = np.arange(len(table))[::-1]
    measured, low, high = (table[name].astype(float) for name in ("measured top-1", "95% low", "95% high"))
    errors = [measured - low, high - measured]
    left.barh(places, measured, xerr=errors, color="tab:gray", height=0.6, capsize=3)
    if "published top-1 (SSv1)" in table:
        published = table["published top-1 (SSv1)"]
        left.scatter(published, places, marker="D", color="tab:red", zorder=3, label="published, SSv1")
        left.legend(loc="upper right", fontsize=8)
    left.set_yticks(places, table["network"])
    left.set(xlim=(0, 100), xlabel="top-1 (%)", title="Measured, 95 % interval")
    families = [name for name in FAMILY_COLOURS if name in table]
    right.set_visible(bool(families))
    for offset, family in enumerate(families):
        shift = 0.25 * (1 - offset)
        right.barh(places + shift, table[family], height=0.22, color=FAMILY_COLOURS[family], label=family)
    right.set(xlim=(0, 100), xlabel="top-1 (%)", title="By family of classes")
    if families:
        right.legend(fontsize=8)
    if measured.isna().all():
        left.set_title("Not run")
    figure.tight_layout()
    return figure


def plot_claims(claims: pd.DataFrame) -> Figure:
    """A row a claim (`report.claims`): the measured difference with its interval, the published one beside it."""
    colours = {SUPPORTED: "tab:green", CONTRADICTED: "tab:red", OPEN: "tab:gray"}
    figure, axis = plt.subplots(figsize=(9, 0.28 * len(claims) + 1))
    places = np.arange(len(claims))[::-1]
    axis.axvline(0, color="black", linewidth=0.8)
    for verdict, colour in colours.items():
        of = (claims["verdict"] == verdict).to_numpy()
        axis.errorbar(
            claims["measured"][of], places[of], xerr=claims["±"][of], fmt="o", color=colour, capsize=3, label=verdict
        )
    axis.scatter(
        claims["published"], places, marker="D", s=18, facecolors="none", edgecolors="black", label="published"
    )
    axis.set_yticks(places, claims["claim"], fontsize=8)
    title = "Measured difference, 95 % interval" if claims["measured"].notna().any() else "Not run"
    axis.set(xlabel="points of top-1", title=title)
    axis.legend(fontsize=8)
    return figure if len(claims) else _not_run(figure)


def plot_order(measured: Mapping[str, Sequence[Line]], seeds: float = 0.0) -> Figure:
    """Published top-1 against measured top-1 with its interval, a colour a table (by name)."""
    figure, axis = plt.subplots(figsize=(7, 4.5))
    for name, lines in measured.items():
        known = [line for line in lines if line.results and line.published is not None]
        if not known:
            continue
        top1, low, high = np.array([accuracy(line.results, seeds) for line in known]).T
        published = [line.published for line in known]
        axis.errorbar(
            published, top1, yerr=[top1 - low, high - top1], fmt="o", capsize=2, label=get_table(name).title, alpha=0.7
        )
    axis.set(xlabel="published top-1 on SSv1 (%)", ylabel="measured top-1 (%)")
    if not axis.has_data():
        return _not_run(figure)
    axis.legend(fontsize=8)
    return figure


def plot_printed_costs(table: pd.DataFrame) -> Figure:
    """How far each count of `printed_costs` is from the printed figure, in %: convolutions and linear layers alone,
    with sums over neighbours, with norms and biases too. The bar is what the printed figure's rounding leaves open."""
    figure, axis = plt.subplots(figsize=(8, 0.2 * len(table) + 1))
    places = np.arange(len(table))[::-1]
    printed = table["published GMACs"]
    digits = printed.map(lambda value: len(f"{value:g}".partition(".")[2]))
    axis.barh(places, 200 * 0.5 * 10.0**-digits / printed, left=-100 * 0.5 * 10.0**-digits / printed, color="0.85")
    counted = table["GMACs"]
    for marker, label, beside in (
        ("o", "convolutions and linear layers", 0),
        ("s", "with sums over neighbours", table["sums over neighbours"]),
        ("D", "with norms and biases", table["sums over neighbours"] + table["norms and biases"]),
    ):
        axis.scatter(100 * ((counted + beside) / printed - 1), places, marker=marker, s=16, label=label)
    names = table["method"] + ", " + table["frames"] + " (" + table["paper"] + ")"
    axis.set_yticks(places, names, fontsize=7)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set(xlabel="counted against printed (%)", ylim=(-1, len(table)))
    axis.legend(fontsize=8)
    return figure


def plot_accuracy_cost(published: pd.DataFrame, measured: pd.DataFrame, title: str) -> Figure:
    """Figure 1: top-1 against GMACs (of `comparisons.accuracy_and_cost`), the published methods on the left with TDN's
    of the final text joined by lines, ours on the right."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5.4), width_ratios=(1.8, 1))
    known = published.dropna(subset=["GMACs", "top-1"])
    others = known[known["method"] != "TDN"].drop_duplicates(["GMACs", "top-1"])  # spelled otherwise in two editions
    left.scatter(others["GMACs"], others["top-1"], color="tab:gray", s=18)
    tdn = known[(known["method"] == "TDN") & known["printed in"].str.contains("CVPR")]
    for backbone, rows in tdn.groupby("backbone"):
        left.plot(rows["GMACs"], rows["top-1"], marker="*", markersize=11, label=f"TDN, {backbone}")
    left.set(xscale="log", xlabel="GMACs over all views, as printed", ylabel="published top-1 (%)", title=title)
    left.xaxis.set_major_formatter("{x:g}")
    left.legend(fontsize=8)
    right.set(
        xlabel="GMACs of the full-size network, all views", ylabel="measured top-1 (%)", title="Measured, 95 % interval"
    )
    for _, row in measured.iterrows():
        error = [[row["top-1"] - row["95% low"]], [row["95% high"] - row["top-1"]]]
        right.errorbar(row["GMACs"], row["top-1"], yerr=error, fmt="*", markersize=10, capsize=3, label=row["network"])
    if len(measured):
        right.legend(fontsize=7, loc="lower right")
    else:
        right.set_title("Not run")
        right.set_axis_off()
    figure.tight_layout()
    names = others["method"] + ", " + others["frames"].map(lambda printed: printed.split("x")[0].strip("()"))
    label_points(left, others[["GMACs", "top-1"]].to_numpy(), names, tdn[["GMACs", "top-1"]].to_numpy())
    return figure


def label_points(axis: Axes, places: np.ndarray, texts: Sequence[str], more: np.ndarray) -> None:
    """Names points (x, y), so that no text covers another, a point (of `more` neither) or the legend, where there is
    room; a line leads to a text that stands away."""
    renderer = axis.figure.canvas.get_renderer()
    points = axis.transData.transform(np.concatenate([places, more]))
    taken = [axis.get_legend().get_window_extent(renderer)]
    taken += [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in points]
    directions = [(1, 0.3), (-1, 0.3), (0, 1), (0, -1), (1, -1), (-1, -1), (1, 1), (-1, 1)]
    for place, text in zip(places, texts, strict=True):
        for far, (right, up) in ((far, direction) for far in (5, 14, 24, 36, 50) for direction in directions):
            side = {1: "left", 0: "center", -1: "right"}[right]
            line = {"arrowstyle": "-", "linewidth": 0.4, "color": "tab:gray"} if far > 5 else None
            note = axis.annotate(
                text,
                place,
                (far * right, far * up),
                textcoords="offset points",
                fontsize=6,
                ha=side,
                va="center",
                arrowprops=line,
            )
            note.update_positions(renderer)
            box = Text.get_window_extent(note, renderer)  # without the line
            inside = axis.bbox.contains(*box.min) and axis.bbox.contains(*box.max)
            if inside and not box.count_overlaps(taken):
                taken.append(box)
                break
            note.remove()
        else:
            axis.annotate(text, place, (3, 2), textcoords="offset points", fontsize=6)


def plot_views(table: pd.DataFrame) -> Figure:
    """Measured top-1 with its interval against the number of views (of `comparisons.sweep`), a colour for each
    number of crops; on the right the paired difference to one view."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
    if table.empty:
        return _not_run(figure)
    crops = table["clips x crops"].str.split("x").str[1]
    for number in crops.unique():
        rows = table[crops == number]
        top1 = rows["measured top-1"]
        label = f"{number} crop{'s' if number != '1' else ''}"
        error = [top1 - rows["95% low"], rows["95% high"] - top1]
        left.errorbar(rows["views"], top1, yerr=error, fmt="o-", capsize=3, label=label)
        more = rows.dropna(subset=["±"])
        right.errorbar(more["views"], more["more than with the first"], yerr=more["±"], fmt="o", capsize=3, label=label)
    right.axhline(0, color="black", linewidth=0.8)
    left.set(xlabel="views of a video", ylabel="measured top-1 (%)", title="Measured, 95 % interval")
    right.set(xlabel="views of a video", ylabel="points of top-1", title="More than with one view, paired")
    for axis in (left, right):
        axis.set_xscale("log", base=2)
        axis.set_xticks(sorted(table["views"].unique()), sorted(table["views"].unique()))
        axis.legend(fontsize=8)
    figure.tight_layout()
    return figure


def plot_transfer(published: pd.DataFrame, measured: pd.DataFrame) -> Figure:
    """Table 4: published top-1 of each method (`comparisons.published_transfer`) on the left; measured means over
    splits (`comparisons.transfer_table`) on the right, with the interval and a dot a split."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    places = np.arange(len(published))[::-1]
    for shift, name, colour in ((0.2, "UCF101", "tab:blue"), (-0.2, "HMDB51", "tab:orange")):
        left.barh(places + shift, published[f"published {name}"], height=0.38, color=colour, label=name)
    left.set_yticks(places, published["method"])
    left.set(xlim=(0, 100), xlabel="published top-1 (%)", title="Published, mean of three splits")
    left.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    places = np.arange(len(measured))[::-1]
    top1, low, high = (measured[name].astype(float) for name in ("measured top-1", "95% low", "95% high"))
    error = [top1 - low, high - top1]
    right.barh(places, top1, xerr=error, color="tab:gray", height=0.4, capsize=3)
    for split in (column for column in measured if column.startswith("split ")):
        right.scatter(measured[split], places, color="black", s=14, zorder=3)
    right.set_yticks(places, measured["data"] + "\nfrom " + measured["starts from"], fontsize=8)
    title = "Mean of three splits, 95 % interval; a dot a split" if top1.notna().any() else "Not run"
    right.set(xlim=(0, 100), ylim=(-1, len(measured)), xlabel="measured top-1 (%)", title=title)
    figure.tight_layout()
    return figure


def plot_training(lines: Sequence[Line]) -> Figure:
    """Training loss over epochs, a curve a line (its first seed)."""
    figure, axis = plt.subplots(figsize=(8, 3.2))
    for line in lines:
        if line.results:
            history = line.results[0].history
            axis.plot(history["epoch"], history["loss"], label=line.row.name)
    axis.set(xlabel="epoch", ylabel="training loss")
    if not axis.has_data():
        return _not_run(figure)
    axis.legend(fontsize=8)
    return figure


def plot_windows(clip: Tensor) -> Figure:
    """A clip `(T, W, C, H, W')`, uint8: a column a segment, a row a frame of its window; the frame that a
    network sees in colour is framed."""
    segments, window = clip.shape[:2]
    figure, axes = plt.subplots(window, segments, figsize=(0.85 * segments, 0.85 * window + 0.2), squeeze=False)
    for s in range(segments):
        for w in range(window):
            _show(axes[w, s], clip[s, w].permute(1, 2, 0).numpy())
            if w == window // 2:
                for spine in axes[w, s].spines.values():
                    spine.set(visible=True, color="tab:red", linewidth=2)
        axes[0, s].set_title(f"segment {s + 1}", fontsize=8)
    figure.tight_layout(pad=0.3)
    return figure


def plot_filmstrips(strips: Sequence[tuple[str, Tensor]]) -> Figure:
    """A row a video: its name and frames `(F, C, H, W')`, uint8."""
    columns = len(strips[0][1])
    figure, axes = plt.subplots(len(strips), columns, figsize=(0.55 * columns + 3, 0.55 * len(strips)), squeeze=False)
    for row, (name, frames) in zip(axes, strips, strict=True):
        for axis, frame in zip(row, frames, strict=True):
            _show(axis, frame.permute(1, 2, 0).numpy())
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    figure.tight_layout(pad=0.3)
    return figure


def plot_differences(clip: Tensor, differences: Tensor) -> Figure:
    """One segment: the window's W frames `(W, C, H, W')` uint8 and the S-TDM's input `((W-1)*C, h, w)` below,
    grey for no change."""
    window, channels = clip.shape[:2]
    figure, axes = plt.subplots(2, window, figsize=(1.6 * window, 3.4))
    stacked = differences.unflatten(0, (window - 1, channels)).mean(1).numpy()
    limit = np.abs(stacked).max() or 1.0
    for w in range(window):
        _show(axes[0, w], clip[w].permute(1, 2, 0).numpy())
        axes[0, w].set_title(f"x{w + 1}", fontsize=9)
        axes[1, w].axis("off")
    for w in range(window - 1):
        axes[1, w].axis("on")
        _show(axes[1, w], stacked[w], cmap="RdGy", vmin=-limit, vmax=limit)
        axes[1, w].set_title(f"x{w + 2} - x{w + 1}", fontsize=9)
    figure.tight_layout()
    return figure


def plot_features(rows: Sequence[tuple[str, Tensor]]) -> Figure:
    """A row for each name, a column a segment: pictures `(T, 3, H, W')`, 0 to 1, or maps `(T, H, W')`, dark to bright
    over the whole row."""
    segments = len(rows[0][1])
    figure, axes = plt.subplots(len(rows), segments, figsize=(0.9 * segments + 2.2, 0.92 * len(rows)), squeeze=False)
    for line, (name, values) in zip(axes, rows, strict=True):
        limits = {} if values.ndim == 4 else {"cmap": "viridis", "vmin": values.min(), "vmax": values.max()}
        for axis, value in zip(line, values, strict=True):
            _show(axis, (value.permute(1, 2, 0) if value.ndim == 3 else value).numpy(), **limits)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    figure.tight_layout(pad=0.3)
    return figure


def plot_stage_costs(table: pd.DataFrame) -> Figure:
    """Columns `stage` and one of GMACs for each network: grouped bars."""
    axis = table.plot.bar(x="stage", rot=0, figsize=(8, 3.2), width=0.75)
    axis.set(xlabel="", ylabel="GMACs")
    return axis.figure


def _not_run(figure: Figure) -> Figure:
    """The figure, small, with nothing but these words."""
    figure.clear()
    figure.set_size_inches(6, 0.8)
    axis = figure.add_subplot()
    axis.text(0.5, 0.5, "Not run", ha="center", va="center", color="tab:gray")
    axis.set_axis_off()
    return figure


def _show(axis: Any, image: np.ndarray, **kwargs: Any) -> None:
    axis.imshow(image, **kwargs)
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set_visible(False)
