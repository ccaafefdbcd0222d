"""The class scores of one video: a file, a folder of frames, or a tensor."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tdn.data.clips import read_crops
from tdn.data.sampling import Views, parse_views
from tdn.data.transforms import to_input
from tdn.data.video import TensorVideo, open_video
from tdn.engine.distributed import device, to_device
from tdn.model.checkpoints import require_network
from tdn.model.cost import in_eval_mode
from tdn.model.weights import load_model

NOT_FINITE = "the network's scores are not finite: broken weights, or numbers too large for their precision"
ONE_VIEW = Views()
WEIGHTS = "weights.pt"  # in a folder of results
Source = str | os.PathLike | Tensor  # of a video, as `network_input` has it


def predict(model: nn.Module, video: Source, views: Views = ONE_VIEW, reader: str = "pyav") -> Tensor:
    """The scores `(classes,)` of a video, float32 on the CPU, whose softmax are its probabilities: those of one view
    as the network gives them, of several as `average_views`. `evaluate` has the same.

    `model` is any network of `list_models()`, on any device, also compiled or in DataParallel; it ends as it was.
    `video` and `reader` as `network_input`; the size of `views` is the one that the network was trained for. Raises
    VideoError and ValueError as `network_input`, FloatingPointError where a score is not finite.
    """
    inputs = network_input(require_network(model), video, views, reader)
    with in_eval_mode(model), torch.inference_mode():
        scores = torch.cat([model(clip) for clip in inputs.split(views.crops)])
    scores = average_views(scores.float()).cpu()
    if not scores.isfinite().all():
        raise FloatingPointError(NOT_FINITE)
    return scores


def average_views(scores: Tensor) -> Tensor:
    """Scores `(..., classes)` from those of views, `(..., views, classes)`: the logarithm of the mean of the views'
    softmax, so that their softmax is this mean, as released (departures, notebook 04). One view keeps its scores."""
    if scores.shape[-2] == 1:
        return scores.squeeze(-2)
    return scores.log_softmax(-1).logsumexp(-2) - math.log(scores.shape[-2])


def network_input(model: nn.Module, video: Source, views: Views, reader: str = "pyav") -> Tensor:
    """The views of a video as `model` takes them, on its device and in its precision: `(views, T, L, C, size, size)`,
    normalised.

    `video` is a file, a folder of JPEG or PNG frames, all frames of a video as uint8 RGB `(F, C, H, W)`, or a clip
    that is normalised already, float `(T, L, C, H, W)`, which is taken as it is. `reader` as `open_video`. Of a video
    shorter than the network's segments, frames are repeated.

    Raises VideoError where a file or folder can't be read, ValueError for a tensor of another kind or with values that
    are not finite, and for another reader.
    """
    parameter = next(model.parameters())
    if isinstance(video, Tensor) and video.is_floating_point() and video.ndim == 5:
        if not video.isfinite().all():
            raise ValueError("the clip has values that are not finite")
        return video[None].to(parameter)
    if isinstance(video, Tensor) and (video.dtype != torch.uint8 or video.ndim != 4 or video.shape[1] != 3):
        raise ValueError(
            "a video is uint8 (frames, 3, height, width) or a normalised float clip (T, L, 3, height, width), not "
            f"{video.dtype} {tuple(video.shape)}"
        )
    with TensorVideo(video) if isinstance(video, Tensor) else open_video(video, reader) as opened:
        windows = [views.windows(opened.num_frames, model.num_segments, model.window, i) for i in range(views.clips)]
        frames, crops = read_crops(opened, np.stack(windows), views.squares(opened.height, opened.width))
    clips = [clip.to(parameter.device) for clip in frames for _ in crops]
    return to_input(clips, crops * len(frames), views.size).to(parameter.dtype)


class Network(NamedTuple):
    """A network on this machine's device, its name, its class names, and the views to look at a video with."""

    model: nn.Module
    name: str
    class_names: list[str]
    views: Views


class Answer(NamedTuple):
    """A class that a video may show: its name, and its probability, 0 to 1: the softmax of its score."""

    class_name: str
    probability: float


def weights_file(path: str | os.PathLike) -> Path:
    """The file itself, or that in a folder of results."""
    path = Path(path)
    return path / WEIGHTS if (path / WEIGHTS).is_file() else path


def load_network(
    weights: str | os.PathLike,
    segments: int | None = None,
    class_names: Sequence[str] | None = None,
    size: int | None = None,
    views: str | None = None,
) -> Network:
    """The network of a weights file, or of the folder of results that holds its `weights.pt`.

    `segments` is needed where the file does not hold it. By default the class names (in the order of the outputs) and
    the crop's size in pixels are the file's, else "class 0", "class 1" and so on, and as `parse_views`. `views` is as
    "10x3". Raises as `load_model` and `parse_views`; ValueError where the names are not as many as the classes.
    """
    model, name, names, of_file = load_model(weights_file(weights), segments)
    classes = model.fc.out_features
    names = class_names or names or [f"class {index}" for index in range(classes)]
    if len(names) != classes:
        raise ValueError(f"{len(names)} class names for the {classes} classes of the network")
    chosen = parse_views(views or "1x1", size, of_file)
    return Network(to_device(model, device()).eval(), name, list(names), chosen)


def top_classes(scores: Tensor, class_names: Sequence[str], number: int = 5) -> list[Answer]:
    """The `number` likeliest classes by their scores `(classes,)`, the likeliest first."""
    probabilities, classes = scores.softmax(0).topk(min(number, len(scores)))
    return [Answer(class_names[c], p) for c, p in zip(classes.tolist(), probabilities.tolist(), strict=True)]
