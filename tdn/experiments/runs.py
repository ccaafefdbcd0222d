"""One run: its configuration, its identity, its stored result."""

import functools
import hashlib
import json
import platform
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torchvision
from filelock import FileLock, Timeout

from tdn.data.clips import TestClips, TrainingClips, VideoSet
from tdn.data.disk.catalog import DatasetSpec
from tdn.data.pocket import render as pocket
from tdn.data.sampling import Views
from tdn.engine.distributed import broadcast, device, rank, world_size
from tdn.engine.evaluation import Evaluation, evaluate
from tdn.engine.inference import to_device
from tdn.engine.recipes import Recipe
from tdn.engine.trainer import Compute, Training, fit
from tdn.model.resnet import VideoResNet
from tdn.model.weights import initialise_from, load_imagenet, load_weights, read_weights
from tdn.model.zoo import create_model
from tdn.utils import CHECKOUT, home, write_text, write_whole

ROOT = home()  # where rendered data and results are kept
DATA = ROOT / ".data"
IMAGENET = "imagenet"
RESULT_VERSION = 3  # part of every run's identity: raise it when the same configuration gives another result


@dataclass(frozen=True)
class Run:
    """All that changes a result, and nothing else."""

    model: str  # as in `create_model`
    options: tuple[tuple[str, Any], ...]  # its options, as `zoo.resolve_options` gives them
    num_segments: int
    data: pocket.PocketSpec | pocket.PocketPart | DatasetSpec
    size: int  # pixels, in training
    scales: tuple[float, ...]  # sides of the training crops, as shares of the video's shorter side
    views: Views  # at test
    recipe: Recipe
    seed: int
    pretrained: "Run | str | None" = (
        None  # whose weights it starts from (`weights.initialise_from`): a run's, or IMAGENET
    )

    @property
    def name(self) -> str:
        """The model and ten digits of a hash over every field."""
        versions = {"result": RESULT_VERSION, "render": pocket.RENDER_VERSION}
        text = json.dumps(asdict(self) | versions, sort_keys=True)
        return f"{self.model}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"

    def create_model(self) -> VideoResNet:
        """The network with this run's initialisation."""
        torch.manual_seed(self.seed)
        return create_model(self.model, self.data.num_classes, self.num_segments, **dict(self.options))


@dataclass(frozen=True)
class Result:
    """What a finished run left in `folder`: config.json, history.csv, scores.npz, metrics.json, manifest.json
    and weights.pt (for `tdn.load_weights`)."""

    folder: Path

    @property
    def complete(self) -> bool:
        return (self.folder / "metrics.json").exists()  # written last

    @functools.cached_property
    def metrics(self) -> dict[str, Any]:
        return json.loads((self.folder / "metrics.json").read_text())

    @functools.cached_property
    def manifest(self) -> dict[str, Any]:
        return json.loads((self.folder / "manifest.json").read_text())

    @functools.cached_property
    def evaluation(self) -> Evaluation:
        return Evaluation.load(self.folder / "scores.npz")

    @property
    def history(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "history.csv")


def stored(config: Run, results: Path) -> Result:
    """Where the result of `config` is or will be, below `results` (such as results/pocket)."""
    return Result(results / "runs" / config.name)


def impossible(config: Run, has_weights: bool = False) -> str | None:
    """Why this machine can't train `config`, in words for a person; None where it can. `has_weights`: with a weights
    file to initialise from."""
    if isinstance(config.data, DatasetSpec) and (reason := config.data.missing()):
        return reason
    if has_weights:
        return None
    if config.pretrained == IMAGENET and dict(config.options).get("conv2", "dense") != "dense":
        return (
            "it starts from a Res2Net trained on ImageNet, which torchvision does not have; --pretrained FILE takes one"
        )
    return impossible(config.pretrained) if isinstance(config.pretrained, Run) else None


