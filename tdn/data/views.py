"""Views: which clips and crops of a video are scored at test (TDN, section 4.1)."""

import re
from dataclasses import dataclass

import numpy as np

from tdn.data.sampling import sample_windows
from tdn.data.transforms import Crop


@dataclass(frozen=True)
class Views:
    """`clips` x `crops` views of a video, each a square of `size` pixels; a video's score is their mean.

    Nothing is drawn: the clips lie evenly between each other, one clip in the middle of the segments, and are
    distinct as far as the video has frames. The crops lie evenly along the longer side, one in the middle; `scale` is
    their side as a share of the shorter side (224 of 256 is 0.875).

    Raises ValueError for less than one clip, crop or pixel, and a scale outside 0 to 1.
    """

    clips: int = 1
    crops: int = 1
    size: int = 224
    scale: float = 0.875

    def __post_init__(self):
        if min(self.clips, self.crops, self.size) < 1 or not 0 < self.scale <= 1:
            raise ValueError(f"views are 1 or more clips and crops of 1 or more pixels, scale above 0 to 1: {self!r}")

    @property
    def number(self) -> int:
        return self.clips * self.crops

    def __str__(self) -> str:
        return f"{self.clips}x{self.crops}"

    def windows(self, num_frames: int, num_segments: int, window: int, clip: int) -> np.ndarray:
        """Frame numbers `(T, W)` of clip number `clip`, 0-based."""
        return sample_windows(num_frames, num_segments, window, offset=(clip + 0.5) / self.clips)

    def squares(self, height: int, width: int) -> tuple[Crop, ...]:
        """The crops of a video of this size, from left to right or from top to bottom."""
        side = round(self.scale * min(height, width))
        places = np.linspace(0, 1, self.crops) if self.crops > 1 else np.array([0.5])
        along = (places * (max(height, width) - side)).astype(int).tolist()
        across = (min(height, width) - side) // 2
        return tuple(Crop(across, at, side) if width >= height else Crop(at, across, side) for at in along)


def parse_views(text: str, size: int | None = None) -> Views:
    """`"1x1"`, `"10x3"`: clips x crops, as published: one crop is 224 of 256 pixels, several are 256 of 256 (another
    `size` keeps the share). Raises ValueError for anything else."""
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise ValueError(f"views are written clips x crops, as 1x1 or 10x3, not {text!r}")
    clips, crops = map(int, match.groups())
    return Views(clips, crops, size or 224, 0.875) if crops == 1 else Views(clips, crops, size or 256, 1.0)
