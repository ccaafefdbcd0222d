"""`tdn train FOLDER`, from the videos to the page: real files, small networks."""

import json
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.own import CLASSES, SMALL, folder_of
from PIL import Image

from tdn.__main__ import main
from tdn.data.disk.catalog import dataset_named
from tdn.data.pocket import render
from tdn.engine.inference import load_network
from tdn.own.survey import Survey, look_at


@pytest.fixture
def mine(tmp_path):
    return folder_of(tmp_path / "mine")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A place with a folder of videos, one of them broken, and what was printed while it was trained for two epochs."""
    root = tmp_path_factory.mktemp("finished")
    folder_of(root / "mine")
    (root / "mine/up/broken.mp4").write_bytes(b"no video\n" * 100)
    command = [sys.executable, "-m", "tdn", "train", str(root / "mine"), *SMALL, "--epochs", "2", "--patience", "9"]
    environment = {"TDN_HOME": str(root / "home"), "OMP_NUM_THREADS": "1", "PATH": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    return root, done.stdout


def test_it_says_what_it_will_do_and_for_how_long_before_it_does(finished):
    _, printed = finished
    lines = printed.splitlines()
    assert "data     3 classes: 15 videos to train on, 5 to 5 per class; 3 for validation" in lines[0]
    assert "missing or unreadable, left out: 1 (" in printed and "broken.mp4: " in printed
    assert "no clip is mirrored" in printed and "2 epochs in steps of 4 clips" in printed
    seconds = r"[\d.]+ s"
    told = f"^time     about {seconds}: decoding {seconds}, 2 epochs of {seconds}, evaluation {seconds}$"
    assert re.search(told, printed, re.MULTILINE)
    assert printed.index("time     about") < printed.index("top-1 of 3 validation videos")


def test_the_folder_has_all_that_is_promised(finished):
    root, printed = finished
    folder = root / "home/results/own/mine"
    assert f"open {folder}/index.html" in printed
    history, classes = pd.read_csv(folder / "history.csv"), pd.read_csv(folder / "classes.csv")
    assert len(history) == 2 and history["val_top1"].notna().all()
    confusion = pd.read_csv(folder / "confusion.csv", index_col=0)
    assert list(classes["class"]) == list(CLASSES) == list(confusion.index) and confusion.to_numpy().sum() == 3
    right = np.diag(confusion) / confusion.sum(axis=1)
    assert np.allclose(classes["top-1"], 100 * right)
    for name in ("curves", "confusion", "classes"):
        with Image.open(folder / f"{name}.png") as image:
            assert min(image.size) > 100
    page = (folder / "index.html").read_text()
    shown = re.findall(r'src="([^"]+)"', page)
    assert len(shown) >= 3 and all((folder / name).is_file() for name in shown)
    assert "broken.mp4" in page and f"{100 * right.mean():.1f} % top-1" in page
    assert len(list((folder / "mistakes").glob("*.png"))) == int((1 - right).sum())
    about = json.loads((folder / "manifest.json").read_text())
    assert "mine --out" in about["command"] and "3 classes, 16 + 3 videos" in about["data"]


def test_the_folder_is_a_network(finished, capsys):
    root, _ = finished
    folder, video = root / "home/results/own/mine", root / "mine/left/0.mp4"
    loaded = load_network(folder)
    assert loaded.class_names == list(CLASSES) and loaded.views.size == 48 and loaded.model.num_segments == 2
    best = torch.load(folder / "best.pt", weights_only=True)
    assert best["class_names"] == list(CLASSES) and best["network"] == {
        "name": loaded.name,
        "options": best["network"]["options"],
        "num_segments": 2,
    }
    assert main(["predict", str(video), "--weights", str(folder)]) == 0 and "left" in capsys.readouterr().out
    assert main(["cam", str(video), "--weights", str(folder), "-o", str(root / "maps")]) == 0
    assert main(["evaluate", "--weights", str(folder), "--dataset", str(root / "mine")]) == 0


def test_the_same_command_has_nothing_left_to_do_and_another_recipe_is_refused(finished, monkeypatch, capsys):
    root, _ = finished
    monkeypatch.setenv("TDN_HOME", str(root / "home"))
    command = ["train", str(root / "mine"), *SMALL, "--patience", "9"]
    before = (root / "home/results/own/mine/weights.pt").read_bytes()
    assert main([*command, "--epochs", "3"]) == 2
    assert "has the result of another recipe: epochs 2 (now 3). To train anew: --out FOLDER" in capsys.readouterr().err
    assert main(["train", str(root / "mine"), "--recipe", str(root / "home/results/own/mine/recipe.toml")]) == 0
    assert "nothing is left to train" in capsys.readouterr().out
    assert (root / "home/results/own/mine/weights.pt").read_bytes() == before


@pytest.mark.slow
def test_killed_at_any_moment_it_loses_at_most_an_epoch(mine, tmp_path):
    command = [sys.executable, "-m", "tdn", "train", str(mine), *SMALL, "--epochs", "12"]

    def started(home):
        environment = {"TDN_HOME": str(tmp_path / home), "OMP_NUM_THREADS": "1", "PATH": ""}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path)

    begun = started("killed")
    folder = tmp_path / "killed/results/own/mine"
    while not (histories := list(folder.glob("runs/*/history.csv"))) or len(pd.read_csv(histories[0])) < 3:
        assert begun.poll() is None, begun.stderr.read()
        time.sleep(0.05)
    begun.kill()
    begun.communicate()
    epochs = len(pd.read_csv(histories[0]))
    assert epochs < 12 and (histories[0].parent / "checkpoint.pt").exists()
    resumed, whole = started("killed"), started("whole")
    printed = resumed.communicate()[0].decode()
    whole.communicate()
    assert "it resumes where it was interrupted" in printed and whole.returncode == resumed.returncode == 0
    one, other = (torch.load(tmp_path / home / "results/own/mine/weights.pt") for home in ("killed", "whole"))
    assert all(torch.equal(one["model"][name], value) for name, value in other["model"].items()), "in the same bits"
    assert not list((tmp_path / "killed").rglob("*.part"))


@pytest.mark.slow
def test_several_processes_train_the_same_network(mine, tmp_path):
    environment = {"OMP_NUM_THREADS": "1", "PATH": ""}
    for home, devices in (("one", []), ("two", ["--devices", "2"])):
        command = [sys.executable, "-m", "tdn", "train", str(mine), *devices, *SMALL, "--device-batch", "2"]
        command += ["--precision", "fp32", "--epochs", "2"]
        done = subprocess.run(
            command, env=environment | {"TDN_HOME": str(tmp_path / home)}, capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode == 0 and done.stdout.count("top-1 of 3 validation videos") == 1, done.stderr
    one, two = (pd.read_csv(tmp_path / home / "results/own/mine/history.csv") for home in ("one", "two"))
    assert np.allclose(one["loss"], two["loss"], atol=1e-4)


@pytest.mark.slow
def test_compare_answers_whether_it_is_motion(mine, home, capsys):
    assert main(["train", str(mine), *SMALL, "--epochs", "2", "--compare", "2"]) == 0
    printed = capsys.readouterr().out
    folder = home / "results/own/mine"
    table = pd.read_csv(folder / "compare.csv")
    assert list(table["network"]) == [
        "TSN",
        "temporal convolution",
        "S-TDM",
        "TDN",
        "single frame",
        "TDN, segments shuffled",
    ]
    assert (table["seeds"] == 2).all() and table["TDN is better by"].isna().sum() == 1
    tdn_top1 = table.set_index("network")["top-1"]
    assert np.allclose(table["TDN is better by"].fillna(0), tdn_top1["TDN"] - table["top-1"])
    assert "segments shuffled" in printed and 'src="compare.png"' in (folder / "index.html").read_text()
    assert len(list((folder / "runs").iterdir())) == 12, "TDN's first seed is the network itself"


def test_training_ends_where_it_no_longer_helps(mine, home):
    log = ["--patience", "1", "--tensorboard"]
    assert main(["train", str(mine), *SMALL, "--epochs", "40", "--lr", "1e-9", *log]) == 0
    assert list((home / "results/own/mine/tensorboard").glob("events.out.tfevents.*"))
    history = pd.read_csv(home / "results/own/mine/history.csv")
    top1 = history["val_top1"]
    assert len(history) < 40 and top1.idxmax() == len(history) - 2, "one epoch after the best"
    assert f"{len(history)} of 40 epochs" in (home / "results/own/mine/index.html").read_text().replace("\n", " ")


def survey_of(root, home):
    return look_at(dataset_named(str(root)), home / ".data")


def test_odd_folders_are_described_or_refused(tmp_path, home, capsys):
    one = folder_of(tmp_path / "one class", names=["only"])
    assert main(["train", str(one), *SMALL]) == 2
    assert "one class only (only): there is nothing to tell apart" in capsys.readouterr().err
    odd = folder_of(tmp_path / "odd", each=12, names=["often", "also"])
    rare = odd / "rare"
    rare.mkdir()
    shutil.copy(odd / "also/0.mp4", rare)
    frames = render.render_clip(0, 0)
    render.encode(odd / "often/upright.mp4", frames[:, :, :40])
    render.encode(odd / "often/short.mp4", frames[:3])
    found = survey_of(odd, home)
    assert isinstance(found, Survey)
    text = "\n".join(found.lines(span=5))
    assert "classes with fewer than 5 training videos: 1 (rare)" in text
    assert "classes without a validation video: 1 (rare)" in text
    assert "classes are unbalanced" in text and "shorter than a window of 5 frames: 1 videos" in text
    assert "upright: 1 videos, of which the middle square is seen" in text
    assert found.kept_bytes(28) < found.kept_bytes(56) == found.kept_bytes(500)
    broken = tmp_path / "broken"
    for name in ("a/1.mp4", "a/2.mp4", "b/1.mp4", "b/2.mp4"):
        (broken / name).parent.mkdir(parents=True, exist_ok=True)
        (broken / name).write_bytes(b"no video\n" * 100)
    assert main(["train", str(broken), *SMALL]) == 2
    assert "not one of 2 training videos can be read: " in capsys.readouterr().err


def test_mirrored_classes_and_weights_to_begin_with(mine, home, capsys):
    command = ["train", str(mine), *SMALL, "--epochs", "1"]
    assert main([*command, "--mirror", "up=sideways"]) == 2
    assert "unknown class 'sideways'" in capsys.readouterr().err
    assert main([*command, "--mirror", "up"]) == 2 and "written A=B, not 'up'" in capsys.readouterr().err
    assert main([*command, "--mirror", "up=\udcff"]) == 2 and "names are no UTF-8" in capsys.readouterr().err
    assert main([*command, "--mirror", "--out", str(home / "first")]) == 0
    assert "half of the clips are mirrored" in capsys.readouterr().out
    assert main([*command, "--from", str(home / "first"), "--out", str(home / "second")]) == 0
    manifest = json.loads((home / "second/manifest.json").read_text())
    assert manifest["pretrained"].startswith("first/weights.pt, sha256 ")


def test_imagenet_weights_that_cannot_be_had(mine, home, monkeypatch, capsys):
    def no_network(*_):
        raise ConnectionError("no network: put resnet18.pth there.")

    monkeypatch.setattr("tdn.own.training.load_imagenet", no_network)
    monkeypatch.setattr("tdn.own.choice.LARGE", 10)
    assert main(["train", str(mine), "--size", "48", "--segments", "2", "--epochs", "1", "--batch", "8"]) == 0
    printed = capsys.readouterr().out
    assert "no network: put resnet18.pth there. Until then: from random weights." in printed and "ResNet-10" in printed
    assert main(["train", str(mine), "--from", "imagenet", "--out", str(home / "other")]) == 1
    assert "put resnet18.pth there" in capsys.readouterr().err
