"""Features of a trained network before and after a module, segment by segment (TDRL's Figures 3 and 4)."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from tdn.book.intervals import compare, verdict
from tdn.data.clips import read_crops
from tdn.data.transforms import to_input, to_pixels
from tdn.data.video import open_video
from tdn.experiments import runs
from tdn.experiments.runs import DATA, Run
from tdn.model.tdrl import ProgressiveEnhancement, temporal_diversity_loss

SHOWN = 10 / 64  # TDRL's Figure 3 picks ten of 64 channels


def validation_clips(config: Run, videos: Sequence[int], data: Path = DATA) -> tuple[Tensor, Tensor]:
    """Validation videos by index, as the run's network sees them: pixels `(N, T, 3, H, W)`, 0 to 1, of the middle
    frames of the windows, and normalised clips `(N, T, L, 3, H, W)`. Raises VideoError where one can't be read."""
    window, views = config.create_model().window, dataclasses.replace(config.views, clips=1, crops=1)
    read = []
    for index in videos:
        with open_video(runs.val_video(config.data, index, data).path) as video:
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


def change(features: Tensor) -> Tensor:
    """How much each channel of features `(N, T, C, H, W)` changes in each clip, `(N, C)`: the mean absolute difference
    between neighbouring segments, in units of the channel's standard deviation over all clips, segments and places.

    The unit makes strong and weak channels comparable, and it is never small next to the differences, as a mean may be:
    over all clips a channel has at most 2 * sqrt(T / (T - 1)). 0 is a channel that never changes, 2 / sqrt(pi) = 1.13
    one that is drawn anew for each segment (from a normal distribution).
    """
    deviation = features.std((0, 1, 3, 4), correction=0).clamp(min=torch.finfo(features.dtype).tiny)  # 0: constant
    return (features[:, 1:] - features[:, :-1]).abs().mean((1, 3, 4)) / deviation


def change_of_raised_and_lowered(pem: ProgressiveEnhancement, before: Tensor) -> dict[str, float | str]:
    """`change` in % of the channels that PEM raises and of those that it lowers, by their mean weight in each clip:
    means over the clips `before` PEM `(N, T, C, H, W)`, their difference with the half width of its 95 % interval (for
    the choice of clips), and whether raised channels change "more" or "less"."""
    weights, changes = enhancement(pem, before).mean(1, keepdim=True), change(before)[:, None, :, None, None]
    raised, lowered = (of.flatten().numpy() for of in raised_and_lowered(weights, changes))
    points, half, _ = compare(lowered[:, None], raised[:, None])
    answer = verdict(points, half).replace("better", "more").replace("worse", "less")
    row = {"raised channels (%)": 100 * raised.mean(), "lowered channels (%)": 100 * lowered.mean()}
    return row | {"difference": points, "±": half, "raised against lowered": answer, "videos": len(before)}


def similarity(features: Tensor) -> float:
    """Cosine similarity of a channel's maps in two segments, mean over pairs of segments, channels and clips
    `(N, T, C, H, W)`: equation (7) for one channel, 1 where nothing changes."""
    segments, channels = features.shape[1:3]
    return float(temporal_diversity_loss(features.flatten(0, 1), segments).mean() / channels)
