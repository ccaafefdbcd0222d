"""Trains a network on one's own videos: looks at them, says what it will do and how long that takes, and does it."""

import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from tdn.data.disk.catalog import dataset_named
from tdn.data.disk.lists import printable
from tdn.engine.distributed import broadcast, device, rank, world_size
from tdn.engine.trainer import Compute
from tdn.experiments.record import Result
from tdn.experiments.runs import IMAGENET, Run, save_weights, stored, video_sets
from tdn.experiments.runs import run as result_of
from tdn.model.cost import measure_cost
from tdn.model.resnet import VideoResNet
from tdn.model.weights import load_imagenet
from tdn.model.zoo import create_model
from tdn.own.choice import SCRATCH, Choice, choose
from tdn.own.duration import estimate
from tdn.own.survey import Survey, look_at
from tdn.own.videos import OwnVideos
from tdn.utils import home, read_record, write_record

RECIPE, BEST, COMPARISON = "recipe.toml", "best.pt", "compare.csv"
BEGUN = "begun.json"  # of which videos and with which recipe: recipe.toml is for people to change
DISK = 0.5  # of the free disk, for frames that are kept
OnHistory = Callable[[pd.DataFrame], None] | None


@dataclass(frozen=True)
class Job:
    """A training that is known in all parts: its choice, its run, what it is trained on, the folder of its result, and
    `data`, where the index of the videos and their frames are kept."""

    choice: Choice
    config: Run
    found: Survey
    folder: Path
    data: Path
    compute: Compute

    @property
    def result(self) -> Result:
        return stored(self.config, self.folder)


def prepare(videos: str, given: dict[str, Any], out: Path | None, compute: Compute) -> Job:
    """Tries every video of `videos` (a folder, or the name of a data set), and completes the choices that are `given`.
    The result goes to `out`, by default results/own/<name of the folder>.

    Raises as `look_at` and `choose`; ValueError where `out` has the result of other videos or of another recipe,
    ConnectionError where ImageNet weights were asked for and cannot be had.
    """
    data = home() / ".data"
    found = look_at(dataset_named(videos), data, compute.reader)
    choice = _with_weights(given, found.num_train)
    folder = (out or home() / "results/own" / Path(found.spec.name).name).absolute()
    pairs = None if choice.mirror is None else tuple(_pair(text) for text in choice.mirror)
    own = OwnVideos(found.spec.name, found.spec.split, choice.side, pairs)
    there = sum(file.stat().st_size for file in own.frames(data).glob("*.npy"))
    fits = found.kept_bytes(choice.side) - there < DISK * shutil.disk_usage(home()).free
    own = replace(own, side=broadcast(choice.side if fits else None))
    video_sets.pop((own, data), None)  # of an earlier call: files may have changed
    _require_same(choice, own, folder)
    return Job(choice, choice.run(own), found, folder, data, compute)


def _with_weights(given: dict[str, Any], num_videos: int) -> Choice:
    """Where the rule wants ImageNet weights that cannot be had, it does without them, and says so."""
    choice = choose(given, num_videos, device().type == "cuda")
    choice.weights()  # raises where there is no such file
    if choice.initialised_from != IMAGENET:
        return choice
    problem = None
    if rank() == 0:
        try:
            config = choice.run(OwnVideos("/"))
            load_imagenet(create_model(config.model, 2, **dict(config.options)))
        except ConnectionError as error:
            problem = error
    if (problem := broadcast(problem)) is None:
        return choice
    if given.get("initialised_from"):
        raise problem
    if rank() == 0:
        print(f"{problem} Until then: from random weights.", flush=True)
    return choose({**given, "initialised_from": SCRATCH}, num_videos, device().type == "cuda")


def _pair(text: str) -> tuple[str, str]:
    one, equals, other = text.partition("=")
    if not (one and equals and other):
        raise ValueError(f"classes that mirroring exchanges are written A=B, not {text!r}")
    if text.encode(errors="replace").decode() != text:  # as a folder's name may be; a recipe is UTF-8
        raise ValueError(f"rename these classes to be mirrored, their names are no UTF-8: {printable(text)}")
    return one, other


def _require_same(choice: Choice, data: OwnVideos, folder: Path) -> None:
    if not (folder / BEGUN).exists():
        return
    before, now = read_record(folder / BEGUN, f"move {folder} elsewhere, or --out FOLDER"), _begun(choice, data)
    if before["videos"] != data.name:
        raise ValueError(f"{folder} has the result of {before['videos']}, not of {data.name}: choose --out FOLDER")
    if before["contents"] != now["contents"]:
        changed = f"({before['contents']}; now {now['contents']}): to train anew, --out FOLDER, or move it elsewhere"
        raise ValueError(f"{folder} has the result of {data.name} as it was before it changed {changed}")
    if different := [
        f"{name} {before['recipe'].get(name)} (now {value})"
        for name, value in now["recipe"].items()
        if before["recipe"].get(name) != value
    ]:
        raise ValueError(
            f"{folder} has the result of another recipe: {', '.join(different)}. To train anew: --out FOLDER; to go on "
            f"with that one: --recipe {shlex.quote(str(folder / RECIPE))}"
        )


