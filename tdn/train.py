"""The trainer: one loop for CPU and GPU. `python -m tdn.train --help` trains the runs of the study."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import DataLoader
from tqdm import tqdm

from tdn.data.clips import ClipDataset, Sample, Unreadable, collate, worker_count
from tdn.data.transforms import to_input
from tdn.evaluate import evaluate
from tdn.files import write_whole
from tdn.model.tdrl import TemporalDiversity, temporal_diversity

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. Learning rate and total batch belong together.

    Raises ValueError for an option that does not exist.
    """

    epochs: int
    batch: int  # videos in one update, whatever the memory of the device
    lr: float  # for that batch
    optimizer: str = "sgd"  # sgd (momentum 0.9) or adamw
    weight_decay: float = 5e-4
    schedule: str = "step"  # step, plateau or cosine
    steps: tuple[int, ...] = ()  # step: epochs after which the rate is divided by 10
    patience: int = 5  # plateau: epochs without a better validation top-1 before it is divided by 10
    warmup_epochs: float = 0  # linear, from a hundredth of the rate
    label_smoothing: float = 0
    td_lambda: float = 0  # weight of the TD loss (TDRL equation 2), of networks that have one
    clip_norm: float = 20  # largest norm of the gradient, as released
    precision: str = "fp32"  # fp32, bf16 or fp16 (fp16 with loss scaling)

    def __post_init__(self):
        for name, valid in (
            ("optimizer", ("sgd", "adamw")),
            ("schedule", ("step", "plateau", "cosine")),
            ("precision", tuple(PRECISIONS)),
        ):
            if getattr(self, name) not in valid:
                raise ValueError(f"{name} must be one of {', '.join(valid)}, not {getattr(self, name)!r}")


