"""Activation maps as pictures: overlays, a strip of frames, an animation."""

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from tdn.maps.activation import Maps
from tdn.utils import write_whole

HEAT = 0.75  # how much of the hottest place is colour
MILLISECONDS = 500  # a frame of an animation is shown
IN_A_ROW = 8
SIDE = 256  # pixels of an animation's frame


def overlays(maps: Maps) -> Tensor:
    """The frames with their maps, uint8 RGB `(T, C, H, W')`: cold places look as they are, hot ones glow."""
    heat = maps.maps.numpy()[:, None]
    colours = plt.get_cmap("turbo")(maps.maps.numpy())[..., :3].transpose(0, 3, 1, 2) * 255
    mixed = maps.frames.numpy() * (1 - HEAT * heat) + colours * HEAT * heat
    return maps.frames.new_tensor(np.rint(mixed))


def plot_rows(rows: Mapping[str, Maps], title: str = "") -> Figure:
    """The frames, and below them a row of overlays for each network by its name; over every map its share of the
    heat of its clip. All of the same clip."""
    first = next(iter(rows.values()))
    columns = len(first.frames)
    figure, axes = plt.subplots(
        len(rows) + 1, columns, figsize=(1.5 * columns + 0.8, 1.65 * (len(rows) + 1) + 0.3), squeeze=False
    )
    _row(axes[0], "video", first.frames, [f"frame {segment + 1}" for segment in first.segments])
    for of_row, (name, maps) in zip(axes[1:], rows.items(), strict=True):
        _row(of_row, name, overlays(maps), [f"{100 * weight:.0f} %" for weight in maps.weights.tolist()])
    figure.suptitle(title, fontsize=10, parse_math=False)
    figure.tight_layout(pad=0.3, rect=(0, 0, 1, 0.97))
    return figure


def plot_columns(rows: Mapping[str, Sequence[Maps]], titles: Sequence[str]) -> Figure:
    """A clip a column: its centre frame, and below it the overlay of each network by its name; over every map the
    share of that frame in the heat of its clip."""
    first = next(iter(rows.values()))
    figure, axes = plt.subplots(
        len(rows) + 1, len(first), figsize=(1.55 * len(first) + 0.8, 1.75 * (len(rows) + 1) + 0.3), squeeze=False
    )
    _row(axes[0], "video", [maps.frames[0] for maps in first], [textwrap.fill(title, 22) for title in titles])
    for of_row, (name, of_clips) in zip(axes[1:], rows.items(), strict=True):
        shares = [f"{100 * float(maps.weights[0]):.0f} %" for maps in of_clips]
        _row(of_row, textwrap.fill(name, 16), [overlays(maps)[0] for maps in of_clips], shares)
    figure.tight_layout(pad=0.3)
    return figure


def plot_strip(maps: Maps, title: str = "") -> Figure:
    """Frames above their maps, eight at most side by side."""
    parts = [range(len(maps.frames))[start : start + IN_A_ROW] for start in range(0, len(maps.frames), IN_A_ROW)]
    columns = len(parts[0])
    figure, axes = plt.subplots(
        2 * len(parts), columns, figsize=(1.6 * columns + 0.8, 3.5 * len(parts) + 0.4), squeeze=False
    )
    over = overlays(maps)
    for number, part in enumerate(parts):
        of = slice(part.start, part.stop)
        names = [f"frame {segment + 1} of {maps.num_segments}" for segment in maps.segments[of]]
        _row(axes[2 * number], "video", maps.frames[of], names)
        _row(axes[2 * number + 1], "map", over[of], [f"{100 * weight:.0f} %" for weight in maps.weights[of].tolist()])
    figure.suptitle(title, fontsize=10, parse_math=False)
    figure.tight_layout(pad=0.3, rect=(0, 0, 1, 0.97))
    return figure


def player(maps: Maps) -> str:
    """HTML that shows one frame beside its map, with a slider for the frame; for `IPython.display.HTML`."""
    figure, axes = plt.subplots(1, 2, figsize=(6.4, 3.4))
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.86, wspace=0.03)
    over = overlays(maps)

    def show(number: int) -> None:
        _row(
            axes, "", [maps.frames[number], over[number]], ["video", f"{100 * maps.weights[number]:.0f} % of the heat"]
        )
        figure.suptitle(f"frame {maps.segments[number] + 1} of {maps.num_segments}", fontsize=10)

    animation = FuncAnimation(figure, show, frames=len(maps.frames), init_func=lambda: None)
    html = animation.to_jshtml(fps=1000 / MILLISECONDS, default_mode="once")
    plt.close(figure)
    return html


def save_strip(maps: Maps, path: Path, title: str = "") -> None:
    """A png of `plot_strip`."""
    figure = plot_strip(maps, title)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=120, bbox_inches="tight")
    plt.close(figure)
    write_whole(path, lambda file: file.write(png.getvalue()))


def save_animation(maps: Maps, path: Path) -> None:
    """A gif of the overlays, one after the other, again and again."""
    larger = max(SIDE // maps.frames.shape[-1], 1)
    pictures = [
        Image.fromarray(image).resize((larger * image.shape[1], larger * image.shape[0]), Image.Resampling.BICUBIC)
        for image in overlays(maps).permute(0, 2, 3, 1).numpy()
    ]
    first, *others = pictures
    write_whole(
        path, lambda file: first.save(file, "gif", save_all=True, append_images=others, duration=MILLISECONDS, loop=0)
    )


def _row(axes: np.ndarray, name: str, images: Sequence[Tensor], titles: Sequence[str]) -> None:
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.set_frame_on(False)
    for axis, image, title in zip(axes, images, titles, strict=False):  # the last row may be shorter
        axis.imshow(image.permute(1, 2, 0).numpy())
        axis.set_title(title, fontsize=8, pad=2, parse_math=False)
    axes[0].set_ylabel(name, fontsize=9)
