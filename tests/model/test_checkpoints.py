"""Files of weights: those of other people's training code, and those that are none."""

import argparse
import datetime
import os
import traceback
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel

import tdn
from tdn.__main__ import main
from tdn.model.checkpoints import require_network
from tdn.model.weights import load_model

NETWORK = {"name": "tdn_resnet10", "options": {"width": 8}, "num_segments": 4}


@pytest.fixture
def model():
    return tdn.create_model("tdn_resnet10", 5, 4, width=8)


def prefixed(prefix, state):
    return OrderedDict((prefix + name, value) for name, value in state.items())


def checkpoints(model):
    """Checkpoints as torch, timm, PyTorch Lightning and mmengine write them."""
    state, averaged = model.state_dict(), AveragedModel(model).state_dict()
    lightning = {"pytorch-lightning_version": "2.5", "hyper_parameters": {}, "loops": {}, "optimizer_states": [{}]}
    return {
        "compiled and DDP": {"model": prefixed("_orig_mod.module.", state)},
        "DDP and compiled": {"state_dict": prefixed("module._orig_mod.", state)},
        "three times": {"model": prefixed("module._orig_mod.module.", state)},
        "one stage compiled": {"model": {key.replace("stage2.", "stage2._orig_mod."): state[key] for key in state}},
        "AveragedModel": {"model": averaged},
        "AveragedModel of DDP": {"model_ema": prefixed("module.", averaged), "epoch": 3},
        "timm": {"state_dict_ema": state, "args": argparse.Namespace(lr=0.1), "metric": np.float64(71), "epoch": 3},
        "mmengine": {"ema_state_dict": prefixed("module.", state) | {"steps": torch.tensor(3)}, "meta": {}},
        "Lightning": lightning | {"state_dict": prefixed("model.", state)},
        "Lightning, compiled": lightning | {"state_dict": prefixed("net._orig_mod.", state)},
        "Lightning, other names": lightning | {"state_dict": prefixed("encoder.", state)},
        "Lightning, twice": lightning | {"state_dict": prefixed("model.backbone._orig_mod.", state), "ema_decay": 0.9},
        "Lightning with a loss": lightning
        | {"state_dict": prefixed("model.", state) | {"criterion.weight": torch.ones(5)}},
        "the network itself": dict(state),
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_found_whatever_wrote_them(zipped, model, tmp_path):
    for how, content in checkpoints(model).items():
        torch.save(content, tmp_path / "weights.pt", _use_new_zipfile_serialization=zipped)
        other = tdn.load_weights(torch.nn.DataParallel(tdn.create_model("tdn_resnet10", 5, 4, width=8)), content).module
        for state in (other.state_dict(), tdn.load_weights(other, tmp_path / "weights.pt").state_dict()):
            assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items()), how
        if how != "the network itself":
            torch.save(content | {"network": NETWORK}, tmp_path / "weights.pt")
            assert load_model(tmp_path / "weights.pt").name == "tdn_resnet10"


def test_of_several_networks_the_reader_chooses(model, tmp_path):
    state = model.state_dict()
    both = prefixed("model.", state) | prefixed("ema_model.module.", state)
    for content, named in (
        ({"state_dict": state, "state_dict_ema": state, "epoch": 3}, "several networks: state_dict, state_dict_ema"),
        ({"model": state, "model_ema": AveragedModel(model).state_dict()}, "several networks: model, model_ema"),
        ({"model": state, "ema": {"shadow_params": list(model.parameters())}}, "several networks: model, ema"),
        ({"model": state, "modelEMA": {"module": {"shadow": state}}}, "several networks: model, modelEMA"),
        ({"state_dict": both, "pytorch-lightning_version": "2.5"}, "several modules: model, ema_model"),
        ({"model": state | prefixed("module.", state)}, "weights twice, with and without module. or _orig_mod."),
    ):
        torch.save(content | {"network": NETWORK}, tmp_path / "weights.pt")
        with pytest.raises(ValueError, match=rf"weights\.pt holds {named}"):
            load_model(tmp_path / "weights.pt")


