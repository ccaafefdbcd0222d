"""Every network of every table: what it costs, and that it learns from videos."""

import pytest
import torch
from helpers.reference import silent

import tdn
from tdn.data.clips import TestClips, TrainingClips, VideoSet
from tdn.data.sampling import Views
from tdn.engine.evaluation import evaluate
from tdn.engine.loading import TrainingLoader
from tdn.engine.recipes import Recipe
from tdn.engine.trainer import fit
from tdn.model.cost import measure_cost
from tdn.model.zoo import SYSTEMS, create_model, model_names

NAMES = [f"{name}_{'resnet50' if 'resnet50' in s.backbones else s.backbones[0]}" for name, s in SYSTEMS.items()]


@pytest.fixture(scope="module")
def models():
    return tdn.list_models()


def test_the_list_says_what_each_network_is(models):
    assert list(models.index) == NAMES and set(NAMES) <= set(model_names()) and SYSTEMS.keys() >= {*COSTS, "slowfast"}
    assert models["window"].tolist() == [5 if name.startswith("tdn") else 1 for name in NAMES]
    assert (models[["GMACs", "params (M)"]] > 0).all(axis=None) and models["paper"].str.len().min() > 0
    assert models.loc["tdn_resnet50", "segments"] == 8 and models.loc["slowfast_resnet50", "size"] == 256


# GMACs and parameters of ResNet-50, 8 x 224 x 224, 174 classes, as others count them on public code or on their own
# reading of the papers, temporal convolutions included.
COSTS = {
    **{"tsn": (32.70, 23.86), "tconv": (32.75, 23.88), "tconv_full": (40.41, 27.64), "tsm": (32.70, 23.86)},
    **{"tim": (32.83, 23.90), "teinet": (32.90, 29.89), "res2net": (34.03, 24.01), "tea": (34.54, 24.46)},
    **{"stm": (33.08, 24.04), "tam": (32.83, 23.90), "tanet": (32.76, 25.13), "tdrl": (32.88, 29.90)},
    "tdn": (35.64, 24.38),
}


@pytest.mark.parametrize("system", COSTS)
def test_costs_are_those_that_others_count(models, system):
    gmacs, params = COSTS[system]
    with torch.device("meta"):
        counted = measure_cost(create_model(f"{system}_resnet50")).neighbour_products
    listed = models.loc[f"{system}_resnet50"]
    assert listed["GMACs"] + counted == pytest.approx(gmacs, abs=0.035)
    assert listed["params (M)"] == pytest.approx(params, abs=0.0051)


# The others take the same path through trainer and evaluation; that they train is asked below and in test_networks3d.
@pytest.mark.parametrize("name", ["tdrl_resnet50", "tanet_resnet18", "slowfast_resnet50"])
def test_a_step_and_an_evaluation_on_pocket_clips(name, video_sets, tmp_path):
    torch.manual_seed(0)
    model = create_model(name, 24, 8, width=8)
    before = {key: value.clone() for key, value in model.named_parameters()}
    some = [VideoSet(videos.videos[:5], videos.class_names) for videos in video_sets]
    recipe = Recipe(1, 4, 0.1, td_lambda=2e-4 if "tdrl" in name else 0)
    loader = TrainingLoader(TrainingClips(some[0], 8, model.window, seed=1), 4, 4)
    history = fit(model, loader, recipe, 48, tmp_path, torch.device("cpu")).history
    assert 1 < history[0]["loss"] < 10 and ("td_loss" in history[0]) == ("tdrl" in name)
    still = [key for key, value in model.named_parameters() if torch.equal(value, before[key])]
    assert not still, "every parameter takes part in the step"
    evaluation = evaluate(model, TestClips(some[1], 8, model.window, Views(size=48)), torch.device("cpu"), batch=3)
    assert evaluation.scores.shape == (5, 24) and not evaluation.unreadable


@pytest.mark.parametrize("name", ["tsn", "tconv", "tsm", "tim", "teinet", "tea", "stm", "tam", "tanet", "tdrl", "tdn"])
@pytest.mark.parametrize(("depth", "segments"), [(10, 1), (10, 5), (50, 2)])
def test_any_number_of_segments_trains(name, depth, segments):
    torch.manual_seed(0)
    model = create_model(f"{name}_resnet{depth}", 7, segments, width=8)
    scores = model(torch.randn(2, segments, model.window, 3, 40, 40))
    assert scores.shape == (2, 7)
    scores.square().sum().backward()
    # With one segment there is no neighbour; everywhere else each parameter takes part.
    assert segments == 1 or not silent(model)
