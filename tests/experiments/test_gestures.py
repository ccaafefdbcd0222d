"""Real video: the split of the gestures by the names of their files, and the profile that trains on them."""

import re

import numpy as np
import pytest
from helpers import layouts

from tdn.__main__ import main
from tdn.book.lines import Line
from tdn.book.report import confusion_table
from tdn.data.clips import TrainingClips
from tdn.data.disk.catalog import DatasetSpec
from tdn.data.disk.published import GESTURES_VALIDATION
from tdn.engine.evaluation import Evaluation
from tdn.experiments import registry, tables
from tdn.experiments.profiles import PROFILES
from tdn.experiments.tables import Row

pytestmark = pytest.mark.usefixtures("home")  # no data set of this machine
SPEC, PROFILE = DatasetSpec("gestures"), PROFILES["gestures"]
NAMES = ["carret", "circlecc", "del", "down", "left", "right", "square", "star", "tick", "up"]


def test_the_split_is_that_of_the_names_and_what_is_missing_stays_in_it(place, home):
    root = place("gestures")
    train, val = SPEC.videos(home)
    assert (len(train), len(val)) == (121, 99) and train.class_names == NAMES and SPEC.num_classes == 10
    for videos, validation in ((train, False), (val, True)):
        for path, label, _ in videos.videos:
            name, number = re.fullmatch(r"testvideo_(.+)_(\d+)\.mp4", path.name).groups()
            assert path.parent == root / "testvideo" and NAMES[label] == name
            assert (int(number) in GESTURES_VALIDATION[name]) == validation
    there = {path.name for videos in (train, val) for path, _, _ in videos.videos if path.exists()}
    assert there == set(layouts.GESTURES) and len(there) == 8


def test_left_out_and_missing_clips_are_said_and_none_is_mirrored_also_by_the_index(place, home, capsys):
    place("gestures")
    for _ in range(2):
        train, val = SPEC.videos(home / ".data")
        assert "clips of none of the 10 gestures, left out: 1 (testvideo_unclassified_2.mp4)" in capsys.readouterr().out
        left = next(i for i, video in enumerate(train.videos) if video.path.name == "testvideo_left_2.mp4")
        clips = TrainingClips(train, 4, 1, (1.0,))
        samples = [clips[left] for epoch in range(20) if clips.start_epoch(epoch) is None]
        assert {(sample.label, sample.crops[0].flip) for sample in samples} == {(NAMES.index("left"), False)}
        assert main(["data", "check", "gestures"]) == 1, "some are missing"
        out = capsys.readouterr().out
        assert "missing: 116, unreadable: 0" in out and "missing: 96, unreadable: 0" in out
        assert "never mirrored: 10" in out and "exchanges for another: 0" in out
    assert len(train.known_unreadable) == 116 and len(val.known_unreadable) == 96, "read from the index"


@pytest.mark.parametrize("copies", ["testvideo", "train and val"])
def test_its_folder_and_copies_by_class_are_the_same_set(copies, place, home, tmp_path, monkeypatch):
    place("gestures")
    root, before = tmp_path / "gestures/testvideo", SPEC.videos(home)
    if copies == "train and val":
        root = tmp_path / "copies"
        for name in layouts.GESTURES:
            part = "val" if name in {path.name for path, _, _ in before[1].videos} else "train"
            layouts.video_file(root / part / name.split("_")[1] / name, 1)
    monkeypatch.setenv("TDN_GESTURES", str(root))
    for videos, others in zip(SPEC.videos(home), before, strict=True):
        assert [(v.path.name, v.label) for v in videos.videos] == [(v.path.name, v.label) for v in others.videos]
        assert sum(path.exists() for path, _, _ in videos.videos) == sum(path.exists() for path, _, _ in others.videos)


def test_absent_clips_are_said_with_what_to_do(tmp_path, monkeypatch, capsys):
    command = "git clone --depth 1 https://github.com/varunj/EgoGestAR"
    assert command in SPEC.missing() and "TDN_GESTURES=" in SPEC.missing() and SPEC.num_classes == 10
    assert main(["train", "--profile", "gestures", "--list"]) in (0, None)
    assert "55 runs are not possible here: EgoGestAR's pointing gestures (gestures) is not" in capsys.readouterr().out
    monkeypatch.setenv("TDN_GESTURES", str(tmp_path))
    assert "there is no testvideo_<class>_<number>.mp4 in " in SPEC.missing()


def test_the_profile_has_its_table_with_five_seeds_from_scratch_and_no_other_profile_has_it():
    runs = registry.named_runs(PROFILE)
    names = ["TSN", "temporal convolution", "TSM", "TEA", "S-TDM", "L-TDM", "TDN"]
    controls = ["single frame", "TDN, segments shuffled", "temporal convolution on stacked differences"]
    names += [*controls, "2D network on stacked differences"]
    rows = {row.name: row for row in tables.GESTURES}
    assert all(row == rows[row.name] for row in tables.CONTROLS if row.name in rows), "one network under one name"
    assert list(dict.fromkeys(runs.values())) == [f"gestures: {name}" for name in names]
    assert [run.seed for run in runs] == [seed for seed in range(5) for _ in range(11)]
    assert {run.pretrained for run in runs} == {None} and len({run.name for run in runs}) == 55
    assert [name for run, name in runs.items() if run.num_segments == 1] == ["gestures: single frame"] * 5
    (same,) = {(run.data, run.size, run.scales, run.views, run.recipe) for run in runs}
    recipe = same[-1]
    assert same[:3] == (SPEC, 96, (1.0, 0.875)) and (same[3].size, same[3].scale) == (96, 0.875)
    assert (recipe.optimizer, recipe.lr, recipe.schedule, recipe.epochs) == ("adamw", 2e-3, "cosine", 60)
    assert (recipe.warmup_epochs, recipe.batch, recipe.label_smoothing) == (2, 16, 0.1)
    assert {(dict(run.options)["width"], dict(run.options)["dropout"]) for run in runs} == {(24, 0.2)}
    models = [run.create_model() for run in runs if run.seed == 0 and run.model == "tdn_resnet10"]
    modules = [(len(model.s_tdm), hasattr(model.stages[2][0].temporal, "l_tdm")) for model in models]
    assert modules == [(0, False), (2, False), (0, True), (2, True), (2, True), (0, False)]
    assert [model.shuffled for model in models] == [False] * 4 + [True, False]
    for profile in PROFILES.values():
        assert ("gestures" in profile.table_names) == ("gestures" in profile.name)
    for profile, table in ((PROFILE, "short_vs_long"), (PROFILE, "transfer"), (PROFILES["pocket"], "gestures")):
        with pytest.raises(ValueError, match=f"unknown table of the profile {profile.name} '{table}'"):
            registry.all_runs(profile, [table])


def test_confusions_are_counted_over_seeds():
    scores = [np.eye(3)[answers] for answers in ([0, 1, 1, 2], [0, 2, 1, 1])]
    results = [type("R", (), {"evaluation": Evaluation(of, np.array([0, 0, 1, 2]), np.arange(4))}) for of in scores]
    lines = [Line(Row("TDN", "tdn"), results), Line(Row("TSN", "tsn"), [])]
    table = confusion_table(lines, ["a", "b", "c"])
    assert table.columns.tolist() == ["class", "TDN"]
    assert table["TDN"].tolist() == ["50, b 25", "100", "50, b 50"]
