"""`tdn train`, `tdn evaluate` and `tdn data`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import pandas as pd
import pytest
import torch
from helpers import layouts
from helpers.own import folder_of

import tdn
from tdn.__main__ import main
from tdn.engine.evaluation import Evaluation
from tdn.experiments import profiles
from tdn.experiments.profiles import PROFILES
from tdn.experiments.registry import all_runs, with_pretrained


@pytest.fixture(autouse=True)
def results(home, monkeypatch):
    monkeypatch.setattr(profiles, "ROOT", home)
    return home / "results"


def test_runs_are_listed_and_those_not_possible_with_the_reason(capsys, home):
    """The study goes on without them; a run that was asked for by name is an error."""
    assert main(["train", "--profile", "smoke", "--list"]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    runs = len(with_pretrained(all_runs(PROFILES["smoke"])))
    assert first.startswith(f"profile smoke: {runs} runs, 0 of them done")
    assert len(lines) == runs and all("to do" in line and "tdn train --profile smoke --runs " in line for line in lines)
    assert list(home.iterdir()) == [], "a list trains nothing"
    assert main(["train", "--profile", "paper", "--table", "s_tdm_fusion"]) == 0
    printed = capsys.readouterr().out
    assert "5 runs are not possible here: Something-Something V1" in printed and "TDN_SSV1=" in printed
    name = all_runs(PROFILES["paper"], ["s_tdm_fusion"])[0].name
    assert main(["train", "--profile", "paper", "--runs", name]) == 2
    assert "Something-Something V1" in capsys.readouterr().err


def test_evaluate_prints_a_row_per_view_and_keeps_the_scores(tmp_path, results, capsys):
    mine = layouts.folder(tmp_path / "mine")
    network = {"name": "tdn_resnet10", "options": {"width": 8}, "num_segments": 4}
    model = tdn.create_model("tdn_resnet10", 3, 4, width=8)
    torch.save({"model": model.state_dict(), "network": network}, tmp_path / "weights.pt")
    arguments = ["--dataset", str(mine), "--weights", str(tmp_path / "weights.pt"), "--size", "48"]
    assert main(["evaluate", *arguments, "--views", "1x1", "2x3", "--reader", "decord"]) == 0
    printed = capsys.readouterr().out
    assert "| 1x1 " in printed and "| 2x3 " in printed and "top-5" in printed
    kept = [str(folder) for folder in (results / "paper/runs").iterdir()]
    assert len(kept) == 2 and all(folder in printed for folder in kept)
    assert main(["evaluate", "--ensemble", *kept]) == 0 and "top-1" in capsys.readouterr().out
    shutil.copytree(mine, other := tmp_path / "other")
    (other / "nodding").rename(other / "shaking")
    assert main(["evaluate", *arguments, "--dataset", str(other)]) == 0
    others = [str(folder) for folder in (results / "paper/runs").iterdir() if str(folder) not in kept]
    assert main(["evaluate", "--ensemble", kept[0], *others]) == 2 and "of different data" in capsys.readouterr().err
    (results / "paper/runs" / kept[0] / "scores.npz").write_bytes(b"PK no scores")
    assert main(["evaluate", "--ensemble", *kept]) == 2 and "is damaged" in capsys.readouterr().err
    (tmp_path / "names.txt").write_text("one\ntwo\nthree\n")
    assert main(["evaluate", *arguments, "--classes", str(tmp_path / "names.txt")]) == 2
    assert "none of the network's" in capsys.readouterr().err
    for path in mine.rglob("*.*"):
        path.write_bytes(b"")
    assert main(["evaluate", *arguments]) == 1 and "videos can be read, such as" in capsys.readouterr().err


def test_evaluate_scores_all_of_another_folder_whatever_classes_it_has(tmp_path, results, capsys):
    trained, other = (folder_of(tmp_path / name, 2, names) for name, names in (("a", "xyz"), ("b", "zx")))
    model, weights = tdn.create_model("tsn_resnet10", 3, 2, width=8), tmp_path / "weights.pt"
    network = {"name": "tsn_resnet10", "options": {"width": 8}, "num_segments": 2}
    torch.save({"model": model.state_dict(), "network": network, "class_names": list("xyz")}, weights)
    arguments = ["evaluate", "--weights", str(weights), "--size", "48", "--dataset"]
    assert main([*arguments, str(other)]) == 0
    assert "scored: all 4 videos, 2 of the network's 3 classes" in capsys.readouterr().out
    (folder,) = (results / "paper/runs").iterdir()
    answers = Evaluation.load(folder / "scores.npz")
    assert answers.classes == 3 and sorted(answers.labels) == [0, 0, 2, 2]
    assert pd.read_csv(folder / "classes.csv")["videos"].tolist() == [2, 0, 2]
    assert main([*arguments, str(folder_of(tmp_path / "one of each", 1, "zx"))]) == 0
    assert "scored: all 2 videos" in capsys.readouterr().out
    weights.with_name("manifest.json").write_text(json.dumps({"dataset": str(trained)}))
    assert main([*arguments, str(trained)]) == 0
    assert "scored: the validation's 3 videos, 3 of the network's 3 classes" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("after", ["profile smoke: ", "needs "])  # planned; workers start
def test_ctrl_c_ends_a_training_in_one_line(tmp_path, after):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    options["preexec_fn"] = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    environment = os.environ | {"TDN_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "tdn", "train", "--profile", "smoke", "--jobs", "2"]
    process = subprocess.Popen(command, env=environment, **options)
    for line in process.stdout:
        if after in line:
            break
    if after == "needs ":
        time.sleep(1)  # while the workers start
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err
    assert err.splitlines()[-1] == "tdn train: interrupted; the same command resumes from the last checkpoint"


@pytest.mark.slow
def test_two_shards_at_once_train_each_run_once(tmp_path):
    """As of two machines with one folder. Both need the network that the others start from."""
    command = [sys.executable, "-m", "tdn", "train", "--profile", "smoke", "--table", "short_vs_long", "--jobs", "1"]
    environment = os.environ | {"TDN_HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
    shards = [subprocess.Popen([*command, "--shard", f"{shard}/2"], **options) for shard in (1, 2)]
    ended = [shard.communicate(timeout=300) for shard in shards]
    assert [shard.returncode for shard in shards] == [0, 0], ended
    runs = with_pretrained(all_runs(PROFILES["smoke"], ["short_vs_long"]))
    folders = {path.parent.name for path in (tmp_path / "results/smoke/runs").glob("*/metrics.json")}
    assert folders == {config.name for config in runs}
    (pretrained,) = {config.pretrained.name for config in runs if config.pretrained}
    assert all(out.count(f"{pretrained} seed 0: top-1") == 1 for out, _ in ended), "both need it"
