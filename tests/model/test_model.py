"""The networks against their definitions."""

import pytest
import torch
from helpers.reference import randomise

import tdn
from tdn.model.resnet import VideoResNet


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


def test_frames_that_l_tdm_cannot_halve_are_refused():
    model = tdn.create_model("tdn_resnet10", 5, 2, width=8).eval()
    with torch.no_grad(), pytest.raises(ValueError, match=r"here 1 x 1: .* need 33 x 33 pixels"):
        model(torch.zeros(1, 2, 5, 3, 32, 32))
    with torch.no_grad():
        assert model(torch.zeros(1, 2, 5, 3, 33, 33)).shape == (1, 5)


def test_cost_of_the_full_size_network_and_that_it_grows_with_segments_and_size():
    cost = tdn.measure_cost(tdn.create_model("tdn_resnet101"))
    assert cost.gmacs == pytest.approx(65.8, rel=0.01)
    stages = [f"stage{i}" for i in range(1, 6)] + ["fc", "s_tdm.1", "s_tdm.2"]
    assert sum(cost.gmacs_by_module[stage] for stage in stages) == pytest.approx(cost.gmacs)

    model, more = (tdn.create_model("tdn_resnet18", num_segments=segments) for segments in (4, 8))
    model.stage1.eval()  # frozen
    four = tdn.measure_cost(model, size=224)
    assert tdn.measure_cost(more).gmacs == pytest.approx(2 * four.gmacs)
    assert tdn.measure_cost(model, size=448).gmacs == pytest.approx(4 * four.gmacs, rel=0.01)
    assert model.fc.training and not model.stage1.bn.training and model.fc.weight.device.type == "cpu"
    assert four.params == pytest.approx(sum(p.numel() for p in model.parameters()) / 1e6)


def test_only_the_temporal_modules_are_left_out_of_the_cost():
    """Not every convolution of their shape: a user's own is counted."""
    tsn, tconv = (tdn.create_model(f"{name}_resnet10", 5, 4, width=8) for name in ("tsn", "tconv"))
    plain, costs = tdn.measure_cost(tsn, 64), tdn.measure_cost(tconv, 64)
    assert costs.gmacs == plain.gmacs > 0 and costs.gmacs_by_module["stage2.0.temporal.conv"] == 0
    assert costs.gmacs_by_module["stage2"] == plain.gmacs_by_module["stage2"]
    tsn.stage1.append(torch.nn.Conv2d(8, 8, (3, 1), padding=(1, 0), groups=8, bias=False))  # weight (8, 1, 3, 1)
    own = 4 * 8 * 16 * 16 * 3 / 1e9
    assert tdn.measure_cost(tsn, 64).gmacs == pytest.approx(plain.gmacs + own)
    assert tdn.measure_cost(tsn, 64).gmacs_by_module["stage1.4"] == pytest.approx(own)


def test_names_and_options_that_do_not_exist_are_answered_with_the_nearest():
    every = r"did you mean .*tsm_resnet50.*valid: tsn, tconv, .*, each with _resnet10 or .*; i3d_resnet50, "
    cases = [("tms_resnet50", {}, every), ("i3d_resnet50", {"before": ("pem",)}, "unknown model option 'before'")]
    cases += [("tdn_resnet18", {"l_tdm_stage": (3,)}, "l_tdm_stages")]
    for name, options, answer in [*cases, ("tdn_resnet18", {"num_segments": 0}, "num_segments=0")]:
        with pytest.raises(ValueError, match=answer):
            tdn.create_model(name, **options)
    with pytest.raises(ValueError, match=r"\(T, L, C\) = \(8, 5, 3\)"):
        VideoResNet(10, s_tdm_stages=(1,))(torch.zeros(1, 8, 1, 3, 64, 64))


@pytest.mark.parametrize(
    ("depth", "options", "seen"),
    [
        (10, {"l_tdm_stages": ()}, range(5, 12)),
        (10, {}, range(2, 15)),
        (18, {"l_tdm_stages": ()}, range(2, 15)),
        (10, {"l_tdm_stages": (), "dilation": 2}, range(2, 15, 2)),
    ],
)
def test_which_segments_a_network_sees(depth, options, seen):
    """As notebook 12 says of the pocket ResNets: one block, or two, in each of the stages 3 to 5, and L-TDM one segment
    further in each."""
    torch.manual_seed(0)
    network = tdn.create_model(f"tdn_resnet{depth}", 4, 17, width=8, s_tdm_stages=(), **options)
    network = randomise(network).double().eval()
    features = []
    network.stage5.register_forward_hook(lambda module, inputs, output: features.append(output.unflatten(0, (17, -1))))
    clip = torch.rand(1, 17, network.window, 3, 64, 64, dtype=torch.double)
    for brighter in (0, 0.5):
        clip[:, 8] += brighter
        network(clip)
    changed = (features[0] - features[1]).abs().flatten(1).amax(1) > 0
    assert changed.nonzero().flatten().tolist() == list(seen)
