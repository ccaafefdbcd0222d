"""The trainer: one loop for a CPU, a GPU and many GPUs."""

import csv
import functools
import io
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim
from tqdm import tqdm

from tdn.data.clips import Sample, TestClips
from tdn.data.transforms import to_input, to_input_of_frames
from tdn.engine import distributed, sealed
from tdn.engine.distributed import rank, to_device, world_size
from tdn.engine.evaluation import evaluate
from tdn.engine.graphs import graphed
from tdn.engine.loading import Shard, TrainingLoader, on_device
from tdn.engine.muon import Muon
from tdn.engine.recipes import Recipe
from tdn.model.tdrl import TemporalDiversity, temporal_diversity
from tdn.utils import write_text, write_whole

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CHECKPOINT_SECONDS = 600  # between checkpoints within an epoch
EACH_STEP, HELD_BACK = ("cosine", "hold"), 0.5  # schedules; the fraction of "hold" in which the rate falls
REPORT_AFTER = 50  # steps, whether training waits for clips
KEPT = ("model", "optimizer", "warmup", "decay", "scaler", "history", "left_out", "unreadable")  # in a checkpoint
KEPT += ("step", "totals", "seconds", "lr")


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
    on_epoch: Callable[[list[dict[str, float]], bool], bool] | None = None,
) -> "Training":
    """Trains `model` in place, on `size` x `size` crops, to the recipe's last epoch: none is chosen by its validation
    accuracy. Videos that can't be read are reported and left out.

    A step sums the gradients of its micro-batches; running statistics become the mean over them. The processes of
    torchrun share the micro-batches of a step: their number changes nothing but the order of sums.

    Each epoch ends with `folder/checkpoint.pt` and `history.csv`; a long one has checkpoints in between. Started
    again, with any number of processes, training resumes there; a single process on a CPU ends in the bits of an
    uninterrupted run.

    A row of the history: epoch, lr, waiting (for clips: a fraction of the training's time, 0 to 1, since it was last
    started), loss (cross-entropy), train_top1 (0 to 1) and td_loss (before its weight, where the network has one), all
    of the clips as they were trained on (NaN if fp16 skipped all); val_top1 (with `val_clips`), seconds.

    `loader` has the recipe's batch and `compute.micro_batch(recipe)`. `on_step` is called with the steps since the last
    call (at first: those done before), in place of a progress bar. `on_epoch` gets the history after each epoch, in
    every process, before its checkpoint is written, and of a resumed training at once, with True behind it; where it
    returns True, training ends.

    Raises ValueError for plateau without `val_clips`, a `td_lambda` without TD loss, and where no training video can be
    read; FloatingPointError where the loss is not finite.
    """
    has_td_loss = any(isinstance(module, TemporalDiversity) for module in model.modules())
    if recipe.schedule == "plateau" and val_clips is None:
        raise ValueError("the plateau schedule needs validation clips")
    if recipe.td_lambda and not has_td_loss:
        raise ValueError(f"td_lambda {recipe.td_lambda} would do nothing: the network has no TD loss")
    training = Training(to_device(model, device).train(), loader, recipe, size, folder, device, compute)
    done, total = len(training.history) * loader.steps + training.step, recipe.epochs * loader.steps
    with tqdm(initial=done, total=total, unit="step", leave=False, disable=on_step is not None or rank() > 0) as bar:
        on_step = on_step or bar.update
        on_step(done if bar.disable else 0)
        ended = bool(on_epoch and training.history and on_epoch(training.history, True))
        for epoch in range(len(training.history), 0 if ended else recipe.epochs):
            bar.set_description(f"epoch {epoch + 1}/{recipe.epochs}")
            start = time.monotonic() - training.seconds
            row = {"epoch": epoch + 1, "lr": training.lr, "waiting": training.train_one_epoch(on_step)}
            totals = EpochTotals(*training.totals)
            row |= {"loss": float(totals.loss / totals.videos), "train_top1": float(totals.correct / totals.videos)}
            bar.set_postfix(loss=f"{row['loss']:.3f}", refresh=False)
            if has_td_loss:
                row["td_loss"] = float(totals.td_loss / totals.videos)
            if val_clips is not None:
                batch = 2 * compute.micro_batch(recipe)
                row["val_top1"] = evaluate(model, val_clips, device, batch, compute.dtype).top(1)
                bar.set_postfix(loss=f"{row['loss']:.3f}", val=f"{row['val_top1']:.1%}", refresh=False)
            if recipe.schedule not in EACH_STEP:
                training.decay.step(*([row["val_top1"]] if recipe.schedule == "plateau" else []))
            training.history.append(row | {"seconds": round(time.monotonic() - start, 1)})
            ended = on_epoch is not None and on_epoch(training.history, False)
            training.begin_epoch()
            training.save()
            if ended:
                break
    return training


