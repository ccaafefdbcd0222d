"""How fast training clips are read, in how much memory, how long a training waits for them, and how long TDN takes
beside TSN: `python -m tdn.bench`, or `python -m tdn.bench data`.

The videos are made here: textures that move, as large and as long as those of Something-Something and Kinetics.
"""

import argparse
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import av
import cv2
import decord
import numpy as np
import pandas as pd
import psutil
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from tdn.bench_networks import measure_networks
from tdn.data.clips import Sample, TrainingClips, Unreadable, Video, VideoSet, collate
from tdn.data.sampling import sample_windows
from tdn.data.transforms import MEAN, STD, random_crop, to_input
from tdn.experiment import ROOT
from tdn.files import write_text
from tdn.model.zoo import create_model
from tdn.recipes import Recipe
from tdn.report import markdown
from tdn.timing import devices
from tdn.train import fit

SEGMENTS, WINDOW, SIZE, SCALES = 8, 5, 224, (1, 0.875, 0.75, 0.66)  # TDN's training clips
BATCH = 8
PIL = "PIL, frame by frame"


def make_clip(seed: int, frames: int, height: int, width: int) -> np.ndarray:
    """uint8 RGB `(frames, height, width, 3)`: a camera that pans over a texture with detail at every size, a square
    that moves, and a little noise."""
    rng = np.random.default_rng(seed)
    texture = np.zeros((2 * height, 2 * width, 3), np.float32)
    for size in (8, 16, 32, 64, 128):
        coarse = rng.standard_normal((2 * height // size + 2, 2 * width // size + 2, 3), np.float32)
        texture += size**0.5 * cv2.resize(coarse, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC)
    texture = 128 + 40 * texture / texture.std()
    side = height // 3
    square = 255 - texture[:side, :side]
    speeds = rng.uniform(0.05, 0.1, 4)
    clip = np.empty((frames, height, width, 3), np.uint8)
    for number in range(frames):
        camera_y, camera_x, y, x = (1 + np.sin(number * speeds)) / 2  # 0 to 1
        top, left = round(camera_y * height), round(camera_x * width)
        image = texture[top : top + height, left : left + width].copy()
        top, left = round(y * (height - side)), round(x * (width - side))
        image[top : top + side, left : left + side] = square
        clip[number] = (image + rng.integers(-4, 5, image.shape)).clip(0, 255)
    return clip


def write_mp4(path: Path, clip: np.ndarray) -> Path:
    """H.264 as most videos are encoded; width and height even."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "23", "preset": "medium"})
        stream.height, stream.width, stream.pix_fmt = *clip.shape[1:3], "yuv420p"
        for image in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def write_jpegs(folder: Path, clip: np.ndarray) -> Path:
    """A folder of frames, named as in Something-Something V1."""
    folder.mkdir()
    for number, image in enumerate(clip, start=1):
        cv2.imwrite(str(folder / f"{number:05d}.jpg"), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    return folder


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


def machine() -> str:
    """The model of the CPU and how many cores this process may use, fit for a file's name."""
    model = platform.processor()
    if Path("/proc/cpuinfo").exists():
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        model = found[1] if found else model
    cores = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count()
    return re.sub(r"[^a-z0-9]+", "-", f"{model or platform.machine()} {cores} cores".lower()).strip("-")


MEASUREMENTS = {
    # First: the worker is a fork of this process, and what other measurements leave in memory would count.
    "memory": (
        measure_memory,
        "memory of a process that reads 10,000 clips: makes 200 videos, then reads them; about 5 minutes",
    ),
    "data": (
        measure_data,
        "clips per second and core of PIL and of tdn: makes 34 videos, then reads 1,080 clips; about 2 minutes",
    ),
    "waiting": (
        measure_waiting,
        "how long a training waits for clips: TSN and TDN on ResNet-50, 16 videos twice; about 2 minutes",
    ),
    "networks": (
        lambda folder: measure_networks(),
        "TSN and TDN on ResNet-50, 2 and 16 clips of 8 x 224 x 224, inference and training; about 30 minutes",
    ),
}


def main(arguments: Sequence[str] | None = None, results: Path = ROOT / "results/bench") -> int:
    parser = argparse.ArgumentParser("python -m tdn.bench", description=__doc__)
    parser.add_argument("measurements", nargs="*", metavar="|".join(MEASUREMENTS), help="default: all")
    names = parser.parse_args(arguments).measurements or list(MEASUREMENTS)
    for name in names:
        if name not in MEASUREMENTS:
            parser.error(f"{name!r} is none of {', '.join(MEASUREMENTS)}")
    try:
        for name in names:
            measure, what = MEASUREMENTS[name]
            print(f"bench {name}: {what}", flush=True)
            with tempfile.TemporaryDirectory(prefix="tdn-bench-") as folder:
                table = measure(Path(folder))
            path = results / f"{machine()}-{name}"
            write_text(path.with_suffix(".csv"), table.to_csv(index=False, float_format="%.3f"))
            write_text(path.with_suffix(".md"), markdown(table, 2) + "\n")
            print(f"{markdown(table, 2)}\n\nwritten: {path}.csv and .md", flush=True)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
