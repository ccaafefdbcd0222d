"""Are activation maps right? The pocket benchmark knows where its things are, in every frame.

Energy inside (Wang et al., Score-CAM, CVPR workshops 2020), pointing game (Zhang et al., IJCV 2018), deletion and
insertion curves (Petsiuk et al., BMVC 2018), here for clips: all frames of a clip share one scale and one ranking.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from tdn.book.features import validation_clips
from tdn.data.pocket.render import PocketSpec
from tdn.data.sampling import Views
from tdn.engine.distributed import device
from tdn.engine.inference import to_device
from tdn.experiments.runs import DATA, Run, stored, trained
from tdn.maps.activation import activation_maps, placed_on
from tdn.utils import write_text

FRACTIONS = tuple(step / 10 for step in range(11))  # of the pixels taken away, or given
BATCH = 32
MAPS_VERSION = 1  # of stored measurements: raise it when the same network would get others


def object_masks(data: PocketSpec, videos: Sequence[int], num_segments: int, window: int, views: Views) -> Tensor:
    """Where the things are that the class is about, in the middle frames of the windows as a network sees them:
    `(N, T, H, W')`, 0 to 1. The crop must not be resized: ValueError."""
    masks = []
    for video in videos:
        of_video = data.mask(video)
        numbers = views.windows(len(of_video), num_segments, window, 0)[:, window // 2]
        (crop,) = views.squares(*of_video.shape[1:])
        if crop.side != views.size:
            raise ValueError(f"masks of {crop.side} pixels for frames of {views.size}")
        masks.append(of_video[numbers, crop.top : crop.top + crop.side, crop.left : crop.left + crop.side])
    return torch.from_numpy(np.stack(masks))


def energy_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """The share of each clip's heat that lies on the things, `(N,)`, 0 to 1; NaN for a map of zeros. Both
    `(N, T, H, W')`. A map that is the same everywhere has the share of the pixels that they cover."""
    return (maps * masks).sum((1, 2, 3)) / maps.sum((1, 2, 3))


def pointing(maps: Tensor, masks: Tensor) -> Tensor:
    """1 where the hottest place of the clip lies on a thing, else 0: `(N,)`; NaN for a map of zeros."""
    hottest = maps.flatten(1).argmax(1, keepdim=True)
    hit = masks.flatten(1).gather(1, hottest)[:, 0].round()
    return torch.where(maps.flatten(1).any(1), hit, torch.nan)


def curves(model: nn.Module, clips: Tensor, maps: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The probability of `targets` (N,) as the hottest places are taken away, and as they are given first: each
    `(N, len(FRACTIONS))`.

    A place is a pixel of a segment, in all frames of its window; one that is taken away has the mean colour of its
    clip. Clips `(N, T, W, C, H, W')`, maps `(N, T, H, W')`.
    """
    mean = clips.mean((1, 2, 4, 5), keepdim=True)
    rank = (
        maps.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(dim=1) / maps[0].numel()
    )  # 0 the hottest
    rank = rank.view(*maps.shape[:2], 1, 1, *maps.shape[2:]).to(clips.device)
    deletion, insertion = [], []
    with torch.inference_mode():
        for fraction in FRACTIONS:
            hot = rank < fraction
            for inputs, of in ((torch.where(hot, mean, clips), deletion), (torch.where(hot, clips, mean), insertion)):
                of.append(model(inputs).softmax(1).gather(1, targets[:, None])[:, 0])
    return torch.stack(deletion, 1).cpu(), torch.stack(insertion, 1).cpu()


def middle_of_the_frame(shape: Sequence[int]) -> Tensor:
    """Maps `(N, T, H, W')` that know nothing of the clip: a Gaussian in the middle, half as wide as the frame."""
    y, x = (torch.linspace(-1, 1, side) for side in shape[2:])
    return torch.exp(-2 * (y[:, None] ** 2 + x**2)).expand(*shape)


