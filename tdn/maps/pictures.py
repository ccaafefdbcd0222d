"""Activation maps as pictures: overlays, a strip of frames, an animation."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from tdn.maps.activation import Maps
from tdn.maps.lettering import drawable, fitted
from tdn.utils import write_whole

OPACITY = 0.75  # of the colour at the maximum
MILLISECONDS = 500  # that an animation shows a frame
COLUMNS = 8  # of a strip
ABOVE = 4  # points between a picture and its title, which touches it neither with a comma nor with a percent sign
SIDE = 256  # pixels of an animation's frame


def overlays(maps: Maps) -> Tensor:
    """The frames with their maps in colour, uint8 RGB `(T, C, H, W)`; where a map is 0 the frame is unchanged."""
    alpha = OPACITY * maps.maps.numpy()[:, None]
    colours = plt.get_cmap("turbo")(maps.maps.numpy())[..., :3].transpose(0, 3, 1, 2) * 255
    return maps.frames.new_tensor(np.rint(maps.frames.numpy() * (1 - alpha) + colours * alpha))


def plot_rows(rows: Mapping[str, Maps], title: str = "") -> Figure:
    """The frames of a clip, and below them one row of overlays per network by its name, each map with its fraction of
    the clip's CAM energy."""
    first = next(iter(rows.values()))
    video = ("video", first.frames, [f"frame {segment + 1}" for segment in first.segments])
    others = [(name, overlays(maps), _percent(maps)) for name, maps in rows.items()]
    return _figure([video, *others], 1.5, 1.65, drawable(title, ""))


def plot_columns(rows: Mapping[str, Sequence[Maps]], titles: Sequence[str]) -> Figure:
    """One column per clip: its centre frame, and below it the overlay of each network by its name, with the frame's
    fraction of the clip's CAM energy."""
    frames = [maps.frames[0] for maps in next(iter(rows.values()))]
    above = [fitted(drawable(title, f"clip {number}"), 1.5, 8, 3) for number, title in enumerate(titles, start=1)]
    pictures = [("video", frames, above)]
    for name, of_clips in rows.items():
        images, percents = [overlays(maps)[0] for maps in of_clips], [_percent(maps)[0] for maps in of_clips]
        pictures.append((name, images, percents))
    return _figure(pictures, 1.55, 1.75)


def plot_strip(maps: Maps, title: str = "") -> Figure:
    """Frames above their maps, at most eight in a row. Where `title` can't be drawn it is the number of the class."""
    names = [f"frame {segment + 1} of {maps.num_segments}" for segment in maps.segments]
    whole = (("video", maps.frames, names), ("map", overlays(maps), _percent(maps)))
    shown = [slice(start, start + COLUMNS) for start in range(0, len(names), COLUMNS)]
    rows = [(name, images[s], titles[s]) for s in shown for name, images, titles in whole]
    return _figure(rows, 1.6, 1.75, drawable(title, f"class {maps.target}") if title else "")


def player(maps: Maps) -> str:
    """HTML that shows a frame next to its map, with a slider for the frame; for `IPython.display.HTML`."""
    figure, axes = plt.subplots(1, 2, figsize=(6.4, 3.4))
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.86, wspace=0.03)
    over, energy = overlays(maps), _percent(maps)

    def show(index: int) -> None:
        _row(axes, "", [maps.frames[index], over[index]], ["video", f"{energy[index]} of the CAM energy"])
        figure.suptitle(f"frame {maps.segments[index] + 1} of {maps.num_segments}", fontsize=10)

    animation = FuncAnimation(figure, show, frames=len(maps.frames), init_func=lambda: None)
    html = animation.to_jshtml(fps=1000 / MILLISECONDS, default_mode="once")
    plt.close(figure)
    return html


def save_strip(maps: Maps, path: Path, title: str = "") -> None:
    """A png of `plot_strip`."""
    save_png(plot_strip(maps, title), path)


def save_png(figure: Figure, path: Path) -> None:
    """Writes the figure, cut to what is drawn, and closes it."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=120, bbox_inches="tight")
    plt.close(figure)
    write_whole(path, lambda file: file.write(png.getvalue()))


def save_animation(maps: Maps, path: Path) -> None:
    """A gif of the overlays that repeats."""
    height, width = (max(SIDE // maps.frames.shape[-1], 1) * side for side in maps.frames.shape[-2:])
    images = [Image.fromarray(image) for image in overlays(maps).permute(0, 2, 3, 1).numpy()]
    first, *others = [image.resize((width, height), Image.Resampling.BICUBIC) for image in images]
    gif = {"format": "gif", "save_all": True, "append_images": others, "duration": MILLISECONDS, "loop": 0}
    write_whole(path, lambda file: first.save(file, **gif))


def _figure(
    rows: Sequence[tuple[str, Sequence[Tensor], Sequence[str]]], width: float, height: float, title: str | None = None
) -> Figure:
    """Rows of a name, images and their titles. Names and the title of the figure are cut where they are too long."""
    columns = max(len(images) for _, images, _ in rows)
    size = (width * columns + 0.8, height * len(rows) + 0.35)
    figure, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False, layout="compressed")
    for number, (of_row, (name, images, titles)) in enumerate(zip(axes, rows, strict=True), start=1):
        _row(of_row, fitted(drawable(name, f"row {number}"), height - 0.2, 9, 2), images, titles)
    if title is not None:
        figure.suptitle(fitted(title, size[0] - 0.2, 10, 4), fontsize=10, parse_math=False)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.05, wspace=0, hspace=0)
    return figure


def _percent(maps: Maps) -> list[str]:
    return [f"{100 * fraction:.0f} %" for fraction in maps.energy.tolist()]


def _row(axes: np.ndarray, name: str, images: Sequence[Tensor], titles: Sequence[str]) -> None:
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.set_frame_on(False)
    for axis, image, title in zip(axes, images, titles, strict=False):  # the last row may be shorter
        axis.imshow(image.permute(1, 2, 0).numpy())
        axis.set_title(title, fontsize=8, pad=ABOVE, parse_math=False)
    axes[0].set_ylabel(name, fontsize=9, parse_math=False)
