"""The table of notebook 04, paper / released code / here, measured in double precision against the published rules.

`python tests/test_departures.py` prints the measurements: what this project did before it followed the released code,
what it does now, and the largest difference of each from the public source."""

import dataclasses
import importlib
from collections import Counter
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from helpers.reference import randomise
from helpers.runs import TINY

import tdn
from tdn.data.sampling import Views, sample_windows, training_windows
from tdn.data.transforms import mirrored_labels, random_crop
from tdn.engine.inference import average_views
from tdn.engine.recipes import KINETICS, SOMETHING
from tdn.experiments import runs
from tdn.experiments.profiles import PROFILES
from tdn.experiments.tables import CSV_FOLDER
from tdn.model.weights import initialise_from
from tdn.utils import CHECKOUT

NAMES = Path(__file__).parent / "data/class_names/something.txt"


class Measured(NamedTuple):
    """`before` and `now` are the largest differences from `source`."""

    point: str
    before: float
    now: float
    what: str
    source: str


def motion_branch() -> Measured:
    source = randomise(tdn.create_model("tsn_resnet10", 3, 2, width=16)).double()
    model = initialise_from(tdn.create_model("tdn_resnet10", 3, 2, width=16).double(), source.state_dict())
    found, stem = model.s_tdm["1"].cnn.state_dict(), source.stage1.state_dict()
    released = {"bn.weight": 1.0, "bn.bias": 0.0, "bn.running_mean": 0.0, "bn.running_var": 1.0}
    before = max(float((stem[key] - value).abs().max()) for key, value in released.items())
    released["conv.weight"] = stem["conv.weight"].mean(1, keepdim=True).expand(16, 12, 7, 7)
    now = [float((found[key] - value).abs().max()) for key, value in released.items()]
    stage2 = model.s_tdm["2"].cnn.state_dict()
    now += [float((value - stage2[key]).abs().max()) for key, value in source.stage2.state_dict().items()]
    where = "MCG-NJU/TDN, the network's constructor"
    return Measured("start of the motion branch", before, max(now), "weights and statistics", where)


