"""The object masks, and the measures of how right activation maps are."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SPEC
from helpers.runs import TINY
from torch import nn

from tdn.book import map_quality
from tdn.book.features import validation_clips
from tdn.book.intervals import compare, verdict
from tdn.book.map_quality import FRACTIONS, energy_inside, measure_curves, measure_localisation, object_masks, pointing
from tdn.data.pocket import render as pocket
from tdn.data.sampling import Views
from tdn.data.video import open_video
from tdn.experiments import runs as experiment
from tdn.maps.activation import activation_maps, placed_on


def label(name):
    return next(i for i, of_class in enumerate(pocket.CLASSES) if of_class.name.startswith(name))


def test_masks_move_and_grow_as_the_classes_say():
    x = np.arange(56)
    for seed in (1, 2, 3):
        for first, second, sign in (("right", "left", 1), ("left", "right", -1)):
            mask = pocket.render_mask(label(f"Moving [something] {first}, then {second}"), seed)
            places = (mask * x).sum((1, 2)) / mask.sum((1, 2))
            assert sign * (places[len(mask) // 2] - places[[0, -1]]).min() > 5, "there and back, beside the camera"
        grows = pocket.render_mask(label("[Something] growing"), seed).sum((1, 2))
        assert grows[len(grows) // 2] > 2 * grows[[0, -1]].max()
        runs = pocket.render_mask(label("Letting a pattern run right"), seed).sum((1, 2))
        assert runs.min() > 150 and np.ptp(runs) < 0.05 * runs.max(), "the patch keeps its size"
        shows = pocket.render_mask(label("Showing a square"), seed).sum((1, 2))
        assert 0.25 < (shows < 1).mean() < 0.8, "nothing before, between and after"


def test_masks_are_where_the_video_differs_from_its_still_background():
    """An object that shows up covers what is behind it: there, with a still camera, the frames differ."""
    of_class = label("Showing a square")
    mask, clip = pocket.render_mask(of_class, 5), pocket.render_clip(of_class, 5).astype(float)
    assert mask.shape == clip.shape[:3] and mask.min() >= 0 and mask.max() <= 1
    shown = mask.sum((1, 2)).argmax()
    changed = np.abs(clip[shown] - clip[0]).mean(-1) > 30
    assert mask[shown][changed].mean() > 0.8 and changed[mask[shown] < 0.01].mean() < 0.02


def test_masks_lie_on_the_frames_that_the_network_sees(data_root):
    views, video = Views(size=48, scale=48 / 56), label("Moving [something] right, then left")
    (masks,), whole = object_masks(SPEC, [video], 4, 5, views), SPEC.mask(video)
    with open_video(SPEC.videos(data_root)[1].videos[video].path) as opened:
        assert opened.num_frames == len(whole)
    chosen = views.windows(len(whole), 4, 5, 0)[:, 2]
    assert masks.shape == (4, 48, 48) and np.array_equal(masks, whole[chosen][:, 4:52, 4:52])
    with pytest.raises(ValueError, match="48 pixels for frames of 40"):
        object_masks(SPEC, [video], 4, 5, dataclasses.replace(views, size=40))


def test_energy_and_pointing_as_defined():
    maps, masks = torch.zeros(2, 3, 2, 4, 4)
    masks[:, :, 1, 1], masks[:, 1, 1, 2] = 1, 0.5
    maps[0, 0, 1, 1], maps[0, 1, 1, 2], maps[0, 1, 3, 3] = 3, 2, 5
    maps[1, 0, 1, 1], maps[1, 1, 0, 0] = 1, 0.5
    energy, points = energy_inside(maps, masks), pointing(maps, masks)
    assert energy[:2].tolist() == pytest.approx([0.4, 2 / 3]) and energy[2].isnan()
    assert points[:2].tolist() == [0, 1] and points[2].isnan()
    assert energy_inside(torch.ones(3, 2, 4, 4), masks).tolist() == pytest.approx(masks.mean((1, 2, 3)).tolist())


class OnePixel(nn.Module):
    """Sure of class 1 while one pixel of the second segment is as it was."""

    def forward(self, clips):
        there = (clips[:, 1, :, 0, 2, 3] - 3).abs().amax(1) < 1e-6
        return torch.stack([~there, there], 1) * 20.0


def test_curves_fall_and_rise_with_the_pixel_that_matters():
    clips, maps = torch.randn(2, 2, 5, 3, 5, 5), torch.rand(2, 2, 5, 5)
    clips[:, 1, :, 0, 2, 3] = 3
    maps[0, 1, 2, 3], maps[1, 1, 2, 3] = 2, -1  # the highest activation of the first clip, the lowest of the second
    deletion, insertion = map_quality.curves(OnePixel(), clips, maps, torch.tensor([1, 1]))
    assert deletion.shape == insertion.shape == (2, len(FRACTIONS))
    assert deletion[0].round().tolist() == [1] + [0] * 10 and insertion[0].round().tolist() == [0] + [1] * 10
    assert deletion[1].round().tolist() == [1] * 10 + [0] and insertion[1].round().tolist() == [0] * 10 + [1]


SHORT = dataclasses.replace(TINY, num_segments=4, views=Views(size=48, scale=48 / 56))
TCONV, TDN = (dataclasses.replace(SHORT, model=f"{name}_resnet10") for name in ("tconv", "tdn"))
RUNS, NO = {"temporal convolution": TCONV, "TDN": TDN}, "inconclusive"


@pytest.fixture(scope="module")
def results(tmp_path_factory, data_root):
    folder = tmp_path_factory.mktemp("results")
    for config in RUNS.values():
        experiment.run(config, folder, data_root)
    return folder


def test_measured_once_and_stored_next_to_the_run(results, data_root, monkeypatch):
    some, every = (measure_localisation(TDN, results, of, "stage3", data_root) for of in ([3, 5], [3, 4, 5]))
    pd.testing.assert_frame_equal(some, every.loc[[3, 5]])
    _, clips = validation_clips(TDN, [4], data_root)
    maps, _ = activation_maps(experiment.trained(TDN, results), clips, [4], "stage3")
    masks = object_masks(SPEC, [4], 4, 5, TDN.views)
    energies = float(energy_inside(placed_on(maps[0], (48, 48))[None], masks)), float(masks.mean())
    assert every.loc[4, ["energy", "energy uniform"]].tolist() == pytest.approx(energies, rel=1e-4)
    of_curves = measure_curves(TDN, results, [4], "stage3", data_root)
    start = experiment.stored(TDN, results).evaluation
    shown = float(torch.from_numpy(start.scores).softmax(1)[list(start.videos).index(4), 4])
    assert of_curves.loc[4, ["deletion 0.0", "insertion 1.0"]].tolist() == pytest.approx([shown] * 2, rel=1e-3)
    monkeypatch.setattr(map_quality, "activation_maps", lambda *_: pytest.fail("computed again"))
    again = measure_localisation(TDN, results, [5, 3], "stage3", data_root)
    np.testing.assert_allclose(again, every.loc[[5, 3]], rtol=1e-6)


def test_localisation_table(results, data_root):
    where = (results, range(8), "stage3", data_root)
    table = map_quality.localisation_table({name: [config] for name, config in RUNS.items()}, *where)
    assert table["maps of"].tolist() == [*RUNS, "uniform map", "centre prior"]
    of_tdn, reference = (measure_localisation(config, *where)["energy"] for config in (TDN, TCONV))
    whole = of_tdn.notna() & reference.notna()
    assert table["clips"].tolist() == [whole.sum()] * 4 and table["zero maps"].tolist() == [(~whole).sum()] * 4
    assert table.loc[1, "energy inside (%)"] == pytest.approx(100 * of_tdn[whole].mean())
    change = 100 * (of_tdn - reference)[whole]
    half = 1.96 * change.std(ddof=1) / len(change) ** 0.5
    points, of_draws = map(float, table.loc[1, "energy inside, vs temporal convolution"].split(" ± "))
    assert points == pytest.approx(change.mean(), abs=0.06) and of_draws == pytest.approx(half, rel=0.05)
    assert table.loc[1, "energy inside: verdict"] == verdict(points, of_draws)
    of_two = map_quality.localisation_table({"temporal convolution": [TCONV] * 2, "TDN": [TDN, TCONV]}, *where)
    assert of_two["seeds"].tolist()[:2] == [2, 2] and of_two["seeds"][2:].isna().all()
    one, other = np.stack([reference[whole]] * 2, 1), np.stack([of_tdn[whole], reference[whole]], 1)
    expected = compare(one, other)
    shown = of_two.loc[1, "energy inside, vs temporal convolution"]
    assert shown == f"{expected.points:+.1f} ± {expected.half:.1f}", "of the clips, and of the seed"


def test_curves_table_and_choice_of_videos(results, data_root):
    where = (results, range(8), "stage3", data_root)
    table = map_quality.curves_table(RUNS, *where)
    assert len(table) == 4 and (table["area"].between(0, 100)).all()
    columns = ([f"{kind} {fraction}" for fraction in FRACTIONS] for kind in ("insertion", "centre insertion"))
    area, of_prior = (100 * np.trapezoid(measure_curves(TDN, *where)[of], FRACTIONS).mean() for of in columns)
    assert table.loc[3, ["maps of", "curve"]].tolist() == ["TDN", "insertion"]
    assert table.loc[3, "vs centre prior"].startswith(f"{area - of_prior:+.1f} ± ")
    assert table.loc[3, "area"] == pytest.approx(area)
    right = map_quality.correct_in_all(list(RUNS.values()), results)
    assert set(right) <= set(range(24)) and len(right)
    labels = pd.Series([0, 1, 0, 2, 1, 3], index=[4, 5, 6, 7, 8, 9])
    assert map_quality.one_per_class(labels, 2) == [4, 9] and map_quality.one_per_class(labels, 9) == [4, 5, 7, 9]


@pytest.mark.parametrize(("verdict", "word"), [("better", "more than"), ("worse", "less than"), (NO, f"{NO} vs.")])
def test_findings_follow_the_tables(verdict, word):
    places = pd.DataFrame({"maps of": ["T-Conv", "TDN", "uniform map", "centre prior"]})
    for what, values in {"energy inside": [14.0, 21.0, 7.0, 10.0], "pointing game": [40, 55, 7, 14]}.items():
        places[f"{what} (%)"] = values
        places[f"{what}, vs T-Conv"] = ["", "+7.0 ± 3.0", "", ""]
        places[f"{what}: verdict"] = ["reference", verdict, "worse", "worse"]
    stages = pd.concat([places.assign(layer="stage3"), places.assign(layer="stage5")], ignore_index=True)
    stages.loc[5, "energy inside (%)"] = 7.5
    curves = pd.DataFrame({"maps of": ["TDN"], "curve": ["deletion"], "vs centre prior": ["-3.0 ± 1.0"]})
    sentences = map_quality.findings(places, stages, curves.assign(verdict=verdict)).splitlines()
    assert sentences[0] == "- Energy inside: T-Conv 14.0 %, TDN 21.0 %; the better baseline 10.0 %."
    assert sentences[1] == f"- TDN: {word} T-Conv (+7.0 ± 3.0 points)." and sentences[3] == sentences[1]
    assert sentences[4] == f"- Energy inside in stage3, TDN: {word} T-Conv (+7.0 ± 3.0 points)."
    assert sentences[5].endswith("It is less than a fifth above the uniform map's 7.0 %.")
    first = word if verdict == NO else f"{verdict} than"
    assert sentences[6] == f"- Deletion by the maps of TDN: {first} the centre prior (area -3.0 ± 1.0)."
