"""The outlines that the pocket benchmark draws, and drawing them with soft edges."""

import math

import cv2
import numpy as np


def _around(*radii: float) -> list[tuple[float, float]]:
    """Points at these distances from the origin, evenly spread over one turn."""
    turns = np.linspace(0, 2 * math.pi, len(radii), endpoint=False)
    return [(r * math.cos(a), r * math.sin(a)) for r, a in zip(radii, turns, strict=True)]


_HALF_CROSS = [(-0.35, -1.1), (0.35, -1.1), (0.35, -0.35), (1.1, -0.35), (1.1, 0.35), (0.35, 0.35)]
_OUTLINES = {
    "circle": _around(*[1.0] * 40),
    "square": [(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)],
    "triangle": [(0, -1.15), (1.0, 0.6), (-1.0, 0.6)],
    "bar": [(-1.2, -0.45), (1.2, -0.45), (1.2, 0.45), (-1.2, 0.45)],
    "star": _around(*[1.15, 0.5] * 5),
    "cross": [(sign * x, sign * y) for sign in (1, -1) for x, y in _HALF_CROSS],
    "corner": [(-0.8, -1.1), (-0.1, -1.1), (-0.1, 0.4), (0.9, 0.4), (0.9, 1.1), (-0.8, 1.1)],
    "arrow": [(1.25, 0), (0.25, 0.95), (0.25, 0.35), (-1.15, 0.35), (-1.15, -0.35), (0.25, -0.35), (0.25, -0.95)],
}
# About the origin, with a radius of about 1.
OUTLINES = {name: np.array(points, dtype=np.float64) for name, points in _OUTLINES.items()}


def paint(
    image: np.ndarray, shape: str, centre: np.ndarray, radius: float, angle: float, colour: np.ndarray, opacity=1.0
) -> None:
    """Draws one shape into `image`, float32 `(height, width, 3)`, in place, with soft edges. A fourth channel becomes 1
    where the shape is."""
    if opacity <= 0:
        return
    cos, sin = math.cos(angle), math.sin(angle)
    points = OUTLINES[shape] @ np.array([[cos, sin], [-sin, cos]]) * radius + centre
    left, top = np.maximum(np.floor(points.min(axis=0)).astype(int) - 2, 0)
    right, bottom = np.ceil(points.max(axis=0)).astype(int) + 3
    part = image[top : max(bottom, 0), left : max(right, 0)]
    if part.size == 0:  # wholly outside the image
        return
    # Drawn four times as large and averaged: edges move smoothly by parts of a pixel.
    height, width = part.shape[:2]
    mask = np.zeros((4 * height, 4 * width), dtype=np.float32)
    fine = np.rint(((points - (left, top) + 0.5) * 4 - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(mask, [fine], 1.0, shift=4)
    mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)[..., None] * opacity
    part += mask * (np.append(colour, np.float32(1))[: part.shape[-1]] - part)
