"""The trainer: one loop for CPU, GPU and many GPUs. `tdn train --help` trains the runs of the study."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim
from tqdm import tqdm

from tdn.data.clips import Sample, TestClips, TrainingClips, Unreadable
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
from tdn.engine.loading import Deal, Timed, on_device
from tdn.engine.recipes import Recipe
from tdn.model.tdrl import TemporalDiversity, temporal_diversity
from tdn.utils import write_text, write_whole

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CHECKPOINT_SECONDS = 600  # a checkpoint within an epoch, beside the one at its end


@dataclass(frozen=True)
class Compute:
    """How a recipe is computed, which is not part of a run's identity but stands in its manifest.

    Args:
        device_batch: videos that fit on a device at once, where they are fewer than a batch norm's share: batch norms
            then see only so many.
        precision: fp32, bf16 or fp16 (fp16 with loss scaling).
        compile: the network by torch.compile.
    """

    device_batch: int | None = None
    precision: str = "fp32"
    compile: bool = False

    def __post_init__(self):
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}")

    @property
    def dtype(self) -> torch.dtype:
        return PRECISIONS[self.precision]

    def part(self, recipe: Recipe) -> int:
        """Videos that go through the network at once."""
        share = recipe.micro_batch or recipe.batch
        return min(self.device_batch or share, share)


@dataclass
class Training:
    """What `fit` did: a row an epoch (`history`); the numbers of the videos that were known to be unreadable at the
    start; the paths that turned out to be, and those that only decord read, with the reason."""

    history: list[dict[str, float]] = field(default_factory=list)
    left_out: list[int] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    second_decoder: dict[str, str] = field(default_factory=dict)


def fit(
    model: nn.Module,
    clips: TrainingClips,
    recipe: Recipe,
    size: int,
    folder: Path,
    device: torch.device,
    val_clips: TestClips | None = None,
    compute: Compute = Compute(),
    on_step: Callable[[int], None] | None = None,
) -> Training:
    """Trains `model` in place, on `size` x `size` crops, to the recipe's last epoch.

    The videos of an update go through the network in parts of a batch norm's share, which the processes of torchrun
    deal among them: gradients are summed to those of the recipe's batch, running statistics become the mean over the
    parts. So the number of processes changes nothing but the order of sums.

    Each epoch ends with `folder/checkpoint.pt` and `history.csv`, a long one has checkpoints in between; started
    again, with any number of processes, training goes on from there, and alone on a CPU it ends in the weights of an
    uninterrupted run. The last epoch's weights are the result: none is chosen by its validation accuracy. Videos that
    can't be read are said and left out; those that only the second decoder reads are said.

    A row of the history: `epoch, lr, waiting, loss, train_top1, td_loss, val_top1, seconds`; waiting for clips as a
    share (0 to 1) of the training's time (since it was last started); loss (cross-entropy), TD loss (before its weight,
    where the network has one) and top-1 (0 to 1) over the epoch's clips as they were trained on.

    Args:
        val_clips: validated after each epoch; the plateau schedule needs it.
        on_step: called with the number of updates made since the last call (at first: those that were done
            before), in place of a progress bar.

    Raises:
        ValueError: plateau without `val_clips`; a `td_lambda` for a network without TD loss; more processes than
            parts; not one training video can be read.
        FloatingPointError: the loss is not finite.
    """
    if recipe.schedule == "plateau" and val_clips is None:
        raise ValueError("the plateau schedule needs validation clips")
    has_td_loss = any(isinstance(module, TemporalDiversity) for module in model.modules())
    if recipe.td_lambda and not has_td_loss:
        raise ValueError(f"td_lambda {recipe.td_lambda} would do nothing: the network has no TD loss")
    checkpoint = folder / "checkpoint.pt"
    state = _read(checkpoint)
    # What is dealt stays the same, whatever the machines and processes that go on know.
    left_out = state["training"]["left_out"] if state else broadcast(sorted(clips.videos.known_unreadable))
    deal = Deal(clips, recipe.batch, compute.part(recipe), left_out)
    to_device(model, device).train()
    optimizer = _optimizer(model, recipe)
    schedules = _schedules(optimizer, recipe, deal.updates)
    scaler = torch.amp.GradScaler(device.type, enabled=compute.precision == "fp16")
    parts = {"model": model, "optimizer": optimizer, "scaler": scaler, **schedules}
    training, (first, sums, seconds) = _resume(state, parts, Training(left_out=left_out))
    update = _Update(model, recipe, size, device, compute, optimizer, scaler, clips.seed)

    done = len(training.history) * deal.updates + first
    total = recipe.epochs * deal.updates
    hidden = on_step is not None or rank() > 0
    progress = tqdm(total=total, initial=done, unit="update", leave=False, disable=hidden)
    if on_step:
        on_step(done)
    with progress:
        for epoch in range(len(training.history), recipe.epochs):
            progress.set_description(f"epoch {epoch + 1}/{recipe.epochs}")
            clips.start_epoch(epoch, training.unreadable)
            start = saved = time.monotonic()
            row = {"epoch": epoch + 1, "lr": optimizer.param_groups[0]["lr"]}
            shares = Timed(on_device(deal.epoch(epoch, first), device))
            for number, share in enumerate(shares, start=first):
                _note(training, clips, share)
                sums += update([samples for samples, _ in share], (epoch * deal.updates + number) * deal.parts)
                schedules["warmup"].step()
                if recipe.schedule == "cosine":
                    schedules["decay"].step()
                progress.set_postfix(loss=f"{sums[0] / sums[2].clamp(min=1):.3f}", refresh=False)
                progress.update()
                if on_step:
                    on_step(1)
                now = time.monotonic()
                if now - saved > CHECKPOINT_SECONDS:
                    _save(checkpoint, parts, training, (number + 1, sums, seconds + now - start))
                    saved = now
            row["waiting"] = shares.seconds / (time.monotonic() - start)
            for found in all_gather((training.unreadable, training.second_decoder)):
                training.unreadable |= found[0]
                training.second_decoder |= found[1]
            if not sums[2]:
                path, reason = next(iter(training.unreadable.items()))
                raise ValueError(f"not one of {len(clips)} training videos could be read: {path}: {reason}")
            row |= {"loss": float(sums[0] / sums[2]), "train_top1": float(sums[1] / sums[2])}
            if has_td_loss:
                row["td_loss"] = float(sums[3] / sums[2])
            if val_clips is not None:
                batch = 2 * compute.part(recipe)
                row["val_top1"] = evaluate(model, val_clips, device, batch, precision=compute.dtype).top(1)
            if recipe.schedule == "plateau":
                schedules["decay"].step(row["val_top1"])
            elif recipe.schedule == "step":
                schedules["decay"].step()
            row["seconds"] = round(seconds + time.monotonic() - start, 1)
            training.history.append(row)
            first, sums, seconds = 0, torch.zeros(4), 0.0
            _save(checkpoint, parts, training, (first, sums, seconds))
    return training


class _Update:
    """A step of the optimiser on this process's share of an update's parts.

    Called with the share and the number of the update's first part in the whole training: dropout is drawn for each
    part alone. Gives sums over all processes: losses, right answers, videos, TD losses.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        size: int,
        device: torch.device,
        compute: Compute,
        optimizer: optim.Optimizer,
        scaler: torch.amp.GradScaler,
        seed: int,
    ):
        self.model, self.recipe, self.size, self.device, self.dtype = model, recipe, size, device, compute.dtype
        self.optimizer, self.scaler, self.seed = optimizer, scaler, seed
        if compute.compile:
            model.compile()
        self.network = replicate(model, device)
        self.statistics = RunningStatistics(model)

    def __call__(self, share: Sequence[Sequence[Sample]], first_part: int) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        self.statistics.start()
        sums = torch.zeros(4, device=self.device)
        parts = [
            (first_part + place * world_size() + rank(), samples) for place, samples in enumerate(share) if samples
        ]
        for place, (number, samples) in enumerate(parts):
            torch.manual_seed(_seed(self.seed, number))
            with sync_gradients(self.network, place == len(parts) - 1):
                sums += self._part(samples)
            self.statistics.end_part()
        if not parts and world_size() > 1:
            self._nothing()
        sums = all_reduce(sums)
        if not torch.isfinite(sums).all():
            rate = self.optimizer.param_groups[0]["lr"]
            raise FloatingPointError(f"the loss is {(sums[0] + sums[3]).item()} at learning rate {rate}")
        self.statistics.finish()
        if sums[2]:
            self.scaler.unscale_(self.optimizer)
            # Processes take the mean of their gradients, wanted is the sum; and a batch may have unreadable videos.
            factor = world_size() * self.recipe.batch / sums[2].item()
            if factor != 1:
                for parameter in self.model.parameters():
                    if parameter.grad is not None:
                        parameter.grad *= factor
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return sums.cpu()

    def _part(self, samples: Sequence[Sample]) -> Tensor:
        clips = [sample.clip.to(self.device) for sample in samples]
        labels = torch.tensor([sample.label for sample in samples], device=self.device)
        inputs = to_input(clips, [sample.crops[0] for sample in samples], self.size)
        recipe = self.recipe
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            scores = self.network(inputs)
            loss = F.cross_entropy(scores.float(), labels, label_smoothing=recipe.label_smoothing, reduction="sum")
        td_loss = temporal_diversity(self.model).sum()
        self.scaler.scale((loss + recipe.td_lambda * td_loss) / recipe.batch).backward()
        right = (scores.argmax(1) == labels).sum()
        return torch.stack([loss.detach(), right, torch.tensor(len(samples), device=self.device), td_loss.detach()])

    def _nothing(self) -> None:
        """Takes part in the sum of gradients with zeros: not one video of this process could be read."""
        shape = (1, self.model.num_segments, self.model.window, 3, self.size, self.size)
        self.model.eval()
        (self.network(torch.zeros(shape, device=self.device)).sum() * 0).backward()
        self.model.train()


