"""The scores of single videos."""

import numpy as np
import pytest
import torch
from helpers.reference import randomise

import tdn
from tdn.data.clips import TestClips
from tdn.data.pocket import render as pocket
from tdn.data.sampling import Views
from tdn.engine.evaluation import evaluate


@pytest.fixture
def model():
    torch.manual_seed(0)
    return randomise(tdn.create_model("tdn_resnet10", 18, 4, width=8)).eval()


@pytest.fixture
def video(tmp_path):
    pocket.encode(tmp_path / "clip.mp4", pocket.render_clip(8, 3))
    return tmp_path / "clip.mp4"


@pytest.mark.parametrize("views", [Views(size=48), Views(3, 2, size=40, scale=0.8)])
def test_the_scores_are_those_of_the_evaluation(model, video_sets, views):
    _, val = video_sets
    expected = evaluate(model, TestClips(val, 4, 5, views), torch.device("cpu")).scores
    for number in (0, 7):
        scores = tdn.predict(model, val.videos[number].path, views)
        assert scores.shape == (18,) and scores.dtype == torch.float32
        np.testing.assert_allclose(scores, expected[number], rtol=1e-4, atol=1e-5)


def test_the_network_ends_as_it_was_and_broken_weights_are_said(model, video):
    tdn.predict(model.train(), video, Views(size=48))
    assert model.training
    model.fc.bias.data[3] = torch.inf
    with pytest.raises(FloatingPointError, match="not finite"):
        tdn.predict(model, video, Views(size=48))
