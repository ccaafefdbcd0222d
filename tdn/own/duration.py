"""How long a training will take, measured on a few of its videos and two of its steps."""

import itertools
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tdn.data.clips import Sample, TestClips, TrainingClips, Video, VideoSet
from tdn.data.video import VideoError
from tdn.engine.distributed import all_gather, device, to_device, world_size
from tdn.engine.evaluation import evaluate
from tdn.engine.loading import TrainingLoader, workers
from tdn.engine.trainer import Compute, Training
from tdn.experiments.runs import Run, videos
from tdn.own.survey import Survey

TRIED = 16  # videos that are decoded for it
STEPS = 2
RESULT = 8  # seconds, of figures and maps


@dataclass(frozen=True)
class Estimate:
    """Seconds: of decoding what is not kept yet, of an epoch with its validation, and of the evaluation at the end."""

    decoding: float
    epoch: float
    evaluation: float

    def total(self, epochs: int) -> float:
        return self.decoding + epochs * self.epoch + self.evaluation + RESULT


def estimate(config: Run, found: Survey, data: Path, compute: Compute) -> Estimate:
    """Of a training that begins. `TRIED` of its videos are decoded, and a copy of its network trains for two steps and
    is tested on them. Raises ValueError where not one of them can be read."""
    train, val = videos(config.data, data)
    model = to_device(config.create_model(), device())
    about = config.num_segments, model.window
    clips = TrainingClips(train, *about, config.scales, config.seed, "even", config.views.stride)
    tried = np.unique(np.linspace(0, len(train) - 1, TRIED).astype(int)).tolist()
    decoding = _seconds_to_decode(train, val, tried, found) if train.kept else 0.0
    loader = TrainingLoader(clips, config.recipe.batch, compute.micro_batch(config.recipe))
    step, reading = [], []
    with tempfile.TemporaryDirectory() as folder:  # for a checkpoint that is never written
        training = Training(model.train(), loader, config.recipe, config.size, Path(folder), device(), compute)
        for _ in range(1 + STEPS):  # the first is slower
            started = time.monotonic()
            samples = [item for index in tried if isinstance(item := clips[index], Sample)]
            if not samples:
                raise ValueError(f"not one of {len(tried)} training videos that were tried can be read")
            batch = list(itertools.islice(itertools.cycle(samples), loader.batch))
            reading.append((time.monotonic() - started) * len(batch) / len(tried))
            started, size = time.monotonic(), loader.micro_batch
            shard = [(batch[first : first + size], []) for first in range(0, len(batch), size)]
            training.train_step(shard[:: world_size()], 0)
            step.append(time.monotonic() - started)
    readers = workers(clips)["num_workers"]
    computed, read = float(np.mean(step[1:])), float(np.mean(reading[1:]))
    of_step = max(computed, read / readers) if readers else computed + read
    labels = [train.videos[index].label for index in tried]
    tested = TestClips(train.part(tried, labels, train.class_names, None), *about, config.views)
    started = time.monotonic()
    evaluate(model, tested, device(), 2 * loader.micro_batch, compute.dtype)
    of_video = (time.monotonic() - started) / len(tried)
    decoding, of_step, of_video = map(max, zip(*all_gather((decoding, of_step, of_video)), strict=True))
    epoch = loader.steps * of_step + len(val) * of_video
    return Estimate(decoding, epoch, (len(val) + len(train)) * of_video)


def _seconds_to_decode(train: VideoSet, val: VideoSet, tried: list[int], found: Survey) -> float:
    """Of what is not kept yet, from the videos `tried`, which then are."""
    seconds, frames = 0.0, 0
    for index in tried:
        if _to_decode(train, video := train.videos[index], found):
            started = time.monotonic()
            with suppress(VideoError), train.open(index):
                frames += found.frames(video)
            seconds += time.monotonic() - started
    if not frames:
        return 0.0
    left = sum(found.frames(video) for of in (train, val) for video in of.videos if _to_decode(of, video, found))
    return seconds / frames * left / min(torch.get_num_threads(), 8)


def _to_decode(videos: VideoSet, video: Video, found: Survey) -> bool:
    return not found.checked[video.path].problem and not videos.kept.file(video.path, video.stretch).exists()
