"""The trainer against what it promises."""

import contextlib
import dataclasses
import math
import shutil

import pandas as pd
import pytest
import torch
from helpers.networks import Linear

import tdn
from tdn.data.clips import TestClips, TrainingClips, Video, VideoSet
from tdn.data.sampling import Views
from tdn.engine.graphs import graphed
from tdn.engine.loading import TrainingLoader
from tdn.engine.recipes import Recipe
from tdn.engine.trainer import Compute, Step, Training, fit

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=2, batch=12, lr=0.01)
VIEWS = Views(size=64)
DEFAULT = Compute()


@pytest.fixture
def video_sets(video_sets):
    for video_set in video_sets:
        video_set.keep_in_memory()
    return video_sets


def train(video_sets, folder, recipe, model=None, compute=DEFAULT, kind=TrainingClips, device=CPU, **arguments):
    torch.manual_seed(0)
    model = model or Linear()
    clips = kind(video_sets[0], 2, model.window, seed=3)
    loader = TrainingLoader(clips, recipe.batch, compute.micro_batch(recipe))
    return model, fit(model, loader, recipe, 64, folder, device, compute=compute, **arguments).history


def network():
    torch.manual_seed(1)
    return tdn.create_model("tdn_resnet10", 24, 2, width=8, dropout=0.5)


def weights(model):
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


class Interrupted(TrainingClips):
    def __getitem__(self, index):
        if self.epoch == 2 and index == 7:
            raise RuntimeError("cut")
        return super().__getitem__(index)


@pytest.mark.parametrize(
    "options", [("sgd", "step", 600), ("muon", "hold", 0), ("adamw", "plateau", 0), ("adamw", "cosine", 600)]
)
def test_resuming_ends_in_the_weights_of_an_uninterrupted_run(options, video_sets, tmp_path, monkeypatch):
    """From the checkpoint of the last epoch, or from one within the epoch."""
    optimizer, schedule, seconds = options
    recipe = Recipe(4, 12, 0.01, optimizer, schedule=schedule, steps=(2,), patience=0, warmup_epochs=1.5)
    cut, steps, val = tmp_path / "cut", [], {"val_clips": TestClips(video_sets[1], 2, 5, VIEWS)}
    whole, history = train(video_sets, tmp_path / "whole", recipe, network(), **val)
    monkeypatch.setattr("tdn.engine.trainer.CHECKPOINT_SECONDS", seconds)
    with pytest.raises(RuntimeError, match="cut"):
        train(video_sets, cut, recipe, network(), kind=Interrupted, **val)
    resumed, resumed_history = train(video_sets, cut, recipe, network(), on_step=steps.append, **val)
    assert torch.equal(weights(whole), weights(resumed))
    untimed = [[row | {"seconds": 0, "waiting": 0} for row in h] for h in (history, resumed_history)]
    assert untimed[0] == untimed[1] and len(untimed[0]) == 4
    assert sum(steps) == 12 and steps[0] >= 6 and (steps[0] > 6) == (seconds == 0)
    assert (cut / "history.csv").read_text() == pd.DataFrame(resumed_history).to_csv(index=False)


def test_accumulated_gradients_are_those_of_the_whole_batch(video_sets, tmp_path):
    whole, _ = train(video_sets, tmp_path / "a", RECIPE)
    accumulated, _ = train(video_sets, tmp_path / "b", RECIPE, compute=Compute(device_batch=5))  # 5 + 5 + 2
    torch.testing.assert_close(weights(accumulated), weights(whole), atol=1e-6, rtol=1e-5)


def test_a_step_is_sgd_with_momentum_decay_and_a_clipped_gradient(video_sets, tmp_path):
    recipe, model = Recipe(1, 36, 0.1, clip_norm=0.05, weight_decay=0, schedule="step"), Linear()
    before = weights(model)
    train(video_sets, tmp_path, recipe, model)
    assert (weights(model) - before).norm() == pytest.approx(0.1 * 0.05, rel=1e-3)


