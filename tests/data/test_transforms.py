"""Crops, flips and their labels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models.video import R2Plus1D_18_Weights

from tdn.data.pocket.render import CLASSES
from tdn.data.transforms import MEAN, STD, Crop, mirrored_labels, random_crop, to_input


def test_input_is_cropped_flipped_and_normalised():
    clips = [torch.randint(0, 256, (2, 5, 3, 20, 30), dtype=torch.uint8) for _ in range(2)]
    out = to_input(clips, [Crop(3, 7, 16, 16), Crop(0, 14, 16, 16, flip=True)], size=16)
    assert out.shape == (2, 2, 5, 3, 16, 16)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(out[0], (clips[0][..., 3:19, 7:23] / 255 - mean) / std)
    torch.testing.assert_close(out[1], ((clips[1][..., :16, 14:30] / 255 - mean) / std).flip(-1))


def test_videos_of_different_sizes_are_resized_to_one():
    left_half_white = torch.zeros(1, 1, 3, 40, 40, dtype=torch.uint8)
    left_half_white[..., :20] = 255
    small = torch.full((1, 1, 3, 24, 31), 128, dtype=torch.uint8)
    out = to_input([left_half_white, small], [Crop(0, 0, 40, 40), Crop(2, 3, 20, 20)], size=10)
    assert out.shape == (2, 1, 1, 3, 10, 10)
    assert (out[0, ..., :4] > 2).all() and (out[0, ..., 6:] < -1.7).all()
    assert out[1].std(dim=(-1, -2)).max() < 1e-6


def test_a_crop_that_is_no_square_is_stretched_to_one():
    frame = torch.zeros(1, 1, 3, 30, 40, dtype=torch.uint8)
    frame[..., 5:15, 8:28] = 255  # 10 x 20 pixels
    (out,) = to_input([frame], [Crop(5, 8, 20, 20)], size=10)
    assert (out[..., :4, :] > 2).all() and (out[..., 6:, :] < -1.7).all()
    (out,) = to_input([frame], [Crop(5, 8, 10, 40 - 8)], size=16)
    assert (out[..., :, :9] > 2).all() and (out[..., :, 11:] < -1.7).all()
    assert Crop(5, 8, 10, 20).of(frame).shape[-2:] == (10, 20) and (Crop(5, 8, 10, 20).of(frame) == 255).all()


def test_even_crops_stay_inside_and_reach_every_place():
    rng = np.random.default_rng(0)
    crops = [random_crop(rng, 20, 30, (1.0, 0.5), flip=True, sampling="even") for _ in range(2000)]
    assert {(crop.height, crop.width) for crop in crops} == {(20, 20), (10, 10)}
    assert {crop.left for crop in crops if crop.height == 20} == set(range(11))
    assert {crop.top for crop in crops if crop.height == 10} == set(range(11))
    assert 0.45 < np.mean([crop.flip for crop in crops]) < 0.55
    for sampling in ("released", "even"):
        assert not any(random_crop(rng, 20, 30, (1.0,), False, sampling).flip for _ in range(50))
        assert random_crop(rng, 1, 9, (0.66,), False, sampling)[2:4] == (1, 1)
    with pytest.raises(ValueError, match="sampling must be one of released, even, not 'random'"):
        random_crop(rng, 20, 30, (1.0,), False, "random")


@pytest.mark.parametrize(("height", "width"), [(240, 320), (256, 256), (340, 256)])
def test_released_crops(height, width):
    """TSN's multi-scale crops, which TDN's code takes: 1, .875, .75 and .66 of the shorter side, rounded down, height
    and width at most one step apart: 10 pairs; 13 places, in quarters of what is free, rounded down."""
    rng = np.random.default_rng(0)
    crops = [random_crop(rng, height, width, (1, 0.875, 0.75, 0.66), flip=True) for _ in range(6000)]
    sides = {240: (240, 210, 180, 158), 256: (256, 224, 192, 168)}[min(height, width)]
    near = ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 2), (3, 3))
    pairs = {(sides[h], sides[w]) for h, w in near}
    assert {(crop.height, crop.width) for crop in crops} == pairs
    for pair in pairs:
        of_pair = [crop for crop in crops if (crop.height, crop.width) == pair]
        assert 0.08 < len(of_pair) / len(crops) < 0.12, "all pairs alike"
        down, along = (height - pair[0]) // 4, (width - pair[1]) // 4
        corners, middles = ((0, 0), (0, 4), (4, 0), (4, 4)), ((2, 2), (0, 2), (2, 0), (2, 4), (4, 2))
        places = {(down * y, along * x) for y, x in (*corners, *middles, (1, 1), (1, 3), (3, 1), (3, 3))}
        assert {(crop.top, crop.left) for crop in of_pair} == places
    assert all(crop.top + crop.height <= height and crop.left + crop.width <= width for crop in crops)
    assert 0.45 < np.mean([crop.flip for crop in crops]) < 0.55


def class_names(name):
    return (Path(__file__).parent / "class_names" / f"{name}.txt").read_text().splitlines()


def test_of_the_published_data_sets_six_classes_are_mirrored_into_another():
    """Something-Something V1 and V2 have the same 174 names, in another order; the released code exchanges the labels
    86 and 87, 93 and 94, 166 and 167 of the alphabetical list, and mirrors all other classes as themselves."""
    names = class_names("something")
    assert len(names) == 174 and names == sorted(names)
    expected = list(range(174))
    for one, other in ((86, 87), (93, 94), (166, 167)):
        expected[one], expected[other] = other, one
    assert mirrored_labels(names) == expected
    assert mirrored_labels([name.replace("something", "[something]") for name in names]) == expected
    assert mirrored_labels(names[::-1]) == [173 - label for label in expected[::-1]]
    kinetics = R2Plus1D_18_Weights.KINETICS400_V1.meta["categories"]
    for others, number in ((kinetics, 400), (class_names("ucf101"), 101), (class_names("hmdb51"), 51)):
        assert len(others) == number and mirrored_labels(others) == list(range(number))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["swipe_left", "swipe_right", "SwipeLeft", "SwipeRight"], [1, 0, 3, 2]),
        (["turn anticlockwise", "turn clockwise", "Counter-Clockwise", "Clockwise"], [1, 0, 3, 2]),
        (["moving leftwards", "moving rightwards", "upright", "a leftover", "A", "a"], [1, 0, 2, 3, 4, 5]),
        (["pulling it right out", "to the left", "to the right"], [0, 2, 1]),  # an adverb
        (["turn left", "turning right"], [None, None]),  # twins, perhaps: better not mirrored than mislabelled
        (["turn clockwise", "stop"], [None, 1]),
    ],
)
def test_sides_in_names_of_classes(names, expected):
    assert mirrored_labels(names) == expected


def test_a_mirrored_video_changes_its_label_where_the_name_has_a_side():
    names = ["Pushing [something] from left to right", "Pushing [something] from right to left"]
    names += ["Pulling [something] Left", "Pulling [something] right", "Leaving what is left on the right shelf"]
    names += ["Turning it upright"]  # contains the letters, not the word
    assert mirrored_labels(names) == [1, 0, 3, 2, None, 5]

    names = [pocket_class.name for pocket_class in CLASSES]
    mirrored = mirrored_labels(names)
    assert all(mirrored[mirrored[label]] == label for label in range(len(names)))
    moved = {names[a]: names[b] for a, b in enumerate(mirrored) if a != b}
    clockwise, other_way = "clockwise, then counterclockwise", "counterclockwise, then clockwise"
    assert moved[f"Turning [something] {clockwise}"] == f"Turning [something] {other_way}"
    assert moved["Moving [something] left, then right"] == "Moving [something] right, then left"
    right, left = (f"Letting a pattern run up and {side} inside [something]" for side in ("right", "left"))
    assert moved[right] == left and len(moved) == 10
