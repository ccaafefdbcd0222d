"""The released network's reference cases: weights and inputs from seeds, scores from file (tests/data)."""

import csv
import zlib
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parent / "data"


def released_weights(backbone: str, prefix: str = "") -> dict[str, torch.Tensor]:
    """A state dict under the released names, e.g. for `resnet50`; each tensor is seeded by its own name."""
    state = {}
    with (DATA / f"official_keys_{backbone}.csv").open() as file:
        for row in csv.DictReader(file):
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
