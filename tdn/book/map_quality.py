"""Are activation maps right? The pocket benchmark has the mask of its objects in every frame.

CAM energy inside the object mask (Wang et al., Score-CAM, CVPR workshops 2020), pointing game (Zhang et al., IJCV
2018), deletion and insertion curves (Petsiuk et al., BMVC 2018); all frames of a clip share one scale and ranking."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from tdn.book.features import validation_clips
from tdn.book.intervals import compare, verdict
from tdn.data.pocket.render import PocketSpec
from tdn.data.sampling import Views
from tdn.engine.distributed import device, to_device
from tdn.experiments import runs
from tdn.experiments.runs import DATA, Run, stored, trained
from tdn.maps.activation import Maps, activation_maps, cam, placed_on
from tdn.utils import write_listed, write_text

FRACTIONS = tuple(step / 10 for step in range(11))  # of the pixels deleted, or inserted
BATCH = 32
MAPS_VERSION = 2  # of stored measurements: raise it when the same network would get others
UNIFORM, CENTRE = BASELINES = ("uniform map", "centre prior")
WORDS = {"better": "better than", "worse": "worse than", "inconclusive": "inconclusive vs."}  # of verdicts
MEASURES = {  # columns of `measure_localisation`: of the network, the uniform map and the centre prior
    "energy inside": ("energy", "energy uniform", "energy centre"),
    "pointing game": ("pointing", "energy uniform", "pointing centre"),
}


def object_masks(data: PocketSpec, videos: Sequence[int], num_segments: int, window: int, views: Views) -> Tensor:
    """Masks of the objects that the class is about, in the middle frames of the windows as a network sees them:
    `(N, T, H, W)`, 0 to 1. Raises ValueError where the crop would have to be resized."""
    masks = []
    for video in videos:
        mask = data.mask(video)
        frames = views.windows(len(mask), num_segments, window, 0)[:, window // 2]
        (crop,) = views.squares(*mask.shape[1:])
        if crop.height != views.size:
            raise ValueError(f"masks of {crop.height} pixels for frames of {views.size}")
        masks.append(crop.of(mask[frames]))
    return torch.from_numpy(np.stack(masks))


def energy_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """The fraction of each clip's CAM energy inside the object mask, `(N,)`, 0 to 1; NaN for a map of zeros. Both
    `(N, T, H, W)`. The uniform map has the fraction of the pixels that the mask covers."""
    return (maps * masks).sum((1, 2, 3)) / maps.sum((1, 2, 3))


def pointing(maps: Tensor, masks: Tensor) -> Tensor:
    """1 where the maximum of the clip's maps lies inside the object mask, else 0: `(N,)`; NaN for a map of zeros."""
    hit = masks.flatten(1).gather(1, maps.flatten(1).argmax(1, keepdim=True))[:, 0].round()
    return torch.where(maps.flatten(1).any(1), hit, torch.nan)


