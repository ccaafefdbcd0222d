"""Every form of the two modules that the papers compare: each against its definition, and all of them together."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from helpers.reference import randomise, silent

import tdn
from tdn.model import tdm
from tdn.model.fused import Gated


def test_inputs_are_the_pooled_frames_and_their_differences():
    clips = torch.randn(2, 3, 5, 3, 8, 8)
    frames = F.avg_pool2d(clips.flatten(0, 2), 2).unflatten(0, (6, 5))
    torch.testing.assert_close(tdm.concat_input(clips), frames.flatten(1, 2))
    torch.testing.assert_close(tdm.difference_input(clips), (frames[:, 1:] - frames[:, :-1]).flatten(1, 2))


@pytest.mark.parametrize("fusion", tdm.S_TDM_FUSIONS)
def test_s_tdm_fusions(fusion):
    s_tdm = tdm.ShortTermTDM(torch.nn.Conv2d(12, 32, 1), 32, (0.75, 0.25), fusion)
    features, motion = torch.randn(2, 32, 6, 6), torch.randn(2, 12, 3, 3)
    fused, onward = s_tdm(features, motion)
    torch.testing.assert_close(onward, s_tdm.cnn(motion))
    h = onward.repeat_interleave(2, 2).repeat_interleave(2, 3)
    if "channel" in fusion:
        _, first, second, _ = s_tdm.channel_attention
        hidden = h.mean((2, 3)) @ first.weight.flatten(1).T + first.bias
        h = torch.sigmoid(hidden @ second.weight.flatten(1).T + second.bias)[:, :, None, None]
    definitions = {"F+H": 0.75 * features + 0.25 * h, "F*H": features * h, "F+F*H": features + features * h}
    torch.testing.assert_close(fused, definitions[fusion.removesuffix("_channel")])


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("multi_scale", [True, False])
@pytest.mark.parametrize("fusion", tdm.L_TDM_FUSIONS)
@pytest.mark.parametrize("operator", tdm.L_TDM_OPERATORS)
def test_l_tdm_follows_its_equations_segment_by_segment(operator, fusion, multi_scale, bidirectional):
    l_tdm = randomise(tdm.LongTermTDM(32, 4, operator, fusion, multi_scale, bidirectional)).eval()
    features = torch.randn(2 * 4, 32, 6, 6)
    squeezed = l_tdm.squeeze(features).unflatten(0, (2, 4))

    def c(i, neighbour):  # equation (4), for one segment
        if not 0 <= neighbour < 4:
            return torch.zeros_like(squeezed[:, i])
        smoothed = l_tdm.align(squeezed[:, neighbour])
        return smoothed - squeezed[:, i] if operator == "diff" else (smoothed + squeezed[:, i]) / 2

    def m(compared):  # equation (5), as released
        if multi_scale:
            half = F.interpolate(l_tdm.half_scale(compared), scale_factor=2)
            compared = (compared + l_tdm.full_scale(compared) + half) / 3
        if "channel" in fusion:
            compared = F.adaptive_avg_pool2d(compared, 1)
        restored = l_tdm.restore(compared)
        return restored if fusion == "F+G" else restored.sigmoid() - 0.5

    expected = features.unflatten(0, (2, 4)).clone()
    for i in range(4):
        g = (m(c(i, i + 1)) + m(c(i, i - 1))) / 2 if bidirectional else m(c(i, i + 1))
        expected[:, i] += g if fusion == "F+G" else expected[:, i] * g
    torch.testing.assert_close(l_tdm(features), expected.flatten(0, 1))


@pytest.mark.parametrize("directions", [1, 2])
def test_the_gradient_of_gated_features_is_that_of_their_definition(directions):
    torch.manual_seed(0)
    features = torch.randn(2, 6, 3, 3, dtype=torch.double, requires_grad=True)
    shapes = [(2, 2, 3, 3), (6, 2, 1, 1), (6,)] * directions
    inputs = [torch.randn(shape, dtype=torch.double, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(Gated.apply, (features, *inputs))
    gates = [F.conv2d(*inputs[start : start + 3]).sigmoid() - 0.5 for start in range(0, len(inputs), 3)]
    torch.testing.assert_close(Gated.apply(features, *inputs), features + features * sum(gates) / directions)


def test_l_tdm_trains_in_bfloat16_as_in_float32():
    torch.manual_seed(0)
    l_tdm, features = tdm.LongTermTDM(32, 4), torch.randn(8, 32, 6, 6)
    gradients = {}
    for enabled in (False, True):
        l_tdm.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            l_tdm(F.conv2d(features, torch.eye(32)[..., None, None])).square().mean().backward()
        gradients[enabled] = torch.cat([parameter.grad.flatten() for parameter in l_tdm.parameters()])
    assert F.cosine_similarity(gradients[False], gradients[True], dim=0) > 0.99


OPTIONS = {"s_tdm_stages": [(1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), ()], "s_tdm_input": [*tdm.S_TDM_INPUTS]}
OPTIONS |= {"s_tdm_fusion": [*tdm.S_TDM_FUSIONS], "l_tdm_stages": [(2, 3, 4, 5), (3, 4, 5), (4, 5), (3,), ()]}
OPTIONS |= {"l_tdm_operator": [*tdm.L_TDM_OPERATORS], "l_tdm_fusion": [*tdm.L_TDM_FUSIONS]}
OPTIONS |= {"l_tdm_multi_scale": [True, False], "l_tdm_bidirectional": [True, False]}
OPTIONS |= {"temporal_conv_stages": [(), (2, 5), (3, 4, 5)]}


def legal(options):
    """A module that is in no stage has no form but the default, which is the first value."""
    return not any(
        options.get(f"{option[:5]}_stages") == () and option[1:5] == "_tdm" and value not in ((), OPTIONS[option][0])
        for option, value in options.items()
    )


def covering():
    """Few combinations of all options in which each legal pair of values occurs: greedy, from a pair in none so far."""
    pairs = [{a: x, b: y} for a, b in itertools.combinations(OPTIONS, 2) for x in OPTIONS[a] for y in OPTIONS[b]]
    missing, rows = list(filter(legal, pairs)), []
    while missing:
        row = dict(missing[0])
        for option in [o for o in OPTIONS if o not in row]:
            candidates = [{**row, option: value} for value in OPTIONS[option]]
            row = max(filter(legal, candidates), key=lambda c: sum(pair.items() <= c.items() for pair in missing))
        missing = [pair for pair in missing if not pair.items() <= row.items()]
        rows.append(row)
    assert 25 <= len(rows) <= 50
    return rows


@pytest.mark.parametrize("options", covering())
def test_combinations_run_forward_and_backward(options):
    torch.manual_seed(0)
    model = tdn.create_model("tdn_resnet10", 3, 2, width=8, **options)
    scores = model(torch.randn(2, 2, model.window, 3, 64, 64))
    assert scores.shape == (2, 3) and scores.isfinite().all()
    scores.square().sum().backward()
    assert not silent(model)


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ({"s_tdm_input": "difference"}, "s_tdm_input must be one of diff, concat; got 'difference'"),
        ({"s_tdm_fusion": "F+F*G"}, r"must be one of F\+H, F\*H, F\+F\*H, F\*H_channel, F\+F\*H_channel"),
        ({"l_tdm_fusion": "F*G"}, r"must be one of F\+F\*G, F\+G, F\+F\*G_channel"),
        ({"l_tdm_operator": "sum"}, "must be one of diff, avg; got 'sum'"),
        ({"s_tdm_stages": (), "s_tdm_fusion": "F*H", "s_tdm_input": "concat"}, "input, s_tdm_fusion would .* is empty"),
        ({"s_tdm_stages": (), "s_tdm_weights": (0.5, 0.5)}, "s_tdm_weights would do nothing"),
        ({"l_tdm_stages": (), "l_tdm_bidirectional": False, "l_tdm_operator": "avg"}, "l_tdm_operator, l_tdm_bi"),
        ({"s_tdm_fusion": "F*H", "s_tdm_weights": (0.5, 0.5)}, r"s_tdm_weights weigh the sum F\+H"),
        ({"s_tdm_stages": (2,)}, "without a gap"),
        ({"l_tdm_stages": (1, 3)}, "residual stages"),
        ({"before": ("tsm",)}, "a module in before must be one of shift, tim, mem, pem, tam, td_loss; got 'tsm'"),
        ({"between": ("tim",)}, "a module in between must be one of full_conv, adaptive, cstm, me, td_loss"),
        ({"before": ("tim", "tim")}, "takes each module once"),
        ({"conv2": "res2net"}, "conv2 must be one of dense, split, mta"),
        ({"conv2": "mta", "cmm": True}, "cmm needs a dense 3x3"),
        ({"td_fraction": 0.25}, "td_fraction would do nothing"),
        ({"before": ("td_loss",), "td_fraction": 0.0}, "above 0 and up to 1; got 0.0"),
    ],
)
def test_illegal_options_say_what_is_legal(options, answer):
    with pytest.raises(ValueError, match=answer):
        tdn.create_model("tdn_resnet10", 3, 2, width=8, **options)