def views() -> Measured:
    scores = 5 * torch.randn(30, 174, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    released = scores.softmax(1).mean(0)
    before, now = (float((of.softmax(0) - released).abs().max()) for of in (scores.mean(0), average_views(scores)))
    return Measured("views", before, now, "probability, 30 views of 174 classes", "MCG-NJU/TDN, its test")


class Draws:
    """In place of a random generator: the draws that it is told, and how many there were of each."""

    def __init__(self, *values: int):
        self.values, self.of = iter(values), []

    def integers(self, n: int, size: int | None = None) -> int | np.ndarray:
        self.of.append(n)
        return next(self.values) if size is None else np.full(size, next(self.values))


def starts(frames: int, segments: int) -> tuple[np.ndarray, np.ndarray]:
    """Distributions `(T, starts)` of each segment's start: as cut evenly, and as drawn here."""
    possible = frames - 4
    edges = np.arange(segments + 1) * possible / segments
    covered = np.clip(edges[:, None] - np.arange(possible), 0, 1)  # of each start, up to each edge
    even = np.diff(covered, axis=0) * segments / possible
    drawn, draws = np.zeros_like(even), Draws(0)
    training_windows(frames, segments, 5, draws)
    for value in range(draws.of[0]):
        first = training_windows(frames, segments, 5, Draws(value))[:, 0]
        drawn[np.arange(segments), first] += 1 / draws.of[0]
    return even, drawn


def total_variation(frames: int, segments: int) -> tuple[float, float]:
    """Of ours before and now from the released rule, mean over segments: start i x length + randint(length)."""
    even, drawn = starts(frames, segments)
    length = (frames - 5 + 1) // segments
    released = np.zeros_like(even)
    for segment in range(segments):
        released[segment, segment * length : (segment + 1) * length] = 1 / length
    return tuple(float(np.abs(of - released).sum(1).mean() / 2) for of in (even, drawn))


CLIPS = {(300, 8): 0.0, (300, 16): 0.23, (72, 8): 0.26, (30, 8): 0.35, (30, 16): 0.95}


def training_frames() -> Measured:
    before, now = np.array([total_variation(*clip) for clip in CLIPS]).max(0)
    what = f"total variation of starts, L, T of {', '.join(map(str, CLIPS))}"
    return Measured("frames in training", before, now, what, "MCG-NJU/TDN, its data set")


def training_crops(height: int = 240, width: int = 320) -> Measured:
    sides = [int(scale * height) for scale in (1, 0.875, 0.75, 0.66)]
    released, squares, now = Counter(), Counter(), Counter()
    for (i, h), (j, w) in product(enumerate(sides), repeat=2):
        for y, x in product(range(5), repeat=2):  # quarters of what is free: the chessboard's squares of one colour
            if abs(i - j) <= 1 and (y + x) % 2 == 0:
                released[y * ((height - h) // 4), x * ((width - w) // 4), h, w] += Fraction(1, 130)
    for side in (round(scale * height) for scale in (1, 0.875, 0.75, 0.66)):
        places = (height - side + 1) * (width - side + 1)
        for top, left in product(range(height - side + 1), range(width - side + 1)):
            squares[top, left, side, side] += Fraction(1, 4 * places)
    for pair, place in product(range(10), range(13)):
        draws = Draws(pair, place)
        now[random_crop(draws, height, width, (1, 0.875, 0.75, 0.66), False)[:4]] += Fraction(1, 130)
        assert draws.of == [10, 13]
    before, now = (sum(abs(of[crop] - released[crop]) for crop in of | released) / 2 for of in (squares, now))
    return Measured("crops in training", float(before), float(now), "total variation", "TSN's multi-scale crops")


def mirrored() -> Measured:
    released = list(range(174))
    for one, other in ((86, 87), (93, 94), (166, 167)):
        released[one], released[other] = other, one
    wrong = sum(a != b for a, b in zip(mirrored_labels(NAMES.read_text().splitlines()), released, strict=True))
    return Measured("mirrored classes", 1, wrong, "classes of Something-Something", "MCG-NJU/TDN, its label map")


def short_videos() -> Measured:
    """The share of segments that do not start on frame 1, for 12 frames: kept."""
    apart = float((sample_windows(12, 8, 5)[:, 0] > 0).mean())
    return Measured("short videos at test", apart, apart, "segments not on frame 1, L 12, T 8", "MCG-NJU/TDN")


def r2plus1d() -> Measured:
    with torch.device("meta"):
        model = tdn.create_model("r2plus1d_resnet34", num_segments=32)
    found = [getattr(model.backbone, f"layer{number}")[0].conv2[0][0].out_channels for number in (2, 3, 4)]
    now = max(abs(have - middle) for have, middle in zip(found, (288, 576, 1152), strict=True))
    return Measured("R(2+1)D-34", 1152 - 921, now, "middle channels, stages 3 to 5", "facebookresearch/VMZ")


def stm() -> Measured:
    """A block with stride, written out: a batch norm more, another place and pool of CMM, other quarters."""
    torch.manual_seed(0)
    block = randomise(tdn.create_model("stm_resnet50", 3, 4, width=16)).double().eval().stage3[0]
    block.temporal.cstm.weight.data = type(block.temporal.cstm)(32, 4).weight.data.double()  # as it starts
    x = torch.randn(4, 64, 8, 8, dtype=torch.double)
    out = F.relu(block.bn1(block.conv1(x)))
    cmm = block.beside
    narrow = cmm.squeeze[1](cmm.squeeze[0](out))
    moved = torch.cat([cmm.align(narrow[1:]) - narrow[:-1], torch.zeros_like(narrow[:1])])
    motion = F.max_pool2d(cmm.restore(moved), 2)
    nothing = torch.zeros_like(out[:1, :8])
    parts = torch.cat([nothing, out[:-1, :8]]), out[:, 8:24], torch.cat([out[1:, 24:], nothing])
    spatial = block.conv2(torch.cat(parts, 1))
    end = block.downsample(x)
    published = F.relu(block.bn3(block.conv3(F.relu(block.bn2(spatial)) + motion)) + end)
    # Before: no norm in CMM, an average pool, the sum under the norm, the next segment's quarter first.
    narrow = cmm.squeeze[0](out)
    moved = torch.cat([cmm.align(narrow[1:]) - narrow[:-1], torch.zeros_like(narrow[:1])])
    parts = torch.cat([out[1:, :8], nothing]), torch.cat([nothing, out[:-1, 8:16]]), out[:, 16:]
    joined = block.conv2(torch.cat(parts, 1)) + F.avg_pool2d(cmm.restore(moved), 2)
    old = F.relu(block.bn3(block.conv3(F.relu(block.bn2(joined)))) + end)
    before, now = (float((of - published).abs().max()) for of in (old, block(x)))
    return Measured("STM", before, now, "features of a block", "STM.py and CMM.py of its first author")


def portrait_crops() -> Measured:
    """Pixels between the first crop and the centre crop, which is the released one, of 340 x 256: kept."""
    first, centre, _ = Views(crops=3, size=256, scale=1.0).squares(340, 256)
    apart = float(centre.top - first.top)
    return Measured(
        "crops of portrait videos at test", apart, apart, "pixels from the centre, 256 x 340", "MCG-NJU/TDN"
    )


def batch_and_rate() -> Measured:
    released = (SOMETHING, 64, 0.01, (30, 45, 55), 60), (KINETICS, 128, 0.02, (50, 75, 90), 100)
    now = float(any((of.batch, of.lr, of.steps, of.epochs) != tuple(values) for of, *values in released))
    return Measured("batch and rate", now, now, "0: all equal", "MCG-NJU/TDN, the training scripts")


MEASUREMENTS = (motion_branch, views, training_frames, training_crops, mirrored)
KEPT = (short_videos, portrait_crops)


@pytest.mark.parametrize("measure", [*MEASUREMENTS, r2plus1d, stm], ids=lambda of: of.__name__)
def test_what_follows_the_public_code_does_so_to_rounding(measure):
    with torch.no_grad():
        measured = measure()
    assert measured.now < 1e-12 < 1e-3 < measured.before, measured


def test_what_is_kept_differs_as_the_table_says():
    assert short_videos().now == 7 / 8 and portrait_crops().now == 42 and batch_and_rate().now == 0


@pytest.mark.parametrize(("clip", "before"), CLIPS.items())
def test_starts_of_training_windows_are_distributed_as_released(clip, before):
    assert total_variation(*clip) == (pytest.approx(before, abs=0.005), pytest.approx(0, abs=1e-12))


@pytest.mark.parametrize("sampling", ["released", "even"])
def test_a_run_draws_as_its_recipe_says_in_one_word(sampling, data_root, tmp_path, monkeypatch):
    assert {setting.recipe.sampling for setting in PROFILES["paper"].settings.values()} == {"released"}
    assert {PROFILES[name].settings["ssv1"].recipe.sampling for name in ("pocket", "smoke")} == {"even"}
    config = dataclasses.replace(TINY, recipe=dataclasses.replace(TINY.recipe, sampling=sampling))
    drawn = []
    monkeypatch.setattr(runs, "fit", lambda model, loader, *_: drawn.append(loader.clips) or {}["stop here"])
    with pytest.raises(KeyError, match="stop here"):
        runs.run(config, tmp_path, data_root)
    assert (drawn[0].sampling, drawn[0].scales) == (sampling, config.scales)
    with pytest.raises(ValueError, match="sampling must be one of released, even, not 'dense'"):
        dataclasses.replace(TINY.recipe, sampling="dense")


def test_the_table_has_a_row_for_each_and_the_code_leads_to_it():
    table = pd.read_csv(CSV_FOLDER / "departures.csv")
    with torch.no_grad():
        assert set(table["point"]) == {
            measure().point for measure in (*MEASUREMENTS, r2plus1d, stm, *KEPT, batch_and_rate)
        }
    assert table.notna().all(axis=None)
    for path in table["code"]:
        module, name = path.rsplit(".", 1)
        assert "departures, notebook 04" in " ".join(getattr(importlib.import_module(module), name).__doc__.split()), (
            path
        )
    assert "departures.csv" in (CHECKOUT / "notebooks/04_anatomy_of_tdn.ipynb").read_text("utf-8")


if __name__ == "__main__":
    with torch.no_grad():
        rows = [measure() for measure in (*MEASUREMENTS, short_videos, r2plus1d, stm, portrait_crops, batch_and_rate)]
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.2g}".format))
