"""One run: its configuration, its identity and its stored result."""

import functools
import hashlib
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from tdn.data.clips import TestClips, TrainingClips, Video, VideoSet
from tdn.data.disk.catalog import PUBLISHED, DatasetSpec
from tdn.data.pocket import render as pocket
from tdn.data.sampling import Views
from tdn.engine.distributed import (
    broadcast,
    default_precision,
    device,
    lock_on_rank0,
    rank,
    to_device,
    world_size,
)
from tdn.engine.evaluation import Answers, Evaluation, ensemble, evaluate
from tdn.engine.loading import TrainingLoader
from tdn.engine.recipes import Recipe
from tdn.engine.trainer import Compute, fit
from tdn.experiments.manifest import environment
from tdn.experiments.record import Recorded, Result, recorded
from tdn.model.resnet import VideoResNet
from tdn.model.weights import initialise_from, load_imagenet, load_weights, read_weights
from tdn.model.zoo import SYSTEMS, create_model
from tdn.utils import digest_of, home, write_record, write_text, write_whole

ROOT = home()  # where rendered data and results are kept
DATA = ROOT / ".data"
IMAGENET = "imagenet"
IMAGENET_RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")
RESULT_VERSION = 4  # part of every run's identity: raise it when the same configuration gives another result
FILES = ("config.json", "history.csv", "scores.npz", "weights.pt", "metrics.json")  # of a run, beside its manifest
Data = pocket.PocketSpec | pocket.PocketPart | DatasetSpec
video_sets: dict[tuple[Data, Path], tuple[VideoSet, VideoSet]] = {}  # those of the last data set (`videos`)
OnStep = Callable[[int], None] | None
OnEpoch = Callable[[Path, VideoResNet, list[dict[str, float]], bool], bool] | None


@dataclass(frozen=True)
class Run:
    """A training and its test: all that changes the result, and nothing else."""

    model: str  # as in `create_model`
    options: tuple[tuple[str, Any], ...]  # as `zoo.resolve_options` gives them
    num_segments: int
    data: Data
    size: int  # side of the training crops after resizing, pixels
    scales: tuple[float, ...]  # sides of the training crops, as fractions of the video's shorter side
    views: Views  # of the test
    recipe: Recipe
    seed: int
    # Initialised from the weights of this run, from ImageNet's (IMAGENET), or from scratch (None).
    pretrained: "Run | str | None" = None

    @property
    def name(self) -> str:
        """The model and ten digits of a hash over all fields."""
        return f"{self.model}-{_digits(self, RESULT_VERSION, pocket.RENDER_VERSION)}"

    def create_model(self) -> VideoResNet:
        """The network with this run's initialisation."""
        torch.manual_seed(self.seed)
        return create_model(self.model, self.data.num_classes, self.num_segments, **dict(self.options))


