"""The trainer: one loop for a CPU, a GPU and many GPUs."""

import csv
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim
from tqdm import tqdm

from tdn.data.clips import Sample, TestClips
from tdn.data.transforms import to_input
from tdn.engine.distributed import (
    RunningStatistics,
    all_gather,
    all_reduce,
    broadcast,
    rank,
    replicate,
    sync_gradients,
    world_size,
)
from tdn.engine.evaluation import evaluate
from tdn.engine.inference import to_device
from tdn.engine.loading import Timed, TrainingLoader, on_device
from tdn.engine.recipes import Recipe
from tdn.model.tdrl import TemporalDiversity, temporal_diversity
from tdn.utils import write_text, write_whole

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CHECKPOINT_SECONDS = 600  # between checkpoints within an epoch


@dataclass(frozen=True)
class Compute:
    """How a recipe is computed. It is not part of a run's identity, but its manifest has it."""

    device_batch: int | None = None  # videos that fit on a device at once; smaller than the micro-batch, it replaces it
    precision: str = "fp32"  # fp32, bf16 or fp16 (with loss scaling)
    compile: bool = False  # the network by torch.compile
    reader: str = "pyav"  # of video files, as `open_video`

    def __post_init__(self):
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}")

    @property
    def dtype(self) -> torch.dtype:
        return PRECISIONS[self.precision]

    def micro_batch(self, recipe: Recipe) -> int:
        """Videos that go through the network at once."""
        size = recipe.micro_batch or recipe.batch
        return min(self.device_batch or size, size)


class EpochTotals(NamedTuple):
    """Sums over videos, float32 scalars: cross-entropy, correct answers, videos, TD loss before its weight."""

    loss: Tensor
    correct: Tensor
    videos: Tensor
    td_loss: Tensor

    def plus(self, other: "EpochTotals") -> "EpochTotals":
        return EpochTotals(*(torch.stack(self) + torch.stack(other)))


