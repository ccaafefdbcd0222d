"""From files on disk, in the layouts that data sets come in, through training to a row of a table."""

import dataclasses
import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import layouts
from helpers.reference import released_weights
from helpers.runs import weights

from tdn.__main__ import main
from tdn.book.lines import Line
from tdn.book.report import accuracy_table
from tdn.book.scoring import evaluate_weights, output_order, published_row
from tdn.data.clips import TestClips, TrainingClips
from tdn.data.disk.catalog import PUBLISHED, DatasetSpec
from tdn.data.sampling import Views
from tdn.engine.distributed import device
from tdn.engine.evaluation import Evaluation, evaluate
from tdn.engine.recipes import Recipe
from tdn.engine.trainer import Compute
from tdn.experiments import runs as experiment
from tdn.experiments.profiles import SMOKE
from tdn.experiments.runs import Run
from tdn.experiments.tables import Row, Table
from tdn.model.weights import load_model
from tdn.utils import write_text


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TDN_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(experiment, "device", lambda: torch.device("cpu"))
    experiment.video_sets.clear()
    yield tmp_path / "home"
    experiment.video_sets.clear()


def spec_of(name, tmp_path, monkeypatch):
    root = getattr(layouts, name)(tmp_path / name)
    if name not in PUBLISHED:
        return DatasetSpec(str(root))
    monkeypatch.setenv(f"TDN_{name.upper()}", str(root))
    return DatasetSpec(name)


def tiny(data):
    recipe = Recipe(epochs=1, batch=2, lr=0.01, micro_batch=1)
    return Run("tdn_resnet10", (("width", 8),), 4, data, 48, (1.0, 0.66), Views(2, 3, 48, 1.0), recipe, 0)


