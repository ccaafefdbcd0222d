"""Released checkpoints, our own, and initialisation from ImageNet."""

from unittest import mock

import pytest
import torch
import torchvision
from helpers.reference import randomise, reference_clip, reference_scores, released_weights

import tdn
from tdn.model.weights import initialise_from, read_weights

SLOW = [pytest.param(case, marks=pytest.mark.slow) for case in ("resnet50_16f_112", "resnet101_8f_112")]


@pytest.mark.parametrize("case", ["resnet50_8f_112", *SLOW])
def test_released_weights_give_the_released_scores(case):
    backbone, frames, size = case.split("_")
    segments = int(frames.removesuffix("f"))
    model = tdn.create_model(f"tdn_{backbone}", num_segments=segments).eval()
    tdn.load_weights(model, released_weights(backbone))
    with torch.no_grad():
        for form in (model, tdn.optimize(model).to(memory_format=torch.channels_last)):
            scores = form(reference_clip(segments, int(size)))
            torch.testing.assert_close(scores, reference_scores(case), rtol=0, atol=1e-3)


def test_a_released_checkpoint_file_loads_with_its_prefix_and_our_own_round_trips(tmp_path):
    path = tmp_path / "best.pth.tar"
    torch.save({"epoch": 60, "arch": "resnet50", "state_dict": released_weights("resnet50", "module.")}, path)
    from_file, from_dict = read_weights(path), read_weights(released_weights("resnet50"))
    torch.save({"state_dict": released_weights("resnet50", "backbone.")}, tmp_path / "lightning.ckpt")
    assert read_weights(tmp_path / "lightning.ckpt").keys() == from_file.keys()
    assert from_file.keys() == from_dict.keys() == tdn.create_model("tdn_resnet50").state_dict().keys()
    assert all(torch.equal(from_file[key], from_dict[key]) for key in from_dict)

    model, other = (tdn.create_model("tdn_resnet10", 6, width=16) for _ in range(2))
    torch.save({"model": model.state_dict(), "epoch": 3}, tmp_path / "ours.pth")
    tdn.load_weights(other, tmp_path / "ours.pth")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))


def test_what_does_not_fit_is_named_and_weights_of_another_network_are_refused():
    state = released_weights("resnet50")
    del state["base_model.layer3_bak.1.conv2.weight"]
    state["base_model.layer3_bak.1.conv9.weight"] = torch.zeros(1)
    named = r"(?s)missing stage4\.1\.conv2\.w.*unexpected stage4\.1\.conv9\.w.*fc\.weight is \(174, 2048\), .*\(400, "
    with pytest.raises(ValueError, match=named):
        tdn.load_weights(tdn.create_model("tdn_resnet50", num_classes=400), state)

    state = tdn.create_model("tsn_resnet10", 3, 2, width=8).state_dict()
    with pytest.raises(ValueError, match=r"(?s)the 2D network does not fit.*stage1\.conv\.weight is"):
        initialise_from(tdn.create_model("tdn_resnet10", 3, 2, width=16), state)
    attention = tdn.create_model("tdn_resnet10", 3, 2, width=8, s_tdm_fusion="F*H_channel", s_tdm_input="concat")
    assert initialise_from(attention, state).s_tdm["1"].cnn.conv.weight.shape == (8, 15, 7, 7)


def test_imagenet_weights_in_the_stages_and_the_motion_branch(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", mock.Mock(side_effect=OSError("no route to host")))
    with pytest.raises(ConnectionError, match=f"resnet50-0676ba61.pth .* into {tmp_path / 'checkpoints'}"):
        tdn.load_imagenet(tdn.create_model("tdn_resnet50"))
    others = {"tdn_resnet10": "no ImageNet weights", "tea_resnet50": "no ImageNet weights of Res2Net"}
    for name, answer in {**others, "slowonly_resnet50": "SlowOnly cannot be initialised from .* a 2D ResNet"}.items():
        with pytest.raises(ValueError, match=answer):
            tdn.load_imagenet(tdn.create_model(name))

    (tmp_path / "checkpoints").mkdir(exist_ok=True)
    (tmp_path / "checkpoints/resnet50-0676ba61.pth").write_text("<html>")
    with pytest.raises(ValueError, match=r"resnet50-0676ba61\.pth is no checkpoint but a web page"):
        tdn.load_imagenet(tdn.create_model("tdn_resnet50"))
    for name, file in (("resnet50", "resnet50-0676ba61.pth"), ("resnet18", "resnet18-f37072fd.pth")):
        source = getattr(torchvision.models, name)().eval()
        torch.save(source.state_dict(), tmp_path / "checkpoints" / file)
        plain = tdn.load_imagenet(tdn.create_model(f"tsn_{name}", 1000, 1)).eval()
        plain.fc.load_state_dict(source.fc.state_dict())
        clip = torch.randn(2, 1, 1, 3, 64, 64)
        with torch.no_grad():
            torch.testing.assert_close(plain(clip), source(clip.flatten(0, 2)))

    model = tdn.load_imagenet(tdn.create_model("tdn_resnet18"))
    assert torch.equal(model.stage3[1].conv2.weight, source.layer2[1].conv2.weight)
    assert torch.equal(model.s_tdm["2"].cnn[0].conv1.weight, source.layer1[0].conv1.weight)
    stem = model.s_tdm["1"].cnn.conv.weight
    torch.testing.assert_close(stem, source.conv1.weight.mean(1, keepdim=True).expand(64, 12, 7, 7))


def test_the_motion_stem_gets_the_convolution_and_later_stages_their_batch_norms_too():
    """As released: the stem's batch norm sees differences and starts new; the copy of stage 2 is whole."""
    source = randomise(tdn.create_model("tsn_resnet10", 3, 2, width=8))
    model = initialise_from(tdn.create_model("tdn_resnet10", 3, 2, width=8), source.state_dict())
    stem, stage2 = model.s_tdm["1"].cnn, model.s_tdm["2"].cnn
    mean = source.stage1.conv.weight.double().mean(1, keepdim=True).expand(8, 12, 7, 7)
    torch.testing.assert_close(stem.conv.weight.double(), mean, rtol=1e-6, atol=1e-7)
    for name, start in {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}.items():
        assert (getattr(stem.bn, name) == start).all(), name
        assert torch.equal(getattr(model.stage1.bn, name), getattr(source.stage1.bn, name))
    state = stage2.state_dict()
    assert state.keys() == source.stage2.state_dict().keys() and any("running_var" in key for key in state)
    assert all(torch.equal(value, state[key]) for key, value in source.stage2.state_dict().items())
    again = initialise_from(tdn.create_model("tdn_resnet10", 4, 2, width=8), randomise(model).state_dict())
    assert torch.equal(again.s_tdm["1"].cnn.bn.running_var, stem.bn.running_var), "the same network: all of it"
