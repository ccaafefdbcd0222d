"""From uint8 frames to network input, on the device: crop, resize, flip, normalise.

What is random is drawn where the frames are read (`clips.py`), per video, from the run's seed; here it is only
carried out, so that the same video gets the same crop on any device and in any process.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tdn.utils import unknown_name

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, as torchvision's weights expect
SAMPLINGS = ("released", "even")  # how training clips are drawn, `random_crop` and `sampling.training_windows`
# Places of the released training crops, from the top and from the left, in quarters of what is free: corners, centre,
# middles of the sides, and the centres of the quarters (TSN's code).
PLACES = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2), (2, 0), (2, 4), (4, 2), (0, 2), (1, 1), (1, 3), (3, 1), (3, 3)]
MIRRORED_WORDS = {"left": "right", "right": "left", "clockwise": "counterclockwise", "counterclockwise": "clockwise"}
# Whole words, also in names like kick_left, KickLeft and leftwards.
SIDES = re.compile(rf"(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z]))(?i:({'|'.join(MIRRORED_WORDS)}))(?=(?:wards?)?(?![a-z]))")
OTHER_WAY = re.compile(r"(?:anti|counter)[-_ ]?clockwise", re.IGNORECASE)


class Crop(NamedTuple):
    """A rectangle, in pixels, and whether it is mirrored."""

    top: int
    left: int
    height: int
    width: int
    flip: bool = False

    def of(self, frames: Tensor | np.ndarray) -> Tensor | np.ndarray:
        """This part of frames `(..., H, W)`, not mirrored."""
        return frames[..., self.top : self.top + self.height, self.left : self.left + self.width]


def random_crop(
    rng: np.random.Generator, height: int, width: int, scales: Sequence[float], flip: bool, sampling: str = "released"
) -> Crop:
    """A part of a video, mirrored half the time with `flip`.

    "released", as the authors' code (TSN's multi-scale crops): height and width are each one of `scales` (from large to
    small) of the shorter side, at most one step apart, all pairs alike; at one of 13 `PLACES`. "even": squares, at any
    place (departures, notebook 04). Raises ValueError for another `sampling`.
    """
    sides = crop_sides(min(height, width), scales, sampling)
    if sampling == "even":
        side = int(rng.choice(sides))
        top, left = rng.integers(height - side, endpoint=True), rng.integers(width - side, endpoint=True)
        return Crop(int(top), int(left), side, side, bool(flip and rng.random() < 0.5))
    pairs = [(h, w) for i, h in enumerate(sides) for j, w in enumerate(sides) if abs(i - j) <= 1]
    (high, wide), (down, along) = pairs[rng.integers(len(pairs))], PLACES[rng.integers(len(PLACES))]
    top, left = down * ((height - high) // 4), along * ((width - wide) // 4)
    return Crop(top, left, high, wide, bool(flip and rng.random() < 0.5))


def crop_sides(shorter: int, scales: Sequence[float], sampling: str) -> list[int]:
    """Pixels, of a video whose shorter side has so many. Raises ValueError for another `sampling`."""
    if require_sampling(sampling) == "even":
        return [round(scale * shorter) for scale in scales]
    return [max(int(shorter * scale), 1) for scale in scales]


def require_sampling(sampling: str) -> str:
    if sampling not in SAMPLINGS:
        raise ValueError(f"sampling must be one of {', '.join(SAMPLINGS)}, not {sampling!r}")
    return sampling


def to_input(clips: Sequence[Tensor], crops: Sequence[Crop], size: int) -> Tensor:
    """Normalised network input `(N, T, L, C, size, size)` from N uint8 clips `(T, L, C, H, W)` of any H and W, on their
    device."""
    device = clips[0].device
    inputs = torch.empty(len(clips), *clips[0].shape[:-2], size, size, device=device)
    for into, clip, crop in zip(inputs, clips, crops, strict=True):
        square = crop.of(clip)
        if (crop.height, crop.width) != (size, size):
            from torchvision.transforms.v2 import functional as tv  # seconds to load, with torch's compiler

            square = tv.resize(square.flatten(0, 1), [size, size], antialias=True).unflatten(0, clip.shape[:2])
        mean, std = _mean_and_std(device)
        into.copy_(square.flip(-1) if crop.flip else square).sub_(mean).div_(std)  # clip by clip: in a CPU's cache
    return inputs


def to_input_of_frames(frames: Tensor, numbers: Sequence[Tensor], crops: Sequence[Crop]) -> Tensor:
    """`to_input`, in the same bits, of crops of one size, which are not resized, of the clips that have these `numbers`
    `(T, L)`, int64 in a CPU's memory, of `frames` `(F, C, H, W)` on any device."""
    if frames.device.type != "cpu":
        return indexed(frames, numbers, crops)
    clips = [frames.index_select(0, of.flatten()).unflatten(0, of.shape) for of in numbers]  # in a quarter of the time
    return to_input(clips, crops, crops[0].height)


