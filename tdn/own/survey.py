"""What there is to train on: every video of a folder is tried once, and what is odd is said."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tdn.data.clips import Video
from tdn.data.disk.catalog import DatasetSpec, location
from tdn.data.disk.check import Checked, check_videos, notes
from tdn.data.disk.lists import printable, some
from tdn.data.disk.published import Labelled
from tdn.engine.distributed import broadcast, rank

FEW = 5  # training videos of a class, below which it is named


@dataclass(frozen=True)
class Survey:
    """The videos of a data set by set, and what each is."""

    spec: DatasetSpec
    labelled: Labelled
    checked: Mapping[Path, Checked]

    def readable(self, videos: Sequence[Video]) -> list[Checked]:
        """What is known of those that can be read."""
        return [of for video in videos if not (of := self.checked[video.path]).problem]

    @property
    def num_train(self) -> int:
        return len(self.readable(self.labelled.train))

    @property
    def everything(self) -> list[Checked]:
        return self.readable([*self.labelled.train, *self.labelled.val])

    def kept_bytes(self, side: int) -> int:
        """Bytes of all frames with at most `side` pixels on the shorter side."""
        total = 0.0
        for video in (*self.labelled.train, *self.labelled.val):
            if not (of := self.checked[video.path]).problem:
                scale = min(side / min(of.height, of.width), 1)
                total += 3 * self.frames(video) * of.height * of.width * scale**2
        return round(total)

    def frames(self, video: Video) -> int:
        """How many a video has; of a stretch at most, at 60 in a second."""
        frames, stretch = self.checked[video.path].frames, video.stretch
        if stretch is None or stretch.end is None:
            return frames
        return min(frames, round(60 * (stretch.end - stretch.start)) + 1)

    def lines(self, span: int) -> list[str]:
        """For people: numbers, sizes, lengths, balance, and what is odd; `span` is the frames that a window covers."""
        names, train = self.labelled.class_names, Counter(video.label for video in self.labelled.train)
        every = self.everything
        counts, frames = [train[label] for label in range(len(names))], [of.frames for of in every]
        sizes = Counter(f"{of.width}x{of.height}" for of in every)
        shown = ", ".join(f"{size} ({number})" for size, number in sizes.most_common(3))
        lines = [
            f"{len(names)} classes: {len(self.labelled.train)} videos to train on, {min(counts)} to {max(counts)} per "
            f"class; {len(self.labelled.val)} for validation",
            f"{min(frames)} to {max(frames)} frames, median {np.median(frames):g}; sizes: {shown}"
            + (f" and {len(sizes) - 3} others" if len(sizes) > 3 else ""),
        ]
        few = [name for name, count in zip(names, counts, strict=True) if count < FEW]
        broken = {path: of.problem for path, of in self.checked.items() if of.problem}
        found = {
            "missing or unreadable, left out": [f"{path}: {problem}" for path, problem in broken.items()],
            f"classes with fewer than {FEW} training videos": few,
            "classes without a validation video": self._without_validation(),
        }
        lines += [f"{what}: {len(of)} ({some(of)})" for what, of in found.items() if of]
        if max(counts) > 5 * min(counts):
            lines.append("classes are unbalanced: top-1 counts videos, the table of classes shows the rare ones")
        if short := sum(number < span for number in frames):
            lines.append(f"shorter than a window of {span} frames: {short} videos, whose last frame is repeated")
        if upright := sum(of.height > of.width for of in every):
            lines.append(f"upright: {upright} videos, of which the middle square is seen")
        return [*lines, *notes(self.labelled, self.checked)]

    def _without_validation(self) -> list[str]:
        there = {video.label for video in self.labelled.val}
        return [name for label, name in enumerate(self.labelled.class_names) if label not in there]


def look_at(spec: DatasetSpec, data: Path, reader: str = "pyav") -> Survey:
    """Tries the first and the last frame of every video, but for those that an earlier check could read, whose outcome
    is in an index below `data`; under torchrun rank 0 does.

    Raises as `DatasetSpec.labelled`; ValueError where there is nothing to tell apart, or nothing that can be read in
    one of the sets.
    """
    labelled, root = spec.labelled(), location(spec.name)
    checked = None
    if rank() == 0:
        workers = torch.get_num_threads()
        checked = check_videos(labelled, spec.index_file(data), root, spec.fingerprint(), workers, reader)
    found = Survey(spec, labelled, broadcast(checked))
    if len({video.label for video in labelled.train}) < 2:
        name = printable(labelled.class_names[0])
        raise ValueError(f"{spec.name} has training videos of one class only ({name}): there is nothing to tell apart")
    for what, videos in (("training", labelled.train), ("validation", labelled.val)):
        if not found.readable(videos):
            first = f"{videos[0].path}: {found.checked[videos[0].path].problem}"
            raise ValueError(f"not one of {len(videos)} {what} videos can be read: {printable(first, 500)}")
    return found
