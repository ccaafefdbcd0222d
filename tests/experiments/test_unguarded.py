"""Scripts without `if __name__ == "__main__":`, whose worker processes import them again."""

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
RENDER = "render_set(folder, PocketSpec(4, 2), workers=2)"
TRAIN = "experiment.run(TINY, folder / 'results', Path(sys.argv[2]))"
SCORE = "evaluate(Linear(), TestClips(load(render_set(Path(sys.argv[2]), SPEC), SPEC)[1], 2, 1, TINY.views), CPU)"
QUEUE = "queue.train(registry.plan([TINY], folder / 'results'), folder / 'results', Path(sys.argv[2]), jobs=2)"
CHECK = "check_videos(Labelled(['a'], [Video(folder, 0)], []), folder / 'index.csv', folder, '', 1)"
SCRIPT = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(TESTS)!r})
import torch
from conftest import SPEC
from helpers.networks import Linear
from helpers.runs import TINY
from tdn.data.clips import TestClips, Video, VideoSet
from tdn.data.disk.check import check_videos
from tdn.data.disk.published import Labelled
from tdn.data.pocket.render import PocketSpec, load, render_set
from tdn.engine.evaluation import evaluate
from tdn.experiments import queue, registry
from tdn.experiments import runs as experiment
VideoSet.keep_in_memory = lambda *_: False  # as of a set too large for it
CPU, folder = torch.device("cpu"), Path(sys.argv[1])
"""


@pytest.mark.parametrize(
    "line", [RENDER, *(pytest.param(line, marks=pytest.mark.slow) for line in (TRAIN, SCORE, QUEUE, CHECK))]
)
def test_a_script_without_its_guard_ends_with_what_is_missing(line, tmp_path, data_root):
    (tmp_path / "script.py").write_text(SCRIPT + line)
    command = [sys.executable, tmp_path / "script.py", tmp_path, data_root]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    last = ended.stderr.splitlines()[-1]
    assert ended.returncode == 1 and last.startswith("RuntimeError: "), ended.stderr
    assert 'needs its lines under `if __name__ == "__main__":`' in last


@pytest.mark.parametrize("line", [RENDER, pytest.param(SCORE, marks=pytest.mark.slow)])
def test_a_script_from_standard_input_is_to_be_saved_as_a_file(line, tmp_path, data_root):
    command, script = [sys.executable, "-", tmp_path, data_root], f"{SCRIPT}if __name__ == '__main__':\n    {line}"
    ended = subprocess.run(command, input=script, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1 and ended.stderr.count("Traceback") == 1
    assert ended.stderr.splitlines()[-1].startswith("RuntimeError: a script from standard input can't start worker")


@pytest.mark.slow
def test_what_starts_no_worker_needs_no_guard(tmp_path, data_root):
    """Lines in front of the guard, which workers run again: here they find the clips rendered."""
    line = f"load(render_set(Path(sys.argv[2]), SPEC), SPEC)\nif __name__ == '__main__':\n    {RENDER}"
    (tmp_path / "script.py").write_text(SCRIPT + line)
    subprocess.run([sys.executable, tmp_path / "script.py", tmp_path, data_root], check=True, timeout=120)
    assert list(tmp_path.glob("pocket-*/index.csv"))