def indexed(frames: Tensor, numbers: Sequence[Tensor], crops: Sequence[Crop]) -> Tensor:
    """`to_input_of_frames` in one copy to the device and one indexing, of pixels."""
    shape, height, width = numbers[0].shape, crops[0].height, crops[0].width
    places = torch.tensor([(crop.top, crop.left, crop.flip) for crop in crops])
    wanted = torch.cat([torch.stack(list(numbers)).flatten(1), places], 1)
    wanted = wanted.pin_memory() if frames.is_cuda else wanted
    wanted = wanted.to(frames.device, non_blocking=True)
    top, left, flip = wanted[:, -3:, None].unbind(1)
    c, h, w = frames.shape[1:]
    rows, columns, channels = (torch.arange(n, device=frames.device) for n in (height, width, c))
    rows, columns = top + rows, left + torch.where(flip > 0, width - 1 - columns, columns)
    places = (rows[:, :, None] * w + columns[:, None])[:, None, None, None]  # (N, 1, 1, 1, height, width)
    frame = wanted[:, :-3].unflatten(1, shape)[..., None, None, None]  # (N, T, L, 1, 1, 1)
    pixels = frames.view(-1)[(frame * c + channels[:, None, None]) * (h * w) + places]
    mean, std = _mean_and_std(frames.device)
    return pixels.float().sub_(mean).div_(std)


def to_pixels(inputs: Tensor) -> Tensor:
    """The uint8 pixels of normalised input `(..., C, H, W)`: what `to_input` was given, cropped and resized."""
    mean, std = _mean_and_std(inputs.device)
    return (inputs.float() * std + mean).round_().clamp_(0, 255).byte()


@functools.cache  # making them on a GPU waits for it
def _mean_and_std(device: torch.device) -> tuple[Tensor, Tensor]:
    return tuple(torch.tensor(values, device=device).view(3, 1, 1) * 255 for values in (MEAN, STD))


def mirrored_labels(
    class_names: Sequence[str], mirrored: bool = True, twins: Mapping[str, str] = MappingProxyType({})
) -> list[int | None]:
    """What each class becomes when its videos are flipped left to right, found from the names; None for all where
    `mirrored` is False. `twins` are names of classes that become each other, where their names do not tell.

    A name without a side keeps its label; "Pushing it from left to right" becomes the class with the sides exchanged,
    its twin; None where no such class exists, and such videos must not be flipped. "right" is also an adverb: alone,
    and without a twin, it is no side ("pulling it right out"), unless a "left" is without its twin too. (The released
    code exchanges six labels by number: departures, notebook 04.) Raises ValueError for a twin that is no class.
    """
    given = {**twins, **{other: one for one, other in twins.items()}}
    if unknown := [name for name in given if name not in class_names]:
        raise ValueError(unknown_name("class", unknown[0], class_names))
    if not mirrored:
        return [None] * len(class_names)
    names = [OTHER_WAY.sub("Counterclockwise", name) for name in class_names]
    sides = [{side.lower() for side in SIDES.findall(name)} for name in names]
    label_of = {name.lower(): label for label, name in enumerate(names)}
    by_name = [label_of.get(SIDES.sub(lambda word: MIRRORED_WORDS[word[0].lower()], name).lower()) for name in names]
    left_alone = any("left" in of and twin is None for of, twin in zip(sides, by_name, strict=True))
    found = [
        label if not of or (twin is None and of == {"right"} and not left_alone) else twin
        for label, (of, twin) in enumerate(zip(sides, by_name, strict=True))
    ]
    index = {name: label for label, name in enumerate(class_names)}
    return [index[given[name]] if name in given else label for name, label in zip(class_names, found, strict=True)]
