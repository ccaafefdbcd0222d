"""What a training on one's own videos gave, as pictures: curves, confusions, classes."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tdn.maps.lettering import drawable, fitted

NUMBERED = 30  # classes up to which the cells of a confusion matrix have their numbers


def plot_history(history: pd.DataFrame) -> Figure:
    """Loss, and training and validation top-1, of each epoch (`engine.trainer.fit`)."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
    left.plot(history["epoch"], history["loss"], color="tab:blue")
    left.set(xlabel="epoch", ylabel="loss (training)", ylim=(0, 1.05 * history["loss"].max()))
    for axis in (left, right):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.plot(history["epoch"], 100 * history["train_top1"], color="tab:blue", label="training, as it was trained on")
    if "val_top1" in history:
        right.plot(history["epoch"], 100 * history["val_top1"], color="tab:orange", label="validation")
    right.set(xlabel="epoch", ylabel="top-1 (%)", ylim=(0, 100))
    right.legend(fontsize=8, loc="lower right")
    return _tight(figure)


def plot_confusion(confusion: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Videos of each class (rows) by the class they were taken for, `(classes, classes)`; the colour is the fraction of
    the row."""
    names, number = _names(class_names), len(class_names)
    side = 2.2 + 0.32 * number
    figure, axis = plt.subplots(figsize=(side + 0.6, side))
    rows = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    axis.imshow(rows, cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(number), names, rotation=90, fontsize=8, parse_math=False)
    axis.set_yticks(range(number), names, fontsize=8, parse_math=False)
    axis.set(xlabel="taken for", ylabel="class")
    for row, column in np.argwhere(confusion) if number <= NUMBERED else ():
        colour = "white" if rows[row, column] > 0.6 else "black"
        axis.text(column, row, confusion[row, column], ha="center", va="center", fontsize=8, color=colour)
    return _tight(figure)


def plot_per_class(table: pd.DataFrame, chance: float) -> Figure:
    """Of `result.class_table`: top-1 of each class, with its interval; `chance` in %."""
    figure, axis = plt.subplots(figsize=(7, 1.2 + 0.28 * len(table)))
    rows = np.arange(len(table))[::-1]
    errors = np.maximum([table["top-1"] - table["95% low"], table["95% high"] - table["top-1"]], 0)
    axis.errorbar(table["top-1"], rows, xerr=errors, fmt="o", capsize=3, color="tab:blue")
    axis.axvline(chance, color="tab:gray", linestyle="--", linewidth=1, label="chance")
    axis.set_yticks(rows, _names(table["class"]), fontsize=8, parse_math=False)
    axis.set(xlim=(-2, 102), xlabel="top-1 (%), 95 % interval")
    axis.grid(axis="y", color="0.9")
    axis.legend(fontsize=8, loc="lower left")
    return _tight(figure)


def plot_comparison(table: pd.DataFrame) -> Figure:
    """Of `compare.comparison_table`: how much better TDN is than each network, in points, with its interval."""
    figure, axis = plt.subplots(figsize=(7, 1.2 + 0.35 * len(table)))
    rows = np.arange(len(table))[::-1]
    axis.axvline(0, color="black", linewidth=0.8)
    axis.errorbar(table["TDN is better by"], rows, xerr=table["±"], fmt="o", capsize=3, color="tab:blue")
    axis.set_yticks(rows, table["network"])
    axis.set(xlabel="points of top-1 that TDN has more, 95 % interval")
    return _tight(figure)


def _names(class_names: Sequence[str]) -> list[str]:
    return [fitted(drawable(name, f"class {label}"), 1.8, 8) for label, name in enumerate(class_names)]


def _tight(figure: Figure) -> Figure:
    figure.tight_layout()
    return figure
