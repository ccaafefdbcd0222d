"""One run: its configuration, its identity, its stored result."""

import functools
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torchvision
from filelock import FileLock, Timeout

from tdn.data import pocket
from tdn.data.clips import ClipDataset, VideoSet
from tdn.evaluate import Evaluation, evaluate
from tdn.files import write_text, write_whole
from tdn.model.resnet import VideoResNet
from tdn.model.weights import load_weights, start_from
from tdn.model.zoo import create_model
from tdn.train import PRECISIONS, Recipe, fit

CHECKOUT = Path(__file__).parents[1]
ROOT = Path(os.environ.get("TDN_HOME", CHECKOUT))  # where rendered data and results are kept
DATA = ROOT / ".data"
RESULT_VERSION = 2  # part of every run's identity: raise it when the same configuration gives another result


@dataclass(frozen=True)
class Run:
    """All that changes a result, and nothing else."""

    model: str  # as in `create_model`
    options: tuple[tuple[str, Any], ...]  # its options, as `zoo.resolve_options` gives them
    num_segments: int
    data: pocket.PocketSpec
    size: int  # pixels
    scales: tuple[float, ...]  # sides of the crops, as shares of the video's shorter side; the first at test
    recipe: Recipe
    seed: int
    start: "Run | None" = None  # a run of the plain 2D network, whose weights it starts from (`weights.start_from`)

    @property
    def name(self) -> str:
        """The model and ten digits of a hash over every field."""
        versions = {"result": RESULT_VERSION, "render": pocket.RENDER_VERSION}
        text = json.dumps(asdict(self) | versions, sort_keys=True)
        return f"{self.model}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"

    @property
    def updates(self) -> int:
        """Steps of the optimiser."""
        return self.recipe.epochs * max(self.data.train // self.recipe.batch, 1)

    def create_model(self) -> VideoResNet:
        """The network with this run's random start."""
        torch.manual_seed(self.seed)
        return create_model(self.model, len(pocket.CLASSES), self.num_segments, **dict(self.options))


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


def run(
    config: Run,
    results: Path,
    data: Path = DATA,
    device_batch: int | None = None,
    on_update: Callable[[int], None] | None = None,
) -> Result:
    """The stored result of `config`; where it is half done it is finished, where it is missing it is made.

    A second process that wants the same run waits for the first. Killed, it loses the epoch at hand.
    `device_batch` and `on_update` as in `train.fit`.
    """
    result = stored(config, results)
    if result.complete:
        _say_unreadable(result)
        return result
    start = run(config.start, results, data, device_batch) if config.start else None
    result.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(result.folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{config.name} is being trained by another process; waiting for it", flush=True)
        lock.acquire()
    try:
        if not result.complete:
            for part in result.folder.glob(".*.part"):  # of a killed process; the lock says that none is at work
                part.unlink()
            _make(config, start, result.folder, data, device_batch, on_update)
        (result.folder / "checkpoint.pt").unlink(missing_ok=True)
    finally:
        lock.release()
    _say_unreadable(result)
    return result


def trained(config: Run, results: Path) -> VideoResNet:
    """The network of a complete run with its weights, in evaluation. Raises FileNotFoundError where there is none."""
    return load_weights(config.create_model(), stored(config, results).folder / "weights.pt").eval()


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def videos(spec: pocket.PocketSpec, data: Path = DATA) -> tuple[VideoSet, VideoSet]:
    """Training and validation videos, rendered where missing; at every call the same objects, so that what one
    run has decoded into memory serves the next."""
    return _videos(spec, data)


@functools.lru_cache(maxsize=1)
def _videos(spec: pocket.PocketSpec, data: Path) -> tuple[VideoSet, VideoSet]:
    return pocket.load(pocket.render(data, spec))


def _make(
    config: Run,
    start: Result | None,
    folder: Path,
    data: Path,
    device_batch: int | None,
    on_update: Callable[[int], None] | None,
) -> None:
    write_text(folder / "config.json", json.dumps(asdict(config), indent=1))
    train_set, val_set = videos(config.data, data)
    train_set.keep_in_memory()
    val_set.keep_in_memory()
    train_unreadable = train_set.unreadable()
    if train_unreadable:
        readable = len(train_set) - len(train_unreadable)
        print(f"training on {readable} of {len(train_set)} videos, the others are unreadable")
    model = config.create_model()
    if start:
        weights = torch.load(start.folder / "weights.pt", map_location="cpu", weights_only=True)
        start_from(model, weights["model"])
    shape = (config.num_segments, model.window, config.scales)
    train_clips = ClipDataset(train_set, *shape, seed=config.seed)
    val_clips = ClipDataset(val_set, *shape)
    needs_validation = config.recipe.schedule == "plateau"
    history = fit(
        model,
        train_clips,
        config.recipe,
        config.size,
        folder,
        device(),
        config.seed,
        val_clips if needs_validation else None,
        device_batch,
        on_update,
    )
    precision = PRECISIONS[config.recipe.precision]
    evaluation = evaluate(model, val_clips, config.size, device(), precision=precision)

    if not len(evaluation.labels):
        raise ValueError(f"not one of {len(val_set)} validation videos could be read: {evaluation.unreadable[0]}")
    evaluation.save(folder / "scores.npz")
    write_whole(folder / "weights.pt", lambda file: torch.save({"model": model.state_dict()}, file))
    write_text(folder / "history.csv", pd.DataFrame(history).to_csv(index=False))
    write_text(folder / "manifest.json", json.dumps(_manifest(config, history), indent=1))
    metrics = _metrics(evaluation, val_set) | {
        "train_of": len(train_set),
        "train_unreadable": [[str(path), reason] for path, reason in train_unreadable],
        "train_second_decoder": [
            [str(train_set.videos[number].path), reason] for number, reason in train_set.second_decoder.items()
        ],
    }
    write_text(folder / "metrics.json", json.dumps(metrics, indent=1))  # last: now the run is complete


def _say_unreadable(result: Result) -> None:
    metrics = result.metrics
    for what, videos, of in (
        ("training videos could not be read", metrics["train_unreadable"], metrics["train_of"]),
        ("validation videos could not be read", metrics["unreadable"], metrics["of"]),
        ("training videos were read by PyAV, decord failed", metrics["train_second_decoder"], metrics["train_of"]),
        ("validation videos were read by PyAV, decord failed", metrics["second_decoder"], metrics["of"]),
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


def _manifest(config: Run, history: list[dict[str, float]]) -> dict[str, Any]:
    return {
        "run": config.name,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(sum(row["seconds"] for row in history), 1),
        "seed": config.seed,
        **environment(),
    }


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
