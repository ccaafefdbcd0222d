"""Features of a trained network before and after a module, segment by segment (TDRL's Figures 3 and 4)."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from tdn.data.clips import read_crops
from tdn.data.transforms import to_input, to_pixels
from tdn.experiments import runs
from tdn.experiments.runs import DATA, Run
from tdn.model.tdrl import ProgressiveEnhancement, temporal_diversity_loss

SHOWN = 10 / 64  # TDRL's Figure 3 picks ten of 64 channels


def validation_clips(config: Run, videos: Sequence[int], data: Path = DATA) -> tuple[Tensor, Tensor]:
    """Validation videos by index, as the run's network sees them: pixels `(N, T, 3, H, W)`, 0 to 1, of the middle
    frames of the windows, and normalised clips `(N, T, L, 3, H, W)`. Raises VideoError where one can't be read."""
    _, val = runs.videos(config.data, data)
    window, views = config.create_model().window, dataclasses.replace(config.views, clips=1, crops=1)
    read = []
    for index in videos:
        with val.open(index) as video:
            windows = views.windows(video.num_frames, config.num_segments, window, 0)
            read.append(read_crops(video, windows, views.squares(video.height, video.width)))
    inputs = to_input([clip for clip, _ in read], [crop for _, (crop,) in read], views.size)
    return to_pixels(inputs[:, :, window // 2]) / 255, inputs


def before_and_after(network: nn.Module, module: nn.Module, clips: Tensor) -> tuple[Tensor, Tensor]:
    """Input and output of `module` in `network` (in eval mode) for normalised clips: each `(N, T, C, H, W)`."""
    seen = []
    with torch.no_grad(), module.register_forward_hook(lambda _, inputs, output: seen.extend((inputs[0], output))):
        network.eval()(clips)
    return tuple(features.unflatten(0, clips.shape[:2]) for features in seen)


def enhancement(pem: ProgressiveEnhancement, before: Tensor) -> Tensor:
    """PEM's weights `(N, T, C)` of features `(N, T, C, H, W)`."""
    with torch.no_grad():
        return pem.enhancement(before.flatten(0, 1)).unflatten(0, before.shape[:2])


def raised_and_lowered(weights: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Means over the channels of `before` (N, T, C, H, W) with the largest and with the smallest `weights` (N, T, C) in
    each segment: each `(N, T, H, W)`. Weights expanded from `(N, 1, C)` choose the same channels in all segments."""
    number = max(round(SHOWN * weights.shape[2]), 1)
    both = (values.topk(number, 2).indices[..., None, None] for values in (weights, -weights))
    return tuple(before.gather(2, channels.expand(-1, -1, -1, *before.shape[-2:])).mean(2) for channels in both)


def colours(features: Tensor) -> Tensor:
    """An image of features `(..., C, H, W)`: the means of three groups of channels as red, green and blue,
    `(..., 3, H, W)`, scaled to 0 to 1 over all of them."""
    groups = torch.stack([group.mean(-3) for group in features.tensor_split(3, dim=-3)], -3)
    return (groups - groups.min()) / (groups.max() - groups.min()).clamp(min=1e-6)


def change(maps: Tensor) -> float:
    """Mean absolute change of maps `(N, T, H, W)` between segments, as a fraction of their mean absolute value."""
    return float((maps[:, 1:] - maps[:, :-1]).abs().mean() / maps.abs().mean().clamp(min=1e-12))


def similarity(features: Tensor) -> float:
    """Cosine similarity of a channel's maps in two segments, mean over pairs of segments, channels and clips
    `(N, T, C, H, W)`: equation (7) for one channel, 1 where nothing changes."""
    segments, channels = features.shape[1:3]
    return float(temporal_diversity_loss(features.flatten(0, 1), segments).mean() / channels)
