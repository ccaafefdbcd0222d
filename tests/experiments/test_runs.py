"""Runs: their identity, their files, and what happens to them when processes die or meet."""

import dataclasses
import json
import subprocess
import sys
import time

import pytest
import torch
from conftest import SPEC
from helpers.runs import TINY, on_the_cpu, weights, with_epochs  # noqa: F401 (a fixture)

from tdn.data.clips import TestClips, VideoSet
from tdn.data.pocket import render as pocket
from tdn.data.sampling import Views
from tdn.engine.evaluation import evaluate
from tdn.experiments import runs as experiment
from tdn.experiments.runs import Run

# A process that trains TINY, for so many epochs.
PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from helpers.runs import with_epochs
from tdn.experiments import runs as experiment
train = experiment._train
def train_and_note(*arguments):
    with open(sys.argv[4], "a") as file:
        file.write("made\\n")
    train(*arguments)
experiment._train = train_and_note
result = experiment.run(with_epochs(int(sys.argv[3])), Path(sys.argv[1]), Path(sys.argv[2]))
print(result.metrics["top1"])
"""


def start(results, data_root, epochs):
    (results / "program.py").write_text(PROGRAM.format(tests=__file__.rsplit("/", 2)[0]))
    command = [sys.executable, results / "program.py", results, data_root, str(epochs), results / "made"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_identity_covers_every_field_and_nothing_else(monkeypatch):
    other, recipe = dataclasses.replace(TINY, seed=1), dataclasses.replace(TINY.recipe, lr=0.02)
    values = {"model": ["tdn_resnet10"], "options": [(("dropout", 0.5), ("width", 16))], "num_segments": [3]}
    values |= {"data": [dataclasses.replace(SPEC, seed=6), pocket.PocketPart(SPEC, ("both",))], "size": [64]}
    values |= {"scales": [(0.8, 0.7)], "views": [Views(2, 1, 48, 0.8)], "recipe": [recipe], "seed": [1]}
    values |= {"pretrained": [TINY, other, experiment.IMAGENET]}
    assert list(values) == [field.name for field in dataclasses.fields(Run)], "a new field needs a line above"
    changed = [dataclasses.replace(TINY, **{name: value}) for name, of in values.items() for value in of]
    names = {run.name for run in [TINY, *changed]}
    assert len(names) == 14 and dataclasses.replace(TINY).name == TINY.name
    monkeypatch.setattr(pocket, "RENDER_VERSION", 99)
    assert TINY.name not in names, "other pixels, another run"


def test_a_run_leaves_its_files_and_is_not_repeated(tmp_path, data_root):
    result = experiment.run(TINY, tmp_path, data_root)
    whole = {"config.json", "history.csv", "scores.npz", "metrics.json", "manifest.json", "weights.pt"}
    assert {path.name for path in result.folder.iterdir()} - {".lock"} == whole
    metrics, evaluation = result.metrics, result.evaluation
    assert (metrics["videos"], metrics["of"], metrics["unreadable"]) == (19, 19, [])
    assert metrics["top1"] == pytest.approx(evaluation.correct.mean())
    videos, right = zip(*((of["videos"], of["videos"] * of["top1"]) for of in metrics["groups"].values()), strict=True)
    assert (sum(videos), sum(right)) == (19, pytest.approx(19 * metrics["top1"]))
    train, _ = experiment.videos(TINY.data, data_root)
    network, clips = experiment.trained(TINY, tmp_path), TestClips(train, TINY.num_segments, 1, TINY.views)
    assert metrics["train_top1"] == evaluate(network, clips, torch.device("cpu")).top(1), "as at test"
    assert len(result.history) == 4 and result.manifest["seed"] == 0
    assert json.loads((result.folder / "config.json").read_text())["recipe"]["lr"] == 0.01
    assert torch.equal(experiment.trained(TINY, tmp_path).fc.weight, weights(result)["fc.weight"])
    before = {path: path.stat().st_mtime_ns for path in result.folder.iterdir()}
    assert experiment.run(TINY, tmp_path, data_root).metrics == metrics
    assert {path: path.stat().st_mtime_ns for path in result.folder.iterdir()} == before


@pytest.mark.slow
def test_killed_and_started_again_twice_a_run_is_trained_once_and_ends_in_the_same_result(tmp_path, data_root):
    config = with_epochs(60)
    checkpoint = experiment.stored(config, tmp_path).folder / "checkpoint.pt"
    process = start(tmp_path, data_root, 60)
    while not checkpoint.exists():
        assert process.poll() is None, "ended before its first checkpoint"
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not experiment.stored(config, tmp_path).complete
    assert 1 <= len(torch.load(checkpoint, weights_only=True)["history"]) < 60
    processes = [start(tmp_path, data_root, 60) for _ in range(2)]
    results = [process.communicate(timeout=300)[0].splitlines()[-1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert (tmp_path / "made").read_text() == "made\n" * 2, "once before it was killed, once after"
    resumed, whole = experiment.stored(config, tmp_path), experiment.run(config, tmp_path / "whole", data_root)
    assert len(resumed.history) == 60 and results == [str(resumed.metrics["top1"])] * 2
    assert all(torch.equal(weights(resumed)[key], value) for key, value in weights(whole).items())
    assert resumed.metrics == whole.metrics


def test_a_run_is_initialised_from_the_weights_of_another(tmp_path, data_root):
    options = (("dropout", 0.5), ("l_tdm_stages", (3,)), ("s_tdm_stages", (1, 2)), ("width", 8))
    frozen = dataclasses.replace(TINY.recipe, lr=0.0, weight_decay=0.0, epochs=1)
    config = dataclasses.replace(TINY, model="tdn_resnet10", options=options, recipe=frozen, pretrained=TINY)
    after, start = weights(experiment.run(config, tmp_path, data_root)), weights(experiment.stored(TINY, tmp_path))
    assert torch.equal(after["stage3.0.conv1.weight"], start["stage3.0.conv1.weight"])
    assert torch.equal(after["s_tdm.2.cnn.0.conv2.weight"], start["stage2.0.conv2.weight"])
    mean = start["stage1.conv.weight"].mean(1, keepdim=True)
    assert torch.equal(after["s_tdm.1.cnn.conv.weight"], mean.expand(-1, 12, -1, -1))
    assert torch.equal(after["fc.weight"], config.create_model().fc.weight), "its own classifier"


def test_unreadable_videos_are_in_the_metrics(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(VideoSet, "keep_in_memory", lambda *_: False)  # as of a set too large for it
    spec = dataclasses.replace(SPEC, train=18, val=19, seed=7)
    folder = pocket.render_set(tmp_path, spec)
    sets = pocket.load(folder, spec)  # before they are damaged: a rendered clip would be compared with its digest
    monkeypatch.setattr(experiment, "videos", lambda *_: tuple(map(dataclasses.replace, sets)))
    empty, cut = folder / "train/00004.mp4", folder / "val/00011.mp4"
    empty.write_bytes(b"")
    cut.write_bytes(cut.read_bytes()[:20_000])
    config = dataclasses.replace(with_epochs(1), data=spec)
    for _ in range(2):  # made, and stored
        result = experiment.run(config, tmp_path, tmp_path)
        assert result.metrics["train_unreadable"] == [[str(empty), "empty file"]]
        ((path, reason),) = result.metrics["unreadable"]
        assert path == str(cut) and reason
        assert (result.metrics["videos"], result.metrics["of"]) == (18, 19)
        printed = capsys.readouterr().out
        assert all(f"1 of {of} videos could not be read:" in printed for of in ("18 training", "19 validation"))
    for path in (folder / "val").iterdir():
        path.write_bytes(b"no video")
    with pytest.raises(ValueError, match="not one of 19 validation videos"):
        experiment.run(dataclasses.replace(config, seed=9), tmp_path, tmp_path)
