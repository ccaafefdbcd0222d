"""A run belongs to what it was trained on: a data set that changed is said, and its old result is not taken for new."""

import dataclasses
import json
import os
import shutil

import pytest
from helpers import layouts
from helpers.runs import TINY, on_the_cpu  # noqa: F401 (a fixture)

from tdn.__main__ import main
from tdn.data.disk.catalog import DatasetSpec
from tdn.experiments import runs as experiment
from tdn.experiments.registry import plan

RECIPE = dataclasses.replace(TINY.recipe, epochs=2, batch=2)


def renamed(root):
    (root / "waving").rename(root / "waving a hand")


def grown(root):
    shutil.copytree(root / "nodding", root / "nodding twice")


def without_one(root):
    (root / "nodding/d.mp4").unlink()


def replaced(root):
    (root / "nodding/3.mp4").write_bytes(b"another video")


def relabelled(root):
    (root / "nodding/d.mp4").rename(root / "clapping hands/d.mp4")


def a_frame_less(root):
    next((root / "waving/c").glob("*.jpg")).unlink()


@pytest.mark.parametrize("change", [renamed, grown, without_one, replaced, relabelled, a_frame_less])
def test_what_a_network_learns_from(tmp_path, change):
    before = DatasetSpec(str(layouts.folder(tmp_path / "mine"))).contents()
    assert before.startswith("3 classes, 5 + 3 videos, sha256 ")
    moved = shutil.copytree(tmp_path / "mine", tmp_path / "moved")  # elsewhere, and written anew, it is the same
    assert DatasetSpec(str(moved)).contents() == before
    change(moved)
    assert DatasetSpec(str(moved)).contents() != before


def test_of_a_published_set_the_labels_count_and_no_time_of_change(tmp_path, monkeypatch):
    root = layouts.ssv2(tmp_path / "ssv2")
    monkeypatch.setenv("TDN_SSV2", str(root))
    before = DatasetSpec("ssv2").contents()
    os.utime(root / "labels/train.json", (1, 1))
    assert DatasetSpec("ssv2").contents() == before
    lists = root / "labels/train.json"
    entries = json.loads(lists.read_text())
    entries[0]["template"] = entries[1]["template"]
    lists.write_text(json.dumps(entries))
    assert DatasetSpec("ssv2").contents() != before


@pytest.mark.parametrize("finished", [True, False])
def test_the_result_of_other_data_is_not_used(tmp_path, finished, monkeypatch):
    root, results = layouts.folder(tmp_path / "mine"), tmp_path / "results"
    config = dataclasses.replace(TINY, data=DatasetSpec(str(root)), recipe=RECIPE)
    if finished:
        assert experiment.run(config, results).complete
    else:
        done = []

        def stop(steps):
            done.append(steps)
            if sum(done) == 3:  # of 4: the first epoch has its checkpoint
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            experiment.run(config, results, on_step=stop)
    folder = experiment.stored(config, results).folder
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    renamed(root)
    said = r"mine is not as it was when .* was trained \(3 classes, 5 \+ 3 videos, sha256 .*; now 3 classes.*move .*"
    with pytest.raises(ValueError, match=said):
        experiment.run(config, results)
    assert plan([config], results).impossible.keys() == {config} and not plan([config], results).done
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before, "nothing is lost"
    (root / "waving a hand").rename(root / "waving")
    assert experiment.run(config, results).complete
    shutil.rmtree(root)
    assert plan([config], results).done == [config], "without its data a result can still be read"


def test_the_command_says_it_too(tmp_path, home, capsys):
    root = layouts.folder(tmp_path / "mine")
    small = ["--width", "8", "--size", "48", "--segments", "2", "--epochs", "1", "--batch", "4"]
    command = ["train", str(root), *small]
    assert main(command) == 0 and main(command) == 0
    assert "nothing is left to train" in capsys.readouterr().out
    grown(root)
    assert main(command) == 2
    assert "4 classes" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["train", str(tmp_path / "empty")]) == 2
    assert "must hold <class>/<video>" in capsys.readouterr().err
