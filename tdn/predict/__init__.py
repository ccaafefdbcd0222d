"""The class scores of one video: a file, a folder of frames, or a tensor."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tdn.data.clips import read_clip
from tdn.data.transforms import Crop, to_input
from tdn.data.video import Choose, Cut, read_frames
from tdn.data.views import Views

NOT_FINITE = "the network's scores are not finite: broken weights, or numbers too large for their precision"


def predict(model: nn.Module, video: str | os.PathLike | Tensor, views: Views = Views()) -> Tensor:  # noqa: B008
    """The scores `(classes,)` of a video, float32 on the CPU, before the softmax: the mean over its views, as
    `evaluate` has them.

    Args:
        model: any network of `list_models()`, on any device; it ends as it was.
        video: as `network_input`.
        views: clips x crops, and the size that the network was trained for.

    Raises:
        VideoError, ValueError: as `network_input`.
        FloatingPointError: a score is not finite.
    """
    inputs = network_input(model, video, views)
    with evaluating(model), torch.inference_mode():
        scores = torch.cat([model(some) for some in inputs.split(views.crops)])
    scores = scores.float().mean(0).cpu()
    if not scores.isfinite().all():
        raise FloatingPointError(NOT_FINITE)
    return scores


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """In evaluation mode inside; afterwards each module is as it was (a network may have frozen parts)."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training


def network_input(model: nn.Module, video: str | os.PathLike | Tensor, views: Views) -> Tensor:
    """The views of a video as `model` takes them, on its device and in its precision: `(views, T, W, C, size, size)`,
    normalised.

    `video` is a file, a folder of JPEG or PNG frames, all frames of a video as uint8 RGB `(F, C, H, W')`, or a clip
    that is normalised already, float `(T, W, C, H, W')`, which is taken as it is. Of a video shorter than the
    network's segments, frames are repeated.

    Raises:
        VideoError: a file or folder that can't be read.
        ValueError: a tensor of another kind, or with values that are not finite.
    """
    parameter = next(model.parameters())
    if not isinstance(video, Tensor):
        frames, crops = _read(lambda choose, cut: read_frames(Path(video), choose, cut)[0], model, views)
    elif video.dtype == torch.uint8 and video.ndim == 4 and video.shape[1] == 3 and len(video):
        frames, crops = _read(lambda choose, cut: _of_tensor(video, choose, cut), model, views)
    elif video.is_floating_point() and video.ndim == 5:
        if not video.isfinite().all():
            raise ValueError("the clip has values that are not finite")
        return video[None].to(parameter)
    else:
        raise ValueError(
            "a video is uint8 (frames, 3, height, width) or a normalised float clip (T, W, 3, height, width), not "
            f"{video.dtype} {tuple(video.shape)}"
        )
    clips = [clip.to(parameter.device) for clip in frames for _ in crops]
    return to_input(clips, crops * len(frames), views.size).to(parameter.dtype)


def _read(frames: Callable[[Choose, Cut], Tensor], model: nn.Module, views: Views) -> tuple[Tensor, tuple[Crop, ...]]:
    """Frames `(clips, T, W, C, H, W')` of every clip, no more of them than the crops need, and these."""

    def choose(number: int) -> np.ndarray:
        clips = (views.windows(number, model.num_segments, model.window, clip) for clip in range(views.clips))
        return np.stack(list(clips))

    return read_clip(frames, choose, views.squares)


def _of_tensor(video: Tensor, choose: Choose, cut: Cut) -> Tensor:
    return video[torch.from_numpy(choose(len(video)))][..., *cut(*video.shape[-2:])]
