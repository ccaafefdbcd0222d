"""What is chosen for a training on one's own videos, and the recipe that holds it."""

import dataclasses

import pytest

from tdn.engine.recipes import Recipe
from tdn.experiments.runs import IMAGENET
from tdn.model.weights import load_model
from tdn.own.choice import OF_RECORD, SCRATCH, choose, read_recipe
from tdn.own.videos import OwnVideos


def test_the_rule():
    small = choose({}, 118, gpu=False)
    assert (small.model, small.depth, small.width, small.size, small.segments) == ("tdn", 10, 24, 96, 8)
    assert (small.initialised_from, small.epochs, small.lr, small.batch) == (SCRATCH, 60, 2e-3, 16)
    assert [choose({}, videos, gpu=False).epochs for videos in (1, 360, 900)] == [60, 40, 16]
    large = choose({}, 1000, gpu=False)
    assert (large.initialised_from, large.depth, large.width, large.size) == (IMAGENET, 18, 64, 112)
    on_gpu = [choose({}, videos, gpu=True) for videos in (100, 20_000)]
    assert [(of.depth, of.size, of.epochs) for of in on_gpu] == [(18, 224, 30), (50, 224, 10)]


def test_what_is_given_counts_and_the_rest_follows():
    assert choose({"depth": 10}, 5000, gpu=True).initialised_from == SCRATCH, "torchvision has no ResNet-10"
    assert choose({"batch": 32}, 100, gpu=False).lr == 4e-3
    assert choose({"initialised_from": OF_RECORD}, 100, gpu=False).width == 16
    assert choose({"initialised_from": "w.pt", "lr": 0.1}, 100, gpu=False).lr == 0.1
    chosen = choose({"initialised_from": IMAGENET, "epochs": 1}, 100, gpu=False)
    assert (chosen.depth, chosen.width, chosen.recipe.optimizer, chosen.epochs) == (18, 64, "sgd", 1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "tdnn"}, "did you mean tdn"),
        ({"depth": 11}, "tdn_resnet11"),
        ({"size": 8}, "48 to 2048 pixels, not 8"),
        ({"lr": 0.0}, "learning rate"),
        ({"lr": float("nan")}, "learning rate"),
        ({"initialised_from": IMAGENET, "depth": 10}, "choose --depth 18 --width 64, or --from scratch"),
        ({"seed": -1}, "not negative"),
        ({"epochs": 0}, "1 or more"),
    ],
)
def test_what_cannot_be_is_said(given, message):
    with pytest.raises(ValueError, match=message):
        choose(given, 100, gpu=False).run(OwnVideos("/"))


def test_a_run_is_the_choice():
    choice = choose({"window_stride": 2, "seed": 3, "mirror": ("a=b",)}, 100, gpu=False)
    run = choice.run(OwnVideos("/data", side=choice.side))
    assert (run.model, dict(run.options)["width"], run.seed, run.pretrained) == ("tdn_resnet10", 24, 3, None)
    assert (run.views.size, run.views.stride, round(run.views.scale * choice.side)) == (96, 2, 96)
    assert isinstance(run.recipe, Recipe) and run.recipe.epochs == 60 and run.size == 96
    assert dataclasses.replace(choice, seed=4).run(run.data).name != run.name


@pytest.mark.parametrize("mirror", [None, (), ("left hand=right hand", 'say "a"=say \\b')])
def test_a_recipe_comes_back_as_it_was_written(mirror, tmp_path):
    choice = choose({"mirror": mirror, "initialised_from": 'C:\\a "b"/w.pt'}, 100, gpu=False)
    choice.save(tmp_path / "recipe.toml")
    assert choose(read_recipe(tmp_path / "recipe.toml"), 99_999, gpu=True) == choice


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = ", "is no recipe"),
        ("epoch = 5", "unknown choice 'epoch'; did you mean epochs"),
        ("epochs = 5.5", "epochs = 5.5 is of another kind"),
        ("epochs = true", "epochs = True is of another kind"),
        ("mirror = [1]", "mirror"),
    ],
)
def test_a_broken_recipe_is_named(text, message, tmp_path):
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_recipe(tmp_path / "recipe.toml")


def test_weights_to_begin_with(tmp_path):
    assert choose({}, 100, gpu=False).weights() is None
    of_record = load_model(choose({"initialised_from": OF_RECORD}, 100, gpu=False).weights())
    assert (of_record.name, of_record.model.window, len(of_record.class_names)) == ("tdn_resnet10", 5, 24)
    with pytest.raises(FileNotFoundError, match=r"no weights file at .*or --from scratch"):
        choose({"initialised_from": str(tmp_path / "w.pt")}, 100, gpu=False).weights()
    with pytest.raises(ValueError, match=r"the record has weights of .*tdn_resnet10 of width 16.*not of tdn_resnet10"):
        choose({"initialised_from": OF_RECORD, "width": 24}, 100, gpu=False).weights()