def _begun(choice: Choice, data: OwnVideos) -> dict[str, Any]:
    recipe = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(choice).items()}
    return {"videos": data.name, "contents": data.contents(), "recipe": recipe}


def describe(job: Job, others: int = 0) -> list[str]:
    """What will be done, in words; under torchrun every process calls it. Measures how long it takes, unless it has
    begun. `others`: how many networks are trained to compare this one with."""
    choice, config, found = job.choice, job.config, job.found
    model = config.create_model()
    span = (model.window - 1) * choice.window_stride + 1
    cost = measure_cost(model, choice.size)
    start = {SCRATCH: "random weights", IMAGENET: "ImageNet weights"}.get(choice.initialised_from)
    mirrored = "no clip is mirrored" if choice.mirror is None else "half of the clips are mirrored"
    where = f"{world_size()} x {device()}" if device().type == "cuda" else f"the CPU, {torch.get_num_threads()} threads"
    lines = [f"data     {line}" for line in found.lines(span)]
    lines += [
        f"network  {choice.model} on a ResNet-{choice.depth} of width {choice.width}, {cost.params:.1f} M parameters, "
        f"from {start or choice.initialised_from}; {choice.segments} windows of {model.window} frames, "
        f"{choice.size} x {choice.size} pixels, {cost.gmacs:.2f} GMACs",
        f"recipe   {choice.epochs} epochs in steps of {choice.batch} clips, rate {choice.lr:g}; {mirrored}",
        f"on       {where}, {job.compute.precision}",
        f"result   {printable(str(job.folder), 500)}",
    ]
    if config.data.side is None:
        lines.append("frames   do not fit on the disk, even shrunk: every clip is decoded from its file")
    else:
        size = f"{found.kept_bytes(config.data.side) / 1e6:,.0f} MB"
        lines.append(f"frames   decoded once and kept, {size}, until you remove {config.data.frames(job.data)}")
    more = [f"compare  {others} more networks, each for about as long as this one"] if others else []
    if job.result.complete:
        return [*lines, "time     nothing is left to train", *more]
    if (job.result.folder / "checkpoint.pt").exists():
        return [*lines, "time     it resumes where it was interrupted", *more]
    seconds = estimate(config, found, job.data, job.compute)
    told = f"decoding {_told(seconds.decoding)}, {choice.epochs} epochs of {_told(seconds.epoch)}"
    total = seconds.total(choice.epochs)
    lines.append(f"time     about {_told(total)}: {told}, evaluation {_told(seconds.evaluation)}")
    if others:
        more = [f"compare  {others} more networks, about {_told(others * (total - seconds.decoding))}"]
    return [*lines, *more]


def _told(seconds: float) -> str:
    if seconds < 300:
        return f"{seconds:.{int(seconds < 10)}f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def train_network(job: Job, log: Path | None = None, on_history: OnHistory = None) -> Result:
    """Trains what is missing, and gives the run. `log` is a folder for TensorBoard; `on_history` gets one row per epoch
    after each. Interrupted, the same call resumes."""
    if rank() == 0:
        write_record(job.folder / BEGUN, _begun(job.choice, job.config.data), {})
        job.choice.save(job.folder / RECIPE)
        if not job.result.complete:
            (job.folder / COMPARISON).unlink(missing_ok=True)  # it was with another network
    writer = _tensorboard(log) if log and rank() == 0 else None

    def on_epoch(folder: Path, model: VideoResNet, history: list[dict[str, float]], resumed: bool) -> bool:
        top1 = [row["val_top1"] for row in history]
        best = max(range(len(top1)), key=top1.__getitem__)
        if rank() == 0:
            if best == len(top1) - 1 and not resumed:  # else the weights may be of the middle of the next epoch
                save_weights(model, job.config, job.found.labelled.class_names, folder / BEST)
            for name, value in history[-1].items() if writer and not resumed else ():
                writer.add_scalar(name, value, history[-1]["epoch"])
            if on_history:
                on_history(pd.DataFrame(history))
        return bool(job.choice.patience) and len(top1) - 1 - best >= job.choice.patience

    try:
        weights = job.choice.weights()
        return result_of(job.config, job.folder, job.data, job.compute, pretrained=weights, on_epoch=on_epoch)
    finally:
        if writer:
            writer.close()


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter  # an optional package
    except ImportError as error:
        raise ImportError("--tensorboard needs the package of this name: pip install tensorboard") from error
    return SummaryWriter(str(folder))