class Runs:
    """Its pickle runs a command when it is read by pickle."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def refused(path):
    """The message of `load_model`, which with all that Python shows of it never advises to load unsafely."""
    with pytest.raises(ValueError) as error:
        load_model(path)
    shown, message = "".join(traceback.format_exception(error.value)), str(error.value)
    assert message.startswith(f"{path} ") or message.startswith(f"{path}: ")
    assert "weights_only" not in shown.replace("torch.load(FILE, weights_only=True)", "").replace(
        'torch.load(path, map_location="cpu", weights_only=True)', ""
    )
    assert "\n" not in message
    return message.removeprefix(str(path)).lstrip(": ")


FIRST_BYTES = {
    b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1\n": "the text of a Git LFS pointer: fetch",
    b"\n<!DOCTYPE html><html><body>Sign in</body></html>": "a web page: download the file itself",
    b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>": "a web page",
    b"": "an empty file",
    b'{"message": "Not Found"}': 'a text file, which begins with \'{"message"',
    b"\x18" + bytes(7) + b'{"fc.weight":{"dtype":"F32"' + bytes(9): "a safetensors file",
    b"\x08\x08\x12\x07pytorch": "a network in the format ONNX",
    b"\x08\x01\x12\x8f\x02": "a network of TensorFlow (SavedModel)",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    bytes(48) + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb": "the index of a TensorFlow checkpoint",
    b"\x1f\x8b\x08" + bytes(20): "an archive: unpack it",
}


@pytest.mark.parametrize("content", FIRST_BYTES, ids=FIRST_BYTES.get)
def test_a_file_that_is_no_checkpoint_is_named_as_what_it_is(content, tmp_path):
    (tmp_path / "weights.pt").write_bytes(content)
    assert refused(tmp_path / "weights.pt").startswith(f"is no checkpoint but {FIRST_BYTES[content]}")


def test_archives_and_damaged_files(model, tmp_path):
    path = tmp_path / "weights.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("best.pth", "weights")
    assert "a zip archive of other files (best.pth): unpack it" in refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "code/__torch__.py", "constants.pkl", "version"):
            archive.writestr(f"net/{name}", "")
    assert "a network of TorchScript" in refused(path)
    with path.open("wb") as file:
        np.savez(file, a=np.ones(3))
    assert "a zip archive of other files (a.npy)" in refused(path)
    torch.save({"model": model.state_dict(), "network": NETWORK}, path)
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 4
    for content in (whole[: len(whole) // 2], bytes(changed), b"\x80\x02" + whole[:99], bytes(99)):
        path.write_bytes(content)
        assert "damaged or cut short; copy or download it again" in refused(path)
    assert "a folder: give the file in it" in refused(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no weights file at .*absent\.pt"):
        load_model(tmp_path / "absent.pt")


def test_a_file_that_needs_code_says_which_and_how_to_save_it(model, tmp_path, capsys):
    path, marker = tmp_path / "weights.pt", tmp_path / "marker"
    for content, code in (
        ({"model": model.state_dict(), "hyper_parameters": {"folder": tmp_path}}, "pathlib.PosixPath"),
        ({"model": model.state_dict(), "made": datetime.datetime(2026, 1, 1)}, "datetime.datetime"),
        (model, "tdn.model.resnet.VideoResNet"),
        ({"state_dict": {"fc.weight": pytest.approx(1)}}, "_pytest."),
        ({"model": model.state_dict(), "network": NETWORK, "more": Runs(marker)}, "posix.system"),
    ):
        for zipped in (True, False):
            torch.save(content, path, _use_new_zipfile_serialization=zipped)
            message = refused(path)
            assert f"it needs the code of {code}" in message and "torch.save(model.state_dict()" in message
    assert not marker.exists()
    assert main(["predict", "clip.mp4", "--weights", str(path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_odd_contents_are_named_with_the_file(model, tmp_path):
    state, path = model.state_dict(), tmp_path / "weights.pt"
    whole = {"model": state, "network": NETWORK}
    several = NETWORK | {"num_segments": "8"}
    for content, reason in (
        ([state], "holds no weights but a list"),
        (torch.ones(3), "holds no weights but a Tensor"),
        ({}, "it is empty"),
        ({"model": {}, "network": NETWORK}, "it has only model, network"),
        (torch.optim.SGD(model.parameters()).state_dict(), "it has only state, param_groups"),
        ({"model": {1: torch.ones(2, 2)}}, "1 is no tensor by name"),
        ({"model": state | {"epoch": 3}}, "'epoch' is no tensor by name but a int"),
        ({"model": state}, "does not hold its network"),
        ({"ema": {"shadow_params": list(model.parameters())}}, "it has only ema"),
        (whole | {"model": {"a.b.c.weight": torch.ones(2, 2), "a.b.d": torch.ones(5)}}, "names begin with 'a.b.'"),
        (whole | {"network": 3}, "its network is 3, not name"),
        (whole | {"network": {"name": "tdn_resnet10"}}, "its network is {'name': 'tdn_resnet10'}, not name"),
        (whole | {"network": several}, "num_segments (int)"),
        (whole | {"network": NETWORK | {"num_segments": 0}}, "need at least one segment"),
        (whole | {"network": NETWORK | {"name": "tdn_resnet11"}}, "did you mean tdn_resnet1"),
        (whole | {"network": NETWORK | {"options": {"widht": 8}}}, "did you mean width"),
        (whole | {"network": NETWORK | {"options": {"width": "8"}}}, "cannot be made with {'width': '8'}"),
        (whole | {"network": NETWORK | {"options": {"width": 10**6}}}, "does not fit this network"),
        (whole | {"class_names": ["one", "two"]}, "no list of 5 names"),
        (whole | {"class_names": "abcde"}, "no list of 5 names"),
        (whole | {"views": 3}, "its views are 3"),
        (whole | {"views": {"clips": 1, "size": 100_000}}, "its views are {'clips': 1, 'size': 100000}, not"),
        (whole | {"views": {"scale": 1.5}}, "'size': 2048, 'scale': 1, 'stride': 1000}"),
        (whole | {"views": {"sizes": 48}}, "its views are {'sizes': 48}"),
        (whole | {"model": state | {"fc.weight": torch.tensor(1.0)}}, "has no classifier"),
        (whole | {"model": dict(list(state.items())[3:])}, "missing stage1.conv.weight"),
    ):
        torch.save(content, path)
        assert reason in refused(path), reason


def test_the_network_inside_a_wrapper(model):
    wrapped = AveragedModel(torch.nn.DataParallel(torch.compile(model)))
    assert type(require_network(wrapped)) is type(model)
    with pytest.raises(ValueError, match="a Linear is no network of video clips"):
        require_network(torch.nn.DataParallel(torch.nn.Linear(1, 1)))