@dataclass(eq=False)
class Training:
    """A training, from the checkpoint in `folder` if there is one.

    `history` has one row per epoch; `left_out` are the indices of the videos known to be unreadable at the start,
    `unreadable` why others turned out to be so, by path. Of the epoch that has begun: `step`s done, `totals` (those of
    `EpochTotals`), `seconds` and its first rate, `lr`.
    """

    model: nn.Module
    loader: TrainingLoader
    recipe: Recipe
    size: int
    folder: Path
    device: torch.device
    compute: Compute

    def __post_init__(self):
        file = self.folder / "checkpoint.pt"
        state = distributed.broadcast(sealed.load(file) if rank() == 0 and file.exists() else {})
        if state:
            self.loader.leave_out(state["left_out"])  # the steps stay the same, whatever this machine knows
        self.optimizer, self.warmup, self.decay = _optimizer(self.model, self.recipe, self.loader.steps)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.compute.precision == "fp16")
        self.history, self.left_out, self.unreadable, self.reported = [], self.loader.left_out, {}, False
        self.begin_epoch()
        for name, value in state.items():
            if not hasattr(getattr(self, name), "load_state_dict"):
                setattr(self, name, value)
            elif value:  # that of a scaler is empty but with fp16
                getattr(self, name).load_state_dict(value)
        self.totals = torch.stack(tuple(self.totals))
        if self.compute.compile:
            self.model.compile()
        self.network = distributed.replicate(Step(self.model, self.compute.dtype), self.device)
        self.graphed = None
        if self.device.type == "cuda":
            self.loader.clips.move_to(self.device, self.size)
            if world_size() * self.loader.micro_batches == 1 and not self.compute.compile:
                self.graphed = graphed(
                    Step(self.model, self.compute.dtype, cache=False), self._no_clips(self.loader.batch)
                )
        self.statistics = distributed.RunningStatistics(self.model)

    def begin_epoch(self) -> None:
        self.step, self.totals, self.seconds = 0, torch.zeros(4), 0.0
        self.lr = self.optimizer.param_groups[-1]["lr"]

    def save(self) -> None:
        """Writes checkpoint.pt, then history.csv. Every process has the same weights: the first one writes."""
        if rank() > 0:
            return
        kept = {name: getattr(self, name) for name in KEPT} | {"totals": tuple(self.totals)}
        state = {name: v.state_dict() if hasattr(v, "state_dict") else v for name, v in kept.items()}
        write_whole(self.folder / "checkpoint.pt", lambda file: sealed.save(state, file))
        self.save_history()

    def save_history(self) -> None:
        if self.history:
            table = io.StringIO()
            writer = csv.DictWriter(table, self.history[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.history)
            write_text(self.folder / "history.csv", table.getvalue())

    def train_one_epoch(self, on_step: Callable[[int], None]) -> float:
        """The steps of the epoch that are still to do. Returns the fraction of the time spent waiting for clips."""
        loader, epoch, before, waiting, first_step = self.loader, len(self.history), self.seconds, 0.0, self.step
        started = saved = asked = time.monotonic()
        shards = loader.epoch(epoch, self.step, self.unreadable)
        for shard in shards if loader.clips.frames is not None else on_device(shards, self.device):
            waiting += time.monotonic() - asked
            for video in (video for _, unreadable in shard for video in unreadable):
                if str(video.path) not in self.unreadable:
                    self.unreadable[str(video.path)] = video.reason
                    tqdm.write(f"left out, unreadable: {video.path}: {video.reason}")
            first = (epoch * loader.steps + self.step) * loader.micro_batches
            self.totals = self.totals + self.train_step(shard, first)
            self.step += 1
            on_step(1)
            now = time.monotonic()
            if self.step - first_step == REPORT_AFTER and not (self.reported or loader.clips.videos.in_memory):
                self._report(waiting / (now - started), REPORT_AFTER * loader.batch / (now - started))
            if now - saved > CHECKPOINT_SECONDS:
                self.seconds, saved = before + now - started, now
                self.save()
            asked = time.monotonic()
        waiting /= time.monotonic() - started
        for found in distributed.all_gather(self.unreadable):
            self.unreadable |= found
        if not EpochTotals(*self.totals).videos and self.unreadable:
            path, reason = next(iter(self.unreadable.items()))
            raise ValueError(f"not one of {len(loader.clips)} training videos could be read: {path}: {reason}")
        return waiting

    def _report(self, waiting: float, clips_a_second: float) -> None:
        self.reported = True
        if waiting > 0.1 and rank() == 0:
            possible = clips_a_second / (1 - waiting)
            tqdm.write(f"{waiting:.0%} of the time waits for clips: {clips_a_second:,.0f} a second of {possible:,.0f}")

    def train_step(self, shard: Shard, first: int) -> Tensor:
        """Returns the totals of all processes. `first`: index of the step's first micro-batch in the whole training."""
        self.optimizer.zero_grad(set_to_none=True)
        readable = [(first + i * world_size() + rank(), samples) for i, (samples, _) in enumerate(shard) if samples]
        self.statistics.start(len(readable), keep=self.scaler.is_enabled())
        totals = torch.zeros(5, device=self.device)  # those of `EpochTotals`, and the micro-batches
        for number, (index, samples) in enumerate(readable):
            self.statistics.start_micro_batch(number)
            torch.manual_seed(1_000_003 * self.loader.clips.seed + index)  # for dropout
            last = number == len(readable) - 1 or world_size() == 1  # then gradients are averaged over processes
            with nullcontext() if last else self.network.no_sync():
                totals += self._micro_batch(samples)
        if not readable and world_size() > 1:  # takes part in the sum of gradients with nothing
            self.model.eval()
            (self.network(self._no_clips(1))[0].sum() * 0).backward()
            self.model.train()
        totals = distributed.all_reduce(totals).cpu()  # the step's only wait for the device (fp16's scaler has another)
        loss, _, videos, td_loss, micro_batches = totals.tolist()
        if finite := bool(totals.isfinite().all()):
            self.statistics.finish(round(micro_batches))
        elif self.scaler.is_enabled() and self.scaler.get_scale() > 1:
            self.statistics.undo()  # fp16 overflowed: the step is skipped, as the scaler skips one for its gradients
            self.scaler.update(self.scaler.get_scale() / 2)
            videos = 0
        else:
            rate = self.optimizer.param_groups[-1]["lr"]
            raise FloatingPointError(f"the loss is {loss + td_loss} at learning rate {rate}")
        if videos:
            self._update_weights(videos)
        else:  # a step of no gradients changes nothing, but it counts, as those of the schedule do
            self.optimizer.zero_grad(set_to_none=True)
            self.optimizer.step()
        self.warmup.step()
        if self.recipe.schedule in EACH_STEP:
            self.decay.step()
        return totals[:4] if finite else torch.zeros(4)

    def _no_clips(self, count: int) -> Tensor:
        clips = self.loader.clips
        return torch.zeros(count, clips.num_segments, clips.window, 3, self.size, self.size, device=self.device)

    def _micro_batch(self, samples: Sequence[Sample]) -> Tensor:
        clips, crops = [sample.clip for sample in samples], [sample.crops[0] for sample in samples]
        labels = torch.tensor([sample.label for sample in samples], pin_memory=self.device.type == "cuda")
        labels = labels.to(self.device, non_blocking=True)
        if (frames := self.loader.clips.frames) is not None:
            inputs = to_input_of_frames(frames, clips, crops)
        else:
            inputs = to_input([clip.to(self.device) for clip in clips], crops, self.size)
        network = self.graphed if self.graphed and len(samples) == self.loader.batch else self.network
        scores, td_loss = network(inputs)
        loss = F.cross_entropy(scores.float(), labels, label_smoothing=self.recipe.label_smoothing, reduction="sum")
        # Gradients are averaged over processes where the sum is wanted.
        factor = world_size() / self.recipe.batch
        self.scaler.scale((loss + self.recipe.td_lambda * td_loss) * factor).backward()
        correct, ones = (scores.argmax(1) == labels).sum(), torch.ones_like(loss)
        return torch.stack([loss, correct, len(samples) * ones, td_loss, ones]).detach()

    def _update_weights(self, videos: float) -> None:
        self.scaler.unscale_(self.optimizer)
        if videos != self.recipe.batch:  # a batch may have unreadable videos
            gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
            torch._foreach_mul_(gradients, self.recipe.batch / videos)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()


class Step(nn.Module):
    """Normalised clips to scores `(N, classes)` and the sum of the TD loss over them, before its weight, 0 for a
    network without one, computed in `precision`. The network alone hands the loss out by the way
    (`temporal_diversity`), where neither DistributedDataParallel nor a CUDA graph would follow."""

    def __init__(self, model: nn.Module, precision: torch.dtype = torch.float32, cache: bool = True):
        super().__init__()
        self.model, self.precision, self.cache = model, precision, cache

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        of = {"enabled": self.precision != torch.float32, "cache_enabled": self.cache}
        with torch.autocast(clips.device.type, self.precision, **of):  # not around the backward pass
            scores = self.model(clips)
            return scores, temporal_diversity(self.model).sum() if self.model.training else scores.new_zeros(())


def _held(total: int, step: int) -> float:
    """The rate of "hold" after `step` of `total` steps, relative to that of the step before."""
    now, before = (min(1.0, (1 - at / total) / HELD_BACK) for at in (step, step - 1))
    return now / before


def _optimizer(model: nn.Module, recipe: Recipe, steps: int) -> tuple[optim.Optimizer, Any, Any]:
    """The optimiser; warmup, stepped after each step; and decay, after each step (EACH_STEP) or each epoch.
    torch multiplies the two."""
    if recipe.optimizer == "muon":
        optimizer = Muon(model, recipe.lr, recipe.weight_decay)
    elif recipe.optimizer == "adamw":
        optimizer = optim.AdamW(model.parameters(), recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    else:
        optimizer = optim.SGD(model.parameters(), recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay)
    lr, start = optim.lr_scheduler, 0.01 if recipe.warmup_epochs else 1.0
    if recipe.schedule == "step":
        decay = lr.MultiStepLR(optimizer, list(recipe.steps), gamma=0.1)
    elif recipe.schedule == "cosine":
        decay = lr.CosineAnnealingLR(optimizer, recipe.epochs * steps)
    elif recipe.schedule == "hold":
        decay = lr.MultiplicativeLR(optimizer, functools.partial(_held, recipe.epochs * steps))
    else:
        decay = lr.ReduceLROnPlateau(optimizer, mode="max", factor=0.1, patience=recipe.patience, threshold=0)
    return optimizer, lr.LinearLR(optimizer, start, total_iters=max(round(recipe.warmup_epochs * steps), 1)), decay
