"""Frames and maps of clips as figures."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from tdn.book import style
from tdn.maps.lettering import drawable, fitted


def plot_families(families: Mapping[str, Sequence[tuple[str, Tensor]]], said: Mapping[str, str]) -> Figure:
    """A block for each family, in it one strip for each class, named, of frames `(F, 3, H, W)` in uint8 along an arrow
    of time; `said` is what a family's frames are."""
    rows = max(map(len, families.values()))
    figure, axes = plt.subplots(rows, len(families), figsize=(4.6 * len(families), 1.02 * rows + 0.7), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for column, (family, strips) in zip(axes.T, families.items(), strict=True):
        column[0].text(0, 1.75, f"{family}: {said[family]}", transform=column[0].transAxes, fontsize=11, weight="bold")
        for axis, (name, frames) in zip(column, strips, strict=False):
            axis.imshow(_strip(frames, max(frames.shape[-1] // 20, 1)).permute(1, 2, 0))
            axis.set_title(name, fontsize=9, loc="left", pad=3)
        arrow = {"arrowstyle": "-|>", "color": "0.25"}
        axis.annotate("", (1, -0.12), (0, -0.12), xycoords="axes fraction", arrowprops=arrow, annotation_clip=False)
        axis.text(1, -0.3, "time", transform=axis.transAxes, fontsize=9, ha="right", va="top")
    figure.tight_layout(pad=0.3, w_pad=2.0, h_pad=0.6)
    return figure


def plot_images(rows: Sequence[tuple[str, Tensor]], side: float = 0.9) -> Figure:
    """One named row of images each, `side` inches wide: frames `(F, 3, H, W)`, uint8 or 0 to 1, or maps `(F, H, W)`,
    dark to bright over the whole row."""
    shape = len(rows), len(rows[0][1])
    figure, axes = plt.subplots(len(rows), figsize=(side * shape[1] + 2.5, (side + 0.02) * shape[0]), squeeze=False)
    for number, (axis, (name, values)) in enumerate(zip(axes.flat, rows, strict=True), start=1):
        limits = {} if values.ndim == 4 else {"cmap": "viridis", "vmin": values.min(), "vmax": values.max()}
        _show(axis, _strip(values, max(values.shape[-1] // 40, 1)), **limits)
        shown = fitted(drawable(name, f"row {number}"), 3.2, 8, 3)
        axis.set_ylabel(shown, rotation=0, ha="right", va="center", fontsize=8, parse_math=False)
    figure.tight_layout(pad=0.3)
    return figure


def plot_windows(clip: Tensor) -> Figure:
    """A clip `(T, L, C, H, W)`, uint8: one column per segment; the frame of the 2D network has a red border."""
    segments, window = clip.shape[:2]
    figure, axes = plt.subplots(window, segments, figsize=(0.85 * segments, 0.85 * window + 0.2), squeeze=False)
    for axis, frame in zip(axes.T.flat, clip.flatten(0, 1), strict=True):
        _show(axis, frame)
    for number, column in enumerate(axes.T, start=1):
        column[window // 2].spines[:].set(visible=True, color=style.RED, linewidth=2)
        column[0].set_title(f"segment {number}", fontsize=8)
    figure.tight_layout(pad=0.3)
    return figure


def plot_differences(clip: Tensor, differences: Tensor) -> Figure:
    """The frames of a window `(L, C, H, W)`, uint8, above the input of S-TDM `((L-1)*C, h, w)`: red became brighter."""
    window, channels = clip.shape[:2]
    figure, axes = plt.subplots(2, window, figsize=(1.6 * window, 3.4))
    stacked = differences.unflatten(0, (window - 1, channels)).mean(1)
    limit = stacked.abs().max() or 1.0
    for n, frame in enumerate(clip):
        _show(axes[0, n], frame, f"x{n + 1}")
    for n, change in enumerate(stacked):
        _show(axes[1, n], change, f"x{n + 2} - x{n + 1}", cmap="RdGy_r", vmin=-limit, vmax=limit)
    axes[1, -1].axis("off")
    figure.tight_layout(pad=0.3)
    return figure


def _strip(images: Tensor, gap: int) -> Tensor:
    """Images `(F, 3, H, W)` or maps `(F, H, W)` side by side, `gap` bright pixels apart: an axis for each would take
    many times as long to draw."""
    bright = 255 if images.dtype == torch.uint8 else 1 if images.ndim == 4 else torch.nan
    return torch.cat([*F.pad(images, (0, gap), value=bright)], -1)[..., :-gap]


def _show(axis: plt.Axes, image: Tensor, title: str = "", **kwargs: object) -> None:
    """An image `(C, H, W)` or a map `(H, W)` without ticks and frame."""
    axis.imshow((image.permute(1, 2, 0) if image.ndim == 3 else image).numpy(), **kwargs)
    axis.set(xticks=[], yticks=[])
    axis.set_title(title, fontsize=9)
    axis.spines[:].set_visible(False)
