"""The 3D networks against their published cost and their definitions."""

from functools import partial

import pytest
import torch
from helpers.reference import randomise, silent
from torch import nn
from torchvision.models.video import S3D

import tdn
from tdn.model.networks3d import InflatedResNet, SlowFast, SlowOnly, r2plus1d, s3d

SLOWFAST_4X16 = partial(SlowFast, alpha=8, lateral_kernel=5)
COSTS = [(InflatedResNet, 224, 152.47, 27.58), (SlowOnly, 224, 41.74, 31.99), (SlowFast, 224, 50.31, 34.05)]
COSTS += [(SlowFast, 256, 65.71, 34.05), (SLOWFAST_4X16, 224, 27.64, 33.96), (SLOWFAST_4X16, 256, 36.10, 33.96)]
COSTS += [(r2plus1d, 112, 152.36, 63.58), (s3d, 224, 71.91, 8.09)]  # torchvision's S3D with 400 classes: 71.92


@pytest.mark.parametrize(("build", "size", "gmacs", "params"), COSTS)
def test_cost_of_the_published_networks(build, size, gmacs, params):
    with torch.device("meta"):
        model = build()
    cost = tdn.measure_cost(model, size)
    assert (cost.gmacs, cost.params) == pytest.approx((gmacs, params), abs=0.0051)


def test_middle_channels_of_r2plus1d_are_those_of_each_convolution():
    """As the authors' network, whose 152 GMACs are reported: floor(27 in out / (9 in + 3 out)), also for the second
    convolution of a block."""
    with torch.device("meta"):
        backbone = r2plus1d().backbone
    for number, outputs in enumerate((64, 128, 256, 512), start=1):
        inputs = 64 if number == 1 else outputs // 2
        for block in getattr(backbone, f"layer{number}"):
            for (spatial, _, _, temporal), channels in ((block.conv1[0], inputs), (block.conv2[0], outputs)):
                middle = 27 * channels * outputs // (9 * channels + 3 * outputs)
                assert spatial.weight.shape == (middle, channels, 1, 3, 3)
                assert temporal.weight.shape == (outputs, middle, 3, 1, 1)
            inputs = outputs
    firsts = [getattr(backbone, f"layer{number}")[0] for number in (2, 3, 4)]
    assert [block.conv1[0][0].out_channels for block in firsts] == [230, 460, 921]
    assert [block.conv2[0][0].out_channels for block in firsts] == [288, 576, 1152]


SMALL = {"i3d": (partial(InflatedResNet, width=8), 5), "slowonly": (partial(SlowOnly, width=8), 2)}
SMALL |= {"slowfast": (partial(SlowFast, width=8), 5), "slowfast_4x16": (partial(SLOWFAST_4X16, width=8), 9)}
SMALL |= {"r2plus1d": (r2plus1d, 2), "s3d": (s3d, 8)}


@pytest.mark.parametrize("name", SMALL)
def test_any_number_of_frames(name):
    for frames in (1, 2, 4, 7) if name != "s3d" else (8, 13):
        with torch.device("meta"):
            model = SMALL[name][0](7, frames, dropout=0.3)
            assert model(torch.empty(2, frames, 1, 3, 48, 48)).shape == (2, 7)
        assert (model.num_segments, model.window, model.dropout.p) == (frames, 1, 0.3)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("r2plus1d", "s3d")]


@pytest.mark.parametrize("name", ["i3d", "slowonly", "slowfast", "slowfast_4x16", *SLOW])
def test_every_network_trains(name):
    torch.manual_seed(0)
    build, frames = SMALL[name]
    # In double precision: with two clips, batch norms of the last small maps make the loss too rough for a single one.
    model = build(7, frames, dropout=0.0).double()
    clips, labels = torch.randn(2, frames, 1, 3, 48, 48, dtype=torch.double), torch.tensor([1, 4])
    loss = nn.functional.cross_entropy(model(clips), labels)
    loss.backward()
    assert not silent(model)
    torch.optim.SGD(model.parameters(), lr=1e-7).step()
    with torch.no_grad():
        scores = model(clips)
    assert scores.shape == (2, 7) and nn.functional.cross_entropy(scores, labels) < loss


