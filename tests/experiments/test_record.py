"""The record: what it keeps of runs, and that it is what was written."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.runs import TINY, on_the_cpu, weights, with_epochs  # noqa: F401 (a fixture)

from tdn.data.sampling import Views
from tdn.engine.evaluation import Evaluation
from tdn.experiments.record import Recorded, pack
from tdn.experiments.runs import run, scores, scores_of_both, stored, trained


@pytest.fixture
def result(tmp_path, data_root):
    return run(TINY, tmp_path / "study", data_root)


def test_a_record_answers_as_the_run_does(result, tmp_path):
    kept = tmp_path / "record"
    kept.mkdir()
    pack(kept, [result], with_weights=[result])
    of = stored(TINY, kept)
    assert isinstance(of, Recorded) and of.complete and not stored(with_epochs(2), kept).complete
    assert of.metrics == result.metrics and of.manifest == result.manifest
    history = result.history[["epoch", "loss", "train_top1"]]
    pd.testing.assert_frame_equal(of.history, history, rtol=1e-3, check_dtype=False)
    whole, answers = result.evaluation, of.evaluation
    assert [answers.top(k) for k in (1, 3, 5)] == [whole.top(k) for k in (1, 3, 5)]
    assert (answers.confusion == whole.confusion).all() and answers.metrics() == whole.metrics()
    half, single = trained(TINY, kept).state_dict(), weights(result)
    assert all(torch.allclose(half[key].float(), single[key].float(), rtol=1e-3, atol=1e-3) for key in single)
    assert sum(file.stat().st_size for file in kept.rglob("*") if file.is_file()) < 400_000
    with pytest.raises(FileNotFoundError, match=r"the record keeps no scores\.npz of .*train it, tdn train"):
        of.file("scores.npz")


def test_scores_of_other_views_and_of_two_networks_are_kept_as_answers(result, tmp_path, data_root):
    study, views = result.folder.parents[1], Views(clips=2, size=48, scale=0.8)
    other = run(dataclasses.replace(TINY, seed=1), study, data_root)
    two = dataclasses.replace(TINY, seed=1)
    of_views = scores(TINY, study, views, data_root)
    both = scores_of_both(TINY, two, study, TINY.views)
    assert (both.scores == (result.evaluation.scores + other.evaluation.scores) / 2).all()
    (kept := tmp_path / "record").mkdir()
    pack(kept, [result, other])
    assert (scores(TINY, kept, views).answers == of_views.answers).all()
    assert (scores_of_both(TINY, two, kept, TINY.views).ranks == both.ranks).all()
    again = tmp_path / "again"
    pack(again, [stored(TINY, kept)])  # a record of a record
    assert (scores(TINY, again, views).ranks == of_views.ranks).all() and not stored(two, again).complete
    with pytest.raises(FileNotFoundError, match=r"the record keeps no .*train it, tdn train"):
        scores(TINY, kept, dataclasses.replace(views, clips=3))


def test_a_complete_run_beside_the_record_comes_first_and_damage_is_named(result, tmp_path):
    kept = result.folder.parents[1]
    pack(kept, [result])
    assert not isinstance(stored(TINY, kept), Recorded)
    result.folder.rename(tmp_path / "elsewhere")
    assert isinstance(stored(TINY, kept), Recorded)
    with pytest.raises(FileNotFoundError, match=r"keeps no weights\.pt"):
        stored(TINY, kept).file("weights.pt")
    content = (kept / "runs.jsonl").read_text()
    (kept / "runs.jsonl").write_text(content.replace('"top1": ', '"top1": 1'))
    (kept / "record.json").touch()
    with pytest.raises(ValueError, match=r"runs\.jsonl is damaged.*git checkout"):
        stored(TINY, kept)


def test_ranks_and_answers_are_those_of_the_scores_with_ties_in_order():
    scores = np.array([[0.5, 0.5, 0.1], [0.2, 0.7, 0.7], [0.9, 0.1, 0.3]], np.float32)
    evaluation = Evaluation(scores, np.array([1, 1, 1]), np.arange(3))
    assert evaluation.answers.tolist() == [0, 1, 0] and evaluation.ranks.tolist() == [1, 0, 2]