HOLD = [min(1, (1 - epoch / 6) / 0.5) for epoch in range(6)]
COSINE = [(1 + math.cos(math.pi * epoch / 6)) / 2 for epoch in range(6)]


STEP = [0.01, 0.505, 0.1, 0.1, 0.01, 0.01]


@pytest.mark.parametrize("options", [("step", 2, STEP), ("cosine", 0, COSINE), ("hold", 0, HOLD)])
def test_schedules(options, video_sets, tmp_path):
    schedule, warmup, expected = options
    recipe = Recipe(6, 12, 0.5, schedule=schedule, steps=(2, 4), warmup_epochs=warmup)
    _, history = train(video_sets, tmp_path, recipe)
    assert [row["lr"] / 0.5 for row in history] == pytest.approx(expected)


def test_plateau_divides_by_ten_when_validation_saturates(video_sets, tmp_path):
    recipe, constant = Recipe(6, 12, 0.5, schedule="plateau", patience=1), Linear()
    constant.register_forward_hook(lambda _, __, scores: scores * 0)  # validation top-1 never moves
    _, history = train(video_sets, tmp_path, recipe, constant, val_clips=TestClips(video_sets[1], 2, 1, VIEWS))
    assert [row["lr"] for row in history] == pytest.approx([0.5, 0.5, 0.5, 0.05, 0.05, 0.005])
    with pytest.raises(ValueError, match="needs validation"):
        train(video_sets, tmp_path / "other", recipe)


def test_the_loss_is_as_defined_and_ends_the_run_where_it_is_not_finite(video_sets, tmp_path):
    fixed, always = Linear(), 3 * torch.eye(24)[8]
    fixed.register_forward_hook(lambda _, __, scores: scores * 0 + always)
    _, history = train(video_sets, tmp_path / "a", Recipe(1, 36, 0.01, label_smoothing=0.1), fixed)
    log = always.log_softmax(0)
    hard = -(2 * log[8] + 34 * log[0]) / 36  # two of 36 clips have this label, mirrored or not
    assert history[0]["loss"] == pytest.approx(float(0.9 * hard - 0.1 * log.mean()), rel=1e-4)
    assert history[0]["train_top1"] == pytest.approx(2 / 36)
    fixed.register_forward_hook(lambda _, __, scores: scores * math.nan)
    with pytest.raises(FloatingPointError, match="learning rate"):
        train(video_sets, tmp_path / "b", RECIPE, fixed)
    assert not (tmp_path / "b/checkpoint.pt").exists()


def test_a_step_that_overflows_in_fp16_is_skipped_until_the_scale_is_spent(video_sets, tmp_path):
    def overflow(module, _, scores):
        return scores * (math.inf if module.training and next(steps) in bad else 1)

    compute, recipe = Compute(precision="fp16"), Recipe(3, 12, 0.01, "adamw", clip_norm=1)
    after = []
    for bad in ((), (4,), range(99)):
        model, steps = network(), iter(range(999))
        model.register_forward_hook(overflow)
        if len(bad) > 1:
            with pytest.raises(FloatingPointError, match="learning rate"):
                train(video_sets, tmp_path / "spent", Recipe(9, 12, 0.01), model, compute)
            assert next(steps) == 17, "the scale was 2 ** 16"
        else:
            history = train(video_sets, tmp_path / str(bad), recipe, model, compute)[1]
            after.append((weights(model), [row["loss"] for row in history]))
    (weights_of_all, losses), (weights_without, losses_without) = after
    assert weights_without.isfinite().all() and not torch.equal(weights_without, weights_of_all)
    assert losses_without[0] == losses[0] and math.isfinite(losses_without[1]), "that of the steps that were taken"


@pytest.mark.slow
def test_networks_learn(video_sets, tmp_path):
    model = tdn.create_model("tdn_resnet10", 24, 2, width=8, dropout=0.0)
    _, history = train(video_sets, tmp_path, Recipe(12, 12, 0.01, "adamw"), model)
    assert history[-1]["loss"] < 0.85 * history[0]["loss"]


