"""The classes of a long video over time, as a picture."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from tdn.engine.sliding import ScoredStretch, moments
from tdn.maps.lettering import drawable, fitted
from tdn.maps.pictures import save_png

ROWS = 12  # at most
NAMES = 2.4  # inches
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)  # seconds between labels
FIRST, OTHER = "#0b4f8a", "#b9cfe4"  # apart in lightness, so for any eyes and in print


def plot_timeline(stretches: Sequence[ScoredStretch], class_names: Sequence[str], title: str = "") -> Figure:
    """One row per class that is the likeliest of some stretch, by when it first is: its probability over time, as
    height, dark where it is the likeliest. Of more than 12 classes, those that are it most often."""
    probabilities = np.stack([stretch.scores.softmax(0).numpy() for stretch in stretches])
    likeliest = probabilities.argmax(1)
    often = [index for index, _ in Counter(likeliest.tolist()).most_common()]  # in order of time, where equally often
    shown = [index for index in dict.fromkeys(likeliest.tolist()) if index in often[:ROWS]]
    edges = np.array(moments(stretches)).flatten()  # two for each stretch; between two stretches is nothing
    figure, axis = plt.subplots(figsize=(10, 0.5 * len(shown) + 1.2), layout="constrained")
    for row, index in enumerate(shown):
        for colour, values in (
            (OTHER, probabilities[:, index]),
            (FIRST, np.where(likeliest == index, probabilities[:, index], 0)),
        ):
            heights = np.stack([values, np.zeros_like(values)], 1).flatten()[:-1]
            axis.stairs(-row + 0.85 * heights, edges, baseline=-row, fill=True, color=colour, linewidth=0)
        axis.axhline(-row, color="0.4", linewidth=0.6)
        axis.axhline(-row + 0.85, color="0.85", linewidth=0.6, zorder=0)
    names = [fitted(drawable(class_names[index], f"class {index}"), NAMES, 9, 2) for index in shown]
    axis.set_yticks([0.42 - row for row in range(len(shown))], names, fontsize=9, parse_math=False)
    axis.tick_params("y", length=0)
    axis.tick_params("x", labelsize=9)
    scale = axis.secondary_yaxis("right")
    scale.set_yticks([0, 0.85], ["0 %", "100 %"], fontsize=8)
    axis.set(xlim=(0, max(edges[-1], 0.1)), ylim=(-len(shown) + 0.95, 1))
    step = next((step for step in STEPS if edges[-1] <= 10 * step), edges[-1] / 10)
    axis.xaxis.set_major_locator(MultipleLocator(step or 1))
    axis.xaxis.set_major_formatter(lambda seconds, _: _clock(seconds))
    axis.spines[["top", "right", "left"]].set_visible(False)
    scale.spines["right"].set_visible(False)
    left_out = f"; not shown: {len(often) - ROWS} rarer" if len(often) > ROWS else ""
    axis.set_xlabel(f"time; height: probability, dark: the likeliest class{left_out}", fontsize=9)
    axis.set_title(fitted(drawable(title, ""), 8, 10), fontsize=10, parse_math=False)
    return figure


def save_timeline(stretches: Sequence[ScoredStretch], class_names: Sequence[str], path: Path, title: str = "") -> None:
    """A png of `plot_timeline`."""
    save_png(plot_timeline(stretches, class_names, title), path)


def _clock(seconds: float) -> str:
    """2:03, 1:02:03, 0:02.5."""
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    text = f"{minutes // 60}:{minutes % 60:02}" if minutes >= 60 else f"{minutes}"
    return f"{text}:{rest // 10:02}" + (f".{rest % 10}" if rest % 10 else "")
