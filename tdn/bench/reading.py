"""How fast training clips are read, in how much memory, how long a training waits for them, and how long TDN takes
beside TSN: `tdn bench`, or `tdn bench data`.

The videos are made here: textures that move, as large and as long as those of Something-Something and Kinetics.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import decord
import numpy as np
import pandas as pd
import psutil
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from tdn.bench.synthetic import make_clip, write_jpegs, write_mp4
from tdn.bench.timing import devices
from tdn.data.clips import Sample, TrainingClips, Unreadable, Video, VideoSet, collate
from tdn.data.sampling import sample_windows
from tdn.data.transforms import MEAN, STD, random_crop, to_input
from tdn.engine.recipes import Recipe
from tdn.engine.trainer import fit
from tdn.model.zoo import create_model

SEGMENTS, WINDOW, SIZE, SCALES = 8, 5, 224, (1, 0.875, 0.75, 0.66)  # TDN's training clips
BATCH = 8
PIL = "PIL, frame by frame"


def pil_clip(path: Path, rng: np.random.Generator) -> Tensor:
    """The baseline: network input `(T, W, C, SIZE, SIZE)` of one video as pipelines in the line of TSN make it, an
    image at a time. Draws the same frames and crop as `TrainingClips` with the same `rng`."""
    if path.is_dir():
        files = sorted(path.iterdir())
        numbers = sample_windows(len(files), SEGMENTS, WINDOW, rng)
        images = [Image.open(files[number]).convert("RGB") for number in numbers.flat]
    else:
        reader = decord.VideoReader(str(path), num_threads=1)
        numbers = sample_windows(len(reader), SEGMENTS, WINDOW, rng)
        images = [Image.fromarray(frame) for frame in reader.get_batch(numbers.flatten()).asnumpy()]
    width, height = images[0].size
    crop = random_crop(rng, height, width, SCALES, flip=True)
    box = crop.left, crop.top, crop.left + crop.side, crop.top + crop.side
    images = [image.crop(box).resize((SIZE, SIZE), Image.Resampling.BILINEAR) for image in images]
    if crop.flip:
        images = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in images]
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
    pixels = pixels.permute(0, 3, 1, 2).contiguous().float().div(255)
    for channel, mean, std in zip(pixels.unbind(1), MEAN, STD, strict=True):
        channel.sub_(mean).div_(std)
    return pixels.unflatten(0, (SEGMENTS, WINDOW))


def measure_data(folder: Path, videos: int = 16, repetitions: int = 15, long_frames: int = 300) -> pd.DataFrame:
    """Training clips (of 8 x 5 frames) per second of CPU time on one core, a row for each kind of video and pipeline.

    The pipelines take turns, a batch each, with the same frames and crops. The figure is the median of so many
    `repetitions`, `lowest` and `highest` the quartiles; `times PIL` is the median of the ratios within a repetition.
    CPU time, of all threads: other programs on the machine do not count. Files are in the cache of the system.

    Args:
        folder: for the videos, `videos` short ones as mp4 and as JPEGs, and an eighth as many long ones.
    """
    rng = np.random.default_rng(0)
    kinds = {
        "mp4, 40 to 50 frames of 426x240": [],
        "JPEG folder, 40 to 50 frames of 427x240": [],
        f"mp4, {long_frames} frames of 340x256": [],
    }
    short, jpegs, long = kinds.values()
    for number in tqdm(range(videos), "making videos", unit="video", leave=False):
        clip = make_clip(number, int(rng.integers(40, 51)), 240, 427)
        short.append(write_mp4(folder / f"{number}.mp4", np.ascontiguousarray(clip[:, :, :426])))
        jpegs.append(write_jpegs(folder / f"{number}", clip))
        if number % 8 == 0:
            long.append(write_mp4(folder / f"long{number}.mp4", make_clip(videos + number, long_frames, 256, 340)))
    seconds: dict[tuple[str, str], list[float]] = {}
    with one_thread(), tqdm(total=repetitions * len(kinds), desc="data", unit="batch", leave=False) as progress:
        for repetition in range(repetitions):
            for kind, paths in kinds.items():
                start = BATCH * repetition
                batch = [paths[number % len(paths)] for number in range(start, start + BATCH)]
                for name, pipeline in pipelines(batch, repetition).items():
                    began = time.process_time()
                    pipeline()
                    seconds.setdefault((kind, name), []).append((time.process_time() - began) / BATCH)
                progress.update()
    rows = []
    for (kind, name), taken in seconds.items():
        low, median, high = np.quantile(1 / np.array(taken), (0.25, 0.5, 0.75))
        rows.append(
            {
                "what": kind,
                "pipeline": name,
                "clips per second and core": median,
                "lowest": low,
                "highest": high,
                "frames per second and core": median * SEGMENTS * WINDOW,
                "times PIL": np.median(np.array(seconds[kind, PIL]) / np.array(taken)),
            }
        )
    return pd.DataFrame(rows)


def pipelines(paths: Sequence[Path], seed: int) -> dict[str, Callable[[], Tensor | list[Sample]]]:
    """What turns these files into a batch, by name."""
    clips = TrainingClips(VideoSet([Video(path, 0) for path in paths], ["thing"]), SEGMENTS, WINDOW, SCALES, seed)

    def by_pil() -> Tensor:
        return torch.stack(
            [pil_clip(path, np.random.default_rng((seed, 0, number))) for number, path in enumerate(paths)]
        )

    def decoded() -> list[Sample]:
        samples, unreadable = collate([clips[number] for number in range(len(paths))])
        if unreadable:
            raise RuntimeError(f"a file made for this could not be read: {unreadable[0]}")
        return samples

    def network_input() -> Tensor:
        samples = decoded()
        return to_input([sample.clip for sample in samples], [sample.crops[0] for sample in samples], SIZE)

    return {
        PIL: by_pil,
        "tdn, what a worker does": decoded,
        "tdn, and what the device does": network_input,
    }


def measure_memory(folder: Path, videos: int = 200, clips: Sequence[int] = (1_000, 10_000)) -> pd.DataFrame:
    """Resident memory of a DataLoader's worker after so many `clips`, read from `videos` mp4 files again and again.

    A row for each number: the median over the twentieth of the clips before it, in MB, and what it is more than at
    the first number, in %.
    """
    rng = np.random.default_rng(1)
    files = []
    for number in tqdm(range(videos), "making videos", unit="video", leave=False):
        clip = make_clip(number, int(rng.integers(20, 41)), 240, (320, 426)[number % 2])
        files.append(Video(write_mp4(folder / f"{number}.mp4", clip), 0))
    again = VideoSet([files[number % videos] for number in range(clips[-1])], ["thing"])
    loader = DataLoader(TrainingClips(again, SEGMENTS, WINDOW, SCALES), 1, collate_fn=resident, num_workers=1)
    megabytes = np.array(list(tqdm(loader, "memory", unit="clip", leave=False)))
    rows = []
    for count in clips:
        at = np.median(megabytes[count - max(count // 20, 1) : count])
        first = rows[0]["resident MB"] if rows else at
        rows.append({"clips read": count, "resident MB": at, "more than at first (%)": 100 * (at / first - 1)})
    return pd.DataFrame(rows)


def resident(items: Sequence[Sample | Unreadable]) -> float:
    """In place of `collate`: the resident memory in MB of the process that it runs in."""
    if not isinstance(items[0], Sample):
        raise RuntimeError(f"a file made for this could not be read: {items[0]}")
    return psutil.Process().memory_info().rss / 1e6


def measure_waiting(folder: Path, videos: int = 16) -> pd.DataFrame:
    """The share of a training's time that is spent waiting for clips, and videos a second, on the GPU where there is
    one: the second of two epochs over `videos` short mp4 files, in batches of 4."""
    files = [Video(write_mp4(folder / f"{n}.mp4", make_clip(n, 45, 240, 426)), 0) for n in range(videos)]
    *_, device = devices()
    rows = []
    for name in tqdm(("tsn_resnet50", "tdn_resnet50"), "waiting", unit="network", leave=False):
        model = create_model(name, 5)
        clips = TrainingClips(VideoSet(files, ["thing"]), SEGMENTS, model.window, SCALES)
        (folder / name).mkdir()
        epoch = fit(model, clips, Recipe(2, 4, 0.001), SIZE, folder / name, device).history[-1]
        rows.append(
            {
                "device": device.type,
                "network": name,
                "batch": 4,
                "videos a second": videos / epoch["seconds"],
                "waiting for clips (%)": 100 * epoch["waiting"],
            }
        )
    return pd.DataFrame(rows)


@contextmanager
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
