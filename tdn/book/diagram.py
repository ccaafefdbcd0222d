"""Diagrams: TDN (CVPR Figure 2), S-TDM and L-TDM (Figure 3), PEM and the TD loss of TDRL."""

import itertools

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
    _box(axis, 1.0, 3.6, "differences\nof 5 frames\nof a window", "white", (1.5, 1.0))
    for number, x, part in zip((1, 2), STAGES, ("stem", "copy of stage 2"), strict=False):
        _box(axis, x, 1.3, f"stage {number}", FRAME)
        _box(axis, x, 3.6, f"S-TDM\n{part}\nat half the size", MOTION, (1.55, 1.0))
        _plus(axis, x + 0.95, 1.3)
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


def plot_s_tdm() -> plt.Figure:
    """Equations (1) and (3) at the stages 1 and 2 of one segment."""
    figure, axis = _canvas(9.6, 5.0)
    _box(axis, 1.1, 3.9, "window of\n5 frames", "white", (1.7, 0.9))
    _box(axis, 3.6, 3.9, "differences\n$D(I)$, 12 channels", MOTION, (2.3, 0.9))
    _box(axis, 3.6, 2.4, "Downsample\nto half", MOTION, (1.7, 0.9))
    _box(axis, 1.1, 0.7, "middle\nframe $I$", "white", (1.7, 0.9))
    for x, number, part in ((5.6, 1, "stem"), (8.0, 2, "copy of stage 2")):
        _box(axis, x - 0.2, 2.4, f"CNN:\n{part}", MOTION, (1.5, 0.9))
        _box(axis, x - 0.2, 0.7, f"stage {number}\n$F$", FRAME, (1.4, 0.9))
        _arrow(axis, (x + 0.2, 1.95), (x + 0.92, 0.98))
        axis.text(x + 0.62, 1.55, "$H$", fontsize=13)
        _plus(axis, x + 1.05, 0.7)
        _arrow(axis, (x + 0.5, 0.7), (x + 0.83, 0.7))
    arrows = [
        ((1.1, 3.45), (1.1, 1.15)),
        ((1.95, 3.9), (2.45, 3.9)),
        ((3.6, 3.45), (3.6, 2.85)),
        ((4.45, 2.4), (4.65, 2.4)),
    ]
    arrows += [
        ((6.15, 2.4), (7.05, 2.4)),
        ((1.95, 0.7), (4.7, 0.7)),
        ((6.87, 0.7), (7.1, 0.7)),
        ((9.27, 0.7), (9.6, 0.7)),
    ]
    for start, end in arrows:
        _arrow(axis, start, end)
    axis.text(5.0, 3.9, "no image, only what changes", fontsize=12, va="center")
    axis.text(7.6, 3.2, "half as wide and high", fontsize=12, ha="center", color="tab:brown")
    axis.text(7.0, -0.1, "$F + H$: Upsample, then add", fontsize=12, ha="center")
    return figure


