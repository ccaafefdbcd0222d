"""The modules TDN is compared with, each against its definition, written out segment by segment."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from helpers.reference import randomise, silent

import tdn
from tdn.model import temporal
from tdn.model.tdm import LongTermTDM, compare
from tdn.model.tdrl import ProgressiveEnhancement, TemporalDiversity

SEGMENTS = [1, 2, 5]
MODULES = [temporal.TemporalShift, temporal.TemporalConv, temporal.FullTemporalConv, temporal.MotionEnhancement]
MODULES += [temporal.MotionExcitation, temporal.TemporalAdaptive, temporal.TemporalAggregation]
MODULES += [temporal.ChannelSpatiotemporal, temporal.ChannelMotion]


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
    assert torch.equal(temporal.TemporalShift(16, segments)(x), shifted(x, segments, 2)) and torch.equal(x, kept)
    assert torch.equal(temporal.TemporalConv(16, segments)(x), shifted(x, segments, 2))  # T-Conv, TIM
    assert torch.equal(temporal.FullTemporalConv(16, segments)(x), x)
    at, last = per_segment(x, segments), segments - 1
    parts = [(at[min(t + 1, last)][:, :2], at[max(t - 1, 0)][:, 2:4], at[t][:, 4:]) for t in range(segments)]
    repeated = temporal.TemporalConv(16, segments, repeat_ends=True)
    assert torch.equal(repeated(x), joined([torch.cat(part, 1) for part in parts]))
    at = per_segment(x, segments)  # STM: quarters of the channels, the previous segment first
    parts = [(at[t - 1][:, :4], at[t][:, 4:12], at[t + 1][:, 12:]) for t in range(segments)]
    assert torch.equal(temporal.ChannelSpatiotemporal(16, segments)(x), joined([torch.cat(p, 1) for p in parts]))


@pytest.mark.parametrize("segments", SEGMENTS)
def test_tam_a_full_temporal_convolution_and_mem_follow_their_definitions(segments):
    x, tam = features(segments), temporal.TemporalAggregation(16, segments)
    assert 0.5 < tam.weight.std() * (16 / 2) ** 0.5 < 1.5, "random at first"
    a, b, c = tam.weight[:, :, None, None].unbind(1)
    at = per_segment(x, segments)
    parts = [F.relu(a * at[t - 1] + b * at[t] + c * at[t + 1]) for t in range(segments)]
    torch.testing.assert_close(tam(x), joined(parts))

    conv = temporal.FullTemporalConv(16, segments)
    torch.nn.init.normal_(conv.conv.weight)
    before, this, after = conv.conv.weight.unbind(2)
    taps = (before, -1), (this, 0), (after, 1)
    parts = [sum(torch.einsum("oc,nchw->nohw", w, at[t + d]) for w, d in taps) for t in range(segments)]
    torch.testing.assert_close(conv(x), joined(parts), atol=1e-5, rtol=1e-5)

    mem, parts = temporal.MotionEnhancement(16, segments), []
    for t in range(segments - 1):
        now, after = at[t].mean((2, 3)), at[t + 1].mean((2, 3))
        weights = torch.sigmoid(mem.restore(mem.squeeze_next(after) - mem.squeeze(now)))
        assert ((weights > 0) & (weights < 1)).all()
        parts.append(at[t] * weights[:, :, None, None])
    torch.testing.assert_close(mem(x), joined([*parts, at[segments - 1]]))


@pytest.mark.parametrize("segments", [2, 5])
def test_tanet_convolves_each_video_with_its_own_kernel(segments):
    x, tanet = features(segments), randomise(temporal.TemporalAdaptive(16, segments)).eval()
    pooled = x.mean((2, 3)).unflatten(0, (2, segments)).transpose(1, 2)
    kernels = torch.stack([tanet.global_branch(pooled[n]) for n in range(2)])  # (2, 16, 3)
    torch.testing.assert_close(kernels.sum(-1), torch.ones(2, 16))
    assert (kernels[0] - kernels[1]).abs().max() > 1e-3
    weighed = x.unflatten(0, (2, segments)) * tanet.local_branch(pooled).transpose(1, 2)[..., None, None]
    at = per_segment(weighed.flatten(0, 1), segments)
    a, b, c = kernels[:, :, :, None, None].unbind(2)
    torch.testing.assert_close(tanet(x), joined([a * at[t - 1] + b * at[t] + c * at[t + 1] for t in range(segments)]))


@pytest.mark.parametrize("segments", SEGMENTS)
@pytest.mark.parametrize("stride", [1, 2])
def test_cmm_restores_the_difference_to_the_next_segment(segments, stride):
    x, cmm = features(segments, 64), randomise(temporal.ChannelMotion(64, segments, stride)).eval()
    squeezed = per_segment(cmm.squeeze(x), segments)
    parts = [cmm.restore(cmm.align(squeezed[t + 1]) - squeezed[t]) for t in range(segments - 1)]
    out = cmm(x).unflatten(0, (2, segments))
    assert out.shape[-2:] == F.conv2d(x, torch.zeros(1, 64, 3, 3), stride=stride, padding=1).shape[-2:]
    assert out[:, -1].abs().max() == 0
    # 5 x 5 pixels: with stride 2 the last row and column have half a window.
    windows = [slice(start, start + stride) for start in range(0, 5, stride)]
    for t, part in enumerate(parts):
        for i, j in itertools.product(range(len(windows)), repeat=2):
            torch.testing.assert_close(out[:, t, :, i, j], part[:, :, windows[i], windows[j]].amax((2, 3)))


def test_cmm_has_one_batch_norm_and_starts_as_convolutions_of_torch_do():
    """As the public code of STM's first author. Torch draws evenly up to 1 / sqrt(inputs); others are as He's."""
    torch.manual_seed(0)
    block = tdn.create_model("stm_resnet50").stage5[1]
    norms = [module for module in block.beside.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert [norm.num_features for norm in norms] == [512 // 16] and norms[0] is block.beside.squeeze[1]
    for conv in (block.beside.squeeze[0], block.beside.align, block.beside.restore):
        bound = conv.weight[0].numel() ** -0.5
        assert 0.95 * bound < conv.weight.abs().max() <= bound and conv.weight.std().item() == pytest.approx(
            bound / 3**0.5, 0.1
        )
    assert block.conv2.weight.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.05)


@pytest.mark.parametrize("stride", [1, 2])
def test_stm_adds_cmm_to_the_normalised_output_of_the_second_convolution(stride):
    block = randomise(tdn.create_model("stm_resnet50", 3, 2, width=16)).eval()
    block = block.stage3[0] if stride == 2 else block.stage3[1]
    x = features(2, block.conv1.in_channels, 6)
    with torch.no_grad():
        out = F.relu(block.bn1(block.conv1(x)))
        spatiotemporal = F.relu(block.bn2(block.conv2(block.temporal(out))))
        expected = block.bn3(block.conv3(spatiotemporal + block.beside(out)))
        expected = F.relu(expected + (x if block.downsample is None else block.downsample(x)))
        torch.testing.assert_close(block(x), expected)
    small = randomise(tdn.create_model("stm_resnet10", 3, 2, width=16)).eval().stage3[0]  # two convolutions: no ReLU
    x = features(2, 16, 6)
    with torch.no_grad():
        out = F.relu(small.bn1(small.conv1(x)))
        expected = small.bn2(small.conv2(small.temporal(out))) + small.beside(out)
        torch.testing.assert_close(small(x), F.relu(expected + small.downsample(x)))


@pytest.mark.parametrize(("first", "stride"), [(True, 1), (True, 2), (False, 1)])  # only a first block halves the size
@pytest.mark.parametrize("segments", SEGMENTS)
def test_mta_is_a_ladder_of_groups(segments, first, stride):
    x, mta = features(segments, 24, 6), randomise(temporal.SplitConv(24, stride, first)).eval()
    mta.add_temporal(segments)
    for conv in mta.temporal:
        torch.nn.init.normal_(conv.weight)
    one, two, three, four = x.split(6, dim=1)
    one = mta.convs[0](mta.temporal[0](one))
    two = mta.convs[1](mta.temporal[1](two if first else two + one))
    three = mta.convs[2](mta.temporal[2](three if first else three + two))
    four = mta.temporal[3](four)
    four = F.avg_pool2d(four, 3, stride, 1) if first else four
    torch.testing.assert_close(mta(x), torch.cat([one, two, three, four], 1))


def test_mta_is_initialised_as_res2net_but_for_half_shifts_in_the_last_group():
    x, plain = features(4, 24, 6), randomise(temporal.SplitConv(24)).eval()
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


def test_nothing_is_moved_where_features_are_channels_last_in_memory():
    x, weight = torch.randn(2 * 4, 6, 3, 5, dtype=torch.double), torch.randn(6, 1, 3, dtype=torch.double)
    expected = F.conv1d(x.view(2, 4, 6, 15).permute(0, 3, 2, 1).flatten(0, 1), weight, padding=1, groups=6)
    expected = expected.view(2, 15, 6, 4).permute(0, 3, 2, 1).reshape(8, 6, 3, 5)
    torch.testing.assert_close(temporal.convolve_segments(x, weight, 4), expected)
    last = x.to(memory_format=torch.channels_last)
    out = temporal.convolve_segments(last, weight, 4)
    torch.testing.assert_close(out, expected)
    for kept in (out, compare(last, last, 4, step=1), compare(last, last, 4, step=-1)):
        assert kept.is_contiguous(memory_format=torch.channels_last) and not kept.is_contiguous()


BEFORE = {"tsm": [temporal.TemporalShift], "tim": [temporal.TemporalConv], "tam": [temporal.TemporalAggregation]}
BEFORE |= {"teinet": [temporal.MotionEnhancement, temporal.TemporalConv]}
BEFORE |= {"tdrl": [ProgressiveEnhancement, temporal.TemporalConv]}
AFTER = {"tconv": [temporal.TemporalConv], "tea": [temporal.MotionExcitation], "stm": [temporal.ChannelSpatiotemporal]}
AFTER |= {"tanet": [temporal.TemporalAdaptive]}


@pytest.mark.parametrize("name", BEFORE | AFTER)
@pytest.mark.parametrize("depth", [18, 50])
def test_modules_are_in_every_block_where_their_papers_put_them(name, depth):
    place, modules = ("before" if name in BEFORE else "temporal"), (BEFORE | AFTER)[name]
    with torch.device("meta"):
        model = tdn.create_model(f"{name}_resnet{depth}", 3, 2, width=8)
    for index, block in [numbered for stage in model.stages[1:] for numbered in enumerate(stage)]:
        assert [type(m) for m in getattr(block, place) if not isinstance(m, TemporalDiversity)] == modules
        assert (block.beside is not None) == (name == "stm")
        if place == "before" and modules[-1] is temporal.TemporalConv:
            assert block.before.tim.weight.shape[0] == block.conv1.in_channels
        if name == "tea":  # the first block of every stage has no ladder, and pools its last group
            assert block.conv2.first == isinstance(block.conv2.last, torch.nn.AvgPool2d) == (index == 0)
            assert isinstance(block.conv2.temporal[3], temporal.TemporalConv)
            me = block.temporal[0]
            assert isinstance(me, LongTermTDM) and (me.operator, me.fusion) == ("diff", "F+F*G_channel")
            assert not me.multi_scale and not me.bidirectional


def test_the_shift_leaves_out_every_second_block_of_resnet101_and_the_shortcut():
    with torch.device("meta"):
        stages = tdn.create_model("tsm_resnet101", 3, 2, width=8).stages[1:]
    shifted = [isinstance(block.before, torch.nn.Sequential) for stage in stages for block in stage]
    assert shifted[:9] == [True, False, True, True, False, True, False, True, False] and sum(shifted) == 2 + 2 + 12 + 2

    block = tdn.create_model("tsm_resnet50", 3, 4, width=8).eval().stage2[1]
    torch.nn.init.zeros_(block.bn3.weight)  # nothing comes from the residual branch
    x = features(4, 32).relu()
    assert torch.equal(block(x), x)
