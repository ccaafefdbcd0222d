"""`tdn predict` and `tdn cam`: a network and one's own videos."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from helpers.networks import save_network, small_tdn
from helpers.reference import released_weights
from PIL import Image

import tdn
from tdn.__main__ import main
from tdn.data.sampling import Views

NAMES = [f"Doing {number}" for number in range(24)]
VIEWS = Views(size=48, scale=48 / 56)


@pytest.fixture
def model():
    return small_tdn()


@pytest.fixture
def weights(model, tmp_path):
    return save_network(model, tmp_path / "weights.pt", NAMES, clips=3)


def test_predict_prints_a_table_or_json(model, weights, video, broken_videos, capsys):
    """What can't be read does not keep the others from their answers."""
    empty, best = broken_videos["empty"], NAMES[int(tdn.predict(model, video, VIEWS).argmax())]
    assert main(["predict", str(video), str(empty), str(video), "--weights", str(weights), "--top", "3"]) == 1
    out, err = capsys.readouterr()
    assert f"{empty}: empty file" in err
    assert out.count(best) == 2 and out.count(str(video)) == 2 and out.count("Doing") == 6
    for arguments, views in (
        ([], VIEWS),
        (["--views", "2x1", "--size", "40"], Views(2, 1, 40, 48 / 56)),
        (["--views", "2x1", "--reader", "decord"], Views(2, 1, 48, 48 / 56)),
    ):
        assert main(["predict", str(video), "--weights", str(weights), "--json", *arguments]) == 0
        (answer,) = json.loads(capsys.readouterr().out)
        scores = tdn.predict(model, video, views)
        np.testing.assert_allclose(answer["scores"], scores, rtol=1e-3)
        assert answer["video"] == str(video) and len(answer["top"]) == 5
        assert answer["top"][0]["class_name"] == NAMES[int(scores.argmax())]
        assert answer["top"][0]["probability"] == pytest.approx(float(scores.softmax(0).max()), rel=1e-3)


def test_mistakes(weights, video, tmp_path, capsys):
    (tmp_path / "names.txt").write_text("one\ntwo\n")
    for command, arguments, reason in (
        ("predict", ["--weights", str(video)], "is no checkpoint but a video"),
        ("predict", ["--classes", str(tmp_path / "names.txt")], "2 class names"),
        ("predict", ["--views", "ten"], "clips x crops"),
        ("cam", ["-o", str(weights)], "is no folder"),
        ("cam", ["--layer", "layer4"], "valid: stage1"),
        ("cam", ["--target", "Sleeping"], "no class is called 'Sleeping'"),
        ("cam", ["--target", "²"], "no class is called '²'"),
        ("cam", ["--target", "24"], "none of the network's 0 to 23"),
    ):
        assert main([command, str(video), "--weights", str(weights), *arguments]) == 2
        assert [reason in line for line in capsys.readouterr().err.splitlines()] == [True]


def test_cam_writes_pictures_and_prints_the_likeliest_classes(model, weights, video, broken_videos, tmp_path, capsys):
    out, options = tmp_path / "out", ["--frames", "all", "--target", "Doing 7"]
    assert main(["cam", str(video), "--weights", str(weights), "-o", str(out), *options]) == 0
    printed = capsys.readouterr().out
    assert printed.count("Doing") == 6 and "maps of 'Doing 7'" in printed
    assert sorted(path.name for path in out.iterdir()) == ["clip_cam.gif", "clip_cam.json", "clip_cam.png"]
    with Image.open(out / "clip_cam.gif") as animation, Image.open(out / "clip_cam.png") as strip:
        assert animation.n_frames == 4 and strip.width > 100
    about = json.loads((out / "clip_cam.json").read_text())
    maps = tdn.cam(model, video, "all", 7, views=VIEWS)
    assert about["explained"] == "Doing 7" and about["segments"] == list(maps.segments)
    assert about["CAM energy"] == pytest.approx(maps.energy.tolist(), abs=1e-4)
    assert about["top"][0]["class_name"] == NAMES[int(maps.scores.argmax())]
    path = broken_videos["truncated"]
    assert main(["cam", str(path), "--weights", str(weights), "-o", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err.startswith(f"tdn cam: {path}: ") and not (tmp_path / "none").exists()


def test_two_videos_of_one_stem_keep_their_pictures(weights, video, tmp_path):
    out, written = tmp_path / "out", {}
    videos = [
        tmp_path / "a/clip.mp4",
        tmp_path / "b/clip.mp4",
        tmp_path / "b/clip.avi",
        tmp_path / ("名" * 70 + ".mp4"),
    ]
    for copy in videos:
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(video, copy)
        assert main(["cam", str(copy), "--weights", str(weights), "-o", str(out)]) == 0
        (new,) = {path.stem for path in out.iterdir()} - set(written)
        written[new] = copy
    assert list(written)[:3] == ["clip_cam", "clip_cam_2", "clip_cam_3"] and len(list(out.iterdir())) == 12
    assert all(json.loads((out / f"{name}.json").read_text())["path"] == str(path) for name, path in written.items())
    assert main(["cam", str(videos[1]), "--weights", str(weights), "-o", str(out)]) == 0
    assert len(list(out.iterdir())) == 12, "the same video again takes the place of its pictures"


@pytest.mark.filterwarnings("error")
def test_odd_names_of_classes_are_one_line_each(model, weights, video, tmp_path, capsys):
    names = ["007", "a|b\nc", "<b>", "$x_1^{$", "\x1b[31mred", "打开", "long " * 999, *NAMES[7:]]
    content = torch.load(weights, weights_only=True) | {"class_names": names}
    torch.save(content, weights)
    for number in range(7):
        arguments = [str(video), "--weights", str(weights), "-o", str(tmp_path / "out"), "--target", str(number)]
        assert main(["cam", *arguments]) == 0
        printed = capsys.readouterr().out
        assert len(printed.splitlines()) == 6 and "\x1b" not in printed
        with Image.open(tmp_path / "out/clip_cam.png") as strip:
            assert strip.width < 500 and strip.height < 600, "the figure of one frame stays whole"
    assert main(["predict", str(video), "--weights", str(weights), "--top", "24"]) == 0
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 26 and "| 007 " in printed and "| <b> " in printed and "| a|b c " in printed


def test_a_name_that_is_not_utf_8(weights, video, tmp_path, capfd):
    path = video.rename(tmp_path / os.fsdecode(b"caf\xe9.mp4"))
    for command in (["predict"], ["cam", "-o", str(tmp_path / "out")]):
        assert main([*command, str(path), "--weights", str(weights)]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 3 and r"\udce9" in capfd.readouterr().out


@pytest.mark.slow
def test_maps_from_a_released_file(video, tmp_path, capsys):
    file = tmp_path / "best.pth.tar"
    torch.save({"epoch": 60, "arch": "resnet50", "state_dict": released_weights("resnet50", "module.")}, file)
    assert main(["cam", str(video), "--weights", str(file)]) == 2
    assert "8 or 16" in capsys.readouterr().err
    arguments = ["--weights", str(file), "--segments", "8", "--frames", "all", "--size", "112", "-o", str(tmp_path)]
    assert main(["cam", str(video), *arguments]) == 0
    about = json.loads((tmp_path / "clip_cam.json").read_text())
    assert about["segments"] == list(range(8)) and sum(about["CAM energy"]) == pytest.approx(1, abs=1e-3)
    assert about["explained"].startswith("class ")
