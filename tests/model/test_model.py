"""The networks against their definitions."""

import pytest
import torch
import torch.nn.functional as F
from helpers.reference import randomise

import tdn
from tdn.model.resnet import VideoResNet
from tdn.model.tdm import difference_input
from tdn.model.temporal import TemporalConv


def test_difference_input_is_the_pooled_stack_of_differences():
    clips = torch.randn(2, 3, 5, 3, 8, 8)
    expected = torch.cat([clips[:, :, i + 1] - clips[:, :, i] for i in range(4)], dim=2)  # (2, 3, 12, 8, 8)
    expected = expected.flatten(0, 1).unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))
    torch.testing.assert_close(difference_input(clips), expected)


def test_a_still_clip_has_no_short_term_motion():
    still = torch.randn(1, 2, 1, 3, 8, 8).expand(1, 2, 5, 3, 8, 8)
    assert difference_input(still).abs().max() == 0


def test_temporal_conv_is_a_depthwise_convolution_over_time_and_starts_as_a_shift():
    conv = TemporalConv(16, num_segments=4)
    x = torch.randn(2 * 4, 16, 3, 3)
    clips, out = x.unflatten(0, (2, 4)), conv(x).unflatten(0, (2, 4))
    assert torch.equal(out[:, :-1, :2], clips[:, 1:, :2]) and out[:, -1, :2].abs().max() == 0
    assert torch.equal(out[:, 1:, 2:4], clips[:, :-1, 2:4]) and out[:, 0, 2:4].abs().max() == 0
    assert torch.equal(out[:, :, 4:], clips[:, :, 4:])

    torch.nn.init.normal_(conv.weight)
    lines = clips.permute(0, 3, 4, 2, 1).flatten(0, 2)  # (N*H*W, C, T)
    expected = F.conv1d(lines, conv.weight, padding=1, groups=16)
    expected = expected.unflatten(0, (2, 3, 3)).permute(0, 4, 3, 1, 2).flatten(0, 1)
    torch.testing.assert_close(conv(x), expected)


@pytest.mark.parametrize("name", ["tsn_resnet18", "tconv_resnet34", "tdn_resnet18", "tdn_resnet50"])
@pytest.mark.parametrize("segments", [1, 3, 8])
def test_every_network_takes_any_number_of_segments_and_trains(name, segments):
    model = tdn.create_model(name, 7, segments, width=16)
    clips = torch.randn(2, segments, model.window, 3, 64, 64)
    scores = model(clips)
    assert scores.shape == (2, 7)
    scores.square().sum().backward()
    # With one segment there is no neighbour; everywhere else each parameter must have a say.
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert segments == 1 or not silent


def test_videos_do_not_mix_and_tsn_segments_neither():
    model = randomise(tdn.create_model("tdn_resnet10", 5, 4, width=16)).eval()
    clips = torch.randn(3, 4, 5, 3, 64, 64)
    order = [2, 0, 1]
    with torch.no_grad():
        torch.testing.assert_close(model(clips)[order], model(clips[order]))
        tsn = randomise(tdn.create_model("tsn_resnet10", 5, 4, width=16)).eval()
        frames = clips[:, :, 2:3]
        torch.testing.assert_close(tsn(frames), tsn(frames.flip(1)))  # an average knows no order
        tconv = randomise(tdn.create_model("tconv_resnet10", 5, 4, width=16)).eval()
        assert (tconv(frames) - tconv(frames.flip(1))).abs().max() > 1e-4


@pytest.mark.parametrize(("name", "gmacs"), [("tsn_resnet50", 32.7), ("tdn_resnet50", 35.6), ("tdn_resnet101", 65.8)])
def test_cost_of_the_full_size_networks(name, gmacs):
    cost = tdn.measure_cost(tdn.create_model(name))
    assert cost.gmacs == pytest.approx(gmacs, rel=0.01)
    stages = [f"stage{i}" for i in range(1, 6)] + ["fc"] + (["s_tdm.1", "s_tdm.2"] if "tdn" in name else [])
    assert sum(cost.gmacs_by_module[stage] for stage in stages) == pytest.approx(cost.gmacs)


def test_cost_grows_with_segments_and_size_and_leaves_the_model_alone():
    model = tdn.create_model("tdn_resnet18", num_segments=4)
    eight = tdn.measure_cost(tdn.create_model("tdn_resnet18", num_segments=8))
    four = tdn.measure_cost(model, size=224)
    assert eight.gmacs == pytest.approx(2 * four.gmacs)
    assert tdn.measure_cost(model, size=448).gmacs == pytest.approx(4 * four.gmacs, rel=0.01)
    assert model.training and model.fc.weight.device.type == "cpu"
    assert four.params == pytest.approx(sum(p.numel() for p in model.parameters()) / 1e6)


def test_names_and_options_that_do_not_exist_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match="tdn_resnet50"):
        tdn.create_model("tdn_resnet5O")
    with pytest.raises(ValueError, match="l_tdm_stages"):
        tdn.create_model("tdn_resnet18", l_tdm_stage=(3,))
    with pytest.raises(ValueError, match="without a gap"):
        tdn.create_model("tdn_resnet18", s_tdm_stages=(2,))
    with pytest.raises(ValueError, match="residual stages"):
        tdn.create_model("tdn_resnet18", l_tdm_stages=(1, 3))
    with pytest.raises(ValueError, match="num_segments=0"):
        tdn.create_model("tdn_resnet18", num_segments=0)
    with pytest.raises(ValueError, match=r"\(T, L, C\) = \(8, 5, 3\)"):
        VideoResNet(10, s_tdm_stages=(1,))(torch.zeros(1, 8, 1, 3, 64, 64))