def test_initial_weights():
    model = SlowFast(100, 8, width=32)
    for conv in [module for module in model.modules() if isinstance(module, nn.Conv3d)]:
        fan_out = conv.weight.numel() / conv.in_channels
        assert conv.bias is None and conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.2)
    assert model.fc.weight.std().item() == pytest.approx(0.01, rel=0.05) and (model.fc.bias == 0).all()


@pytest.mark.parametrize("name", ["i3d", "slowonly", "slowfast"])
def test_videos_do_not_mix_and_time_has_an_order(name):
    model = randomise(SMALL[name][0](5, 8)).eval()
    clips = torch.randn(3, 8, 1, 3, 48, 48)
    with torch.no_grad():
        scores = model(clips)
        torch.testing.assert_close(scores[[2, 0, 1]], model(clips[[2, 0, 1]]), rtol=1e-4, atol=1e-4)
        assert (scores - model(clips.flip(1))).abs().max() > 1e-4


def test_wrong_shapes_and_numbers_say_what_is_right():
    with torch.device("meta"):
        model = SlowOnly(3, 8, width=8)
    for shape in [(1, 4, 1, 3, 48, 48), (1, 8, 5, 3, 48, 48), (1, 8, 1, 1, 48, 48), (1, 8, 3, 48, 48)]:
        with pytest.raises(ValueError, match=r"must be \(N, T, L, C, H, W\) with \(T, L, C\) = \(8, 1, 3\)"):
            model(torch.zeros(shape))
    with pytest.raises(ValueError, match="num_classes=0"):
        SlowFast(0, 8, width=8)
    with pytest.raises(ValueError, match="8 frames or more: num_segments=7"):
        s3d(3, 7)
    for option, value in [("alpha", 0), ("lateral_kernel", 6), ("lateral_kernel", -1), ("width", 12), ("width", 0)]:
        with pytest.raises(ValueError, match=f"need alpha from 1 on, an odd lateral_kernel.*{option}={value}"):
            SlowFast(3, 8, **{option: value})


def moved(build, names, frame):
    """For each part of the backbone: the steps that feel a change of one frame (double precision), and how many."""
    torch.manual_seed(0)
    model = build().double().eval()
    clips = torch.randn(1, model.num_segments, 1, 3, 48, 48, dtype=torch.float64)
    changed = clips.clone()
    changed[:, frame] = 0
    outputs = []
    for name in names:
        model.backbone.get_submodule(name).register_forward_hook(lambda _, __, out: outputs.append(out))
    with torch.no_grad():
        model(clips), model(changed)
    pairs = zip(outputs[: len(names)], outputs[len(names) :], strict=True)
    differences = [(before - after).abs().amax((0, 1, 3, 4)) for before, after in pairs]
    return [(set(difference.nonzero().flatten().tolist()), len(difference)) for difference in differences]


def around(frame, reach, length):
    return {t for t in range(length) if abs(t - frame) <= reach}, length


@pytest.mark.parametrize("frame", [0, 20, 39])
def test_i3d_reaches_five_frames_before_its_pool_and_twelve_more_after(frame):
    build = partial(InflatedResNet, 3, 40, width=8)
    stem, last_block, stage5 = moved(build, ["stem", "stage2.2", "stage5"], frame)
    assert stem == around(frame, 2, 40) and last_block == around(frame, 2 + 3, 40)
    # From the pool on a step is two frames; 2 inflated blocks in stage 3, 3 in stage 4, 1 in stage 5.
    assert stage5 == ({t for t in range(20) if 2 * t - 5 - 12 <= frame <= 2 * t + 1 + 5 + 12}, 20)


