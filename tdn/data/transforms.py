"""From uint8 frames to network input, on the device: crop, resize, flip, normalise.

What is random is drawn where the frames are read (`clips.py`), per video, from the run's seed; here it is only
carried out, so that the same video gets the same crop on any device and in any process.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, as torchvision's weights expect
MIRRORED_WORDS = {"left": "right", "right": "left", "clockwise": "counterclockwise", "counterclockwise": "clockwise"}


class Crop(NamedTuple):
    """A square of `side` pixels, and whether it is mirrored."""

    top: int
    left: int
    side: int
    flip: bool = False


def random_crop(rng: np.random.Generator, height: int, width: int, scales: Sequence[float], flip: bool) -> Crop:
    """A square at a random place, its side one of `scales` of the shorter side; mirrored half the time with `flip`."""
    side = round(rng.choice(scales) * min(height, width))
    top, left = rng.integers(height - side, endpoint=True), rng.integers(width - side, endpoint=True)
    return Crop(int(top), int(left), side, bool(flip and rng.random() < 0.5))


def to_input(clips: Sequence[Tensor], crops: Sequence[Crop], size: int) -> Tensor:
    """Normalised network input `(N, T, L, C, size, size)` from N uint8 clips `(T, L, C, H, W)` of any H and W, on their
    device."""
    squares = []
    for clip, crop in zip(clips, crops, strict=True):
        square = clip[..., crop.top : crop.top + crop.side, crop.left : crop.left + crop.side]
        if crop.side != size:
            square = tv.resize(square.flatten(0, 1), [size, size], antialias=True).unflatten(0, clip.shape[:2])
        squares.append(square.flip(-1) if crop.flip else square)
    pixels = torch.stack(squares).float()
    mean, std = _mean_and_std(pixels.device)
    return pixels.sub_(mean).div_(std)


def to_pixels(inputs: Tensor) -> Tensor:
    """The uint8 pixels of normalised input `(..., C, H, W)`: what `to_input` was given, cropped and resized."""
    mean, std = _mean_and_std(inputs.device)
    return (inputs.float() * std + mean).round_().clamp_(0, 255).byte()


def _mean_and_std(device: torch.device) -> tuple[Tensor, Tensor]:
    return tuple(torch.tensor(values, device=device).view(3, 1, 1) * 255 for values in (MEAN, STD))


def mirrored_labels(class_names: Sequence[str]) -> list[int | None]:
    """What each class becomes when its videos are flipped left to right, found from the names.

    A name without a side keeps its label; "Pushing it from left to right" becomes the class with the sides
    exchanged; None where no such class exists, and such videos must not be flipped.
    """
    words = re.compile(rf"\b({'|'.join(MIRRORED_WORDS)})\b", re.IGNORECASE)
    label_of = {name.lower(): label for label, name in enumerate(class_names)}
    mirrored = (words.sub(lambda word: MIRRORED_WORDS[word[0].lower()], name).lower() for name in class_names)
    return [label_of.get(name) for name in mirrored]
