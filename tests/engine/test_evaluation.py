"""Scores of a set and of single videos, and what is made of them."""

import numpy as np
import pytest
import torch
from helpers.networks import Linear
from helpers.reference import randomise

import tdn
from tdn.data.clips import TestClips, Video, VideoSet
from tdn.data.sampling import Views
from tdn.engine.evaluation import Evaluation, evaluate

CPU = torch.device("cpu")
VIEWS = Views(size=64)


def test_every_video_is_scored_once_whatever_the_batch(video_sets):
    _, val = video_sets  # 19 videos
    torch.manual_seed(0)
    model = Linear().train()
    whole = evaluate(model, TestClips(val, 2, 1, VIEWS), CPU, batch=19)
    parts = evaluate(model, TestClips(val, 2, 1, VIEWS), CPU, batch=4)
    assert whole.videos.tolist() == parts.videos.tolist() == list(range(19))
    assert whole.labels.tolist() == [video.label for video in val.videos]
    np.testing.assert_allclose(whole.scores, parts.scores, atol=1e-6)
    half = evaluate(model, TestClips(val, 2, 1, VIEWS), CPU, precision=torch.bfloat16).scores
    assert model.training and half.dtype == np.float32
    assert half == pytest.approx(whole.scores, abs=0.05) and not np.array_equal(half, whole.scores)


def test_top_k_by_definition():
    scores = np.array([[0.1, 0.9, 0.5], [0.8, 0.1, 0.3], [0.2, 0.3, 0.4], [0.6, 0.5, 0.4]])
    evaluation = Evaluation(scores, np.array([1, 2, 0, 1]), np.arange(4))
    assert evaluation.correct.tolist() == [True, False, False, False]
    assert [evaluation.top(k) for k in (1, 2, 3)] == [0.25, 0.75, 1.0]
    tied = Evaluation(np.zeros((4, 3)), np.array([0, 0, 1, 2]), np.arange(4))
    assert tied.top(1) == tied.correct.mean() == 0.5, "a tie is no free answer"
    assert np.isnan(Evaluation(np.empty((0, 3)), np.empty(0, int), np.empty(0, int)).top(1))


def test_unreadable_videos_are_left_out_and_named(video_sets, broken_videos):
    videos = [*video_sets[1].videos[:5], *(Video(path, 0) for path in broken_videos.values())]
    evaluation = evaluate(Linear(), TestClips(VideoSet(videos, video_sets[1].class_names), 2, 1, VIEWS), CPU, 2)
    assert evaluation.videos.tolist() == [0, 1, 2, 3, 4]
    assert [item.path for item in evaluation.unreadable] == list(broken_videos.values())
    nothing = VideoSet([Video(broken_videos["empty"], 0)], video_sets[1].class_names)
    empty = evaluate(Linear(), TestClips(nothing, 2, 1, VIEWS), CPU)
    assert empty.scores.shape == (0, 24) and len(empty.unreadable) == 1


@pytest.mark.parametrize("views", [Views(size=48), Views(3, 2, size=40, scale=0.8)])
def test_the_scores_of_single_videos_are_those_of_the_evaluation(views, video_sets):
    torch.manual_seed(0)
    model, val = randomise(tdn.create_model("tdn_resnet10", 24, 4, width=8)).train(), video_sets[1]
    expected = evaluate(model, TestClips(val, 4, 5, views), CPU).scores
    for number in (0, 7):
        scores = tdn.predict(model, val.videos[number].path, views)
        assert model.training and scores.shape == (24,) and scores.dtype == torch.float32
        np.testing.assert_allclose(scores, expected[number], rtol=1e-4, atol=1e-5)
    model.fc.bias.data[3] = torch.inf
    with pytest.raises(FloatingPointError, match="not finite"):
        tdn.predict(model, val.videos[0].path, views)


def test_broken_weights_have_no_scores(video_sets):
    model = Linear()
    model.fc.bias.data[3] = torch.inf
    with pytest.raises(FloatingPointError, match="not finite"):
        evaluate(model, TestClips(video_sets[1], 2, 1, VIEWS), CPU)


def test_scores_survive_the_disk(tmp_path):
    evaluation = Evaluation(np.random.rand(3, 4).astype(np.float32), np.array([0, 3, 1]), np.array([5, 2, 9]))
    evaluation.save(tmp_path / "deep" / "scores.npz")
    again = Evaluation.load(tmp_path / "deep" / "scores.npz")
    for name in ("scores", "labels", "videos"):
        assert np.array_equal(getattr(again, name), getattr(evaluation, name))