WHOLE = [name for name in (*PUBLISHED, "lists") if name != "gestures"]  # of which most clips are missing: test_gestures
LAYOUTS = [*(pytest.param(name, marks=pytest.mark.slow) for name in WHOLE), "folder"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_trains_two_steps_and_gives_a_row(name, tmp_path, monkeypatch):
    config = tiny(spec_of(name, tmp_path, monkeypatch))
    train, val = experiment.videos(config.data, tmp_path)
    result = experiment.run(config, tmp_path / "results", tmp_path)
    metrics = result.metrics
    assert len(result.history) == 1 and len(train) // 2 >= 2, "two steps"
    assert (metrics["videos"], metrics["of"], metrics["train_of"]) == (len(val), len(val), len(train))
    line = Line(Row("TDN", "tdn"), [result], [config])
    table = accuracy_table(Table("", "TDN", [line.row], ("TDN",)), [line])
    assert table["videos"].tolist() == [f"{len(val)} of {len(val)}"]
    assert table["measured top-1"].tolist() == [pytest.approx(100 * metrics["top1"])]
    scored = evaluate_weights(result.folder / "weights.pt", config.data, ["2x3", "1x1"], tmp_path)
    assert scored["top-1"].tolist()[0] == pytest.approx(100 * metrics["top1"]), "the file brings network and classes"
    assert scored["views"].tolist() == ["2x3", "1x1"]
    assert scored["GMACs"].tolist()[0] == pytest.approx(6 * scored["GMACs a view"].tolist()[0])


@pytest.mark.slow
def test_one_percent_of_broken_files_is_named_and_counted_and_nothing_more(tmp_path, home, monkeypatch):
    """500 clips, five of them broken, each in its own way; once without the index of a check, once with it."""
    root = tmp_path / "mine"
    for part, number in (("train", 400), ("val", 100)):
        for i in range(number):
            layouts.video_file(root / part / ("nodding", "waving")[i % 2] / f"{i:03d}.mp4", i % 3)
    broken = {"train/nodding/100": b"", "train/waving/101": b"<html>404</html>", "train/nodding/202": None}
    broken |= {"val/nodding/010": b"\x00" * 9000, "val/waving/011": None}
    broken = {root / f"{name}.mp4": content for name, content in broken.items()}
    for path, content in broken.items():
        path.write_bytes(path.read_bytes()[:1200] if content is None else content)
    spec, recipe = DatasetSpec(str(root)), Recipe(epochs=1, batch=40, lr=0.01)
    config = dataclasses.replace(tiny(spec), model="tsn_resnet10", recipe=recipe, views=Views(size=48))
    for checked in (False, True):
        if checked:
            assert main(["data", "check", str(root)]) == 1
            experiment.video_sets.clear()
            assert len(spec.videos(home / ".data")[0].known_unreadable) == 3
        result = experiment.run(config, tmp_path / f"results{checked}", home / ".data")
        metrics = result.metrics
        for part, key in (("train", "train_unreadable"), ("val", "unreadable")):
            assert {path for path, _ in metrics[key]} == {str(path) for path in broken if part in path.parts}
        assert (metrics["train_of"], metrics["videos"], metrics["of"]) == (400, 98, 100)
        assert len(result.history) == 1 and np.isfinite(result.history["loss"]).all()


def test_an_interrupted_epoch_resumes_where_it_was(tmp_path, monkeypatch):
    """A checkpoint after every step in place of every ten minutes; the disk fails in the middle of an epoch."""
    monkeypatch.setattr("tdn.engine.trainer.CHECKPOINT_SECONDS", 0)
    config = tiny(spec_of("k400", tmp_path, monkeypatch))
    config = dataclasses.replace(config, recipe=dataclasses.replace(config.recipe, epochs=2))
    whole = experiment.run(config, tmp_path / "whole", tmp_path)
    read, seen = TrainingClips.__getitem__, []

    def failing(self, video):
        seen.append((self.epoch, video))
        if len(seen) == 11:  # of 6 in an epoch
            raise OSError("the disk is gone")
        return read(self, video)

    monkeypatch.setattr(TrainingClips, "__getitem__", failing)
    monkeypatch.setattr("tdn.engine.loading.workers", lambda clips: {"num_workers": 0})
    with pytest.raises(OSError, match="the disk is gone"):
        experiment.run(config, tmp_path / "cut", tmp_path)
    before = len(seen)
    cut = experiment.run(config, tmp_path / "cut", tmp_path)
    assert len(seen) - before == 2, "only the step that was not done"
    assert all(torch.equal(weights(cut)[key], value) for key, value in weights(whole).items())
    assert whole.history["loss"].tolist() == cut.history["loss"].tolist()


def test_fine_tuning_is_initialised_from_another_network_but_for_its_classifier(tmp_path, monkeypatch):
    source, data = (tiny(spec_of(name, tmp_path, monkeypatch)) for name in ("k400", "ucf101"))
    recipe = dataclasses.replace(source.recipe, lr=1e-9)
    target = dataclasses.replace(source, data=data.data, recipe=recipe, pretrained=source)
    result = experiment.run(target, tmp_path / "results", tmp_path)
    before, after = (experiment.trained(run, tmp_path / "results").state_dict() for run in (source, target))
    alike = [key for key in before if "running" not in key and torch.allclose(before[key], after[key], atol=1e-5)]
    assert {key.rsplit(".", 1)[0] for key in before} - {key.rsplit(".", 1)[0] for key in alike} <= {"fc"}
    assert result.manifest["pretrained"].startswith(f"{source.name}/weights.pt, sha256 ")
    stored = experiment.stored(source, tmp_path / "results").folder / "weights.pt"
    file, other = stored.rename(tmp_path / "from_elsewhere.pt"), dataclasses.replace(target, seed=1)
    result = experiment.run(other, tmp_path / "results", tmp_path, pretrained=file)
    assert re.fullmatch(r".*/from_elsewhere\.pt, sha256 [0-9a-f]{64}", result.manifest["pretrained"])


@pytest.mark.slow
def test_a_released_checkpoint_gives_a_row_beside_the_published_one(tmp_path, monkeypatch):
    root = layouts.ssv2(tmp_path / "ssv2")
    labels = json.loads((root / "labels/labels.json").read_text())
    labels |= {f"Class {number}": str(number) for number in range(3, 174)}
    write_text(root / "labels/labels.json", json.dumps(labels))
    monkeypatch.setenv("TDN_SSV2", str(root))
    spec, file = DatasetSpec("ssv2"), tmp_path / "best.pth.tar"
    torch.save({"epoch": 60, "arch": "resnet50", "state_dict": released_weights("resnet50", "module.")}, file)
    with pytest.raises(ValueError, match="8 or 16"):
        load_model(file)
    (row,) = evaluate_weights(file, spec, ["1x1"], tmp_path / "kept", 8, size=64).to_dict("records")
    assert (row["network"], row["published top-1"], row["videos"]) == ("tdn_resnet50", 64.0, "3 of 3")
    assert row["GMACs a view"] < 35.6
    (folder,) = (tmp_path / "kept").iterdir()
    interrupted = experiment.stored(tiny(spec), tmp_path).folder
    write_text(interrupted / "checkpoint.pt", "")
    write_text(interrupted / "config.json", "{}")
    with pytest.raises(ValueError, match="interrupted with other initial weights"):
        experiment.run(tiny(spec), tmp_path, tmp_path, pretrained=file)
    kept = Evaluation.load(folder / "scores.npz")
    model, *_ = load_model(file, 8)
    _, val = spec.videos(tmp_path)
    expected = evaluate(model, TestClips(val, 8, 5, Views(size=64)), device())
    np.testing.assert_allclose(kept.scores, expected.scores, rtol=1e-3, atol=1e-3)
    wrong = pd.read_csv(folder / "confusion.csv")
    assert wrong["videos"].sum() == round((1 - kept.top(1)) * 3) and (wrong["class"] != wrong["answer"]).all()
    assert json.loads((folder / "about.json").read_text())["weights"].startswith("best.pth.tar, sha256 ")


def test_classes_in_another_order_are_put_right_by_their_names(video_sets):
    _, val = video_sets
    names = val.class_names[::-1]
    assert output_order(val, 24, names) == list(range(24))[::-1] and output_order(val, 24, None) == list(range(24))
    with pytest.raises(ValueError, match="has 23 classes, the data set 24"):
        output_order(val, 23, None)
    with pytest.raises(ValueError, match="1 of the data set's classes are none of the network's"):
        output_order(val, 24, ["something else", *val.class_names[1:]])


def test_the_published_number_is_that_of_the_same_views():
    kinetics, something = ("k400", "tdn_resnet50", 8), ("ssv2", "tdn_resnet101", 16)
    tsm, mine = ("k400", "tsm_resnet50", 8), ("mine", "tdn_resnet50", 8)
    assert published_row(*kinetics, Views(10, 3, 256, 1.0)) == {"published top-1": 76.6}
    assert published_row(*something, Views()) == {"published top-1": 66.9}
    for network, views in ((kinetics, 1), (something, 2), (tsm, 1), (mine, 1)):
        assert published_row(*network, Views(views)) == {}


@pytest.mark.slow
def test_torchrun_trains_named_runs_together(tmp_path, monkeypatch):
    """The command line of the study, on two processes, and what it leaves against a process alone."""
    environment = {"TDN_HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": "", "PATH": "/usr/bin:/bin"}
    name = SMOKE.pretrained().name
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, "-m", "tdn", "train", "--profile", "smoke", "--runs", name]
    how = {"env": environment, "capture_output": True, "text": True, "timeout": 200}
    refused, done = (subprocess.run([*command, *more], **how) for more in ([], ["--device-batch", "8"]))
    assert refused.returncode != 0 and "has only 1" in refused.stderr
    assert done.returncode == 0, done.stderr
    assert "batch 64 in micro-batches of 8 over 2 processes, learning rate 0.1 for that batch" in done.stdout
    result = experiment.Result(tmp_path / "results/smoke/runs" / name)
    assert result.manifest["processes"] == 2 and result.manifest["device_batch"] == 8
    assert (result.metrics["videos"], result.metrics["of"]) == (6, 6)
    alone = experiment.run(SMOKE.pretrained(), tmp_path / "alone", tmp_path / ".data", Compute(device_batch=8))
    assert result.history["loss"].tolist() == pytest.approx(alone.history["loss"].tolist(), abs=1e-4)
    np.testing.assert_allclose(result.evaluation.scores, alone.evaluation.scores, atol=1e-3)
