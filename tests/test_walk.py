"""The way of a video and of a training sample through the package is the one that its docstring gives."""

import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.runs import TINY

import tdn
from tdn.data.sampling import Views
from tdn.experiments import registry, runs
from tdn.model.resnet import VideoResNet

ROOT = Path(tdn.__file__).parent
VIDEO, SAMPLE = tdn.__doc__.split("\n\n")[1:3]


@contextmanager
def entered():
    """The files of the package in which functions are called meanwhile, other threads included, in order."""
    files: dict[str, None] = {}

    def note(frame, event, _):
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(ROOT):
            files[path.relative_to(ROOT).as_posix()] = None

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield files
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def before_the_model(files):
    return [name for name in files if not name.startswith("model/") and name != "__init__.py"]


def test_the_walk_of_a_video(video_sets):
    model = tdn.create_model("tdn_resnet10", 24, 4, width=8)
    predict, views = tdn.predict, Views(size=48)
    with entered() as files:
        predict(model, video_sets[1].videos[0].path, views)
    walked = before_the_model(files)
    assert walked == sorted(walked, key=VIDEO.index) != [], walked
    assert len(walked) + 1 <= 8, "with the notebook"


def test_the_walk_of_a_training_sample(tmp_path, data_root, monkeypatch):
    class Reached(Exception):
        pass

    def reached(*_):
        raise Reached

    monkeypatch.setattr(VideoResNet, "forward", reached)
    with entered() as files, pytest.raises(Reached):
        assert registry.plan([TINY], tmp_path).to_do == [TINY]
        runs.run(TINY, tmp_path, data_root)
    walked = before_the_model(files)
    assert all(name.rpartition("/")[2] in SAMPLE for name in walked), walked
    assert len({*walked, "Makefile", "__main__.py", "commands/train.py", "experiments/queue.py"}) <= 18
