"""Small folders of one's own videos, and small networks for them."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tdn.data.disk import check
from tdn.data.pocket import render
from tdn.engine.trainer import Compute
from tdn.own.training import prepare

SMALL = ["--width", "8", "--size", "48", "--segments", "2", "--batch", "4"]
CHOSEN = {"width": 8, "size": 48, "segments": 2, "batch": 4, "epochs": 1}
CLASSES = ("left", "right", "up")


def folder_of(root, each=6, names=CLASSES):
    """A folder of classes, each with so many rendered clips of one label."""
    for label, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for number in range(each):
            render.encode(root / name / f"{number}.mp4", render.render_clip(label, number))
    return root


def job_of(root, out=None, **given):
    """A small training on the folder `root`, not begun."""
    return prepare(str(root), CHOSEN | given, out, Compute())


@pytest.fixture(autouse=True)
def without_processes(monkeypatch):
    """Videos are tried in threads here: processes take seconds to start."""
    monkeypatch.setattr(check, "worker_pool", lambda workers, _: ThreadPoolExecutor(workers))
