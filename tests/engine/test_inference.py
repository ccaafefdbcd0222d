"""The scores of single videos; the commands for one's own videos."""

import json
import os

import numpy as np
import pytest
import torch
from helpers.reference import randomise, released_weights
from PIL import Image

import tdn
from tdn.commands import cam as cam_command
from tdn.commands.predict import main
from tdn.data.clips import TestClips
from tdn.data.pocket import render as pocket
from tdn.data.sampling import Views
from tdn.engine.evaluation import evaluate

NAMES = [f"Doing {number}" for number in range(18)]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return randomise(tdn.create_model("tdn_resnet10", 18, 4, width=8)).eval()


@pytest.fixture
def weights(model, tmp_path):
    network = {"name": "tdn_resnet10", "options": {"width": 8}, "num_segments": 4}
    views = {"clips": 3, "crops": 1, "size": 48, "scale": 48 / 56}
    content = {"model": model.state_dict(), "network": network, "class_names": NAMES, "views": views}
    torch.save(content, tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


@pytest.fixture
def video(tmp_path):
    pocket.encode(tmp_path / "clip.mp4", pocket.render_clip(8, 3))
    return tmp_path / "clip.mp4"


@pytest.mark.parametrize("views", [Views(size=48), Views(3, 2, size=40, scale=0.8)])
def test_the_scores_are_those_of_the_evaluation(model, video_sets, views):
    _, val = video_sets
    expected = evaluate(model, TestClips(val, 4, 5, views), torch.device("cpu")).scores
    for number in (0, 7):
        scores = tdn.predict(model, val.videos[number].path, views)
        assert scores.shape == (18,) and scores.dtype == torch.float32
        np.testing.assert_allclose(scores, expected[number], rtol=1e-4, atol=1e-5)


def test_the_network_ends_as_it_was_and_broken_weights_are_said(model, video):
    tdn.predict(model.train(), video, Views(size=48))
    assert model.training
    model.fc.bias.data[3] = torch.inf
    with pytest.raises(FloatingPointError, match="not finite"):
        tdn.predict(model, video, Views(size=48))


def test_the_command_prints_a_table_or_json(model, weights, video, broken_videos, capsys):
    """What can't be read does not keep the others from their answers."""
    empty = broken_videos["empty"]
    of_file = Views(size=48, scale=48 / 56)
    scores = tdn.predict(model, video, of_file)
    assert main([str(video), str(empty), str(video), "--weights", str(weights), "--top", "3"]) == 1
    out, err = capsys.readouterr()
    assert f"{empty}: empty file" in err
    best = NAMES[int(scores.argmax())]
    assert out.count(best) == 2 and out.count(str(video)) == 2 and out.count("Doing") == 6

    assert main([str(video), "--weights", str(weights), "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["video"] == str(video) and answer["top"][0]["class_name"] == best and len(answer["top"]) == 5
    np.testing.assert_allclose(answer["scores"], scores, rtol=1e-5)
    assert answer["top"][0]["probability"] == pytest.approx(float(scores.softmax(0).max()), rel=1e-5)

    assert main([str(video), "--weights", str(weights), "--json", "--views", "2x1", "--size", "40"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    np.testing.assert_allclose(answer["scores"], tdn.predict(model, video, Views(2, 1, 40, 48 / 56)), rtol=1e-4)
    assert main([str(video), "--weights", str(weights), "--json", "--views", "2x1"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    np.testing.assert_allclose(answer["scores"], tdn.predict(model, video, Views(2, 1, 48, 48 / 56)), rtol=1e-4)


def test_mistakes_in_the_command(weights, video, tmp_path, capsys):
    (tmp_path / "names.txt").write_text("one\ntwo\n")
    for command, arguments, said in (
        (main, ["--weights", str(tmp_path / "none.pt")], "no weights file at"),
        (main, ["--weights", str(video)], "not a weights file"),
        (main, ["--weights", str(weights), "--classes", str(tmp_path / "names.txt")], "2 names of classes for the 18"),
        (main, ["--weights", str(weights), "--views", "ten"], "clips x crops"),
        (main, ["--weights", str(weights), "--top", "0"], "--top is a number of classes, 1 or more"),
        (cam_command.main, ["--weights", str(weights), "-o", str(weights)], "is no folder"),
        (cam_command.main, ["--weights", str(weights), "--layer", "layer4"], "valid: stage1"),
        (cam_command.main, ["--weights", str(weights), "--target", "Sleeping"], "no class is called 'Sleeping'"),
        (cam_command.main, ["--weights", str(weights), "--target", "18"], "none of the network's 0 to 17"),
    ):
        with pytest.raises(SystemExit) as end:
            command([str(video), *arguments])
        assert end.value.code == 2 and said in capsys.readouterr().err


@pytest.mark.parametrize(("frames", "shown"), [("all", 4), ("center", 1)])
def test_the_command_for_maps_writes_pictures_and_the_likeliest_classes(
    model, weights, video, tmp_path, frames, shown, capsys
):
    out = tmp_path / "out"
    arguments = [str(video), "--weights", str(weights), "--frames", frames, "--target", "Doing 7", "-o", str(out)]
    assert cam_command.main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.count("Doing") == 6 and "maps of 'Doing 7'" in printed
    assert sorted(path.name for path in out.iterdir()) == ["clip_cam.gif", "clip_cam.json", "clip_cam.png"]
    with Image.open(out / "clip_cam.gif") as animation, Image.open(out / "clip_cam.png") as strip:
        assert animation.n_frames == shown and strip.width > 100
    about = json.loads((out / "clip_cam.json").read_text())
    maps = tdn.cam(model, video, frames, 7, views=Views(size=48, scale=48 / 56))
    assert about["explained"] == "Doing 7" and about["segments"] == list(maps.segments)
    assert about["share of the heat"] == pytest.approx(maps.weights.tolist(), abs=1e-4)
    assert about["top"][0]["class_name"] == NAMES[int(maps.scores.argmax())]


def test_an_unreadable_video_leaves_no_pictures(weights, broken_videos, tmp_path, capsys):
    path = broken_videos["truncated"]
    assert cam_command.main([str(path), "--weights", str(weights), "-o", str(tmp_path / "out")]) == 1
    assert str(path) in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_name_that_is_not_utf_8(weights, video, tmp_path, capfd):
    path = video.rename(tmp_path / os.fsdecode(b"caf\xe9.mp4"))
    assert main([str(path), "--weights", str(weights)]) == 0
    assert cam_command.main([str(path), "--weights", str(weights), "-o", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 3 and r"\udce9" in capfd.readouterr().out


def test_maps_from_a_released_file(video, tmp_path, capsys):
    file = tmp_path / "best.pth.tar"
    torch.save({"epoch": 60, "arch": "resnet50", "state_dict": released_weights("resnet50", "module.")}, file)
    with pytest.raises(SystemExit):
        cam_command.main([str(video), "--weights", str(file)])
    assert "8 or 16" in capsys.readouterr().err
    arguments = ["--weights", str(file), "--segments", "8", "--frames", "all", "--size", "112", "-o", str(tmp_path)]
    assert cam_command.main([str(video), *arguments]) == 0
    about = json.loads((tmp_path / "clip_cam.json").read_text())
    assert about["segments"] == list(range(8)) and sum(about["share of the heat"]) == pytest.approx(1, abs=1e-3)
    maps = tdn.cam(tdn.load_weights(tdn.create_model("tdn_resnet50"), file), video, "all", views=Views(size=112))
    assert about["explained"] == f"class {maps.target}" and maps.maps.max() == 1
