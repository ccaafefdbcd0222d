"""The class scores of a long video over time: of stretches that slide over it."""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tdn.data.frames import VideoReader, check_memory, shrunk
from tdn.data.sampling import Views
from tdn.data.streaming import MICROSECOND, TimedFrame, length, timed_frames
from tdn.data.transforms import Crop, to_input
from tdn.engine.inference import NOT_FINITE, ONE_VIEW, average_views
from tdn.model.checkpoints import require_network
from tdn.model.cost import in_eval_mode

BATCH = 4  # views on the device at once


class ScoredStretch(NamedTuple):
    """A part of a video, from `start` to `end` in seconds, and its class scores `(classes,)`, as of `predict`."""

    start: float
    end: float
    scores: Tensor


def slide(
    model: nn.Module, video: VideoReader, seconds: float, stride: float | None = None, views: Views = ONE_VIEW
) -> Iterator[ScoredStretch]:
    """The scores of stretches of so many seconds, which begin `stride` seconds apart (by default half a stretch).

    Each is classified as `predict` would a video of its frames: those that begin in it, or else the one that is shown
    then. Frames are shrunk first so that their shorter side is that of `views`, size / scale. The last stretch ends
    with the video; of a shorter video there is one, all of it. `video` is an open file, as of `open_video`; it is
    decoded once, and the frames of one stretch are in memory. `model` is as for `predict`.

    Raises at once ValueError for seconds that are not above 0, for a folder and for the reader decord, and VideoError
    where the frames of a stretch do not fit into memory; on the way VideoError as `timed_frames`, FloatingPointError
    where a score is not finite.
    """
    network, stride = require_network(model), seconds / 2 if stride is None else stride
    for name, value in (("stretch", seconds), ("stride", stride)):
        if not 0 < value < math.inf:
            raise ValueError(f"the {name} is a number of seconds above 0, not {value:g}")
    height, width = shrunk(video.height, video.width, round(views.size / views.scale))
    of_stretch = math.ceil(video.num_frames * min(1, seconds / (length(video) or seconds)))
    check_memory(video.path, of_stretch, height, width)
    crops = views.squares(height, width)
    stretches = _stretches(timed_frames(video, height, width), seconds, stride)

    def scored() -> Iterator[ScoredStretch]:
        waiting = []
        for start, end, frames in stretches:
            waiting.append((start, end, _clips(frames, views, network.num_segments, network.window)))
            if len(waiting) * views.number >= BATCH:
                yield from _scored(model, waiting, crops, views)
                waiting = []
        yield from _scored(model, waiting, crops, views)

    return scored()


def moments(stretches: Sequence[ScoredStretch]) -> list[tuple[float, float]]:
    """The part of each stretch, from and to a second, in which no other one's middle is nearer."""
    middles = np.array([(stretch.start + stretch.end) / 2 for stretch in stretches])
    bounds = [-math.inf, *(middles[:-1] + middles[1:]) / 2, math.inf]
    return [
        (float(max(stretch.start, low)), float(min(stretch.end, high)))
        for stretch, low, high in zip(stretches, bounds[:-1], bounds[1:], strict=True)
    ]


def _stretches(
    frames: Iterable[TimedFrame], seconds: float, stride: float
) -> Iterator[tuple[float, float, list[np.ndarray]]]:
    """Start, end and frames of each stretch, as soon as it is over."""
    kept: deque[TimedFrame] = deque()  # of the last `seconds`, and the one before
    start, stretches, count, time = 0.0, 0, 0, 0.0

    def stretch(start: float, end: float) -> tuple[float, float, list[np.ndarray]]:
        return start, end, [frame for time, frame in kept if time >= start] or [kept[-1][1]]

    for time, frame in frames:
        while time >= (end := round(start + seconds, MICROSECOND)):
            yield stretch(start, end)
            stretches += 1
            start = round(stretches * stride, MICROSECOND)
        kept.append((time, frame))
        count += 1
        while len(kept) > 1 and kept[1][0] <= time - seconds:
            kept.popleft()
    if start <= time:  # else the video ends between two stretches
        whole = round(time * count / max(count - 1, 1), MICROSECOND)  # the last frame is shown as long as the others
        start = max(0.0, min(start, round(whole - seconds, MICROSECOND)))
        yield stretch(start, min(whole, round(start + seconds, MICROSECOND)))


def _clips(frames: Sequence[np.ndarray], views: Views, num_segments: int, window: int) -> list[Tensor]:
    """Of each clip the frames that the network sees, uint8 `(T, L, C, H, W)`."""
    windows = [views.windows(len(frames), num_segments, window, clip) for clip in range(views.clips)]
    chosen = [np.stack([frames[index] for index in of_clip.flat]) for of_clip in windows]
    return [torch.from_numpy(clip).permute(0, 3, 1, 2).unflatten(0, (num_segments, window)) for clip in chosen]


def _scored(
    model: nn.Module, stretches: Sequence[tuple[float, float, list[Tensor]]], crops: Sequence[Crop], views: Views
) -> Iterator[ScoredStretch]:
    parameter = next(model.parameters())
    parts = [(clip, crop) for _, _, clips in stretches for clip in clips for crop in crops]
    of_views = []
    with in_eval_mode(model), torch.inference_mode():
        for first in range(0, len(parts), BATCH):
            clips, of_clips = zip(*parts[first : first + BATCH], strict=True)
            inputs = to_input([clip.to(parameter.device) for clip in clips], of_clips, views.size)
            of_views += model(inputs.to(parameter.dtype)).float().cpu()
    for number, (start, end, _) in enumerate(stretches):
        scores = average_views(torch.stack(of_views[number * views.number : (number + 1) * views.number]))
        if not scores.isfinite().all():
            raise FloatingPointError(NOT_FINITE)
        yield ScoredStretch(start, end, scores)