def _optimizer(model: nn.Module, recipe: Recipe) -> optim.Optimizer:
    if recipe.optimizer == "adamw":
        return optim.AdamW(model.parameters(), recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    return optim.SGD(model.parameters(), recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay)


def _schedules(optimizer: optim.Optimizer, recipe: Recipe, updates: int) -> dict[str, Any]:
    """`warmup` steps after each update, and so does `decay` if it is a cosine, else after each epoch; torch multiplies
    the two."""
    lr = optim.lr_scheduler
    warmup_steps = max(round(recipe.warmup_epochs * updates), 1)
    start = 0.01 if recipe.warmup_epochs else 1.0
    if recipe.schedule == "step":
        decay = lr.MultiStepLR(optimizer, list(recipe.steps), gamma=0.1)
    elif recipe.schedule == "cosine":
        decay = lr.CosineAnnealingLR(optimizer, recipe.epochs * updates)
    else:
        decay = lr.ReduceLROnPlateau(optimizer, mode="max", factor=0.1, patience=recipe.patience, threshold=0)
    return {"warmup": lr.LinearLR(optimizer, start, total_iters=warmup_steps), "decay": decay}


def _seed(seed: int, number: int) -> int:
    return 1_000_003 * seed + number


def _note(training: Training, clips: TrainingClips, share: Sequence[tuple[list[Sample], list[Unreadable]]]) -> None:
    """Says and keeps what could not be read, or by decord only."""
    for samples, bad in share:
        for video in bad:
            if str(video.path) not in training.unreadable:
                training.unreadable[str(video.path)] = video.reason
                tqdm.write(f"left out, unreadable: {video.path}: {video.reason}")
        for sample in samples:
            path = str(clips.videos.videos[sample.video].path)
            if sample.second_decoder and path not in training.second_decoder:
                training.second_decoder[path] = sample.second_decoder
                tqdm.write(f"read by decord, PyAV failed: {path}: {sample.second_decoder}")


def _save(path: Path, parts: dict[str, Any], training: Training, within: tuple[int, Tensor, float]) -> None:
    """`within`: updates of the epoch that are done, their sums, their seconds. Every process has the same weights; what
    the others found unreadable within the epoch comes in at its end."""
    if rank() > 0:
        return
    state = {name: part.state_dict() for name, part in parts.items()}
    state |= {"training": asdict(training), "within": within}
    write_whole(path, lambda file: torch.save(state, file))
    if training.history:
        write_text(path.with_name("history.csv"), pd.DataFrame(training.history).to_csv(index=False))


def _read(path: Path) -> dict[str, Any] | None:
    """What `_save` wrote, read by the first process for all."""
    state = None
    if rank() == 0 and path.exists():
        state = torch.load(path, map_location="cpu", weights_only=True)  # each part moves its own where it belongs
    return broadcast(state)


def _resume(
    state: dict[str, Any] | None, parts: dict[str, Any], fresh: Training
) -> tuple[Training, tuple[int, Tensor, float]]:
    if state is None:
        return fresh, (0, torch.zeros(4), 0.0)
    for name, part in parts.items():
        if state[name]:  # that of a scaler is empty but with fp16
            part.load_state_dict(state[name])
    return Training(**state["training"]), state["within"]
