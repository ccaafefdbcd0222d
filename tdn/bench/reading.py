"""How fast training clips are read, in how much memory, and how long a training waits for them. The videos are
textures that move, as large and as long as those of Something-Something and Kinetics."""

import functools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import decord
import numpy as np
import psutil
import torch
import torchvision.transforms.functional as TF
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from tdn.bench.synthetic import make_clip, write_jpegs, write_mp4, write_mp4s
from tdn.bench.timing import devices, interleaved
from tdn.data.clips import Sample, TrainingClips, Video, VideoSet
from tdn.data.sampling import training_windows
from tdn.data.transforms import MEAN, STD, random_crop, to_input
from tdn.engine.loading import TrainingLoader, worker_context
from tdn.engine.recipes import Recipe
from tdn.engine.trainer import fit
from tdn.model.zoo import create_model

SEGMENTS, WINDOW, SIZE, SCALES = 8, 5, 224, (1, 0.875, 0.75, 0.66)  # TDN's training clips
PIL = "PIL, frame by frame"


def clips_of(paths: Sequence[Path], window: int = WINDOW) -> TrainingClips:
    return TrainingClips(VideoSet([Video(path, 0) for path in paths], ["a class"]), SEGMENTS, window, SCALES)


def pil_clip(path: Path, rng: np.random.Generator) -> Tensor:
    """The baseline: network input `(T, L, C, SIZE, SIZE)` of a video as pipelines derived from TSN's make it, one image
    at a time. Draws the same frames and crop as `TrainingClips` with the same `rng`."""
    video = sorted(path.iterdir()) if path.is_dir() else decord.VideoReader(str(path), num_threads=1)
    indices = training_windows(len(video), SEGMENTS, WINDOW, rng).flatten()
    if path.is_dir():
        images = [Image.open(video[index]).convert("RGB") for index in indices]
    else:
        images = [Image.fromarray(frame) for frame in video.get_batch(indices).asnumpy()]
    crop = random_crop(rng, images[0].height, images[0].width, SCALES, flip=True)
    images = [TF.resized_crop(image, *crop[:4], [SIZE, SIZE]) for image in images]
    images = [TF.hflip(image) for image in images] if crop.flip else images
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous().float().div(255)
    return TF.normalize(pixels, MEAN, STD, inplace=True).unflatten(0, (SEGMENTS, WINDOW))


def pil_batch(paths: Sequence[Path]) -> Tensor:
    return torch.stack([pil_clip(path, np.random.default_rng((0, 0, index))) for index, path in enumerate(paths)])


def decoded_batch(paths: Sequence[Path]) -> list[Sample]:
    clips = clips_of(paths)
    return [clips[index] for index in range(len(paths))]


def input_batch(paths: Sequence[Path]) -> Tensor:
    samples = decoded_batch(paths)
    return to_input([sample.clip for sample in samples], [sample.crops[0] for sample in samples], SIZE)


PIPELINES = {PIL: pil_batch, "tdn, what a worker does": decoded_batch, "tdn, and what the device does": input_batch}


def measure_data(folder: Path, videos: int = 16, rounds: int = 15, long_frames: int = 300) -> Iterator[dict[str, Any]]:
    """Training clips (of 8 x 5 frames) per second of CPU time on one core: one row per kind of video and pipeline.
    In each round every pipeline reads all videos, with the same frames and crops. The figure is the median of the
    rounds, `lowest` and `highest` the quartiles; `times PIL` is the median of the ratios within a round. CPU time of
    all threads: other programs on the machine do not count. Files are in the cache of the system."""
    long = [write_mp4(folder / f"long{n}.mp4", make_clip(videos + n, long_frames, 256, 340)) for n in range(2)]
    jpegs = [write_jpegs(folder / f"{n}", make_clip(n, 45, 240, 426)) for n in range(videos)]
    kinds = {
        "mp4, 45 frames of 426x240": write_mp4s(folder, videos),
        "JPEG folder, 45 frames of 426x240": jpegs,
        f"mp4, {long_frames} frames of 340x256": (long * videos)[:videos],
    }
    calls = {(k, n): functools.partial(make, paths) for k, paths in kinds.items() for n, make in PIPELINES.items()}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds = interleaved(calls, rounds, time.process_time) / videos
    torch.set_num_threads(threads)
    for (kind, name), taken in seconds.items():
        median, lowest, highest = (1 / taken).quantile([0.5, 0.25, 0.75])
        row = {"what": kind, "pipeline": name, "clips per second and core": median, "lowest": lowest}
        row |= {"highest": highest, "frames per second and core": median * SEGMENTS * WINDOW}
        yield row | {"times PIL": (seconds[kind, PIL] / taken).median()}


def measure_memory(folder: Path, videos: int = 200, clips: Sequence[int] = (1_000, 10_000)) -> Iterator[dict[str, Any]]:
    """Resident memory of a DataLoader's worker after so many `clips`, read from `videos` mp4 files again and again: one
    row per number, the median over the twentieth of the clips before it, in MB, and the increase since the first."""
    sizes = [(20 + n % 21, 240, (320, 426)[n % 2]) for n in range(videos)]
    files = [write_mp4(folder / f"{n}.mp4", make_clip(n, *size)) for n, size in enumerate(sizes)]
    again = clips_of([files[index % videos] for index in range(clips[-1])])
    loader = DataLoader(again, 1, collate_fn=resident_memory, num_workers=1, multiprocessing_context=worker_context)
    megabytes = np.array(list(tqdm(loader, "memory", unit="clip", leave=False)))
    medians = [np.median(megabytes[count - max(count // 20, 1) : count]) for count in clips]
    for count, median in zip(clips, medians, strict=True):
        yield {"clips read": count, "resident MB": median, "more than at first (%)": 100 * (median / medians[0] - 1)}


def resident_memory(clips: Sequence[Sample]) -> float:
    """In place of `collate`: the resident memory in MB of the process that it runs in."""
    return psutil.Process().memory_info().rss / 1e6


def measure_waiting(folder: Path, videos: int = 16) -> Iterator[dict[str, Any]]:
    """The fraction of a training's time that is spent waiting for clips, and videos per second, on the GPU where there
    is one: the second of two epochs over `videos` short mp4 files, in batches of 4."""
    files = write_mp4s(folder, videos)
    *_, device = devices()
    recipe = Recipe(epochs=2, batch=4, lr=0.001, micro_batch=4)
    for name in tqdm(("tsn_resnet50", "tdn_resnet50"), "waiting", unit="network", leave=False):
        model = create_model(name, 5)
        clips = clips_of(files, window=model.window)
        epoch = fit(model, TrainingLoader(clips, 4, 4), recipe, SIZE, folder / name, device).history[-1]
        row = {"device": device.type, "network": name, "batch": 4, "videos a second": videos / epoch["seconds"]}
        yield row | {"waiting for clips (%)": 100 * epoch["waiting"]}