def run(
    config: Run,
    results: Path,
    data: Path = DATA,
    compute: Compute = Compute(),  # noqa: B008 (it is frozen)
    on_step: Callable[[int], None] | None = None,
    pretrained: Path | None = None,
) -> Result:
    """The stored result of `config`; where it is half done it is finished, where it is missing it is made.

    A second process that wants the same run waits for the first. Killed, it loses the work since the last checkpoint.
    Under torchrun all processes call this, and the first writes. `compute` and `on_step` as in `fit`; `pretrained`
    is a weights file to initialise from in place of `config.pretrained`, which the manifest tells.
    """
    result = stored(config, results)
    if not broadcast(result.complete):
        if pretrained is None and isinstance(config.pretrained, Run):
            pretrained = run(config.pretrained, results, data, compute).folder / "weights.pt"
        with _alone(result.folder, config.name):
            if not broadcast(result.complete):
                _make(config, pretrained, result.folder, data, compute, on_step)
            if rank() == 0:
                (result.folder / "checkpoint.pt").unlink(missing_ok=True)
    if rank() == 0:
        _say_unreadable(result)
    return result


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """No other program is at work in this folder."""
    if rank() == 0:
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    waited = 0
    while not broadcast(rank() > 0 or _acquired(lock, 30 if waited else 0)):  # together, or the others time out
        if rank() == 0 and not waited:
            print(f"{name} is being trained by another process; waiting for it", flush=True)
        waited += 1
    try:
        if rank() == 0:
            for part in folder.glob(".*.part"):  # of a killed process; the lock says that none is at work
                part.unlink()
        yield
    finally:
        if rank() == 0:
            lock.release()


def _acquired(lock: FileLock, seconds: float) -> bool:
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        return False
    return True


def trained(config: Run, results: Path) -> VideoResNet:
    """The network of a complete run with its weights, in evaluation. Raises FileNotFoundError where there is none."""
    return load_weights(config.create_model(), stored(config, results).folder / "weights.pt").eval()


def scores(config: Run, results: Path, views: Views, data: Path = DATA, compute: Compute = Compute()) -> Evaluation:  # noqa: B008
    """A complete run's scores under these views; computed once and kept beside its own."""
    result = stored(config, results)
    if views == config.views:
        return result.evaluation
    path = result.folder / f"scores-{views}-{views.size}-{views.scale:.3f}.npz"
    if not path.exists():
        model = to_device(trained(config, results), device())
        _, val_set = videos(config.data, data)
        clips = TestClips(val_set, config.num_segments, model.window, views)
        evaluate(model, clips, device(), 2 * compute.part(config.recipe), compute.dtype).save(path)
    return Evaluation.load(path)


def videos(spec: pocket.PocketSpec | pocket.PocketPart | DatasetSpec, data: Path = DATA) -> tuple[VideoSet, VideoSet]:
    """Training and validation videos, rendered where missing; at every call the same objects, so that what one
    run has decoded into memory serves the next."""
    return _videos(spec, data)


@functools.lru_cache(maxsize=1)
def _videos(spec: pocket.PocketSpec | pocket.PocketPart | DatasetSpec, data: Path) -> tuple[VideoSet, VideoSet]:
    return spec.videos(data)