class Training:
    """A training and all that its checkpoint holds.

    Attributes:
        history: one row per epoch.
        left_out: indices of the videos that were known to be unreadable at the start.
        unreadable: why videos found to be so later are unreadable, by path.
        step, totals, seconds, lr: steps done in the epoch that has begun, their totals and time, its first rate.
    """

    def __init__(self, model: nn.Module, loader: TrainingLoader, recipe: Recipe, scaler: torch.amp.GradScaler):
        self.model, self.scaler = model, scaler
        self.optimizer = _optimizer(model, recipe)
        self.warmup, self.decay = _schedules(self.optimizer, recipe, loader.steps)
        self.history: list[dict[str, float]] = []
        self.left_out, self.unreadable = loader.left_out, {}
        self.begin_epoch()

    def begin_epoch(self) -> None:
        self.step, self.totals, self.seconds = 0, EpochTotals(*torch.zeros(4)), 0.0
        self.lr = self.optimizer.param_groups[0]["lr"]

    def state_dict(self) -> dict[str, Any]:
        state = {name: v.state_dict() if hasattr(v, "state_dict") else v for name, v in vars(self).items()}
        return state | {"totals": tuple(self.totals)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            if not hasattr(getattr(self, name), "load_state_dict"):
                setattr(self, name, value)
            elif value:  # that of a scaler is empty but with fp16
                getattr(self, name).load_state_dict(value)
        self.totals = EpochTotals(*self.totals)

    def save(self, folder: Path) -> None:
        """Writes checkpoint.pt and history.csv. Every process has the same weights: the first one writes."""
        if rank() > 0:
            return
        write_whole(folder / "checkpoint.pt", lambda file: torch.save(self.state_dict(), file))
        if self.history:
            table = io.StringIO()
            writer = csv.DictWriter(table, self.history[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.history)
            write_text(folder / "history.csv", table.getvalue())


def fit(
    model: nn.Module,
    loader: TrainingLoader,
    recipe: Recipe,
    size: int,
    folder: Path,
    device: torch.device,
    val_clips: TestClips | None = None,
    compute: Compute = Compute(),
    on_step: Callable[[int], None] | None = None,
) -> Training:
    """Trains `model` in place, on `size` x `size` crops, to the recipe's last epoch.

    A step sums the gradients of its micro-batches; running statistics become the mean over them. The processes of
    torchrun share the micro-batches of a step: their number changes nothing but the order of sums.

    Each epoch ends with `folder/checkpoint.pt` and `history.csv`; a long one has checkpoints in between. Started
    again, with any number of processes, training resumes there; a single process on a CPU ends in the bits of an
    uninterrupted run. The result is the last epoch's weights: none is chosen by its validation accuracy. Videos that
    can't be read are reported and left out.

    A row of the history: epoch, lr, waiting (for clips: a fraction of the training's time, 0 to 1, since it was last
    started), loss (cross-entropy), train_top1 (0 to 1), td_loss (before its weight, where the network has one),
    val_top1 (with `val_clips`), seconds. Loss, TD loss and train_top1 are those of the clips as they were trained on.

    Args:
        loader: with the recipe's batch and `compute.micro_batch(recipe)`.
        val_clips: validated after each epoch; the plateau schedule needs it.
        on_step: called with the number of steps since the last call (at first: those done before), in place of a
            progress bar.

    Raises:
        ValueError: plateau without `val_clips`; a `td_lambda` without TD loss; not one training video can be read.
        FloatingPointError: the loss is not finite.
    """
    has_td_loss = any(isinstance(module, TemporalDiversity) for module in model.modules())
    if recipe.schedule == "plateau" and val_clips is None:
        raise ValueError("the plateau schedule needs validation clips")
    if recipe.td_lambda and not has_td_loss:
        raise ValueError(f"td_lambda {recipe.td_lambda} would do nothing: the network has no TD loss")
    checkpoint = _read_checkpoint(folder)
    if checkpoint:
        loader.leave_out(checkpoint["left_out"])  # the steps stay the same, whatever this machine knows
    to_device(model, device).train()
    training = Training(model, loader, recipe, torch.amp.GradScaler(device.type, enabled=compute.precision == "fp16"))
    if checkpoint:
        training.load_state_dict(checkpoint)
    step = Step(training, recipe, size, device, compute, loader.clips.seed)
    done, total = len(training.history) * loader.steps + training.step, recipe.epochs * loader.steps
    with tqdm(initial=done, total=total, unit="step", leave=False, disable=on_step is not None or rank() > 0) as bar:
        on_step = on_step or bar.update
        on_step(done if bar.disable else 0)
        for epoch in range(len(training.history), recipe.epochs):
            bar.set_description(f"epoch {epoch + 1}/{recipe.epochs}")
            start = time.monotonic() - training.seconds
            row = {"epoch": epoch + 1, "lr": training.lr}
            row["waiting"] = train_one_epoch(training, loader, step, folder, on_step)
            totals = training.totals
            row |= {"loss": float(totals.loss / totals.videos), "train_top1": float(totals.correct / totals.videos)}
            bar.set_postfix(loss=f"{row['loss']:.3f}", refresh=False)
            if has_td_loss:
                row["td_loss"] = float(totals.td_loss / totals.videos)
            if val_clips is not None:
                batch = 2 * compute.micro_batch(recipe)
                row["val_top1"] = evaluate(model, val_clips, device, batch, compute.dtype).top(1)
            if recipe.schedule != "cosine":
                training.decay.step(*([row["val_top1"]] if recipe.schedule == "plateau" else []))
            training.history.append(row | {"seconds": round(time.monotonic() - start, 1)})
            training.begin_epoch()
            training.save(folder)
    return training


def train_one_epoch(
    training: Training, loader: TrainingLoader, step: "Step", folder: Path, on_step: Callable[[int], None]
) -> float:
    """The steps of the epoch that are still to do. Returns the fraction of the time spent waiting for clips."""
    epoch, before = len(training.history), training.seconds
    started = saved = time.monotonic()
    shards = Timed(on_device(loader.epoch(epoch, training.step, training.unreadable), step.device))
    for shard in shards:
        for video in (video for _, unreadable in shard for video in unreadable):
            if str(video.path) not in training.unreadable:
                training.unreadable[str(video.path)] = video.reason
                tqdm.write(f"left out, unreadable: {video.path}: {video.reason}")
        first = (epoch * loader.steps + training.step) * loader.micro_batches
        training.totals = training.totals.plus(step([samples for samples, _ in shard], first))
        training.step += 1
        on_step(1)
        now = time.monotonic()
        if now - saved > CHECKPOINT_SECONDS:
            training.seconds, saved = before + now - started, now
            training.save(folder)
    waiting = shards.seconds / (time.monotonic() - started)
    for found in all_gather(training.unreadable):
        training.unreadable |= found
    if not training.totals.videos:
        path, reason = next(iter(training.unreadable.items()))
        raise ValueError(f"not one of {len(loader.clips)} training videos could be read: {path}: {reason}")
    return waiting


class Step:
    """A step of the optimiser, and of the schedules that go by steps.

    Called by each process with its micro-batches and the index of the step's first micro-batch in the whole training,
    which seeds dropout. Returns the totals of all processes; FloatingPointError where the loss is not finite.
    """

    def __init__(
        self, training: Training, recipe: Recipe, size: int, device: torch.device, compute: Compute, seed: int
    ):
        self.training, self.model = training, training.model
        self.recipe, self.size, self.device, self.dtype, self.seed = recipe, size, device, compute.dtype, seed
        if compute.compile:
            self.model.compile()
        self.network = replicate(self.model, device)
        self.statistics = RunningStatistics(self.model)

    def __call__(self, shard: Sequence[Sequence[Sample]], first: int) -> EpochTotals:
        self.training.optimizer.zero_grad(set_to_none=True)
        self.statistics.start()
        totals = EpochTotals(*torch.zeros(4, device=self.device))
        readable = [(first + i * world_size() + rank(), samples) for i, samples in enumerate(shard) if samples]
        for index, samples in readable:
            torch.manual_seed(1_000_003 * self.seed + index)
            with sync_gradients(self.network, last=index == readable[-1][0]):
                totals = totals.plus(self._micro_batch(samples))
            self.statistics.end_micro_batch()
        if not readable and world_size() > 1:
            self._zero_gradients()
        totals = EpochTotals(*all_reduce(torch.stack(totals)).cpu())
        if not torch.stack(totals).isfinite().all():
            rate = self.training.optimizer.param_groups[0]["lr"]
            raise FloatingPointError(f"the loss is {totals.loss + totals.td_loss} at learning rate {rate}")
        self.statistics.finish()
        if totals.videos:
            self._update_weights(totals.videos.item())
        self.training.warmup.step()
        if self.recipe.schedule == "cosine":
            self.training.decay.step()
        return totals

    def _micro_batch(self, samples: Sequence[Sample]) -> EpochTotals:
        clips = [sample.clip.to(self.device) for sample in samples]
        labels = torch.tensor([sample.label for sample in samples], device=self.device)
        inputs = to_input(clips, [sample.crops[0] for sample in samples], self.size)
        recipe = self.recipe
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            scores = self.network(inputs)
            loss = F.cross_entropy(scores.float(), labels, label_smoothing=recipe.label_smoothing, reduction="sum")
        td_loss = temporal_diversity(self.model).sum()
        self.training.scaler.scale((loss + recipe.td_lambda * td_loss) / recipe.batch).backward()
        correct, videos = (scores.argmax(1) == labels).sum(), torch.tensor(len(samples), device=self.device)
        return EpochTotals(*(value.detach().float() for value in (loss, correct, videos, td_loss)))

    def _zero_gradients(self) -> None:
        """Takes part in the sum of gradients: no video of this process could be read."""
        shape = (1, self.model.num_segments, self.model.window, 3, self.size, self.size)
        self.model.eval()
        (self.network(torch.zeros(shape, device=self.device)).sum() * 0).backward()
        self.model.train()

    def _update_weights(self, videos: float) -> None:
        optimizer, scaler = self.training.optimizer, self.training.scaler
        scaler.unscale_(optimizer)
        # Gradients are means over processes where the sum is wanted; and a batch may have unreadable videos.
        factor = world_size() * self.recipe.batch / videos
        if factor != 1:
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    parameter.grad *= factor
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        scaler.step(optimizer)
        scaler.update()


def _optimizer(model: nn.Module, recipe: Recipe) -> optim.Optimizer:
    if recipe.optimizer == "adamw":
        return optim.AdamW(model.parameters(), recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    return optim.SGD(model.parameters(), recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay)


def _schedules(optimizer: optim.Optimizer, recipe: Recipe, steps: int) -> tuple[Any, Any]:
    """Warmup, stepped after each step; and decay: a cosine after each step, the others after each epoch. torch
    multiplies the two."""
    lr = optim.lr_scheduler
    warmup_steps, start = max(round(recipe.warmup_epochs * steps), 1), 0.01 if recipe.warmup_epochs else 1.0
    if recipe.schedule == "step":
        decay = lr.MultiStepLR(optimizer, list(recipe.steps), gamma=0.1)
    elif recipe.schedule == "cosine":
        decay = lr.CosineAnnealingLR(optimizer, recipe.epochs * steps)
    else:
        decay = lr.ReduceLROnPlateau(optimizer, mode="max", factor=0.1, patience=recipe.patience, threshold=0)
    return lr.LinearLR(optimizer, start, total_iters=warmup_steps), decay


def _read_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The first process's, in every process; None where there is none."""
    path, state = folder / "checkpoint.pt", None
    if rank() == 0 and path.exists():
        state = torch.load(path, map_location="cpu", weights_only=True)
    return broadcast(state)
