"""Which clips and crops of a video are scored."""

import numpy as np
import pytest
import torch
from helpers.networks import Linear
from helpers.reference import randomise

from tdn.data.clips import TestClips
from tdn.data.sampling import Views, parse_views, sample_windows
from tdn.data.transforms import Crop, to_input
from tdn.engine.evaluation import Evaluation, ensemble, evaluate
from tdn.engine.inference import average_views, network_input, predict, top_classes
from tdn.model.zoo import create_model


def test_one_view_is_the_middle_of_everything_and_crops_lie_evenly_along_the_longer_side():
    view = Views()
    assert np.array_equal(view.windows(57, 8, 5, 0), sample_windows(57, 8, 5))
    assert view.squares(256, 340) == (Crop(16, 58, 224, 224),) and view.squares(340, 256) == (Crop(58, 16, 224, 224),)
    views = Views(crops=3, size=256, scale=1.0)
    assert views.squares(256, 340) == tuple(Crop(0, left, 256, 256) for left in (0, 42, 84))
    assert views.squares(455, 256) == tuple(Crop(top, 0, 256, 256) for top in (0, 99, 199))
    assert [crop.left for crop in Views(crops=5, scale=1.0).squares(240, 320)] == [0, 20, 40, 60, 80]


@pytest.mark.parametrize("clips", [2, 3, 10])
def test_clips_are_distinct_evenly_spread_and_the_same_every_time(clips):
    views = Views(clips=clips)
    starts, again = (np.array([views.windows(300, 8, 5, clip)[:, 0] for clip in range(clips)]) for _ in range(2))
    assert np.array_equal(starts, again)
    every = np.sort(starts.flatten())
    assert len(set(every)) == 8 * clips, "no frame starts two windows"
    steps = np.diff(every)
    assert steps.max() - steps.min() <= 1, "over the whole video alike"
    assert (np.diff(starts, axis=0) > 0).all()


def test_views_are_written_as_in_the_papers():
    assert parse_views("1x1") == Views(1, 1, 224, 0.875) and parse_views("10x3") == Views(10, 3, 256, 1.0)
    assert str(parse_views("10x3")) == "10x3" and parse_views("10x3").number == 30
    assert parse_views("1x1", size=112).size == 112
    of_file = {"size": 48, "scale": 48 / 56}  # one clip, one crop, trained at 48 of 56 pixels
    assert parse_views("2x1", None, of_file) == Views(2, 1, 48, 48 / 56)
    assert parse_views("10x3", None, of_file) == Views(10, 3, 56, 1.0) and parse_views("1x1", 40, of_file).size == 40
    for text in ("10", "10*3", "0x1", "10x", "x3", "-1x1"):
        with pytest.raises(ValueError, match="clips x crops"):
            parse_views(text)
    for wrong in (dict(clips=0), dict(crops=0), dict(size=0), dict(scale=0), dict(scale=1.1), dict(side=48)):
        with pytest.raises(ValueError, match=r"1 or more|clips, crops, size, scale and stride, not {'side': 48}"):
            parse_views("1x1", None, wrong)


def test_the_probabilities_of_a_video_are_the_mean_over_its_views(video_sets):
    """As released: softmax of each view, then the mean."""
    _, val = video_sets
    torch.manual_seed(0)
    model, clips = Linear(), TestClips(val, 2, 1, Views(3, 2, size=40, scale=0.7))
    model.fc.weight.data *= 5  # views that are sure of different classes
    together = evaluate(model, clips, torch.device("cpu"), batch=5)
    assert together.videos.tolist() == list(range(19))
    per_clip = []
    sample = clips[4]
    assert (sample.video, len(sample.clip), len(sample.crops)) == (4, 3, 2)
    for clip in sample.clip:
        for crop in sample.crops:
            assert crop.height == crop.width == round(0.7 * 56)
            with torch.no_grad():
                per_clip.append(model(to_input([clip], [crop], 40))[0].numpy())
    expected = np.mean([softmax(scores) for scores in per_clip], axis=0)
    np.testing.assert_allclose(softmax(together.scores[4]), expected, atol=1e-6)
    assert np.abs(softmax(np.mean(per_clip, axis=0)) - expected).max() > 1e-3, "not the mean of scores"


@pytest.mark.parametrize("views", [2, 30])
def test_views_are_averaged_exactly_and_one_view_keeps_its_scores(views):
    scores = 20 * torch.randn(4, views, 174, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean = scores.softmax(-1).mean(1)
    torch.testing.assert_close(average_views(scores).softmax(-1), mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(average_views(scores), mean.log(), rtol=1e-12, atol=1e-12)
    assert torch.equal(average_views(scores[:, :1]), scores[:, 0])
    far = torch.tensor([[0.0, 3000], [0, 2000]])  # probabilities of zero, and finite scores
    assert average_views(far).isfinite().all() and average_views(far)[1] == 0
    answers = top_classes(average_views(scores[0]), [str(c) for c in range(174)], 3)
    assert [answer.probability for answer in answers] == pytest.approx(mean[0].topk(3).values.tolist())


def test_crops_and_clips_are_averaged_alike(video_sets):
    """A view counts the same, whether it is one of three clips, of three crops, or of one clip evaluated alone."""
    torch.manual_seed(0)
    model, (_, val) = randomise(create_model("tsn_resnet10", 24, 2, width=8)).eval(), video_sets
    for views in (Views(3, 1, size=40), Views(1, 3, size=40, scale=0.7), Views(2, 2, size=40, scale=0.7)):
        scores = evaluate(model, TestClips(val, 2, 1, views), torch.device("cpu")).scores
        with torch.no_grad():
            of_views = model(network_input(model, val.videos[7].path, views))
        np.testing.assert_allclose(softmax(scores[7]), of_views.softmax(1).mean(0), atol=1e-6)
        np.testing.assert_allclose(scores[7], predict(model, val.videos[7].path, views), rtol=1e-4, atol=1e-5)


def softmax(scores):
    return torch.as_tensor(scores).softmax(-1).numpy()


def test_an_ensemble_is_the_mean_of_scores_over_the_videos_that_all_could_read():
    labels = np.array([0, 1, 2, 0])
    first = Evaluation(np.eye(4, 3, dtype=np.float32), labels, np.array([0, 1, 2, 5]))
    second = Evaluation(np.full((3, 3), 2, np.float32), labels[[0, 2, 3]], np.array([0, 2, 5]))
    both = ensemble([first, second])
    assert both.videos.tolist() == [0, 2, 5] and both.labels.tolist() == [0, 2, 0]
    np.testing.assert_allclose(both.scores, (np.eye(4, 3)[[0, 2, 3]] + 2) / 2)  # ordered as the sum of logits
    for classes, others in ((5, labels), (3, labels[::-1])):
        with pytest.raises(ValueError, match="different"):
            ensemble([first, Evaluation(np.zeros((4, classes), np.float32), others, first.videos)])


def test_confusion_and_accuracy_of_each_class():
    scores = np.eye(4)[[0, 1, 1, 2, 2, 0]]
    evaluation = Evaluation(scores, np.array([0, 1, 2, 2, 2, 2]), np.arange(6))
    assert evaluation.confusion.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 2, 0], [0, 0, 0, 0]]
    assert evaluation.per_class.tolist()[:3] == [1, 1, 0.5] and np.isnan(evaluation.per_class[3])