def curves(model: nn.Module, clips: Tensor, maps: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The probability of `targets` (N,) as pixels are deleted, and as they are inserted, highest activation first: each
    `(N, len(FRACTIONS))`. A deleted pixel gets the mean colour of its clip, in all frames of its window. Clips
    `(N, T, L, C, H, W)`, maps `(N, T, H, W)`."""
    mean = clips.mean((1, 2, 4, 5), keepdim=True)
    rank = maps.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(dim=1)  # 0: highest activation
    rank = (rank / maps[0].numel()).view(*maps.shape[:2], 1, 1, *maps.shape[2:]).to(clips.device)
    found = []
    with torch.inference_mode():
        for first, rest in ((mean, clips), (clips, mean)):
            scores = (model(torch.where(rank < fraction, first, rest)) for fraction in FRACTIONS)
            found.append(torch.cat([of.softmax(1).gather(1, targets[:, None]) for of in scores], 1).cpu())
    return tuple(found)


def centre_prior(shape: Sequence[int]) -> Tensor:
    """Maps `(N, T, H, W)` that are the same for every clip: a Gaussian in the centre, half as wide as the frame."""
    y, x = (torch.linspace(-1, 1, side) for side in shape[2:])
    return torch.exp(-2 * (y[:, None] ** 2 + x**2)).expand(*shape)


def measure_localisation(config: Run, results: Path, videos: Sequence, layer: str, data: Path = DATA) -> pd.DataFrame:
    """`energy_inside` and `pointing` of the Grad-CAM maps of a complete run, for the true classes of validation videos
    of the pocket benchmark, and of the baselines: one row per video, columns as in `MEASURES`. Stored next to the run,
    so each video is measured once. `layer` as in `cam`."""

    def measure(_: nn.Module, clips: Tensor, maps: Tensor, some: Sequence[int]) -> pd.DataFrame:
        masks = object_masks(config.data, some, config.num_segments, clips.shape[2], config.views)
        centre = centre_prior(maps.shape)
        energies = {"energy": energy_inside(maps, masks), "energy centre": energy_inside(centre, masks)}
        hits = {"pointing": pointing(maps, masks), "pointing centre": pointing(centre, masks)}
        return pd.DataFrame(energies | hits | {"energy uniform": masks.mean((1, 2, 3))})

    return _measured(config, results, videos, layer, data, "localisation", measure)


def measure_curves(config: Run, results: Path, videos: Sequence[int], layer: str, data: Path = DATA) -> pd.DataFrame:
    """The `curves` of maps as in `measure_localisation`, and of the centre prior, one row per video: columns
    "deletion 0.0" to "insertion 1.0", and "centre deletion 0.0" to "centre insertion 1.0". Stored next to the run."""

    def measure(network: nn.Module, clips: Tensor, maps: Tensor, some: Sequence[int]) -> pd.DataFrame:
        targets = torch.tensor([video % config.data.num_classes for video in some], device=clips.device)
        prior = centre_prior(maps.shape).contiguous()
        both = curves(network, clips, maps, targets) + curves(network, clips, prior, targets)
        kinds = ("deletion", "insertion", "centre deletion", "centre insertion")
        columns = [f"{kind} {fraction}" for kind in kinds for fraction in FRACTIONS]
        return pd.DataFrame(torch.cat(both, 1).numpy(), columns=columns)

    return _measured(config, results, videos, layer, data, "curves", measure)


def energy_by_shift(
    config: Run, results: Path, videos: Sequence[int], layer: str, shifts: Sequence[float], data: Path = DATA
) -> list[float]:
    """Mean `energy_inside` with feature 0 placed on each of these pixels (`placed_on`)."""
    network = to_device(trained(config, results), device())
    clips, raw = _clips_and_maps(config, network, videos, layer, data)
    masks = object_masks(config.data, videos, config.num_segments, network.window, config.views)
    placed = (torch.stack([placed_on(maps, clips.shape[-2:], shift) for maps in raw]) for shift in shifts)
    return [float(energy_inside(maps, masks).nanmean()) for maps in placed]


def _measured(
    config: Run, results: Path, videos: Sequence[int], layer: str, data: Path, what: str, measure: Callable
) -> pd.DataFrame:
    """The rows of `measure(network, clips, maps, videos)`; those of earlier calls come from their file."""
    result, name = stored(config, results), f"maps-{layer}-{what}-{MAPS_VERSION}.csv"
    path = result.folder / name
    known = pd.read_csv(path, index_col="video") if result.has(name) else pd.DataFrame()
    missing = [video for video in videos if video not in known.index]
    network = to_device(trained(config, results), device()) if missing else None
    batches = [missing[start : start + BATCH] for start in range(0, len(missing), BATCH)]
    for some in tqdm(batches, f"{what}, {layer}", unit="batch", leave=False, disable=not missing):
        clips, raw = _clips_and_maps(config, network, some, layer, data)
        maps = torch.stack([placed_on(of_clip, clips.shape[-2:]) for of_clip in raw])
        rows = measure(network, clips, maps, some).astype(float).set_index(pd.Index(some, name="video"))
        known = pd.concat([known, rows]).sort_index().rename_axis("video")
        write_listed(path, partial(write_text, text=known.to_csv()))
    return known.loc[list(videos)]


def _clips_and_maps(config: Run, network: nn.Module, videos: Sequence[int], layer: str, data: Path) -> tuple:
    """Clips `(N, T, L, C, H, W)` on the device, and the maps `(N, T, h, w)` of their true classes."""
    clips = validation_clips(config, videos, data)[1].to(device())
    return clips, activation_maps(network, clips, [video % config.data.num_classes for video in videos], layer)[0]


def correct_in_all(configs: Sequence[Run], results: Path) -> pd.Series:
    """Labels of the validation videos that all these runs classify correctly, by index; of all if there is none."""
    evaluations = [stored(config, results).evaluation for config in configs]
    answers = pd.concat([pd.Series(e.correct, e.videos) for e in evaluations], axis=1, join="inner").sort_index()
    labels, correct = pd.Series(evaluations[0].labels, evaluations[0].videos)[answers.index], answers.all(axis=1)
    if not correct.any():
        print("no video is classified correctly by all networks: all videos are used")
    return labels[correct] if correct.any() else labels


def one_per_class(labels: pd.Series, number: int) -> list[int]:
    """The first video of each of `number` classes that are spread evenly over those of `labels`."""
    first = labels.drop_duplicates().sort_values()
    return first.index[np.linspace(0, len(first) - 1, min(number, len(first))).round().astype(int)].tolist()


def video_maps(
    config: Run, results: Path, videos: Sequence[int], frames: str, layer: str | None = None, data: Path = DATA
) -> list[Maps]:
    """The maps of a complete run for the true classes of validation videos, as `cam`."""
    network = to_device(trained(config, results), device())
    views = dataclasses.replace(config.views, clips=1, crops=1)
    shown = [runs.val_video(config.data, index, data) for index in videos]
    return [cam(network, video.path, frames, video.label, layer, views=views) for video in shown]


def localisation_table(
    networks: Mapping[str, Sequence[Run]], results: Path, videos: Sequence[int], layer: str, data: Path = DATA
) -> pd.DataFrame:
    """Energy inside the object mask and pointing game in %: one row per network, mean over clips and seeds (a sequence
    of runs), the first one the reference; then the baselines. `±` are half widths of 95 % intervals for the choice of
    clips (paired) and for the seed, as `intervals.compare`. Clips with a zero map in any run are left out."""
    where = results, videos, layer, data
    measured = {name: [measure_localisation(config, *where) for config in of] for name, of in networks.items()}
    every = [table for tables in measured.values() for table in tables]
    whole = np.all([table["energy"].notna() for table in every], axis=0)
    reference = next(iter(networks))
    rows = {name: {"maps of": name} for name in (*networks, *BASELINES)}
    for what, (column, *baselines) in MEASURES.items():
        values = {name: [table[column][whole] for table in tables] for name, tables in measured.items()}
        values |= {name: [every[0][of][whole]] * 2 for name, of in zip(BASELINES, baselines, strict=True)}  # no seed
        values = {name: np.stack(of_row, axis=1) for name, of_row in values.items()}
        for name, of_row in values.items():
            points, half, _ = compare(values[reference], of_row)
            rows[name][f"{what} (%)"] = 100 * of_row.mean()
            rows[name][f"{what}, vs {reference}"] = "" if name == reference else f"{points:+.1f} ± {half:.1f}"
            rows[name][f"{what}: verdict"] = "reference" if name == reference else verdict(points, half)
    num_seeds = pd.array([len(networks[name]) if name in networks else None for name in rows], "Int64")
    return pd.DataFrame(rows.values()).assign(seeds=num_seeds, clips=whole.sum(), **{"zero maps": (~whole).sum()})


def curves_table(
    networks: Mapping[str, Run], results: Path, videos: Sequence[int], layer: str, data: Path = DATA
) -> pd.DataFrame:
    """Mean probability of the true class, in %, when a fraction of the pixels is deleted or inserted, highest
    activation first: one row per network and kind of curve, one column per fraction. `area` is under the curve. It does
    not compare networks, as some need less of a clip whatever the map. So each is compared with the centre prior for
    the same network (paired, 95 % interval for the choice of clips). Better: less for deletion, more for insertion."""
    rows = []
    for name, config in networks.items():
        table = measure_curves(config, results, videos, layer, data)
        for kind, better in (("deletion", -1), ("insertion", 1)):
            of_map, of_prior = (table[[f"{of}{kind} {f}" for f in FRACTIONS]].to_numpy() for of in ("", "centre "))
            areas, prior = (np.trapezoid(curve, FRACTIONS, axis=1) for curve in (of_map, of_prior))
            points, half, _ = compare(prior[:, None], areas[:, None])
            row = {"maps of": name, "curve": kind, "area": 100 * areas.mean()}
            row |= {f"vs {CENTRE}": f"{points:+.1f} ± {half:.1f}", "verdict": verdict(better * points, half)}
            row |= {f"{100 * f:.0f} %": 100 * mean for f, mean in zip(FRACTIONS, of_map.mean(0), strict=True)}
            rows.append(row | {"clips": len(table)})
    return pd.DataFrame(rows)


def findings(localisation: pd.DataFrame, stages: pd.DataFrame, curves: pd.DataFrame) -> str:
    """The tables' findings (`stages` are `localisation_table`s with a column `layer`), as sentences in markdown."""
    reference = localisation.iloc[0]["maps of"]
    networks = localisation[~localisation["maps of"].isin(BASELINES)]
    sentences = []
    for what in MEASURES:
        best = localisation[localisation["maps of"].isin(BASELINES)][f"{what} (%)"].max()
        values = ", ".join(f"{row['maps of']} {row[f'{what} (%)']:.1f} %" for _, row in networks.iterrows())
        sentences.append(f"{what.capitalize()}: {values}; the better baseline {best:.1f} %.")
        sentences += [_compared(row, what, reference, row["maps of"]) for _, row in networks.iloc[1:].iterrows()]
    for layer, of_layer in stages.groupby("layer"):
        last = of_layer[~of_layer["maps of"].isin(BASELINES)].iloc[-1]
        sentences.append(_compared(last, "energy inside", reference, f"Energy inside in {layer}, {last['maps of']}"))
        uniform = of_layer[of_layer["maps of"] == UNIFORM].iloc[0]["energy inside (%)"]
        if last["energy inside (%)"] < 1.2 * uniform:
            sentences[-1] += f" It is less than a fifth above the uniform map's {uniform:.1f} %."
    for _, row in curves.iterrows():
        subject = f"{row['curve'].capitalize()} by the maps of {row['maps of']}"
        sentences.append(f"{subject}: {WORDS[row['verdict']]} the {CENTRE} (area {row[f'vs {CENTRE}']}).")
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _compared(row: pd.Series, what: str, reference: str, subject: str) -> str:
    word = WORDS[row[f"{what}: verdict"]].replace("better", "more").replace("worse", "less")
    return f"{subject}: {word} {reference} ({row[f'{what}, vs {reference}']} points)."
