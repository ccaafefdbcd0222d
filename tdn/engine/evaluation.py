"""Class scores of a set of videos, and their accuracy."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader
from tqdm import tqdm

from tdn.data.clips import Sample, TestClips, Unreadable, collate
from tdn.data.sampling import Views
from tdn.data.transforms import to_input
from tdn.engine.distributed import all_gather, rank, world_size
from tdn.engine.inference import average_views
from tdn.engine.loading import named_loss_of_workers, workers
from tdn.model.cost import in_eval_mode
from tdn.model.resnet import VideoResNet
from tdn.utils import check_if_listed, write_whole


@dataclass
class Answers:
    """What a network says of n videos, without its scores: the class with the highest score and the rank of the label
    among all scores (0: it is the highest), each `(n,)`; labels and indices in their set (`videos`), `(n,)`, too.

    `unreadable` are the other videos of the set: n + len(unreadable) is its size.
    """

    answers: np.ndarray
    ranks: np.ndarray
    labels: np.ndarray
    videos: np.ndarray
    classes: int
    unreadable: list[Unreadable] = field(default_factory=list)

    @property
    def correct(self) -> np.ndarray:
        """Whether the highest score is the label's, bool `(n,)`."""
        return self.ranks == 0

    def top(self, k: int) -> float:
        """Fraction of videos, 0 to 1, whose label is among the k highest scores; NaN without a video."""
        return float((self.ranks < k).mean()) if len(self.labels) else float("nan")

    @property
    def confusion(self) -> np.ndarray:
        """How many videos of each label (rows) got each class (columns) as the highest score, `(classes, classes)`."""
        pairs = self.labels * self.classes + self.answers
        return np.bincount(pairs, minlength=self.classes**2).reshape(self.classes, self.classes)

    @property
    def per_class(self) -> np.ndarray:
        """Top-1 of each class's videos, 0 to 1, `(classes,)`; NaN for a class without a video."""
        videos = self.confusion.sum(1)
        return np.divide(self.confusion.diagonal(), videos, out=np.full(len(videos), np.nan), where=videos > 0)

    @property
    def of(self) -> int:
        """Videos of the set, readable or not."""
        return len(self.labels) + len(self.unreadable)

    def metrics(self, groups: Sequence[str] | None = None) -> dict[str, Any]:
        """Top-1, top-5 (0 to 1) and the numbers of videos, as json; with the `groups` of the labels also of each."""
        unreadable = [[str(path), reason] for path, reason in self.unreadable]
        metrics = {"top1": self.top(1), "top5": self.top(5), "videos": len(self.labels)}
        metrics |= {"of": self.of, "unreadable": unreadable} | ({"groups": {}} if groups else {})
        for name in dict.fromkeys(groups or ()):
            correct = self.correct[np.array(groups)[self.labels] == name]
            metrics["groups"][name] = {"top1": float(correct.mean()), "videos": len(correct)}
        return metrics


class Evaluation(Answers):
    """The scores `(n, classes)` of n videos, and with them the answers.

    The softmax of a video's scores are its probabilities; scores of one view are the network's (`average_views`).
    """

    def __init__(
        self, scores: np.ndarray, labels: np.ndarray, videos: np.ndarray, unreadable: Sequence[Unreadable] = ()
    ):
        self.scores, of_label = scores, np.take_along_axis(scores, labels[:, None], axis=1)
        before = np.arange(scores.shape[1]) < labels[:, None]  # of equal scores the first is the highest, as in argmax
        ranks = ((scores > of_label) | ((scores == of_label) & before)).sum(1)
        super().__init__(scores.argmax(1), ranks, labels, videos, scores.shape[1], list(unreadable))

    def save(self, path: Path) -> None:
        rows = [(str(video.path), video.reason) for video in self.unreadable]
        arrays = {name: getattr(self, name) for name in ("scores", "labels", "videos")}
        arrays["unreadable"] = np.array(rows, dtype=str).reshape(len(rows), 2)
        write_whole(path, lambda file: np.savez(file, **arrays))

    @classmethod
    def load(cls, path: Path) -> "Evaluation":
        """Of a file that `save` wrote. Raises OSError, and ValueError for another file, or one that is not as the
        record beside it lists it (`check_if_listed`)."""
        check_if_listed(path)
        try:
            with np.load(path) as stored:
                unreadable = [Unreadable(Path(video), reason) for video, reason in stored["unreadable"].tolist()]
                return cls(**{**stored, "unreadable": unreadable})
        except Exception as error:  # bytes that are no such file make zipfile and numpy raise nearly anything
            if isinstance(error, OSError) and error.filename:
                raise
            remedy = "copy or make it again"
            raise ValueError(f"{path} holds no scores of an evaluation, or is damaged: {remedy}") from error