def test_bfloat16_trains_float32_weights_and_resumes_in_another_precision(video_sets, tmp_path):
    recipe = dataclasses.replace(RECIPE, epochs=1)
    model, history = train(video_sets, tmp_path, recipe, network(), Compute(precision="bf16"))
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())
    assert 2 < history[0]["loss"] < 4
    _, history = train(video_sets, tmp_path, RECIPE, network(), Compute(precision="fp16"))  # resumes in another one
    assert len(history) == 2


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler on a CPU")
def test_a_compiled_network_trains_to_the_same_weights(video_sets, tmp_path):
    recipe = dataclasses.replace(RECIPE, epochs=1)
    eager, _ = train(video_sets, tmp_path / "a", recipe)
    compiled, _ = train(video_sets, tmp_path / "b", recipe, compute=Compute(compile=True))
    assert set(compiled.state_dict()) == set(eager.state_dict()), "the names of the weights stay"
    torch.testing.assert_close(weights(compiled), weights(eager), atol=1e-6, rtol=1e-5)


def test_a_step_of_one_micro_batch_is_one_graph_of_clips_on_the_device(video_sets, tmp_path, monkeypatch):
    """But for a micro-batch that lacks a video. The graph is not recorded here: its function is called as it is."""

    def recorded(step, arguments, allow_unused_input):
        assert step.training and not step.cache and not torch.is_autocast_enabled("cpu")
        for _ in range(3):  # as to warm up
            step(*arguments)
        graphs.append(step)

    graphs, trained = [], {}
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", recorded)
    monkeypatch.setattr(torch.cuda, "device", contextlib.nullcontext)
    recipe = Recipe(2, 12, 0.01, sampling="even")
    for device in ("cpu", "cuda"):
        clips = TrainingClips(video_sets[0], 2, 5, (48 / 56,), 3, "even")
        training = Training(network().train(), TrainingLoader(clips, 12, 12), recipe, 48, tmp_path, CPU, DEFAULT)
        if device == "cuda":
            clips.move_to(CPU, 48)
            training.graphed = graphed(Step(training.model, cache=False), training._no_clips(12))
            training.network = None  # not to be called
        training.train_one_epoch(lambda steps: None)
        trained[device] = weights(training.model)
    assert len(graphs) == 1 and torch.equal(trained["cpu"], trained["cuda"])
    called, training.network = [], lambda clips: called.append(len(clips)) or Step(training.model)(clips)
    training._micro_batch([clips[index] for index in range(11)])
    assert called == [11]


def test_unreadable_videos_are_reported_once_and_training_goes_on(video_sets, broken_videos, tmp_path, capsys, recwarn):
    videos = [*video_sets[0].videos[:20], *(Video(path, 0) for path in broken_videos.values())]
    broken = VideoSet(videos, video_sets[0].class_names)
    model, history = train((broken, None), tmp_path / "a", dataclasses.replace(RECIPE, epochs=3, batch=24))
    reported = capsys.readouterr().out
    assert all(reported.count(f"left out, unreadable: {path}: ") == 1 for path in broken_videos.values())
    assert weights(model).isfinite().all() and len(history) == 3 and 0 < history[0]["waiting"] < 1
    nothing = VideoSet([Video(broken_videos["text"], 0)], video_sets[0].class_names)
    with pytest.raises(ValueError, match=r"not one of 1 training videos could be read.*text\.mp4"):
        train((nothing, None), tmp_path / "b", RECIPE)
    assert not [str(w.message) for w in recwarn if "lr_scheduler" in str(w.message)]


def test_options_that_do_not_exist_are_answered_with_the_valid_ones():
    for option, wrong, valid in (("optimizer", "adam", "sgd, adamw"), ("schedule", "poly", "step, plateau, cosine")):
        with pytest.raises(ValueError, match=valid):
            dataclasses.replace(RECIPE, **{option: wrong})
    with pytest.raises(ValueError, match="fp32, bf16, fp16"):
        Compute(precision="half")
