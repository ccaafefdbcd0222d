"""`tdn export`: the file gives the network's scores, and the example beside it runs it on a video."""

import json
import re
import subprocess
import sys

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from helpers.reference import randomise

import tdn
from tdn.__main__ import main
from tdn.data.pocket import render
from tdn.data.sampling import Views
from tdn.engine import export

NAMES = [f"Doing {number}" for number in range(24)]
VIEWS = Views(size=48, scale=48 / 56, stride=2)
ONCE = {"s_tdm_stages": (1,), "l_tdm_stages": (5,), "temporal_conv_stages": (5,)}  # less to translate, of each module


def network_and_results(folder, name="tdn_resnet10", segments=4, **options):
    """A network, and the folder of results that holds it."""
    torch.manual_seed(0)
    model = randomise(tdn.create_model(name, 24, segments, width=8, **options)).eval()
    if name == "tdn_resnet10":
        sharpen(model)
    views = {"size": 48, "scale": 48 / 56, "stride": 2}
    network = {"name": name, "options": {"width": 8, **options}, "num_segments": segments}
    folder.mkdir()
    content = {"model": model.state_dict(), "network": network, "class_names": NAMES, "views": views}
    torch.save(content, folder / "weights.pt")
    return model, folder


def sharpen(model):
    """Makes its scores vary from one stretch of a video to the next, so that a wrong frame shows."""
    frames = torch.from_numpy(rendered()).permute(0, 3, 1, 2)
    scores = torch.stack([tdn.predict(model, frames[start : start + 36], VIEWS) for start in range(0, 90, 10)])
    factor = 2 / scores.std(0)
    with torch.no_grad():
        model.fc.weight *= factor[:, None]
        model.fc.bias.copy_((model.fc.bias - scores.mean(0)) * factor)


def rendered():
    """129 frames."""
    return np.concatenate([render.render_clip(8, 3), render.render_clip(0, 4)])


