"""The class scores of one video: a file, a folder of frames, or a tensor."""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tdn.data.transforms import Crop, cut_out, to_input
from tdn.data.video import read_frames
from tdn.data.views import Views


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
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            scores = torch.cat([model(some) for some in inputs.split(views.crops)])
    finally:
        model.train(was_training)
    scores = scores.float().mean(0).cpu()
    if not scores.isfinite().all():
        raise FloatingPointError("the network's scores are not finite: its weights are broken")
    return scores


def network_input(model: nn.Module, video: str | os.PathLike | Tensor, views: Views) -> Tensor:
    """The views of a video as `model` takes them, on its device and in its precision: `(views, T, W, C, size, size)`,
    normalised.

    `video` is a file, a folder of JPEG or PNG frames, all frames of a video as uint8 RGB `(F, C, H, W')`, or a clip
    that is normalised already, float `(T, W, C, H, W')`, which is taken as it is. Of a video shorter than the
    network's segments, frames are repeated.

    Raises:
        VideoError: a file or folder that can't be read.
        ValueError: a tensor of another kind.
    """
    parameter = next(model.parameters())
    if not isinstance(video, Tensor):
        frames, crops = _from_file(model, Path(video), views)
    elif video.dtype == torch.uint8 and video.ndim == 4 and video.shape[1] == 3 and len(video):
        frames, crops = _from_frames(model, video, views)
    elif video.is_floating_point() and video.ndim == 5:
        return video[None].to(parameter)
    else:
        raise ValueError(
            "a video is uint8 (frames, 3, height, width) or a normalised float clip (T, W, 3, height, width), not "
            f"{video.dtype} {tuple(video.shape)}"
        )
    clips = [clip.to(parameter.device) for clip in frames for _ in crops]
    return to_input(clips, crops * len(frames), views.size).to(parameter.dtype)


def _from_file(model: nn.Module, path: Path, views: Views) -> tuple[Tensor, tuple[Crop, ...]]:
    """Frames `(clips, T, W, C, H, W')`, no more of them than the crops need, and these."""
    moved: tuple[Crop, ...] = ()

    def cut(height: int, width: int) -> tuple[slice, slice]:
        nonlocal moved
        part, moved = cut_out(views.squares(height, width))
        return part

    frames, _ = read_frames(path, lambda number: _numbers(model, number, views), cut)
    return frames, moved


def _from_frames(model: nn.Module, video: Tensor, views: Views) -> tuple[Tensor, tuple[Crop, ...]]:
    return video[torch.from_numpy(_numbers(model, len(video), views))], views.squares(*video.shape[-2:])


def _numbers(model: nn.Module, num_frames: int, views: Views) -> np.ndarray:
    """The frames `(clips, T, W)` of every clip."""
    return np.stack([views.windows(num_frames, model.num_segments, model.window, clip) for clip in range(views.clips)])
