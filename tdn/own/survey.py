"""What there is to train on: every video of a folder is tried once, and what is odd is said."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tdn.data.clips import Video
from tdn.data.disk.catalog import DatasetSpec, location, require_validation
from tdn.data.disk.check import Checked, check_videos, notes
from tdn.data.disk.lists import printable, some
from tdn.data.disk.published import Labelled
from tdn.data.streaming import length
from tdn.data.video import VideoError, open_video
from tdn.engine.distributed import broadcast, rank

FEW = 5  # training videos of a class, below which it is named


@dataclass(frozen=True)
class Survey:
    """The videos of a data set by set, and what each is."""

    spec: DatasetSpec
    labelled: Labelled
    checked: Mapping[Path, Checked]
    rates: Mapping[Path, float]  # frames per second of files of which stretches are listed; 0: it has no times

    def readable(self, videos: Sequence[Video]) -> list[Video]:
        return [video for video in videos if not self.checked[video.path].problem]

    @property
    def num_train(self) -> int:
        return len(self.readable(self.labelled.train))

    @property
    def everything(self) -> list[Video]:
        return self.readable([*self.labelled.train, *self.labelled.val])

    def kept_bytes(self, side: int) -> int:
        """Bytes of all frames with at most `side` pixels on the shorter side."""
        total = 0.0
        for video in self.everything:
            of = self.checked[video.path]
            scale = min(side / min(of.height, of.width), 1)
            total += 3 * self.frames(video) * of.height * of.width * scale**2
        return round(total)

    def frames(self, video: Video) -> int:
        """How many a video has, or about how many a stretch."""
        frames, rate = self.checked[video.path].frames, self.rates.get(video.path)
        if not (video.stretch and rate):
            return frames
        start, end = video.stretch
        return max(round((frames if end is None else min(rate * end, frames)) - rate * start), 0)

    def lines(self, span: int) -> list[str]:
        """For people: numbers, sizes, lengths, balance, and what is odd; `span` is the frames that a window covers."""
        names, train, val = self.labelled.class_names, *map(self.readable, self.labelled[1:3])
        of_train, of_val = (Counter(video.label for video in videos) for videos in (train, val))
        every = [self.checked[video.path] for video in self.everything]
        counts, frames = [of_train[label] for label in range(len(names))], list(map(self.frames, self.everything))
        sizes = Counter(f"{of.width}x{of.height}" for of in every)
        shown = ", ".join(f"{size} ({number})" for size, number in sizes.most_common(3))
        lines = [
            f"{len(names)} classes: {len(train)} videos to train on, {min(counts)} to {max(counts)} per class; "
            f"{len(val)} for validation",
            f"{min(frames)} to {max(frames)} frames, median {np.median(frames):g}; sizes: {shown}"
            + (f" and {len(sizes) - 3} others" if len(sizes) > 3 else ""),
        ]
        broken = {path: of.problem for path, of in self.checked.items() if of.problem}
        found = {
            "missing or unreadable, left out": [f"{path}: {problem}" for path, problem in broken.items()],
            f"classes with fewer than {FEW} training videos": [
                n for n, of in zip(names, counts, strict=True) if of < FEW
            ],
            "classes without a validation video": [name for label, name in enumerate(names) if not of_val[label]],
        }
        lines += [f"{what}: {len(of)} ({some(of)})" for what, of in found.items() if of]
        if max(counts) > 5 * min(counts):
            lines.append("classes are unbalanced: top-1 counts videos, the table of classes shows the rare ones")
        if short := sum(number < span for number in frames):
            lines.append(f"shorter than a window of {span} frames: {short} videos, whose last frame is repeated")
        if upright := sum(of.height > of.width for of in every):
            lines.append(f"upright: {upright} videos, of which the middle square is seen")
        return [*lines, *notes(self.labelled, self.checked)]


def look_at(spec: DatasetSpec, data: Path, reader: str = "pyav") -> Survey:
    """Tries the first and the last frame of every video, but for those that an earlier check could read, whose outcome
    is in an index below `data`; under torchrun rank 0 does.

    Raises as `DatasetSpec.labelled`; ValueError where there is nothing to tell apart, or nothing that can be read in
    one of the sets.
    """
    labelled, root = spec.labelled(), location(spec.name)
    require_validation(spec.name, len(labelled.train), len(labelled.val), notes(labelled))
    known = None
    if rank() == 0:
        workers = torch.get_num_threads()
        checked = check_videos(labelled, spec.index_file(data), root, spec.fingerprint(), workers, reader)
        cut = {video.path for video in (*labelled.train, *labelled.val) if video.stretch}
        known = checked, {path: _rate(path) for path in cut if not checked[path].problem}
    found = Survey(spec, labelled, *broadcast(known))
    for what, videos in (("training", labelled.train), ("validation", labelled.val)):
        if not found.readable(videos):
            first = f"{videos[0].path}: {found.checked[videos[0].path].problem}"
            raise ValueError(f"not one of {len(videos)} {what} videos can be read: {printable(first, 500)}")
    if len(classes := {video.label for video in found.readable(labelled.train)}) < 2:
        name = printable(labelled.class_names[classes.pop()])
        raise ValueError(f"{spec.name} has training videos of one class only ({name}): there is nothing to tell apart")
    return found


def _rate(path: Path) -> float:
    with suppress(VideoError, ValueError), open_video(path) as video:
        return video.num_frames / (length(video) or math.inf)
    return 0.0