def files_of(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def onnx(tmp_path_factory):
    model, folder = network_and_results(tmp_path_factory.mktemp("onnx") / "mine", **ONCE)
    assert main(["export", str(folder), "--onnx"]) == 0
    return model, folder


def test_onnx_gives_the_scores_of_the_network(onnx):
    model, folder = onnx
    assert files_of(folder) == ["model.json", "model.onnx", "stream.py", "weights.pt"]
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["N", 4, 5, 3, 48, 48]
    for number in (1, 3):
        clips = torch.randn(number, 4, 5, 3, 48, 48)
        (scores,) = session.run(["scores"], {"clips": clips.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(scores, model(clips), rtol=1e-4, atol=1e-4)
    about = json.loads((folder / "model.json").read_text())
    expected = {"file": "model.onnx", "segments": 4, "window": 5, "window_stride": 2, "size": 48, "scale": 48 / 56}
    expected |= {"class_names": NAMES, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert about.items() >= expected.items() and "(N, T, L, C, H, W)" in about["input"]


@pytest.mark.parametrize(("name", "segments"), [("tdn_resnet10", 4), ("tsm_resnet10", 3), ("tdrl_tsm_resnet10", 2)])
def test_torch_export_gives_the_scores_of_the_network(name, segments, tmp_path, monkeypatch, capfd):
    model, folder = network_and_results(tmp_path / "mine", name, segments, **ONCE if name == "tdn_resnet10" else {})
    monkeypatch.chdir(tmp_path)
    assert main(["export", "mine/weights.pt", "--torch-export"]) == 0
    out, err = capfd.readouterr()
    assert out.startswith("out/model.pt2, out/model.json: scores differ") and len(out.splitlines()) == 1 and not err
    assert files_of(tmp_path / "out") == ["model.json", "model.pt2"] and files_of(folder) == ["weights.pt"]
    exported = torch.export.load(tmp_path / "out/model.pt2").module()
    for number in (1, 3):
        clips = torch.randn(number, segments, model.window, 3, 48, 48)
        with torch.no_grad():
            torch.testing.assert_close(exported(clips), model(clips), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("height", "width", "tolerance"), [(56, 56, 0.1), (112, 150, 15)])
def test_the_example_answers_as_predict_does_for_the_last_seconds(height, width, tolerance, onnx, tmp_path):
    """It looks at 3 s, here 36 frames, after every tenth; at first there are fewer. Tolerances of probabilities are in
    %: of the rounding, and of another method of resizing."""
    model, folder = onnx
    frames = np.stack([cv2.resize(frame, (width, height)) for frame in rendered()])
    render.encode(tmp_path / "clip.mp4", frames)
    command = [sys.executable, folder / "stream.py", "clip.mp4"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    answers = re.findall(r"^ *([\d.]+) s  (Doing \d+)  ([\d.]+) %$", done.stdout, re.MULTILINE)
    assert len(answers) == len(done.stdout.splitlines()) == len(frames) // 10 and not done.stderr
    video, decoded = cv2.VideoCapture(str(tmp_path / "clip.mp4")), []
    while (frame := video.read()[1]) is not None:
        decoded.append(torch.from_numpy(frame[..., ::-1].transpose(2, 0, 1).copy()))
    for end, (seconds, name, probability) in zip(range(10, len(frames) + 1, 10), answers, strict=True):
        expected = 100 * tdn.predict(model, torch.stack(decoded[max(end - 36, 0) : end]), VIEWS).softmax(0)
        assert float(seconds) == pytest.approx(end / render.FRAMES_PER_SECOND, abs=0.01)
        assert float(probability) == pytest.approx(float(expected[NAMES.index(name)]), abs=tolerance)
        assert expected[NAMES.index(name)] > expected.max() - tolerance


def test_the_example_imports_nothing_of_tdn():
    imported = set(re.findall(r"^(?:import|from) (\w+)", export.STREAM.read_text(), re.MULTILINE))
    assert imported == {"collections", "cv2", "json", "numpy", "onnxruntime", "pathlib", "sys"}


def test_mistakes(tmp_path, monkeypatch, capsys):
    _, folder = network_and_results(tmp_path / "mine", "tsn_resnet10", 1)
    (tmp_path / "broken.pt").write_bytes((folder / "weights.pt").read_bytes()[:5000])
    (tmp_path / "names.txt").write_text("one\ntwo\n")
    for status, arguments, reason in (
        (2, [tmp_path / "broken.pt", "--onnx"], "is not a weights file that can be read"),
        (2, [tmp_path, "--onnx"], "is no checkpoint but a folder"),
        (2, [folder, "--onnx", "-o", folder / "weights.pt"], "is no folder"),
        (2, [folder, "--onnx", "--classes", tmp_path / "names.txt"], "2 class names"),
        (2, [folder, "--onnx", "--segments", "8"], "a network of 1 segments, not 8"),
        (2, [folder], "one of the arguments --onnx --torch-export is required"),
        (1, [folder, "--onnx"], "pip install onnxscript\n"),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "onnxscript", None)  # as if it were not installed
            try:
                found = main(["export", *map(str, arguments)])
            except SystemExit as end:
                found = end.code
        err = capsys.readouterr().err
        assert found == status and reason in err and len(err.splitlines()) == 1
    assert files_of(folder) == ["weights.pt"]


def test_nothing_is_written_where_scores_differ_or_are_not_finite(tmp_path, monkeypatch, capsys):
    _, folder = network_and_results(tmp_path / "mine", "tsn_resnet10", 1)
    other = randomise(tdn.create_model("tsn_resnet10", 24, 1, width=8)).eval()
    other.fc.bias.data[3] += 1
    monkeypatch.setattr(export, "optimize", lambda _: other)
    assert main(["export", str(folder), "--torch-export"]) == 1
    assert "more than 0.001: nothing was written" in capsys.readouterr().err
    content = torch.load(folder / "weights.pt", weights_only=True)
    content["model"]["fc.bias"][3] = torch.nan
    torch.save(content, folder / "weights.pt")
    assert main(["export", str(folder), "--torch-export"]) == 1
    assert "scores are not finite" in capsys.readouterr().err and files_of(folder) == ["weights.pt"]