def measure_places(config: Run, results: Path, videos: Sequence[int], layer: str, data: Path = DATA) -> pd.DataFrame:
    """How right the Grad-CAM maps of a complete run are for the true classes of validation videos of the pocket
    benchmark, a row a video: `energy` and `pointing`, and beside them `energy alike`, `energy middle` and
    `pointing middle` of maps that know nothing (for "alike", pointing is energy).

    Kept beside the run, so that it is computed once. `layer` as in `cam`.
    """

    def places(_: nn.Module, clips: Tensor, maps: Tensor, some: Sequence[int]) -> pd.DataFrame:
        masks = object_masks(config.data, some, config.num_segments, clips.shape[2], config.views)
        middle = middle_of_the_frame(maps.shape)
        return pd.DataFrame(
            {
                "energy": energy_inside(maps, masks),
                "pointing": pointing(maps, masks),
                "energy alike": masks.mean((1, 2, 3)),
                "energy middle": energy_inside(middle, masks),
                "pointing middle": pointing(middle, masks),
            }
        )

    return _measured(config, results, videos, layer, data, "places", places)


def measure_curves(config: Run, results: Path, videos: Sequence[int], layer: str, data: Path = DATA) -> pd.DataFrame:
    """The `curves` of maps as in `measure_places`, and of the map that is hot in the middle, a row a video: columns
    "deletion 0.0" to "insertion 1.0", and "middle deletion 0.0" to "middle insertion 1.0". Kept beside the run."""

    def of_batch(network: nn.Module, clips: Tensor, maps: Tensor, some: Sequence[int]) -> pd.DataFrame:
        targets = torch.tensor([video % config.data.num_classes for video in some], device=clips.device)
        control = middle_of_the_frame(maps.shape).contiguous()
        both = curves(network, clips, maps, targets) + curves(network, clips, control, targets)
        kinds = ("deletion", "insertion", "middle deletion", "middle insertion")
        names = [f"{kind} {fraction}" for kind in kinds for fraction in FRACTIONS]
        return pd.DataFrame(torch.cat(both, 1).numpy(), columns=names)

    return _measured(config, results, videos, layer, data, "curves", of_batch)


def energy_by_shift(
    config: Run, results: Path, videos: Sequence[int], layer: str, shifts: Sequence[float], data: Path = DATA
) -> list[float]:
    """Mean energy inside, where feature 0 is placed on these pixels (`placed_on`), one after the other."""
    network = to_device(trained(config, results), device())
    clips, raw = _clips_and_maps(config, network, videos, layer, data)
    masks = object_masks(config.data, videos, config.num_segments, network.window, config.views)
    placed = (torch.stack([placed_on(maps, clips.shape[-2:], shift) for maps in raw]) for shift in shifts)
    return [float(energy_inside(maps, masks).nanmean()) for maps in placed]


def _measured(
    config: Run, results: Path, videos: Sequence[int], layer: str, data: Path, what: str, measure: Callable
) -> pd.DataFrame:
    """The rows of `measure(network, clips, maps, videos)`, those of earlier calls from their file."""
    path = stored(config, results).folder / f"maps-{layer}-{what}-{MAPS_VERSION}.csv"
    known = [pd.read_csv(path, index_col="video")] if path.exists() else []
    missing = [video for video in videos if not known or video not in known[0].index]
    network = to_device(trained(config, results), device()) if missing else None
    for start in tqdm(
        range(0, len(missing), BATCH), f"{what}, {layer}", unit="batch", leave=False, disable=not missing
    ):
        some = missing[start : start + BATCH]
        clips, raw = _clips_and_maps(config, network, some, layer, data)
        maps = torch.stack([placed_on(of_clip, clips.shape[-2:]) for of_clip in raw])
        rows = measure(network, clips, maps, some).astype(float).set_index(pd.Index(some, name="video"))
        known = [pd.concat([*known, rows]).sort_index()]
        write_text(path, known[0].to_csv())
    return known[0].loc[list(videos)]


def _clips_and_maps(
    config: Run, network: nn.Module, videos: Sequence[int], layer: str, data: Path
) -> tuple[Tensor, Tensor]:
    """Clips `(N, T, W, C, H, W')` on the device, and the maps `(N, T, h, w)` of their true classes."""
    clips = validation_clips(config, videos, data)[1].to(device())
    targets = [video % config.data.num_classes for video in videos]
    return clips, activation_maps(network, clips, targets, layer)[0]
