"""Tables, figures and their manifests, as the notebooks show and keep them."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats
from torch import Tensor

from tdn.data.pocket import CLASSES
from tdn.experiment import Result, environment
from tdn.files import write_text, write_whole
from tdn.study import Line, Profile

FIGURE_BYTES = 200_000  # figures are committed
FAMILY_COLOURS = {"short": "tab:orange", "long": "tab:blue", "both": "tab:green"}


# Intervals -----------------------------------------------------------------------------------


def interval(share: float, videos: int) -> tuple[float, float]:
    """95 % Wilson interval of an accuracy `share` (0 to 1) measured on so many videos."""
    test = stats.binomtest(round(share * videos), videos)
    ci = test.proportion_ci(0.95, method="wilson")
    return float(ci.low), float(ci.high)


def difference(first: Sequence[Result], second: Sequence[Result]) -> tuple[float, float]:
    """How much more `second` gets right than `first`, in points of 100, and the half width of its 95 % interval.

    Paired: both answered the same videos, and only those that they answer differently count. Over seeds, each
    video's share of right answers is taken. The interval is for the choice of videos; what another random start
    would change shows only in the spread over seeds.
    """
    change = (_right(second) - _right(first)).dropna()  # videos that both could read
    half = stats.norm.ppf(0.975) * change.std(ddof=1) / np.sqrt(len(change))
    return float(100 * change.mean()), float(100 * half)


def verdict(points: float, half: float) -> str:
    """What a difference with its interval says: "better", "worse", or "indistinguishable"."""
    if abs(points) <= half:
        return "indistinguishable"
    return "better" if points > 0 else "worse"


def _right(results: Sequence[Result]) -> pd.Series:
    per_seed = [pd.Series(r.evaluation.correct, r.evaluation.videos, dtype=float) for r in results]
    return pd.concat(per_seed, axis=1).mean(axis=1).sort_index()


# Tables --------------------------------------------------------------------------------------


def accuracy_table(lines: Sequence[Line], baseline: str) -> pd.DataFrame:
    """One row a line: published and measured top-1 in %, by family too, and cost of the full-size network.

    `vs baseline` is the paired difference to the line named `baseline`, with its interval. Measured columns
    are means over seeds; `seed spread` is their standard deviation, where there is more than one.
    """
    reference = next(line.results for line in lines if line.row.name == baseline)
    rows = []
    for line in lines:
        metrics = [result.metrics for result in line.results]
        top1 = np.array([m["top1"] for m in metrics])
        low, high = interval(top1.mean(), metrics[0]["videos"])
        points, half = difference(reference, line.results)
        row = {
            "network": line.row.name,
            "published top-1 (SSv1)": line.published,
            "measured top-1": 100 * top1.mean(),
            "95% low": 100 * low,
            "95% high": 100 * high,
        }
        if len(top1) > 1:
            row["seed spread"] = 100 * top1.std(ddof=1)
        for group in metrics[0].get("groups", {}):
            row[group] = 100 * np.mean([m["groups"][group]["top1"] for m in metrics])
        row |= {
            "vs baseline": "" if line.row.name == baseline else f"{points:+.1f} ± {half:.1f}",
            "verdict": "baseline" if line.row.name == baseline else verdict(points, half),
            "videos": f"{metrics[0]['videos']} of {metrics[0]['of']}",
            "seeds": len(line.results),
            "GMACs": line.gmacs,
            "params (M)": line.params,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def class_table(lines: Sequence[Line]) -> pd.DataFrame:
    """Top-1 in % of every class (rows) for every line (columns), means over seeds."""
    names = [pocket_class.name for pocket_class in CLASSES]
    table = pd.DataFrame({"class": names, "family": [pocket_class.family for pocket_class in CLASSES]})
    for line in lines:
        labels = pd.Series(line.results[0].evaluation.labels, line.results[0].evaluation.videos)
        table[line.row.name] = 100 * _right(line.results).groupby(labels).mean().reindex(table.index)
    return table


def findings(lines: Sequence[Line], baseline: str) -> str:
    """Markdown: each line against the baseline, and the last line against each other one: what was published,
    what was measured, and whether the two agree."""
    by_name = {line.row.name: line for line in lines}
    last = lines[-1]
    pairs = [(by_name[baseline], line) for line in lines if line.row.name != baseline]
    pairs += [(line, last) for line in lines[:-1] if line.row.name != baseline]
    return "\n".join(_finding(first, second) for first, second in pairs)


def _finding(first: Line, second: Line) -> str:
    points, half = difference(first.results, second.results)
    measured = verdict(points, half)
    text = f"- {second.row.name} against {first.row.name}: measured {points:+.1f} ± {half:.1f} ({measured})"
    if first.published is None or second.published is None:
        return f"{text}; not published."
    published = second.published - first.published
    if measured == "indistinguishable":
        conclusion = "cannot be told here"
    else:
        conclusion = "agrees" if (points > 0) == (published > 0) else "**contradicts the paper here**"
        conclusion += ", on one seed" if len(second.results) == 1 else ""
    return f"{text}, published {published:+.1f}: {conclusion}."


def save_table(table: pd.DataFrame, name: str, profile: Profile, lines: Sequence[Line] = ()) -> None:
    """Writes tables/<name>.csv, .md and the manifest .json with the runs, versions and device behind it."""
    folder = profile.results / "tables"
    write_text(folder / f"{name}.csv", table.to_csv(index=False, float_format="%.4f"))
    write_text(folder / f"{name}.md", markdown(table) + "\n")
    runs = {line.row.name: [result.manifest for result in line.results] for line in lines}
    manifest = {"table": name, "profile": profile.name, "runs": runs} if runs else {
        "table": name, "profile": profile.name, **environment()
    }  # fmt: skip
    write_text(folder / f"{name}.json", json.dumps(manifest, indent=1) + "\n")


def markdown(table: pd.DataFrame) -> str:
    """As saved beside the csv: one decimal, nothing where nothing is known."""
    known = table.astype(object).where(table.notna(), None)
    return known.to_markdown(index=False, floatfmt=".1f", missingval="")


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


# Figures -------------------------------------------------------------------------------------


def plot_accuracy(table: pd.DataFrame) -> Figure:
    """Measured top-1 with its interval on the left, by family on the right, a row of the table each."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 0.5 * len(table) + 1.4), sharey=True)
    places = np.arange(len(table))[::-1]
    measured = table["measured top-1"]
    errors = [measured - table["95% low"], table["95% high"] - measured]
    left.barh(places, measured, xerr=errors, color="tab:gray", height=0.6, capsize=3)
    left.scatter(
        table["published top-1 (SSv1)"],
        places,
        marker="D",
        color="tab:red",
        zorder=3,
        label="published, SSv1",
    )
    left.set_yticks(places, table["network"])
    left.set(xlim=(0, 100), xlabel="top-1 (%)", title="Measured, 95 % interval")
    left.legend(loc="upper right", fontsize=8)
    families = [name for name in FAMILY_COLOURS if name in table]
    for offset, family in enumerate(families):
        shift = 0.25 * (1 - offset)
        right.barh(places + shift, table[family], height=0.22, color=FAMILY_COLOURS[family], label=family)
    right.set(xlim=(0, 100), xlabel="top-1 (%)", title="By family of classes")
    right.legend(fontsize=8)
    figure.tight_layout()
    return figure


def plot_training(lines: Sequence[Line]) -> Figure:
    """Training loss over epochs, a curve a line (its first seed)."""
    figure, axis = plt.subplots(figsize=(8, 3.2))
    for line in lines:
        history = line.results[0].history
        axis.plot(history["epoch"], history["loss"], label=line.row.name)
    axis.set(xlabel="epoch", ylabel="training loss")
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


def plot_stage_costs(table: pd.DataFrame) -> Figure:
    """Columns `stage` and one of GMACs for each network: grouped bars."""
    axis = table.plot.bar(x="stage", rot=0, figsize=(8, 3.2), width=0.75)
    axis.set(xlabel="", ylabel="GMACs")
    return axis.figure


def _show(axis: Any, image: np.ndarray, **kwargs: Any) -> None:
    axis.imshow(image, **kwargs)
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set_visible(False)
