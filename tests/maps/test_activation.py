"""Activation maps: where they lie, what they depend on, which networks and methods give them, what is refused."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from helpers.reference import randomise
from PIL import Image
from torch import nn
from torch.optim.swa_utils import AveragedModel

import tdn
from tdn.data.sampling import Views
from tdn.data.video import VideoError, open_video
from tdn.maps.activation import METHODS, activation_maps, default_layer, layers, placed_on
from tdn.maps.pictures import overlays, save_strip
from tdn.model.zoo import SYSTEMS

SMALL = Views(size=64)


def network(system="tdn", segments=8, **options):
    torch.manual_seed(0)
    return randomise(tdn.create_model(f"{system}_resnet10", 24, segments, width=8, **options)).eval()


def test_maps_are_as_defined_and_every_method_gives_some(video):
    """Grad-CAM: features weighed by the mean of their gradient over the frame, positive part; of the whole graph."""
    model, kept, clip = network(), [], torch.randn(1, 8, 5, 3, 64, 64)
    hook = model.stage4.register_forward_hook(lambda _, __, output: kept.append(output))
    score = model(clip)[0, 11]
    hook.remove()
    (features,) = kept
    features.retain_grad()
    score.backward()
    expected = (features.grad.mean((2, 3), keepdim=True) * features).sum(1).clamp(min=0)
    maps, scores = activation_maps(model, clip, [11], "stage4")
    assert maps.shape == (1, 8, 4, 4) and scores[0, 11] == score
    torch.testing.assert_close(maps[0], expected.detach(), rtol=1e-4, atol=1e-9)
    for method in METHODS:
        assert tdn.cam(model, video, "all", 3, "stage2", method, SMALL).maps.std() > 0
    layered, _ = activation_maps(model, clip, [11], "stage4", "LayerCAM")
    torch.testing.assert_close(layered[0], (features.grad.clamp(min=0) * features).sum(1).clamp(min=0).detach())


def test_all_maps_of_a_clip_share_one_scale(video):
    model = network()
    every = tdn.cam(model, video, "all", 3, "stage5", views=SMALL)
    assert every.maps.shape == (8, 64, 64) and every.maps.dtype == torch.float32
    assert every.frames.shape == (8, 3, 64, 64) and every.frames.dtype == torch.uint8
    assert every.maps.min() >= 0 and every.maps.max() == 1 and every.segments == tuple(range(8))
    torch.testing.assert_close(every.energy, every.maps.sum((1, 2)) / every.maps.sum())
    centre = tdn.cam(model, video, target=3, layer="stage5", views=SMALL)
    assert centre.segments == (4,) and torch.equal(centre.maps, every.maps[4:5]) and centre.maps.max() < 1
    assert torch.equal(centre.frames, every.frames[4:5]) and centre.energy == every.energy[4]
    likeliest = tdn.cam(model, video, views=SMALL)
    assert likeliest.target == int(tdn.predict(model, video, SMALL).argmax())
    torch.testing.assert_close(likeliest.scores, tdn.predict(model, video, SMALL), rtol=1e-5, atol=1e-5)
    with open_video(video) as opened:
        shown = opened.read(SMALL.windows(opened.num_frames, 8, 5, 0)[:, 2])
    assert torch.equal(tdn.cam(model, video, "all", views=Views(size=56, scale=1)).frames, shown)


def test_the_same_clip_gives_the_same_maps_to_the_bit_and_the_network_ends_as_it_was(video):
    """Also where gradients are switched off; parts that are frozen stay so."""
    model = network().train()
    model.stage1.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = tdn.cam(model, video, "all", 3, "stage5", views=SMALL)
    for context in (nullcontext, torch.no_grad, torch.inference_mode):
        with context():
            enabled = torch.is_grad_enabled()
            again = tdn.cam(model, video, "all", 3, "stage5", views=SMALL)
            assert torch.equal(first.maps, again.maps) and torch.equal(first.scores, again.scores)
            assert torch.is_grad_enabled() == enabled
    tdn.predict(model, video, SMALL)
    assert model.training and model.stage2.training and not model.stage1.training and not model.stage1.bn.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("layer", ["stage3", "stage5"])
def test_blanking_a_segment_moves_the_maps_of_its_neighbours_only_where_segments_see_each_other(layer):
    for system, changed in (("tsn", [4]), ("tdn", [3, 4, 5])):
        model = network(system)
        clip = torch.randn(1, 8, model.window, 3, 64, 64)
        blank = clip.clone()
        blank[:, 4] = 0
        maps, without = (activation_maps(model, inputs, [2], layer)[0][0] for inputs in (clip, blank))
        moved = [step for step in range(8) if (maps[step] - without[step]).abs().max() > 1e-5 * maps.abs().max()]
        assert set(changed) <= set(moved) and (system == "tdn" or moved == changed)


def seeing_single_pixels():
    """A TSN whose every convolution passes on the pixel in its middle: feature i of a stage with s pixels between two
    features is the largest of the pixels i * s - 2, i * s and i * s + 2."""
    model = tdn.create_model("tsn_resnet10", 2, 2, width=4).eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.zero_()
            module.weight.data[:, :, module.kernel_size[0] // 2, module.kernel_size[1] // 2] = 1 / module.in_channels
    model.fc.weight.data[:] = torch.tensor([[1.0], [-1.0]])
    return model


@pytest.mark.parametrize("layer", ["stage1", "stage2", "stage3", "stage4", "stage5"])
@pytest.mark.parametrize(("top", "left"), [(0, 96), (96, 0)])
def test_a_map_lies_where_the_features_are(layer, top, left):
    clip = torch.zeros(2, 1, 3, 128, 128)
    clip[1, ..., top : top + 29, left : left + 29] = 1  # one feature of the last stage sees it
    maps = tdn.cam(seeing_single_pixels(), clip, "all", 0, layer).maps
    assert not maps[0].any() and (maps[1, top : top + 32, left : left + 32] > 0.03).all()
    highest = divmod(int(maps[1].argmax()), 128)
    assert top <= highest[0] < top + 32 and left <= highest[1] < left + 32
    elsewhere = maps[1].clone()
    elsewhere[max(top - 32, 0) : top + 64, max(left - 32, 0) : left + 64] = 0
    assert not elsewhere.any(), "no further than the next feature"


def test_a_feature_is_placed_within_half_its_spacing_of_what_it_sees():
    model = seeing_single_pixels()
    for size, shift in ((128, 15.5), (120, 11.5), (112, 7.5)):  # four features each, in the middle of the frame
        clip = torch.zeros(2, 1, 3, size, size)
        clip[0, ..., 64, 96] = 1  # feature (2, 3), held to the edge
        maps = tdn.cam(model, clip, "all", 0, "stage5").maps
        highest = (maps[0] == 1).nonzero().float()
        assert highest[:, 0].mean() == pytest.approx(64 + shift, abs=0.5) and highest[:, 1].min() >= 96 + shift - 0.5
        assert maps[0, round(80 + shift), -1] == pytest.approx(0.5, abs=0.02) and not maps[0, : int(32 + shift)].any()
    along = placed_on(torch.arange(4.0).view(1, 1, 4), (1, 8))[0, 0]
    torch.testing.assert_close(along, torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]))
    maps = torch.rand(3, 7, 7)
    stretched = nn.functional.interpolate(maps[None], (224, 224), mode="bilinear")[0]
    torch.testing.assert_close(placed_on(maps, (224, 224)), stretched, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", [f"{name}_{system.backbones[0]}" for name, system in SYSTEMS.items()])
def test_every_network_gives_a_map_for_each_of_its_steps(name, video):
    steps = {"i3d": 4, "slowfast": 2, "r2plus1d": 1, "s3d": 1}.get(name.split("_")[0], 8)
    torch.manual_seed(0)
    model = tdn.create_model(name, 5, 8, **({} if steps == 1 else {"width": 8})).eval()  # torchvision fixes their width
    maps = tdn.cam(model, video, "all", target=1, views=SMALL)
    assert maps.maps.shape == (steps, 64, 64) and maps.frames.shape == (steps, 3, 64, 64)
    middles = {8: range(8), 4: (1, 3, 5, 7), 2: (2, 6), 1: (4,)}
    assert maps.segments == tuple(middles[steps]) and maps.maps.isfinite().all()
    assert tdn.cam(model, video, layer=layers(model)[0], views=SMALL).maps.shape == (1, 64, 64)


def test_a_stage_includes_what_s_tdm_adds():
    model, kept, clip = network(), [], torch.randn(1, 8, 5, 3, 64, 64)
    model.stage3.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0].clone()))
    maps, _ = activation_maps(model, clip, [0], "stage2", "LayerCAM")
    positive = (kept[0] > 0).any(1)[None]
    assert maps.shape == positive.shape and maps[positive].any() and not maps[~positive].any()
    assert not torch.allclose(maps, activation_maps(model, clip, [0], "stage2.0", "LayerCAM")[0])


def test_a_class_without_evidence_has_maps_of_zero_and_no_nan(tmp_path):
    model = seeing_single_pixels()
    maps = tdn.cam(model, torch.rand(2, 1, 3, 64, 64), "all", target=1, layer="stage5")
    assert maps.peak == 0 and not maps.maps.any() and not maps.energy.any()
    assert torch.equal(overlays(maps), maps.frames)
    save_strip(maps, tmp_path / "strip.png", r"costs $5\\ and_$x^{")  # names of classes and files are no formulas
    with Image.open(tmp_path / "strip.png") as strip:
        assert strip.width > 100


def test_what_does_not_exist_is_answered_with_what_does(video, broken_videos):
    model = network()
    for wrong, answer in (
        ({"layer": "stage6"}, "did you mean stage.*valid: stage1, stage2, stage3, stage4, stage5, or any module"),
        ({"layer": ""}, "valid: stage1"),
        ({"layer": "fc"}, "'fc' gives no features of each frame; valid: stage1"),
        ({"layer": "stage5.0.relu"}, "gives no features of each frame"),  # runs more than once
        ({"method": "GradCam"}, "did you mean GradCAM"),
        ({"method": "EigenCAM"}, "valid: GradCAM, HiResCAM"),
        ({"frames": "8"}, "'center' or 'all'"),
        ({"target": 24}, "class 24 is none of the network's 0 to 23"),
        ({"target": -1}, "class -1"),
        ({"views": Views(10, 3)}, "one view, not of 10x3"),
    ):
        with pytest.raises(ValueError, match=answer):
            tdn.cam(model, video, **({"views": SMALL} | wrong))
    for wrong, error, answer in (
        (torch.zeros(8, 3, 64, 64), ValueError, "a video is uint8"),
        (torch.zeros(8, 64, 64, 3, dtype=torch.uint8), ValueError, "a video is uint8"),
        (torch.full((8, 5, 3, 64, 64), torch.nan), ValueError, "the clip has values that are not finite"),
        *((path, VideoError, path.name) for path in broken_videos.values()),
    ):
        with pytest.raises(error, match=answer):
            tdn.cam(model, wrong)
    model.stage4[0].conv1.weight.data[0] = torch.nan
    with pytest.raises(FloatingPointError, match="scores are not finite"):
        tdn.cam(model, video, views=SMALL)


def test_a_file_a_folder_and_a_tensor_are_the_same_video(video, tmp_path):
    model = network()
    with open_video(video) as opened:
        frames = opened.read(range(opened.num_frames))
    (tmp_path / "frames").mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(tmp_path / f"frames/{number:05d}.png")
    expected = tdn.cam(model, video, "all", layer="stage5", views=SMALL).maps
    for source in (str(tmp_path / "frames"), frames):
        assert torch.equal(tdn.cam(model, source, "all", layer="stage5", views=SMALL).maps, expected)
    for short in (frames[:1], frames[:5]):  # fewer than segments, fewer than a window and its segments
        maps = tdn.cam(model, short, "all", views=SMALL).maps
        assert maps.shape == (8, 64, 64) and maps.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision(precision, video):
    model = network()
    exact = tdn.cam(model, video, "all", 3, "stage5", views=SMALL)
    with torch.autocast("cpu", precision):
        autocast = tdn.cam(model, video, "all", 3, "stage5", views=SMALL)
    model = model.to(precision)
    for maps in (autocast, tdn.cam(model, video, "all", 3, "stage5", views=SMALL)):
        assert maps.maps.dtype == torch.float32 and maps.maps.max() == 1
        assert np.corrcoef(maps.maps.flatten(), exact.maps.flatten())[0, 1] > 0.97


def test_small_gradients_are_not_lost_in_half_precision():
    model, clip = network("tsn", segments=2).to(torch.float16), torch.randn(1, 2, 1, 3, 64, 64)
    model.fc.weight.data /= 4096
    exact, _ = activation_maps(model.float(), clip, [3], "stage2")
    half, _ = activation_maps(model.to(torch.float16), clip.half(), [3], "stage2")
    assert exact.max() > 0 and np.corrcoef(half.flatten(), exact.flatten())[0, 1] > 0.97


def test_the_layer_is_the_last_with_enough_features():
    model = network("tsn", 1)
    for size, layer in ((224, "stage5"), (192, "stage5"), (112, "stage4"), (48, "stage3"), (8, "stage2")):
        assert default_layer(model, size) == layer
        maps, _ = activation_maps(model, torch.randn(1, 1, 1, 3, size, size), [0])
        assert maps.shape[-1] >= 6 or size == 8


def test_a_wrapped_or_compiled_network_gives_what_the_network_inside_gives(video):
    """The backend "eager" traces as every backend does, without a C++ compiler."""
    model = network()
    expected, scores = tdn.cam(model, video, "all", 3, "stage4", views=SMALL), tdn.predict(model, video, SMALL)
    compiled, in_place, one_stage = torch.compile(model, backend="eager"), network(), network()
    in_place.compile(backend="eager")
    one_stage.stage4 = torch.compile(one_stage.stage4, backend="eager")
    for wrapped in (compiled, in_place, one_stage, nn.DataParallel(model), AveragedModel(nn.DataParallel(compiled))):
        torch.testing.assert_close(tdn.predict(wrapped, video, SMALL), scores)
        maps = tdn.cam(wrapped, video, "all", 3, "stage4", views=SMALL)
        torch.testing.assert_close(maps.maps, expected.maps)
        assert layers(wrapped) == layers(model)
    for of_no_video in (nn.DataParallel(nn.Linear(1, 1)), nn.Linear(1, 1)):
        for look in (tdn.cam, tdn.predict):
            with pytest.raises(ValueError, match="a Linear is no network of video clips"):
                look(of_no_video, video)
