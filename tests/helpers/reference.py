"""The released network's reference cases: weights and inputs from seeds, scores from file (tests/data)."""

import csv
import json
import zlib
from pathlib import Path

import numpy as np
import torch

from tdn.engine.evaluation import Evaluation
from tdn.experiments.runs import Result
from tdn.utils import digest_of, write_record, write_text

DATA = Path(__file__).parents[1] / "data"


def released_weights(backbone: str, prefix: str = "") -> dict[str, torch.Tensor]:
    """A state dict under the released names, e.g. for `resnet50`; each tensor is seeded by its own name."""
    state = {}
    for row in csv.DictReader((DATA / f"official_keys_{backbone}.csv").read_text().splitlines()):
        key = row["key"].removeprefix("module.")
        shape = () if row["shape"] == "scalar" else tuple(int(n) for n in row["shape"].split("x"))
        state[prefix + key] = torch.from_numpy(_tensor(key, shape))
    return state


def reference_clip(segments: int, size: int) -> torch.Tensor:
    """Normalised clips (2, segments, 5, 3, size, size)."""
    values = np.random.RandomState(7).standard_normal((2, segments, 5, 3, size, size))
    return torch.from_numpy(values.astype(np.float32))


def reference_scores(case: str) -> torch.Tensor:
    """Scores (2, 174) of `resnet50_8f_112`, `resnet50_16f_112` or `resnet101_8f_112`."""
    return torch.from_numpy(np.load(DATA / "official_logits.npz")[case])


def _tensor(key: str, shape: tuple[int, ...]) -> np.ndarray:
    random = np.random.RandomState(zlib.crc32(key.encode()))
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if key.endswith("running_var") or (len(shape) == 1 and not key.endswith(("running_mean", "bias"))):
        values = random.uniform(0.5, 1.5, shape)
    elif key.endswith(("running_mean", "bias")):
        values = 0.1 * random.standard_normal(shape)
    else:
        values = random.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))
    return values.astype(np.float32)


def randomise(module):
    """Running statistics and affine parameters away from 0 and 1, so that a wrong one shows."""
    generator = torch.Generator().manual_seed(0)
    for name, value in module.state_dict().items():
        if value.dtype == torch.float32:
            noise = torch.rand(value.shape, generator=generator)
            value.copy_(noise + 0.5 if "var" in name else noise - 0.5)
    return module


def silent(module):
    """Names of the parameters that a backward pass has not reached."""
    return [name for name, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def stored(folder, correct, order=None, classes=18, **more):
    """A result whose i-th video is answered right where `correct[i]`, else with the class after it; stored in another
    `order` if told; with `more` in its metrics."""
    correct = np.array(correct)
    videos = np.arange(len(correct)) if order is None else np.array(order)
    labels = videos % classes
    scores = np.zeros((len(correct), classes), np.float32)
    scores[np.arange(len(videos)), np.where(correct[videos], labels, (labels + 1) % classes)] = 1
    Evaluation(scores, labels, videos).save(folder / "scores.npz")
    total = {"top1": float(correct.mean()), "videos": len(correct)}
    metrics = total | {"of": len(correct) + 1, "groups": {"short": total}} | more
    write_text(folder / "metrics.json", json.dumps(metrics))
    files = {name: digest_of(folder / name) for name in ("scores.npz", "metrics.json")}
    write_record(folder / "manifest.json", {"run": folder.name}, files)
    return Result(folder)
