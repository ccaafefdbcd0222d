"""Class scores of a set of videos, and what they are worth."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from tdn.data.clips import ClipDataset, Unreadable, collate, worker_count
from tdn.data.transforms import to_input
from tdn.files import write_whole
from tdn.model.resnet import VideoResNet


@dataclass
class Evaluation:
    """Scores `(n, classes)` before the softmax, labels `(n,)` and numbers `(n,)` in their set of n videos.

    `unreadable` are the videos of the set that no score stands for: n + len(unreadable) is the set's size.
    `second_decoder` are those that PyAV read, with the reason why decord did not.
    """

    scores: np.ndarray
    labels: np.ndarray
    videos: np.ndarray
    unreadable: list[Unreadable] = field(default_factory=list)
    second_decoder: list[Unreadable] = field(default_factory=list)

    @property
    def correct(self) -> np.ndarray:
        """Whether the highest score is the label's, bool `(n,)`."""
        return self.scores.argmax(1) == self.labels

    def top(self, k: int) -> float:
        """Share of videos, 0 to 1, whose label is among the k highest scores; NaN without a video."""
        highest = np.argsort(-self.scores, axis=1, kind="stable")[:, :k]  # of equal scores the first, as argmax
        return float((highest == self.labels[:, None]).any(1).mean()) if len(self.labels) else float("nan")

    def save(self, path: Path) -> None:
        write_whole(path, lambda file: np.savez(file, scores=self.scores, labels=self.labels, videos=self.videos))

    @classmethod
    def load(cls, path: Path) -> "Evaluation":
        with np.load(path) as stored:
            return cls(stored["scores"], stored["labels"], stored["videos"])


def evaluate(
    model: VideoResNet,
    clips: ClipDataset,
    size: int,
    device: torch.device,
    batch: int = 64,
    precision: torch.dtype = torch.float32,
) -> Evaluation:
    """Scores every readable video of `clips` once, at `size` x `size` pixels; the model ends as it was.

    Raises FloatingPointError where a score is not finite.
    """
    was_training = model.training
    model.eval()
    loader = DataLoader(clips, batch, collate_fn=collate, num_workers=worker_count(clips))
    scores, labels, videos, unreadable, second = [], [], [], [], []
    try:
        with (
            torch.inference_mode(),
            torch.autocast(device.type, precision, enabled=precision != torch.float32),
        ):
            for samples, bad in tqdm(loader, "evaluating", unit="batch", leave=False):
                unreadable += bad
                paths = clips.videos.videos
                second += [Unreadable(paths[s.index].path, s.second_decoder) for s in samples if s.second_decoder]
                if samples:
                    on_device = [sample.clip.to(device, non_blocking=True) for sample in samples]
                    inputs = to_input(on_device, [sample.crop for sample in samples], size)
                    scores.append(model(inputs).float().cpu().numpy())
                    labels += [sample.label for sample in samples]
                    videos += [sample.index for sample in samples]
    finally:
        model.train(was_training)
    classes = model.fc.out_features
    stacked = np.concatenate(scores) if scores else np.empty((0, classes), np.float32)
    if not np.isfinite(stacked).all():
        raise FloatingPointError("the network's scores are not finite: its weights are broken")
    return Evaluation(stacked, np.array(labels, int), np.array(videos, int), unreadable, second)
