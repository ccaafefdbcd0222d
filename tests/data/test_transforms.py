"""Crops, flips and their labels."""

import numpy as np
import pytest
import torch

from tdn.data.pocket.render import CLASSES
from tdn.data.transforms import MEAN, STD, Crop, mirrored_labels, random_crop, to_input


def test_input_is_cropped_flipped_and_normalised():
    clips = [torch.randint(0, 256, (2, 5, 3, 20, 30), dtype=torch.uint8) for _ in range(2)]
    out = to_input(clips, [Crop(3, 7, 16), Crop(0, 14, 16, flip=True)], size=16)
    assert out.shape == (2, 2, 5, 3, 16, 16)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(out[0], (clips[0][..., 3:19, 7:23] / 255 - mean) / std)
    torch.testing.assert_close(out[1], ((clips[1][..., :16, 14:30] / 255 - mean) / std).flip(-1))


def test_videos_of_different_sizes_are_resized_to_one():
    left_half_white = torch.zeros(1, 1, 3, 40, 40, dtype=torch.uint8)
    left_half_white[..., :20] = 255
    small = torch.full((1, 1, 3, 24, 31), 128, dtype=torch.uint8)
    out = to_input([left_half_white, small], [Crop(0, 0, 40), Crop(2, 3, 20)], size=10)
    assert out.shape == (2, 1, 1, 3, 10, 10)
    assert (out[0, ..., :4] > 2).all() and (out[0, ..., 6:] < -1.7).all()
    assert out[1].std(dim=(-1, -2)).max() < 1e-6


def test_random_crops_stay_inside_and_reach_every_place():
    rng = np.random.default_rng(0)
    crops = [random_crop(rng, 20, 30, (1.0, 0.5), flip=True) for _ in range(2000)]
    assert {crop.side for crop in crops} == {20, 10}
    assert {crop.left for crop in crops if crop.side == 20} == set(range(11))
    assert {crop.top for crop in crops if crop.side == 10} == set(range(11))
    assert 0.45 < np.mean([crop.flip for crop in crops]) < 0.55
    assert not any(random_crop(rng, 20, 30, (1.0,), flip=False).flip for _ in range(50))


def test_a_mirrored_video_changes_its_label_where_the_name_has_a_side():
    names = ["Pushing [something] from left to right", "Pushing [something] from right to left"]
    names += ["Pulling [something] Left", "Pulling [something] right", "Leaving what is left on the right shelf"]
    names += ["Turning it upright"]  # contains the letters, not the word
    assert mirrored_labels(names) == [1, 0, 3, 2, None, 5]

    names = [pocket_class.name for pocket_class in CLASSES]
    mirrored = mirrored_labels(names)
    assert all(mirrored[mirrored[label]] == label for label in range(len(names)))
    moved = {names[a]: names[b] for a, b in enumerate(mirrored) if a != b}
    assert moved["Turning [something] clockwise"] == "Turning [something] counterclockwise"
    assert moved["Moving [something] left"] == "Moving [something] right" and len(moved) == 6


@pytest.mark.gpu
def test_the_device_does_the_same():
    clips, crops = [torch.randint(0, 256, (2, 1, 3, 40, 50), dtype=torch.uint8)], [Crop(1, 2, 32, flip=True)]
    on_gpu = to_input([clips[0].cuda()], crops, 24)
    torch.testing.assert_close(on_gpu.cpu(), to_input(clips, crops, 24), atol=0.05, rtol=0)  # rounding of uint8