def evaluate(
    model: VideoResNet, clips: TestClips, device: torch.device, batch: int = 64, precision: torch.dtype = torch.float32
) -> Evaluation:
    """Scores every readable video of `clips` once, over its views as `average_views`; the model ends as it was.

    `batch` views are on the device at once. Each of n processes takes every n-th batch, and all get the whole
    evaluation, with the scores of a single process. A video with a clip that can't be read is unreadable. Raises
    FloatingPointError where a score is not finite.
    """
    views, videos = clips.views, clips.videos.videos
    batches = list(BatchSampler(range(len(clips)), max(batch // views.number, 1), False))[rank() :: world_size()]
    loader = DataLoader(clips, batch_sampler=batches, collate_fn=collate, **workers(clips))
    scores: dict[int, np.ndarray] = {}  # by video
    unreadable: dict[Path, str] = {}
    autocast = torch.autocast(device.type, precision, enabled=precision != torch.float32)
    with in_eval_mode(model), torch.inference_mode(), autocast, named_loss_of_workers():
        for samples, bad in tqdm(loader, "evaluating", unit="batch", leave=False, delay=2, disable=rank() > 0):
            unreadable |= {video.path: video.reason for video in bad}
            if samples:
                of_samples = _scores(model, samples, views, device, batch)
                scores |= {sample.video: row for sample, row in zip(samples, of_samples, strict=True)}
    for others, bad in all_gather((scores, unreadable)):
        scores, unreadable = scores | others, unreadable | bad

    readable = sorted(scores)
    averaged = np.array([scores[index] for index in readable], np.float32).reshape(len(readable), model.fc.out_features)
    if not np.isfinite(averaged).all():
        raise FloatingPointError("the network's scores are not finite: its weights are broken")
    labels = np.array([videos[index].label for index in readable], int)
    left_out = [Unreadable(video.named, unreadable[video.named]) for video in videos if video.named in unreadable]
    return Evaluation(averaged, labels, np.array(readable, int), left_out)


def _scores(model: nn.Module, samples: Sequence[Sample], views: Views, device: torch.device, batch: int) -> np.ndarray:
    """`(videos, classes)`, of `batch` views at a time. A clip is copied to the device once, for all its crops."""
    parts = [(clip, crop) for sample in samples for clip in sample.clip.to(device) for crop in sample.crops]
    of_views = []
    for start in range(0, len(parts), batch):
        clips, crops = zip(*parts[start : start + batch], strict=True)
        of_views.append(model(to_input(clips, crops, views.size)).double())
    return average_views(torch.cat(of_views).unflatten(0, (-1, views.number))).float().cpu().numpy()


def ensemble(evaluations: Sequence[Evaluation]) -> Evaluation:
    """The mean of several networks' scores (8 + 16 frames), over the videos that all of them could read. It orders
    classes as the released sum of logits does (there negative ones count as zero: departures, notebook 04). Raises
    ValueError where they are of different videos or classes."""
    common = functools.reduce(np.intersect1d, [evaluation.videos for evaluation in evaluations])
    scores = [evaluation.scores[np.isin(evaluation.videos, common)] for evaluation in evaluations]
    labels = [evaluation.labels[np.isin(evaluation.videos, common)] for evaluation in evaluations]
    if len({of_one.shape for of_one in scores}) > 1 or any((of_one != labels[0]).any() for of_one in labels):
        raise ValueError("the scores are of different sets of videos or classes")
    unreadable = {video.path: video for evaluation in evaluations for video in evaluation.unreadable}
    return Evaluation(np.mean(scores, axis=0), labels[0], common, list(unreadable.values()))