@functools.cache  # tables ask thousands of times
def _digits(config: Run, result: int, render: int) -> str:
    part = fields = asdict(config)
    while isinstance(part, dict):  # names are older than strides
        if part["views"]["stride"] == 1:
            del part["views"]["stride"]
        part = part["pretrained"]
    text = json.dumps(fields | {"result": result, "render": render}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def stored(config: Run, results: Path) -> Result:
    """Where the result of `config` is or will be, below `results` (such as results/pocket); where it is not there but
    in the record that `results` holds, what that keeps of it."""
    result = Result(results / "runs" / config.name, _command(config, results))
    kept = None if result.complete else recorded(results).get(config.name)
    return Recorded(result.folder, result.command, kept) if kept else result


def _of_study(config: Run) -> bool:
    """Else `tdn train FOLDER` trains it, whose data sets say more than where they are."""
    data = config.data
    return not isinstance(data, DatasetSpec) or (type(data) is DatasetSpec and data.name in PUBLISHED)


def _command(config: Run, results: Path) -> str:
    """The command line that trains `config`."""
    if _of_study(config):
        seeds = f":{config.seed + 1}" if config.seed else ""  # the profile may have one alone
        within = "record/" if results.parent.name == "record" else ""  # record/gestures
        return f"tdn train --profile {within}{results.name}{seeds} --runs {config.name}"
    folder = shlex.quote(str(results))
    return f"tdn train {shlex.quote(config.data.name)} --out {folder} --recipe {folder}/recipe.toml"


def impossible(config: Run, has_weights: bool = False) -> str | None:
    """Why this machine cannot train `config`, in one line; None where it can. `has_weights` as in `registry.plan`."""
    if isinstance(config.data, DatasetSpec) and (reason := config.data.missing()):
        return reason
    if isinstance(config.pretrained, Run) and not has_weights:
        return impossible(config.pretrained)
    if config.pretrained != IMAGENET or has_weights:
        return None
    system, _, backbone = config.model.partition("_")
    if dict(config.options).get("conv2", "dense") != "dense":
        lacking = f"of the Res2Net in {config.model}"
    elif backbone not in IMAGENET_RESNETS or SYSTEMS[system].network is not VideoResNet:
        lacking = f"for {config.model}, only for networks on {', '.join(IMAGENET_RESNETS)}"
    else:
        return None
    choice = f"--{'pretrained' if _of_study(config) else 'from'} FILE (weights to initialise from)"
    return f"torchvision has no ImageNet weights {lacking}; possible: {choice}"


def changed_data(config: Run, results: Path) -> str | None:
    """Why a run that is complete or was begun cannot be used: its data set had other videos, labels or classes when it
    was trained, in one line; None where it can. A data set that is not on this machine is not compared, nor is one with
    what a record keeps: its clips may lie in other folders here."""
    result = stored(config, results)
    if isinstance(result, Recorded):
        return None
    begun = result.complete or (result.folder / "checkpoint.pt").exists()
    if not isinstance(config.data, DatasetSpec) or not begun or config.data.missing():
        return None
    written = result.file("config.json") if result.complete else result.folder / "config.json"
    try:
        before = json.loads(written.read_bytes())["contents"]
    except (OSError, ValueError, KeyError):  # of an interrupted run, which then is not resumed
        return None
    if before in (None, now := config.data.contents()):
        return None
    changed = f"{config.data.name} is not as it was when {result.folder.name} was trained ({before}; now {now})"
    return f"{changed}: to train anew, move {result.folder} elsewhere; to use it, restore the data"


def run(
    config: Run,
    results: Path,
    data: Path = DATA,
    compute: Compute = Compute(),  # noqa: B008 (it is frozen)
    on_step: OnStep = None,
    pretrained: Path | None = None,
    on_epoch: OnEpoch = None,
) -> Result:
    """The stored result of `config`. A missing run is trained, an interrupted one resumes from its last checkpoint.

    A second process that wants the same run waits for the first. Under torchrun all processes call this, and rank 0
    writes. `compute` and `on_step` as in `fit`; `pretrained` is a weights file to initialise from in place of
    `config.pretrained`, which the manifest records. `on_epoch` is as of `fit`, but gets the run's folder, its network
    and the history, which then has the validation top-1 of each epoch.
    """
    result = stored(config, results)
    if rank() == 0 and (reason := changed_data(config, results) or _other_start(result, pretrained)):
        raise ValueError(reason)
    if not broadcast(result.complete):
        if pretrained is None and isinstance(config.pretrained, Run):
            pretrained = run(config.pretrained, results, data, compute).file("weights.pt")
        with lock_on_rank0(result.folder):
            if not broadcast(result.complete):  # another process may have trained it meanwhile
                _train(config, pretrained, result.folder, data, compute, on_step, on_epoch)
    if rank() == 0:
        (result.folder / "checkpoint.pt").unlink(missing_ok=True)
        for name in FILES if not isinstance(result, Recorded) else ():
            result.file(name)
        of = result.metrics
        roles = ("training", of["train_unreadable"], of["train_of"]), ("validation", of["unreadable"], of["of"])
        for role, unreadable, number in roles:
            if unreadable:
                print(f"{result.folder.name}: {len(unreadable)} of {number} {role} videos could not be read:")
                more = "  ..." if len(unreadable) > 10 else ""
                print("\n".join(f"  {path}: {reason}" for path, reason in unreadable[:10]), more)
    return result


def _other_start(result: Result, weights: Path | None) -> str | None:
    if not (result.complete and weights):
        return None
    if json.loads(result.file("config.json").read_text())["pretrained_sha256"] == digest_of(weights):
        return None
    return f"{result.folder.name} did not start from {weights}: to train it from there, move {result.folder} elsewhere"


def trained(config: Run, results: Path) -> VideoResNet:
    """The network of a complete run with its weights, in eval mode. Raises FileNotFoundError where there is none."""
    return load_weights(config.create_model(), stored(config, results).file("weights.pt")).eval()


def scores(config: Run, results: Path, views: Views, data: Path = DATA) -> Answers:
    """The scores of a complete run under these views (of one in the record its answers), computed once and kept; in the
    precision that this machine trains in."""
    result, compute = stored(config, results), Compute(precision=default_precision())
    if views == config.views:
        return result.evaluation

    def compute_them() -> Evaluation:
        model = to_device(trained(config, results), device())
        _, val_set = videos(config.data, data)
        if not isinstance(config.data, DatasetSpec):
            val_set.keep_in_memory()  # decoded once for all networks and views, if there is room
        clips = TestClips(val_set, config.num_segments, model.window, views)
        return evaluate(model, clips, device(), 2 * compute.micro_batch(config.recipe), compute.dtype)

    return result.other_scores(_name(views), compute_them)


def can_score(config: Run, results: Path, views: Views, second: Run | None = None) -> bool:
    """Whether `scores`, or with a second run `scores_of_both`, has an answer: of a run in the record only what it
    keeps."""
    result = stored(config, results)
    if not isinstance(result, Recorded):
        return result.complete
    return _both(second, views) in result.others if second else views == config.views or _name(views) in result.others


def scores_of_both(first: Run, second: Run, results: Path, views: Views) -> Answers:
    """Of the mean of two complete runs' scores under these views (8 + 16 frames), kept as `scores` keeps those."""

    def compute_them() -> Evaluation:
        return ensemble([scores(of, results, views) for of in (first, second)])

    return stored(first, results).other_scores(_both(second, views), compute_them)


def _both(second: Run, views: Views) -> str:
    return f"with-{second.name}-{_name(views)}"


def _name(views: Views) -> str:
    return f"{views}-{views.size}-{views.scale:.3f}"


def videos(spec: Data, data: Path = DATA) -> tuple[VideoSet, VideoSet]:
    """Training and validation videos, rendered where missing. Those decoded into memory serve the next run, too, also
    of another part of them."""
    whole = getattr(spec, "whole", spec)  # of a part
    if (whole, data) not in video_sets:
        if not getattr(whole, "pictures", False):  # which take no room
            video_sets.clear()  # they may be all that fits into memory
        video_sets[whole, data] = whole.videos(data)
    return video_sets[whole, data] if whole is spec else spec.of(*video_sets[whole, data])


def val_video(spec: Data, index: int, data: Path = DATA) -> Video:
    """Validation video `index`; of the pocket benchmark it is rendered alone where it is missing."""
    if isinstance(spec, pocket.PocketSpec):
        return spec.val_video(index, data)
    return videos(spec, data)[1].videos[index]


def save_weights(model: VideoResNet, config: Run, class_names: Sequence[str], file: Path) -> None:
    """Weights with all that `load_network` wants to know."""
    network = {"name": config.model, "options": dict(config.options), "num_segments": config.num_segments}
    about = {"network": network, "class_names": list(class_names), "views": asdict(config.views)}
    write_whole(file, lambda file: torch.save({"model": model.state_dict()} | about, file))


def _train(
    config: Run,
    pretrained: Path | None,
    folder: Path,
    data: Path,
    compute: Compute,
    on_step: OnStep,
    on_epoch: OnEpoch,
) -> None:
    for video_set in videos(getattr(config.data, "whole", config.data), data):
        video_set.reader = compute.reader
        if video_set.kept and rank() == 0:  # one process decodes for all of its machine
            video_set.decode()
        broadcast(None)
        video_set.keep_in_memory(0.5 / world_size())
    train_set, val_set = videos(config.data, data)
    if len(val_set.known_unreadable) == len(val_set):
        raise ValueError(f"not one of {len(val_set)} validation videos can be read: {val_set.unreadable()[:1]}")
    if train_set.known_unreadable and rank() == 0:
        readable = len(train_set) - len(train_set.known_unreadable)
        print(f"training on {readable} of {len(train_set)} videos, the others are missing or unreadable")
    model = config.create_model()
    digest = digest_of(pretrained) if pretrained else None
    command = _command(config, folder.parents[1])
    if pretrained and not isinstance(config.pretrained, Run) and _of_study(config):  # else its recipe has it
        command += f" --pretrained {shlex.quote(str(pretrained))}"
    if rank() == 0:  # the others get its weights
        contents = config.data.contents() if isinstance(config.data, DatasetSpec) else None
        written = folder / "config.json"
        started_with = json.dumps(asdict(config) | {"pretrained_sha256": digest, "contents": contents}, indent=1)
        before = written.read_bytes() if written.exists() else b""
        if (folder / "checkpoint.pt").exists() and before != started_with.encode():
            but = f"was interrupted with other initial weights, or its {written} is damaged"
            raise ValueError(f"{config.name} {but}: finish it with those, or remove {folder}, then: {command}")
        write_text(written, started_with)
        if pretrained:
            initialise_from(model, read_weights(pretrained))
        elif config.pretrained == IMAGENET:
            load_imagenet(model)
    drawn = config.scales, config.seed, config.recipe.sampling, config.views.stride
    train_clips = TrainingClips(train_set, config.num_segments, model.window, *drawn)
    val_clips = TestClips(val_set, config.num_segments, model.window, config.views)
    of_epochs = val_clips if config.recipe.schedule == "plateau" or on_epoch else None
    watch = functools.partial(on_epoch, folder, model) if on_epoch else None
    micro_batch = compute.micro_batch(config.recipe)
    loader = TrainingLoader(train_clips, config.recipe.batch, micro_batch)
    training = fit(model, loader, config.recipe, config.size, folder, device(), of_epochs, compute, on_step, watch)
    evaluation = evaluate(model, val_clips, device(), 2 * micro_batch, compute.dtype)
    one_view = replace(config.views, clips=1, crops=1)
    train_clips = TestClips(train_set, config.num_segments, model.window, one_view)
    fitted = evaluate(model, train_clips, device(), 2 * micro_batch, compute.dtype)
    if not len(evaluation.labels):
        raise ValueError(f"not one of {len(val_set)} validation videos could be read: {evaluation.unreadable[0]}")
    if rank() > 0:
        return
    training.save_history()  # a process killed after its last checkpoint has not written it
    evaluation.save(folder / "scores.npz")
    save_weights(model, config, val_set.class_names, folder / "weights.pt")
    seconds = round(sum(row["seconds"] for row in training.history), 1)
    manifest = {"run": config.name, "finished": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": seconds}
    manifest |= {"seed": config.seed, **environment(), "processes": world_size(), **asdict(compute)}
    manifest["command"] = command
    if isinstance(config.data, DatasetSpec):
        manifest |= {"data": contents, "dataset": config.data.name}
    if pretrained:
        manifest["pretrained"] = f"{pretrained.parent.name}/{pretrained.name}, sha256 {digest}"
    unreadable = training.unreadable | {str(path): reason for path, reason in train_set.unreadable()}
    metrics = evaluation.metrics(val_set.groups) | {
        "train_top1": fitted.top(1),  # of the training videos, as at test, in one view
        "train_of": len(train_set),
        "train_unreadable": [*unreadable.items()],
    }
    text = json.dumps(metrics, indent=1)
    files = {name: digest_of(folder / name) for name in FILES if name != "metrics.json"}
    files["metrics.json"] = hashlib.sha256(text.encode()).hexdigest()
    write_record(folder / "manifest.json", manifest, files)
    write_text(folder / "metrics.json", text)  # last: now the run is complete