def updates(config: Run, data: Path = DATA) -> int:
    """Steps of the optimiser."""
    return config.recipe.epochs * max(len(videos(config.data, data)[0]) // config.recipe.batch, 1)


def _make(
    config: Run,
    pretrained: Path | None,
    folder: Path,
    data: Path,
    compute: Compute,
    on_step: Callable[[int], None] | None,
) -> None:
    train_set, val_set = videos(config.data, data)
    for video_set in (train_set, val_set):
        video_set.keep_in_memory(0.5 / world_size())
    if train_set.known_unreadable and rank() == 0:
        readable = len(train_set) - len(train_set.known_unreadable)
        print(f"training on {readable} of {len(train_set)} videos, the others are missing or unreadable")
    model = config.create_model()
    if rank() == 0:  # the others get its weights
        _note_start(folder, config, pretrained)
        if pretrained:
            initialise_from(model, read_weights(pretrained))
        elif config.pretrained == IMAGENET:
            load_imagenet(model)
    train_clips = TrainingClips(train_set, config.num_segments, model.window, config.scales, config.seed)
    val_clips = TestClips(val_set, config.num_segments, model.window, config.views)
    plateau_clips = val_clips if config.recipe.schedule == "plateau" else None
    training = fit(model, train_clips, config.recipe, config.size, folder, device(), plateau_clips, compute, on_step)
    evaluation = evaluate(model, val_clips, device(), 2 * compute.part(config.recipe), compute.dtype)

    if not len(evaluation.labels):
        raise ValueError(f"not one of {len(val_set)} validation videos could be read: {evaluation.unreadable[0]}")
    if rank() > 0:
        return
    evaluation.save(folder / "scores.npz")
    network = {"name": config.model, "options": dict(config.options), "num_segments": config.num_segments}
    about = {"network": network, "class_names": val_set.class_names, "views": asdict(config.views)}
    weights = {"model": model.state_dict(), **about}
    write_whole(folder / "weights.pt", lambda file: torch.save(weights, file))
    write_text(folder / "manifest.json", json.dumps(_manifest(config, training, compute, pretrained), indent=1))
    unreadable = training.unreadable | {str(path): reason for path, reason in train_set.unreadable()}
    by_decord = {str(train_set.videos[number].path): reason for number, reason in train_set.second_decoder.items()}
    metrics = _metrics(evaluation, val_set) | {
        "train_of": len(train_set),
        "train_unreadable": [[path, reason] for path, reason in unreadable.items()],
        "train_second_decoder": [[path, reason] for path, reason in (by_decord | training.second_decoder).items()],
    }
    write_text(folder / "metrics.json", json.dumps(metrics, indent=1))  # last: now the run is complete


def _note_start(folder: Path, config: Run, pretrained: Path | None) -> None:
    """Writes config.json; ValueError where the run is half done from another weights file."""
    digest = hashlib.sha256(pretrained.read_bytes()).hexdigest() if pretrained else None
    file = folder / "config.json"
    if (folder / "checkpoint.pt").exists() and file.exists():
        before = json.loads(file.read_text()).get("start_sha256")
        if before != digest:
            raise ValueError(
                f"{config.name} is half done from other weights (sha256 {before}, not {digest}): finish it with those, "
                f"or remove {folder}"
            )
    write_text(file, json.dumps(asdict(config) | {"start_sha256": digest}, indent=1))


def _say_unreadable(result: Result) -> None:
    metrics = result.metrics
    for what, videos, of in (
        ("training videos could not be read", metrics["train_unreadable"], metrics["train_of"]),
        ("validation videos could not be read", metrics["unreadable"], metrics["of"]),
        ("training videos were read by decord, PyAV failed", metrics["train_second_decoder"], metrics["train_of"]),
        ("validation videos were read by decord, PyAV failed", metrics["second_decoder"], metrics["of"]),
    ):
        if videos:
            print(f"{result.folder.name}: {len(videos)} of {of} {what}:")
            more = "  ..." if len(videos) > 10 else ""
            print("\n".join(f"  {path}: {reason}" for path, reason in videos[:10]), more)


def _metrics(evaluation: Evaluation, val_set: VideoSet) -> dict[str, Any]:
    metrics = {
        "top1": evaluation.top(1),
        "top5": evaluation.top(5),
        "videos": len(evaluation.labels),
        "of": len(val_set),
        "unreadable": [[str(path), reason] for path, reason in evaluation.unreadable],
        "second_decoder": [[str(path), reason] for path, reason in evaluation.second_decoder],
    }
    if val_set.groups:
        group = np.array(val_set.groups)[evaluation.labels]
        metrics["groups"] = {
            name: {
                "top1": float(evaluation.correct[group == name].mean()),
                "videos": int((group == name).sum()),
            }
            for name in dict.fromkeys(val_set.groups)
        }
    return metrics


def _manifest(config: Run, training: Training, compute: Compute, pretrained: Path | None) -> dict[str, Any]:
    manifest = {
        "run": config.name,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(sum(row["seconds"] for row in training.history), 1),
        "seed": config.seed,
        **environment(),
        "processes": world_size(),
        **asdict(compute),
    }
    if isinstance(config.data, DatasetSpec):
        manifest["data"] = f"annotation {config.data.fingerprint()}"
    if pretrained:
        manifest["pretrained"] = (
            f"{pretrained.parent.name}/{pretrained.name}, sha256 {hashlib.sha256(pretrained.read_bytes()).hexdigest()}"
        )
    return manifest


def environment() -> dict[str, Any]:
    """Commit, versions and device of this process."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "commit": _commit(),
        "device": gpu or f"CPU, {torch.get_num_threads()} threads",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": np.__version__,
    }


def _commit() -> str:
    """The commit of this checkout, marked where files under version control differ from it."""
    git = ["git", "-C", str(CHECKOUT)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "-uno", "tdn"], capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown: not a git checkout"
    return commit.stdout.strip() + (" with uncommitted changes in tdn/" if changed.stdout.strip() else "")
