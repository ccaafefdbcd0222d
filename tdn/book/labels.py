"""Labels of points in a figure."""

import itertools
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def label_points(axis: plt.Axes, points: np.ndarray, texts: Sequence[str], avoid: np.ndarray) -> None:
    """Labels points (x, y) so that no text covers another text, a point (those of `avoid` included) or the legend,
    where there is room. A line leads to a text that is not next to its point."""
    renderer = axis.figure.canvas.get_renderer()
    taken = [axis.get_legend().get_window_extent(renderer)]
    pixels = axis.transData.transform(np.concatenate([points, avoid]))
    taken += [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in pixels]
    directions = [(1, 0.3), (-1, 0.3), (0, 1), (0, -1), (1, -1), (-1, -1), (1, 1), (-1, 1)]
    for point, text in zip(points, texts, strict=True):
        for far, (right, up) in itertools.product((5, 14, 24, 36, 50), directions):
            line = {"arrowstyle": "-", "linewidth": 0.4, "color": "tab:gray"} if far > 5 else None
            style = {"fontsize": 6, "va": "center", "ha": ("center", "left", "right")[right], "arrowprops": line}
            note = axis.annotate(text, point, (far * right, far * up), textcoords="offset points", **style)
            note.update_positions(renderer)
            box = Text.get_window_extent(note, renderer)  # without the line
            inside = axis.bbox.contains(*box.min) and axis.bbox.contains(*box.max)
            if inside and not box.count_overlaps(taken):
                taken.append(box)
                break
            note.remove()
        else:
            axis.annotate(text, point, (3, 2), textcoords="offset points", fontsize=6)