def fit(
    model: nn.Module,
    train_clips: ClipDataset,
    recipe: Recipe,
    size: int,
    folder: Path,
    device: torch.device,
    seed: int = 0,
    val_clips: ClipDataset | None = None,
    device_batch: int | None = None,
    on_update: Callable[[int], None] | None = None,
) -> list[dict[str, float]]:
    """Trains `model` in place, on `size` x `size` crops, to the recipe's last epoch.

    Each epoch ends with `folder/checkpoint.pt`; started again, training goes on from there, and on a CPU ends
    in the weights of an uninterrupted run. The last epoch's weights are the result: none is chosen by its
    validation accuracy. Videos that can't be read are said and left out; those that only the second decoder reads are
    said.

    Returns one row an epoch: `epoch, lr, loss, td_loss, train_top1, val_top1, seconds`; loss (cross-entropy), TD loss
    (before its weight, where the network has one) and top-1 (0 to 1) over the epoch's clips as they were trained on.

    Args:
        val_clips: validated after each epoch; the plateau schedule needs it.
        device_batch: clips that fit on the device at once, where fewer than `recipe.batch`: gradients are
            accumulated to the recipe's batch. Batch norms see `device_batch` clips.
        on_update: called with the number of updates made since the last call (at first: those of epochs that
            were done before), in place of a progress bar.

    Raises:
        ValueError: plateau without `val_clips`; a `td_lambda` for a network without TD loss; not one training video
            could be read.
        FloatingPointError: the loss is not finite.
    """
    if recipe.schedule == "plateau" and val_clips is None:
        raise ValueError("the plateau schedule needs validation clips")
    has_td_loss = any(isinstance(module, TemporalDiversity) for module in model.modules())
    if recipe.td_lambda and not has_td_loss:
        raise ValueError(f"td_lambda {recipe.td_lambda} would do nothing: the network has no TD loss")
    is_3d = any(parameter.ndim == 5 for parameter in model.parameters())
    layout = torch.channels_last_3d if is_3d else torch.channels_last  # faster convolutions on CPU and GPU
    model.to(device, memory_format=layout).train()
    precision = PRECISIONS[recipe.precision]
    batches = max(len(train_clips) // recipe.batch, 1)
    optimizer = _optimizer(model, recipe)
    schedules = _schedules(optimizer, recipe, batches)
    scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
    history: list[dict[str, float]] = []
    unreadable: set[Unreadable] = set()
    by_pyav: set[int] = set()
    parts = {"model": model, "optimizer": optimizer, "scaler": scaler, **schedules}
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        _resume(checkpoint, parts, history)

    done = len(history) * batches
    progress = tqdm(
        total=recipe.epochs * batches, initial=done, unit="update", leave=False, disable=on_update is not None
    )
    if on_update:
        on_update(done)
    with progress:
        for epoch in range(len(history), recipe.epochs):
            progress.set_description(f"epoch {epoch + 1}/{recipe.epochs}")
            torch.manual_seed(_seed(seed, epoch))  # dropout; the data draws from (seed, epoch, video)
            train_clips.set_epoch(epoch)
            start = time.monotonic()
            row = {"epoch": epoch + 1, "lr": optimizer.param_groups[0]["lr"]}
            sums = torch.zeros(4)
            for samples, bad in _shuffled(train_clips, recipe.batch, (seed, epoch)):
                for video in set(bad) - unreadable:
                    tqdm.write(f"left out, unreadable: {video.path}: {video.reason}")
                unreadable.update(bad)
                for sample in samples:
                    if sample.second_decoder and sample.index not in by_pyav:
                        by_pyav.add(sample.index)
                        path = train_clips.videos.videos[sample.index].path
                        tqdm.write(f"read by PyAV, decord failed: {path}: {sample.second_decoder}")
                if samples:
                    sums += _update(model, samples, recipe, size, device, device_batch, optimizer, scaler)
                    schedules["warmup"].step()
                    if recipe.schedule == "cosine":
                        schedules["decay"].step()
                progress.set_postfix(loss=f"{sums[0] / sums[2].clamp(min=1):.3f}", refresh=False)
                progress.update()
                if on_update:
                    on_update(1)
            if not sums[2]:
                raise ValueError(f"not one of {len(train_clips)} training videos could be read: {bad[0]}")
            row |= {"loss": float(sums[0] / sums[2]), "train_top1": float(sums[1] / sums[2])}
            if has_td_loss:
                row["td_loss"] = float(sums[3] / sums[2])
            if val_clips is not None:
                row["val_top1"] = evaluate(model, val_clips, size, device, precision=precision).top(1)
            if recipe.schedule == "plateau":
                schedules["decay"].step(row["val_top1"])
            elif recipe.schedule == "step":
                schedules["decay"].step()
            row["seconds"] = round(time.monotonic() - start, 1)
            history.append(row)
            _save(checkpoint, parts, history)
    return history


def _update(
    model: nn.Module,
    samples: Sequence[Sample],
    recipe: Recipe,
    size: int,
    device: torch.device,
    device_batch: int | None,
    optimizer: optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> torch.Tensor:
    """One step of the optimiser on all of `samples`; (sum of losses, correct answers, samples, sum of TD losses)."""
    precision = PRECISIONS[recipe.precision]
    optimizer.zero_grad(set_to_none=True)
    loss_sum, correct, td_sum = torch.zeros(3, device=device).unbind()
    for part in _split(samples, device_batch or len(samples)):
        clips = [sample.clip.to(device, non_blocking=True) for sample in part]
        labels = torch.tensor([sample.label for sample in part], device=device)
        inputs = to_input(clips, [sample.crop for sample in part], size)
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            scores = model(inputs)
            loss = F.cross_entropy(scores.float(), labels, label_smoothing=recipe.label_smoothing, reduction="sum")
        td_loss = temporal_diversity(model).sum()
        scaler.scale((loss + recipe.td_lambda * td_loss) / len(samples)).backward()
        loss_sum += loss.detach()
        td_sum += td_loss.detach()
        correct += (scores.argmax(1) == labels).sum()
    if not torch.isfinite(loss_sum + td_sum):
        raise FloatingPointError(f"the loss is {loss_sum.item()} at learning rate {optimizer.param_groups[0]['lr']}")
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
    scaler.step(optimizer)
    scaler.update()
    return torch.tensor([loss_sum.item(), correct.item(), len(samples), td_sum.item()])


def _optimizer(model: nn.Module, recipe: Recipe) -> optim.Optimizer:
    if recipe.optimizer == "adamw":
        return optim.AdamW(model.parameters(), recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    return optim.SGD(model.parameters(), recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay)


def _schedules(optimizer: optim.Optimizer, recipe: Recipe, batches: int) -> dict[str, Any]:
    """`warmup` steps after each update, and so does `decay` if it is a cosine, else after each epoch; torch multiplies
    the two."""
    lr = optim.lr_scheduler
    warmup_steps = max(round(recipe.warmup_epochs * batches), 1)
    start = 0.01 if recipe.warmup_epochs else 1.0
    if recipe.schedule == "step":
        decay = lr.MultiStepLR(optimizer, list(recipe.steps), gamma=0.1)
    elif recipe.schedule == "cosine":
        decay = lr.CosineAnnealingLR(optimizer, recipe.epochs * batches)
    else:
        decay = lr.ReduceLROnPlateau(optimizer, mode="max", factor=0.1, patience=recipe.patience, threshold=0)
    return {"warmup": lr.LinearLR(optimizer, start, total_iters=warmup_steps), "decay": decay}


def _shuffled(clips: ClipDataset, batch: int, seed: tuple[int, int]) -> Iterator[tuple[list[Sample], list[Unreadable]]]:
    """One epoch in an order drawn from `seed`. A last batch that is not full is left for another epoch, so
    that every update has the recipe's batch."""
    order = torch.Generator().manual_seed(_seed(*seed))
    return iter(
        DataLoader(
            clips,
            batch,
            shuffle=True,
            generator=order,
            drop_last=len(clips) >= batch,
            collate_fn=collate,
            num_workers=worker_count(clips),
        )
    )


def _seed(seed: int, epoch: int) -> int:
    return 1_000_003 * seed + epoch


def _split(samples: Sequence[Sample], size: int) -> Iterator[Sequence[Sample]]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def _save(path: Path, parts: dict[str, Any], history: list[dict[str, float]]) -> None:
    state = {name: part.state_dict() for name, part in parts.items()} | {"history": history}
    write_whole(path, lambda file: torch.save(state, file))


def _resume(path: Path, parts: dict[str, Any], history: list[dict[str, float]]) -> None:
    state = torch.load(path, map_location="cpu", weights_only=True)  # each part moves its own where it belongs
    for name, part in parts.items():
        part.load_state_dict(state[name])
    history[:] = state["history"]


if __name__ == "__main__":
    from tdn.study import main  # which runs there are is the study's business, one room up

    main()