def plot_l_tdm() -> plt.Figure:
    """Equations (2) and (4) to (6) between a segment and the next; the other direction is alike."""
    figure, axis = _canvas(9.6, 5.6)
    for y, name in ((4.5, "$F_{i+1}$"), (2.6, "$F_i$")):
        _box(axis, 0.7, y, name, FRAME, (0.9, 0.8))
        _box(axis, 2.3, y, "1x1\n$C \\to C/16$", LONG, (1.4, 0.9))
        _arrow(axis, (1.15, y), (1.6, y))
    _box(axis, 4.1, 4.5, "Conv 3x3\nper channel", LONG, (1.5, 0.9))
    _box(axis, 4.1, 2.6, "difference\n$C(F_i, F_{i+1})$", LONG, (1.6, 0.9))
    for y, name in ((3.6, "as it is"), (2.6, "3x3"), (1.6, "half, 3x3, back")):
        _box(axis, 6.0, y, name, LONG, (1.5, 0.7))
        _arrow(axis, (4.9, 2.6), (5.25, y))
        _arrow(axis, (6.75, y), (7.1, 2.6))
    _plus(axis, 7.3, 2.6)
    _box(axis, 8.6, 2.6, "1x1, back to $C$\nsigmoid: $M$", LONG, (1.7, 0.9))
    _box(axis, 8.6, 4.5, "$M$ of the other\ndirection", LONG, (1.7, 0.9))
    _box(axis, 8.6, 1.5, "mean of both: $G$", LONG, (1.6, 0.7))
    _box(axis, 8.6, 0.5, "$F_i + F_i \\odot G$", "white", (1.7, 0.8))
    arrows = [
        ((3.0, 4.5), (3.35, 4.5)),
        ((4.1, 4.05), (4.1, 3.05)),
        ((3.0, 2.6), (3.3, 2.6)),
        ((7.53, 2.6), (7.75, 2.6)),
        ((8.6, 2.15), (8.6, 1.85)),
        ((9.8, 1.5), (9.4, 1.5)),
        ((8.6, 1.15), (8.6, 0.9)),
        ((0.7, 0.5), (7.75, 0.5)),
    ]
    for start, end in arrows:
        _arrow(axis, start, end)
    axis.plot((0.7, 0.7), (2.2, 0.5), color="0.25", lw=1)
    axis.plot((9.45, 9.8, 9.8), (4.5, 4.5, 1.5), color="0.25", lw=1)
    axis.text(4.2, 0.65, "the features themselves", fontsize=12, ha="center")
    axis.set_xlim(0, 10.6)
    return figure


def plot_tdrl() -> plt.Figure:
    """TDRL: PEM along the segments (equations (3) to (6)), and what the TD loss compares (equation (7))."""
    figure, axis = _canvas(9.6, 5.4)
    places = (1.1, 3.6, 6.1, 8.6)
    for number, x in enumerate(places, start=1):
        _box(axis, x, 0.6, f"$X_{number}$", FRAME, (1.1, 0.8))
        _box(axis, x, 2.1, f"memory $m_{number}$", MOTION, (1.6, 0.8))
        _box(axis, x, 3.5, f"$U_{number} = X_{number} \\odot a_{number}$", "white", (1.7, 0.9))
        _box(axis, x, 4.6, f"channel $c$ of {number}", LONG, (1.7, 0.5))
        _arrow(axis, (x, 1.0), (x, 1.7))
        _arrow(axis, (x, 2.5), (x, 3.05))
        axis.plot((x, x), (3.95, 4.35), color="tab:blue", lw=1, ls=":")
    for left, right in itertools.pairwise(places):
        _arrow(axis, (right - 0.5, 1.0), (left + 0.6, 1.7))
        _arrow(axis, (left + 0.8, 2.1), (right - 0.8, 2.1))
        axis.annotate("", (left + 0.9, 4.6), (right - 0.9, 4.6), arrowprops={"arrowstyle": "<->", "color": "tab:blue"})
    _arrow(axis, (-0.15, 2.1), (0.3, 2.1))
    axis.text(-0.2, 2.1, "$m_0$", fontsize=12, ha="right", va="center")
    axis.set_xlim(-0.6, 10)
    axis.text(4.9, 5.05, "TD loss: half of the channels must not be similar between segments", fontsize=12, ha="center")
    axis.text(4.9, -0.05, "PEM: differences to the next segment, gathered in a memory", fontsize=12, ha="center")
    return figure


def _canvas(width: float, height: float) -> tuple[plt.Figure, plt.Axes]:
    figure, axis = plt.subplots(figsize=(width, height))
    axis.set(xlim=(0, 10), ylim=(-0.3, height))
    axis.axis("off")
    figure.tight_layout(pad=0.2)
    return figure, axis


def _plus(axis: plt.Axes, x: float, y: float) -> None:
    axis.text(x, y, "+", ha="center", va="center", fontsize=13, bbox={"boxstyle": "circle", "fc": "white"})


def _box(axis: plt.Axes, x: float, y: float, text: str, colour: str, size: tuple = (1.4, 1), text_y: float = 0) -> None:
    corner = (x - size[0] / 2, y - size[1] / 2)
    axis.add_patch(FancyBboxPatch(corner, *size, "round,pad=0,rounding_size=0.08", fc=colour, ec="0.35"))
    axis.text(x, text_y or y, text, ha="center", va="center", fontsize=11)


def _arrow(axis: plt.Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "0.25"})
