"""Several runs at a time: what is trained, what is left when something is killed."""

import dataclasses
import re
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
from helpers.runs import TINY, on_the_cpu, weights, with_epochs  # noqa: F401 (a fixture)

from tdn.experiments import queue
from tdn.experiments import runs as experiment
from tdn.experiments.registry import plan

PROGRAM = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is started with it ignored
sys.path.insert(0, {tests!r})
from experiments.test_queue import seeds, train, with_epochs
if __name__ == "__main__":
    train(seeds(with_epochs(int(sys.argv[3])), 2), Path(sys.argv[1]), Path(sys.argv[2]), jobs=2)
"""


def train(runs, results, data_root, **more):
    queue.train(plan(runs, results), results, data_root, **more)


def seeds(config, number):
    return [dataclasses.replace(config, seed=seed) for seed in range(number)]


def start(tmp_path, data_root, epochs):
    """A process with two workers, and these, once each of them has a checkpoint."""
    (tmp_path / "program.py").write_text(PROGRAM.format(tests=__file__.rsplit("/", 2)[0]))
    command = [sys.executable, tmp_path / "program.py", tmp_path, data_root, str(epochs)]
    process = psutil.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    while len(list(tmp_path.glob("runs/*/checkpoint.pt"))) < 2:
        assert process.poll() is None, "ended before its first checkpoints"
        time.sleep(0.05)
    return process, [child for child in process.children(recursive=True) if "spawn_main" in " ".join(child.cmdline())]


def test_each_missing_run_is_trained_once_whatever_is_next_to_it(tmp_path, data_root, capsys):
    runs = seeds(TINY, 3)
    train([runs[0], *runs], tmp_path, data_root, jobs=2)
    results = [experiment.stored(config, tmp_path) for config in runs]
    assert {result.manifest["device"] for result in results} == {"CPU, 1 threads"}
    out, err = capsys.readouterr()
    assert out.count("top-1") == 3 and "step" in out and not err, "a notebook shows stderr in red"
    assert re.match(r"needs 3 networks, 0 there, about 1 minutes?\n", out)
    train(runs[:1], tmp_path / "alone", data_root, jobs=1)
    first, again = weights(results[0]), weights(experiment.stored(runs[0], tmp_path / "alone"))
    assert all(torch.equal(first[key], value) for key, value in again.items())
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    train(runs, tmp_path, data_root)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == files
    assert capsys.readouterr().out.count("top-1") == 1, "that of the run alone"


def test_the_network_that_others_start_from_is_trained_first_and_only_where_needed(tmp_path, data_root):
    config = dataclasses.replace(TINY, seed=1, pretrained=TINY)
    train([config, dataclasses.replace(config, seed=2), TINY], tmp_path, data_root, jobs=2)
    assert len(list(tmp_path.glob("runs/*/metrics.json"))) == 3
    shutil.rmtree(experiment.stored(TINY, tmp_path).folder)
    train([config], tmp_path, data_root, jobs=2)
    assert not experiment.stored(TINY, tmp_path).complete, "what is complete needs no other run"


def test_the_error_of_a_run_is_raised_here_and_ends_the_others(tmp_path, data_root):
    broken = dataclasses.replace(TINY, options=(("width", 8), ("l_tdm_fusion", "F+G")))
    with pytest.raises(ValueError, match="l_tdm_fusion would do nothing"):
        train([broken, *seeds(with_epochs(500), 2)], tmp_path, data_root, jobs=2)
    assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]
    assert not list(tmp_path.glob("runs/*/metrics.json"))


@pytest.mark.slow
def test_after_a_killed_worker_the_next_call_resumes(tmp_path, data_root):
    process, workers = start(tmp_path, data_root, 80)
    workers[0].kill()
    assert process.wait(timeout=60) != 0 and not any(worker.is_running() for worker in workers)
    runs = seeds(with_epochs(80), 2)
    assert not all(experiment.stored(config, tmp_path).complete for config in runs)
    train(runs, tmp_path, data_root, jobs=2)
    train(runs[:1], tmp_path / "whole", data_root, jobs=1)
    resumed, whole = (weights(experiment.stored(runs[0], folder)) for folder in (tmp_path, tmp_path / "whole"))
    assert all(torch.equal(resumed[key], value) for key, value in whole.items())


@pytest.mark.parametrize("kill", [pytest.param(signal.SIGKILL, marks=pytest.mark.slow), signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path, data_root, kill):
    process, workers = start(tmp_path, data_root, 5000)
    process.send_signal(kill)
    assert process.wait(timeout=60) != 0
    assert len(workers) == 2 and not psutil.wait_procs(workers, timeout=30)[1]
    assert not list(tmp_path.glob("runs/*/metrics.json"))


def test_a_dead_worker_is_reported_in_words(tmp_path, data_root, monkeypatch):
    monkeypatch.setattr(queue, "_start_worker", sys.exit)
    with pytest.raises(RuntimeError, match=r"one of 1 training processes was killed or did not start"):
        train([TINY], tmp_path, data_root)
