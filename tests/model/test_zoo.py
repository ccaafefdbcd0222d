"""Every network of every table: what it costs, and that it learns from videos."""

import inspect

import pytest
import torch

import tdn
from tdn.data.clips import TestClips, TrainingClips, VideoSet
from tdn.data.sampling import Views
from tdn.engine.evaluation import evaluate
from tdn.engine.recipes import Recipe
from tdn.engine.trainer import fit
from tdn.model.cost import neighbour_products
from tdn.model.tdrl import ProgressiveEnhancement
from tdn.model.temporal import (
    ChannelMotion,
    ChannelSpatiotemporal,
    MotionEnhancement,
    MotionExcitation,
    TemporalAdaptive,
    TemporalAggregation,
    TemporalConv,
    TemporalShift,
)
from tdn.model.zoo import SYSTEMS, create_model, model_names

NAMES = [f"{name}_{'resnet50' if 'resnet50' in s.backbones else s.backbones[0]}" for name, s in SYSTEMS.items()]


@pytest.fixture(scope="module")
def models():
    return tdn.list_models()


def test_the_list_says_what_each_network_is(models):
    assert list(models.index) == NAMES and set(NAMES) <= set(model_names())
    listed = {name.split("_resnet")[0] for name in NAMES}
    assert listed >= {"tsn", "tconv", "tsm", "teinet", "tea", "stm", "tam", "tanet", "tdrl", "tdrl_tsm", "tdn"}
    assert listed >= {"i3d", "slowonly", "slowfast"}
    assert models["window"].tolist() == [5 if name.startswith("tdn") else 1 for name in NAMES]
    assert (models[["GMACs", "params (M)"]] > 0).all(axis=None) and models["paper"].str.len().min() > 0
    assert models.loc["tdn_resnet50", "segments"] == 8 and models.loc["slowfast_resnet50", "size"] == 256


# GMACs and parameters of ResNet-50, 8 x 224 x 224, 174 classes, as others count them on public code or on their own
# reading of the papers, temporal convolutions included.
@pytest.mark.parametrize(
    ("system", "gmacs", "params"),
    [
        ("tsn", 32.70, 23.86),
        ("tconv", 32.75, 23.88),
        ("tconv_full", 40.41, 27.64),
        ("tsm", 32.70, 23.86),
        ("tim", 32.83, 23.90),
        ("teinet", 32.90, 29.89),
        ("res2net", 34.03, 24.01),
        ("tea", 34.54, 24.46),
        ("stm", 33.08, 24.04),
        ("tam", 32.83, 23.90),
        ("tanet", 32.76, 25.13),
        ("tdrl", 32.88, 29.90),
        ("tdn", 35.64, 24.38),
    ],
)
def test_costs_are_those_that_others_count(models, system, gmacs, params):
    with torch.device("meta"):
        eight, sixteen = (create_model(f"{system}_resnet50", num_segments=t) for t in (8, 16))
    listed = models.loc[f"{system}_resnet50"]
    counted = listed["GMACs"] + neighbour_products(eight)
    assert counted == pytest.approx(gmacs, abs=0.035) and listed["params (M)"] == pytest.approx(params, abs=0.0051)
    assert tdn.measure_cost(sixteen).gmacs == pytest.approx(2 * listed["GMACs"], abs=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_every_network_trains_a_step_and_evaluates_on_pocket_clips(name, video_sets, tmp_path):
    torch.manual_seed(0)
    narrow = "width" in inspect.signature(SYSTEMS[name.rsplit("_", 1)[0]].network).parameters
    model = create_model(name, 18, 8, **({"width": 8} if narrow else {}))
    before = {key: value.clone() for key, value in model.named_parameters()}
    some = [VideoSet(videos.videos[:5], videos.class_names) for videos in video_sets]
    train_clips = TrainingClips(some[0], 8, model.window, seed=1)
    val_clips = TestClips(some[1], 8, model.window, Views(size=48))
    td_lambda = 2e-4 if "tdrl" in name else 0
    recipe = Recipe(1, 4, 0.1, td_lambda=td_lambda)
    history = fit(model, train_clips, recipe, 48, tmp_path, torch.device("cpu")).history
    assert 1 < history[0]["loss"] < 10 and ("td_loss" in history[0]) == bool(td_lambda)
    still = [key for key, value in model.named_parameters() if torch.equal(value, before[key])]
    assert not still, "every parameter takes part in the step"
    evaluation = evaluate(model, val_clips, torch.device("cpu"), batch=3)
    assert evaluation.scores.shape == (5, 18) and not evaluation.unreadable


PLACES = {
    "tconv": (TemporalConv,),
    "tsm": (TemporalShift,),
    "tim": (TemporalConv,),
    "teinet": (MotionEnhancement, TemporalConv),
    "tea": (MotionExcitation, TemporalConv),
    "stm": (ChannelSpatiotemporal, ChannelMotion),
    "tam": (TemporalAggregation,),
    "tanet": (TemporalAdaptive,),
    "tdrl": (ProgressiveEnhancement, TemporalConv),
}


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("depth", [10, 18, 50])
def test_every_module_stands_in_every_block(name, depth):
    model = create_model(f"{name}_resnet{depth}", 7, 4, width=8)
    for stage in model.stages[1:]:
        for index, block in enumerate(stage):
            assert all(any(isinstance(m, module) for m in block.modules()) for module in PLACES[name])
            if name == "tea":  # the first block of every stage has no ladder, and pools its last group
                assert block.conv2.first == isinstance(block.conv2.last, torch.nn.AvgPool2d) == (index == 0)


@pytest.mark.parametrize("name", ["tsn", *PLACES])
@pytest.mark.parametrize("segments", [1, 2, 5])
@pytest.mark.parametrize("depth", [18, 50])
def test_any_number_of_segments_trains(name, segments, depth):
    model = create_model(f"{name}_resnet{depth}", 7, segments, width=8)
    scores = model(torch.randn(2, segments, 1, 3, 40, 40))
    assert scores.shape == (2, 7)
    scores.square().sum().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert segments == 1 or not silent, silent


def test_imagenet_weights_of_other_networks_are_not_made_up():
    with pytest.raises(ValueError, match="no ImageNet weights of Res2Net"):
        tdn.load_imagenet(create_model("tea_resnet50"))
    with pytest.raises(ValueError, match="SlowOnly cannot be initialised from the weights of a 2D ResNet"):
        tdn.load_imagenet(create_model("slowonly_resnet50"))
    with pytest.raises(
        ValueError,
        match=r"did you mean .*tsm_resnet50.*valid: tsn, tconv, .*, each with _resnet10 or .*; i3d_resnet50, ",
    ):
        create_model("tms_resnet50")
    with pytest.raises(ValueError, match="unknown model option 'before'"):
        create_model("i3d_resnet50", before=("pem",))
