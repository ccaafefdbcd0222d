"""TDN in one picture: where its modules stand in a ResNet (CVPR Figure 2)."""

import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

FRAME, MOTION, LONG = "#dfe6ee", "#f6c89a", "#a9cdea"  # colours of the 2D network, of S-TDM, of L-TDM
STAGES = (3.3, 5.2, 7.1, 9.0, 10.9)  # x of the five stages


def plot_tdn() -> plt.Figure:
    """The 2D network on every segment, the motion branch of S-TDM above stages 1 and 2, L-TDM in stages 3 to 5."""
    figure, axis = plt.subplots(figsize=(11.5, 4.1))
    axis.set(xlim=(0, 14.4), ylim=(-0.35, 4.8))
    axis.axis("off")
    _box(axis, 1.0, 1.3, "frame $I$\nof each of\n$T$ segments", "white", (1.5, 1.0))
    _box(axis, 1.0, 3.6, "differences\nof the window's\n5 frames", "white", (1.5, 1.0))
    for number, x, part in zip((1, 2), STAGES, ("stem", "copy of stage 2"), strict=False):
        _box(axis, x, 1.3, f"stage {number}", FRAME)
        _box(axis, x, 3.6, f"S-TDM\n{part}\nat half the size", MOTION, (1.55, 1.0))
        axis.text(x + 0.95, 1.3, "+", ha="center", va="center", fontsize=13, bbox={"boxstyle": "circle", "fc": "white"})
        _arrow(axis, (x + 0.55, 3.08), (x + 0.9, 1.62))
    for number, x in enumerate(STAGES[2:], start=3):
        _box(axis, x, 1.3, f"stage {number}", FRAME, (1.4, 1.7), 1.85)
        _box(axis, x, 1.05, "L-TDM\nT-conv", LONG, (1.1, 0.85))
        axis.annotate("", (x - 0.4, 0.12), (x + 0.4, 0.12), arrowprops={"arrowstyle": "<->", "color": "tab:blue"})
    _box(axis, 13.2, 1.3, "classifier,\nmean over\nsegments", "white", (1.6, 1.0))
    ends = ((1.77, 2.5, 3.6), (4.1, 4.4, 3.6), (1.77, 2.6, 1.3), (7.8, 8.3, 1.3), (9.7, 10.2, 1.3), (11.6, 12.38, 1.3))
    for left, right, y in ends:
        _arrow(axis, (left, y), (right, y))
    axis.text(STAGES[0] + 0.85, 2.35, "upsampled $H$", fontsize=8)
    axis.text(9.0, -0.2, "compares neighbouring segments, both directions", ha="center", fontsize=9, color="tab:blue")
    axis.text(6.3, 4.45, r"S-TDM: $F + \mathrm{Upsample}(\mathrm{CNN}(\mathrm{Downsample}(D(I))))$", fontsize=10)
    attention = r"$F_i + F_i \odot \frac{1}{2}\left[M(F_i, F_{i+1}) + M(F_i, F_{i-1})\right]$"
    axis.text(6.3, 3.9, f"L-TDM: {attention}", fontsize=10)
    axis.text(6.3, 3.4, r"$M$: attention from multi-scale differences of aligned features", fontsize=9)
    figure.tight_layout(pad=0.2)
    return figure


def _box(axis: plt.Axes, x: float, y: float, text: str, colour: str, size: tuple = (1.4, 1), text_y: float = 0) -> None:
    corner = (x - size[0] / 2, y - size[1] / 2)
    axis.add_patch(FancyBboxPatch(corner, *size, "round,pad=0,rounding_size=0.08", fc=colour, ec="0.35"))
    axis.text(x, text_y or y, text, ha="center", va="center", fontsize=9)


def _arrow(axis: plt.Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "0.25"})
