"""Which frames of a video a network sees: T segments, a window of L frames in each, consecutive or `stride` apart."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tdn.data.transforms import Crop, require_sampling


def sample_windows(
    num_frames: int, num_segments: int, window: int, offset: float | np.ndarray = 0.5, stride: int = 1
) -> np.ndarray:
    """Indices of frames `(T, L)`, 0-based and in order of time (TSN sampling; TDN section 3.1).

    The possible starts of a window are cut into T equal parts; each gives one start, at `offset` of its part (of each
    its own, where there are T), 0 to below 1, by default in its middle. Frames of a window are `stride` apart.

    Short videos: where fewer windows fit than there are segments, windows may run over the end and repeat the last
    frame, just so far that there are as many starts as segments; a video with fewer frames than segments spreads the
    segments over all its frames. (The released code has all segments on the first frame: departures, notebook 04.)
    Raises ValueError for a number below 1.
    """
    _require_positive(num_frames, num_segments, window, stride)
    possible_starts = max(num_frames - (window - 1) * stride, min(num_frames, num_segments))
    starts = ((np.arange(num_segments) + offset) * possible_starts / num_segments).astype(int)
    return _windows(starts, window, stride, num_frames)


def training_windows(
    num_frames: int,
    num_segments: int,
    window: int,
    rng: np.random.Generator,
    sampling: str = "released",
    stride: int = 1,
) -> np.ndarray:
    """Random indices of frames `(T, L)`, 0-based and in order of time; those of a window are `stride` apart.

    "released", as the authors' code: segments of floor((frames - L + 1) / T) starts, one drawn from each, so that up to
    T - 1 starts at the end of a video are never drawn. Of a shorter video, which has not one start for each segment,
    sorted draws from all starts; with no more frames than segments, the first frame for all. "even": `sample_windows`,
    each start drawn from its part; all starts are possible, and short videos are spread over their frames (departures,
    notebook 04). Raises ValueError for a number below 1 and another `sampling`.
    """
    _require_positive(num_frames, num_segments, window, stride)
    if require_sampling(sampling) == "even":
        return sample_windows(num_frames, num_segments, window, rng.random(num_segments), stride)
    possible_starts = max(num_frames - (window - 1) * stride, 1)
    length = possible_starts // num_segments
    if length > 0:
        starts = np.arange(num_segments) * length + rng.integers(length, size=num_segments)
    elif num_frames > num_segments:
        starts = np.sort(rng.integers(possible_starts, size=num_segments))
    else:
        starts = np.zeros(num_segments, int)
    return _windows(starts, window, stride, num_frames)


def _windows(starts: np.ndarray, window: int, stride: int, num_frames: int) -> np.ndarray:
    return np.minimum(starts[:, None] + np.arange(window) * stride, num_frames - 1)


def _require_positive(num_frames: int, num_segments: int, window: int, stride: int) -> None:
    if min(num_frames, num_segments, window, stride) < 1:
        raise ValueError(f"need at least one of each: {num_frames=}, {num_segments=}, {window=}, {stride=}")


@dataclass(frozen=True)
class Views:
    """`clips` x `crops` views of a video, each a square of `size` pixels; a video's probabilities are their means.

    Nothing is drawn: the clips lie evenly between each other, one clip in the middle of the segments, and are
    distinct as far as the video has frames; frames of a window are `stride` apart. The crops lie evenly along the
    longer side, one in the middle; `scale` is their side as a fraction of the shorter side (224 of 256 is 0.875). (The
    released code draws the clips, and gives a portrait video three times the centre crop: departures, notebook 04.)

    Raises ValueError for less than one clip, crop, pixel or stride, and a scale outside 0 to 1.
    """

    clips: int = 1
    crops: int = 1
    size: int = 224
    scale: float = 0.875
    stride: int = 1

    def __post_init__(self):
        if min(self.clips, self.crops, self.size, self.stride) < 1 or not 0 < self.scale <= 1:
            raise ValueError(f"views are 1 or more clips and crops of 1 or more pixels, scale above 0 to 1: {self!r}")

    @property
    def number(self) -> int:
        return self.clips * self.crops

    def __str__(self) -> str:
        return f"{self.clips}x{self.crops}"

    def windows(self, num_frames: int, num_segments: int, window: int, clip: int) -> np.ndarray:
        """Indices of frames `(T, L)` of clip `clip`, 0-based."""
        return sample_windows(num_frames, num_segments, window, (clip + 0.5) / self.clips, self.stride)

    def squares(self, height: int, width: int) -> tuple[Crop, ...]:
        """The crops of a video of this size, from left to right or from top to bottom."""
        side = round(self.scale * min(height, width))
        places = np.linspace(0, 1, self.crops) if self.crops > 1 else np.array([0.5])
        along = (places * (max(height, width) - side)).astype(int).tolist()
        across = (min(height, width) - side) // 2
        places = ((across, at) if width >= height else (at, across) for at in along)
        return tuple(Crop(top, left, side, side) for top, left in places)


def parse_views(text: str, size: int | None = None, of_file: Mapping[str, Any] | None = None) -> Views:
    """`"1x1"`, `"10x3"`: clips x crops, as published: one crop is 224 of 256 pixels, several are 256 of 256 (another
    `size` keeps the fraction). `of_file`, the views that a weights file holds, has the pixels of the shorter side in
    place of 256, and its own fraction for crops as many as its own. Raises ValueError for anything else."""
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise ValueError(f"views are written clips x crops, as 1x1 or 10x3, not {text!r}")
    clips, crops = map(int, match.groups())
    try:
        known = Views(**of_file or {})
    except TypeError:
        raise ValueError(
            f"the views of a weights file are clips, crops, size, scale and stride, not {of_file!r}"
        ) from None
    scale = known.scale if crops == known.crops else 0.875 if crops == 1 else 1.0
    return Views(clips, crops, size or round(scale * known.size / known.scale), scale, known.stride)
