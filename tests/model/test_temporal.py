"""The modules TDN is compared with, each against its definition, written out segment by segment."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from helpers.reference import randomise, silent

import tdn
from tdn.model.tdm import compare
from tdn.model.tdrl import ProgressiveEnhancement, TemporalDiversity
from tdn.model.temporal import (
    ChannelMotion,
    ChannelSpatiotemporal,
    FullTemporalConv,
    MotionEnhancement,
    MotionExcitation,
    SplitConv,
    TemporalAdaptive,
    TemporalAggregation,
    TemporalConv,
    TemporalShift,
    convolve_segments,
)

SEGMENTS = [1, 2, 5]
MODULES = [TemporalShift, TemporalConv, FullTemporalConv, MotionEnhancement, MotionExcitation, TemporalAdaptive]
MODULES += [TemporalAggregation, ChannelSpatiotemporal, ChannelMotion]


def features(segments, channels=16, size=5):
    """Two videos, `(2*T, C, H, W)`."""
    return torch.randn(2 * segments, channels, size, size)


def per_segment(x, segments):
    """Lists of `(2, C, H, W)`, and zero before the first and after the last: `[t]` for t from -1 to T."""
    found = dict(enumerate(x.unflatten(0, (2, segments)).unbind(1)))
    return found | {-1: torch.zeros_like(found[0]), segments: torch.zeros_like(found[0])}


def joined(segments):
    return torch.stack(segments, 1).flatten(0, 1)


def shifted(x, segments, fold):
    """The first `fold` channels of the next segment, as many of the previous one, the others as they are."""
    at = per_segment(x, segments)
    parts = [(at[t + 1][:, :fold], at[t - 1][:, fold : 2 * fold], at[t][:, 2 * fold :]) for t in range(segments)]
    return joined([torch.cat(part, 1) for part in parts])


@pytest.mark.parametrize("segments", SEGMENTS)
def test_tsm_shifts_and_the_learned_ones_are_initialised_as_shifts(segments):
    x = features(segments)
    kept = x.clone()
    assert torch.equal(TemporalShift(16, segments)(x), shifted(x, segments, 2)) and torch.equal(x, kept)
    assert torch.equal(TemporalConv(16, segments)(x), shifted(x, segments, 2))  # T-Conv, TIM
    assert torch.equal(FullTemporalConv(16, segments)(x), x)
    assert torch.equal(ChannelSpatiotemporal(16, segments)(x), shifted(x, segments, 4))


@pytest.mark.parametrize("segments", SEGMENTS)
def test_tam_is_a_sum_over_neighbours_and_a_relu(segments):
    x, tam = features(segments), TemporalAggregation(16, segments)
    assert 0.5 < tam.weight.std() * (16 / 2) ** 0.5 < 1.5, "random at first"
    a, b, c = tam.weight[:, :, None, None].unbind(1)
    at = per_segment(x, segments)
    parts = [F.relu(a * at[t - 1] + b * at[t] + c * at[t + 1]) for t in range(segments)]
    torch.testing.assert_close(tam(x), joined(parts))


@pytest.mark.parametrize("segments", SEGMENTS)
def test_a_full_temporal_convolution_mixes_channels(segments):
    x, conv = features(segments), FullTemporalConv(16, segments)
    torch.nn.init.normal_(conv.conv.weight)
    before, this, after = conv.conv.weight.unbind(2)
    at = per_segment(x, segments)
    parts = [
        sum(torch.einsum("oc,nchw->nohw", w, at[t + d]) for w, d in ((before, -1), (this, 0), (after, 1)))
        for t in range(segments)
    ]
    torch.testing.assert_close(conv(x), joined(parts), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("segments", SEGMENTS)
def test_mem_weighs_channels_by_the_difference_to_the_next_segment(segments):
    x, mem = features(segments), MotionEnhancement(16, segments)
    at = per_segment(x, segments)
    parts = []
    for t in range(segments - 1):
        now, after = at[t].mean((2, 3)), at[t + 1].mean((2, 3))
        weights = torch.sigmoid(mem.restore(mem.squeeze_next(after) - mem.squeeze(now)))
        assert ((weights > 0) & (weights < 1)).all()
        parts.append(at[t] * weights[:, :, None, None])
    torch.testing.assert_close(mem(x), joined([*parts, at[segments - 1]]))


@pytest.mark.parametrize("segments", [2, 5])
def test_tanet_convolves_each_video_with_its_own_kernel(segments):
    x, tanet = features(segments), randomise(TemporalAdaptive(16, segments)).eval()
    pooled = x.mean((2, 3)).unflatten(0, (2, segments)).transpose(1, 2)
    kernels = torch.stack([tanet.global_branch(pooled[n]) for n in range(2)])  # (2, 16, 3)
    torch.testing.assert_close(kernels.sum(-1), torch.ones(2, 16))
    assert (kernels[0] - kernels[1]).abs().max() > 1e-3
    weighed = x.unflatten(0, (2, segments)) * tanet.local_branch(pooled).transpose(1, 2)[..., None, None]
    at = per_segment(weighed.flatten(0, 1), segments)
    a, b, c = kernels[:, :, :, None, None].unbind(2)
    torch.testing.assert_close(tanet(x), joined([a * at[t - 1] + b * at[t] + c * at[t + 1] for t in range(segments)]))


@pytest.mark.parametrize("segments", SEGMENTS)
def test_me_excites_by_the_pooled_difference_to_the_next_segment(segments):
    x, me = features(segments, 32), randomise(MotionExcitation(32, segments)).eval()
    squeezed = per_segment(me.squeeze(x), segments)
    at = per_segment(x, segments)
    parts = []
    for t in range(segments):
        difference = me.align(squeezed[t + 1]) - squeezed[t] if t < segments - 1 else torch.zeros_like(squeezed[t])
        gate = torch.sigmoid(me.restore(difference.mean((2, 3), keepdim=True))) - 0.5
        parts.append(at[t] + at[t] * gate)
    torch.testing.assert_close(me(x), joined(parts))


@pytest.mark.parametrize("segments", SEGMENTS)
@pytest.mark.parametrize("stride", [1, 2])
def test_cmm_restores_the_difference_to_the_next_segment(segments, stride):
    x, cmm = features(segments, 64), ChannelMotion(64, segments, stride)
    squeezed = per_segment(cmm.squeeze(x), segments)
    parts = [cmm.restore(cmm.align(squeezed[t + 1]) - squeezed[t]) for t in range(segments - 1)]
    out = cmm(x).unflatten(0, (2, segments))
    assert out.shape[-2:] == F.conv2d(x, torch.zeros(1, 64, 3, 3), stride=stride, padding=1).shape[-2:]
    assert out[:, -1].abs().max() == 0
    if stride == 1 and segments > 1:
        torch.testing.assert_close(out[:, :-1], torch.stack(parts, 1))
    if stride == 2 and segments > 1:  # 5 x 5 pixels: the last row and column have half a window, which is averaged
        halves = [slice(0, 2), slice(2, 4), slice(4, 5)]
        for t, part in enumerate(parts):
            for i, j in itertools.product(range(3), range(3)):
                torch.testing.assert_close(out[:, t, :, i, j], part[:, :, halves[i], halves[j]].mean((2, 3)))


@pytest.mark.parametrize(("first", "stride"), [(True, 1), (True, 2), (False, 1)])  # only a first block halves the size
@pytest.mark.parametrize("segments", SEGMENTS)
def test_mta_is_a_ladder_of_groups(segments, first, stride):
    x, mta = features(segments, 24, 6), randomise(SplitConv(24, stride, first)).eval()
    mta.add_temporal(segments)
    for temporal in mta.temporal:
        torch.nn.init.normal_(temporal.weight)
    one, two, three, four = x.split(6, dim=1)
    one = mta.convs[0](mta.temporal[0](one))
    two = mta.convs[1](mta.temporal[1](two if first else two + one))
    three = mta.convs[2](mta.temporal[2](three if first else three + two))
    four = mta.temporal[3](four)
    four = F.avg_pool2d(four, 3, stride, 1) if first else four
    torch.testing.assert_close(mta(x), torch.cat([one, two, three, four], 1))


def test_mta_is_initialised_as_res2net_but_for_half_shifts_in_the_last_group():
    x, plain = features(4, 24, 6), randomise(SplitConv(24)).eval()
    expected = plain(x)
    plain.add_temporal(4)
    assert torch.equal(plain(x)[:, :18], expected[:, :18])
    at = per_segment(x[:, 18:], 4)
    assert torch.equal(plain(x)[:, 18:], joined([torch.cat([at[t + 1][:, :3], at[t - 1][:, 3:]], 1) for t in range(4)]))


@pytest.mark.parametrize("segments", [2, 5])
@pytest.mark.parametrize("module", MODULES)
def test_videos_do_not_mix_and_gradients_reach_every_parameter(module, segments):
    x, module = features(segments, 32), randomise(module(32, segments))
    x.requires_grad_()
    module(x).square().sum().backward()
    assert not silent(module) and x.grad.abs().sum() > 0
    with torch.no_grad():
        module.eval()
        torch.testing.assert_close(module(x)[:segments], module(x[:segments]))


@pytest.mark.parametrize("step", [1, -1])
def test_compared_segments_stay_channels_last_in_memory(step):
    features, aligned = (torch.randn(8, 6, 4, 5).to(memory_format=torch.channels_last) for _ in range(2))
    compared = compare(features, aligned, 4, step=step)
    assert compared.is_contiguous(memory_format=torch.channels_last)
    assert not compared.is_contiguous()


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_the_temporal_convolution_in_either_layout(layout):
    x = torch.randn(2 * 4, 6, 3, 5, dtype=torch.double)
    weight = torch.randn(6, 1, 3, dtype=torch.double)
    expected = F.conv1d(x.view(2, 4, 6, 15).permute(0, 3, 2, 1).flatten(0, 1), weight, padding=1, groups=6)
    expected = expected.view(2, 15, 6, 4).permute(0, 3, 2, 1).reshape(8, 6, 3, 5)
    out = convolve_segments(x.to(memory_format=layout), weight, 4)
    torch.testing.assert_close(out, expected)
    if layout is torch.channels_last:
        assert out.is_contiguous(memory_format=layout), "nothing was moved"


PLACES = {
    "tconv": ("temporal", TemporalConv),
    "tsm": ("before", TemporalShift),
    "tim": ("before", TemporalConv),
    "teinet": ("before", MotionEnhancement, TemporalConv),
    "tdrl": ("before", ProgressiveEnhancement, TemporalConv),
    "tea": ("temporal", MotionExcitation),
    "stm": ("temporal", ChannelSpatiotemporal),
    "tam": ("before", TemporalAggregation),
    "tanet": ("temporal", TemporalAdaptive),
}


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("depth", [18, 50])
def test_modules_are_in_every_block_where_their_papers_put_them(name, depth):
    place, *modules = PLACES[name]
    with torch.device("meta"):
        model = tdn.create_model(f"{name}_resnet{depth}", 3, 2, width=8)
    for index, block in [numbered for stage in model.stages[1:] for numbered in enumerate(stage)]:
        assert [type(m) for m in getattr(block, place) if not isinstance(m, TemporalDiversity)] == modules
        assert (block.beside is not None) == (name == "stm")
        if place == "before" and modules[-1] is TemporalConv:
            assert block.before.tim.weight.shape[0] == block.conv1.in_channels
        if name == "tea":  # the first block of every stage has no ladder, and pools its last group
            assert block.conv2.first == isinstance(block.conv2.last, torch.nn.AvgPool2d) == (index == 0)
            assert isinstance(block.conv2.temporal[3], TemporalConv)


def test_the_shift_leaves_out_every_second_block_of_resnet101():
    with torch.device("meta"):
        stages = tdn.create_model("tsm_resnet101", 3, 2, width=8).stages[1:]
    shifted = [isinstance(block.before, torch.nn.Sequential) for stage in stages for block in stage]
    assert shifted[:9] == [True, False, True, True, False, True, False, True, False] and sum(shifted) == 2 + 2 + 12 + 2


def test_the_shortcut_is_not_shifted():
    block = tdn.create_model("tsm_resnet50", 3, 4, width=8).eval().stage2[1]
    torch.nn.init.zeros_(block.bn3.weight)  # nothing comes from the residual branch
    x = features(4, 32).relu()
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ({"before": ("tsm",)}, "a module in before must be one of shift, tim, mem, pem, tam, td_loss; got 'tsm'"),
        ({"between": ("tim",)}, "a module in between must be one of full_conv, adaptive, cstm, me, td_loss"),
        ({"before": ("tim", "tim")}, "takes each module once"),
        ({"conv2": "res2net"}, "conv2 must be one of dense, split, mta"),
        ({"conv2": "mta", "cmm": True}, "cmm needs a dense 3x3"),
        ({"td_fraction": 0.25}, "td_fraction would do nothing"),
        ({"before": ("td_loss",), "td_fraction": 0.0}, "above 0 and up to 1; got 0.0"),
    ],
)
def test_illegal_modules_say_what_is_legal(options, answer):
    with pytest.raises(ValueError, match=answer):
        tdn.create_model("tsn_resnet10", 3, 2, width=8, **options)