def test_i3d_keeps_an_odd_last_frame_and_the_size_of_stage_4():
    model = InflatedResNet(3, 7, width=8).eval()
    stages, clip = model.backbone, torch.randn(1, 3, 7, 64, 96)
    assert [stages[:n](clip).shape[1:] for n in (2, 4, 5)] == [(32, 4, 16, 24), (128, 4, 4, 6), (256, 4, 4, 6)]
    x = torch.randn(1, 4, 7, 2, 2)
    assert torch.equal(stages.stage2[-1](x)[:, :, 3], x[:, :, 6])


@pytest.mark.parametrize("frame", [0, 11, 47])
def test_slowonly_mixes_frames_from_stage_4_on_the_fast_pathway_in_every_block(frame):
    slow = {"stem": 0, "stage2": 0, "stage3": 0, "stage4": 6, "stage5": 6 + 3}
    fast = {"fast.stem": 2, "fast.stage2": 5, "fast.stage3": 9, "fast.stage4": 15, "fast.stage5": 18}
    for build, reach in ((partial(SlowOnly, width=8), slow), (partial(SlowFast, width=16), fast)):
        assert moved(partial(build, 3, 48), reach, frame) == [around(frame, r, 48) for r in reach.values()]


@pytest.mark.parametrize(("alpha", "kernel"), [(4, 7), (8, 5)])
@pytest.mark.parametrize("frames", [32, 13])
def test_the_slow_pathway_alone_sees_every_alpha_th_frame_and_laterals_are_centred_on_them(alpha, kernel, frames):
    torch.manual_seed(0)
    model = SlowFast(3, frames, alpha=alpha, lateral_kernel=kernel, width=16).eval()
    nn.init.zeros_(model.fc.weight[:, 32 * 16 :])  # the head without the fast features
    clips = torch.randn(1, frames, 1, 3, 48, 48, requires_grad=True)

    def seen():
        (gradient,) = torch.autograd.grad(model(clips).square().sum(), clips)
        return {frame for frame in range(frames) if gradient[:, frame].any()}

    assert seen() > set(range(0, frames, alpha)), "the laterals bring frames in between"
    for (conv, *_), channels in zip(model.backbone.lateral, (2, 8, 16, 32), strict=True):
        assert conv.weight.shape == (2 * channels, channels, kernel, 1, 1)
        fast = torch.randn(1, channels, 32, 1, 1, requires_grad=True)
        slow = conv(fast)
        assert slow.shape[2] == 32 // alpha
        for step in range(32 // alpha):
            (gradient,) = torch.autograd.grad(slow[:, :, step].square().sum(), fast, retain_graph=True)
            reached = gradient.abs().amax((0, 1, 3, 4)).nonzero().flatten().tolist()
            assert set(reached) == around(alpha * step, kernel // 2, 32)[0]
        nn.init.zeros_(conv.weight)
    assert seen() == set(range(0, frames, alpha))


@pytest.mark.slow
def test_s3d_pools_as_torchvision_does_over_two_steps_and_all_steps_alike_over_more():
    model, published = s3d(5, 16).eval(), S3D(num_classes=5).eval()
    published.features = model.backbone.features
    published.classifier[1].weight = nn.Parameter(model.fc.weight[:, :, None, None, None])
    published.classifier[1].bias = model.fc.bias
    clip = torch.randn(1, 16, 1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(model(clip), published(clip[:, :, 0].transpose(1, 2)))

    model.backbone.features = published.features = nn.Identity()  # the pool and what follows
    features = torch.rand(1, 1024, 8, 7, 7)
    with torch.no_grad():
        steps = model.fc(features.mean((3, 4)).transpose(1, 2))[0]  # (8, classes)
        torch.testing.assert_close(model.fc(model.backbone(features))[0], steps.mean(0))
        weights = torch.tensor([1, 2, 2, 2, 2, 2, 2, 1]) / 14
        torch.testing.assert_close(published(features)[0], weights @ steps)
