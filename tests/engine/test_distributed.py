"""One, two and three processes of torchrun: the same training, the same evaluation, to the last video."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tdn.engine import distributed
from tdn.engine.distributed import RunningStatistics

HIDDEN = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
PROGRAM = """
import copy, os, shutil, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from conftest import SPEC
import torch
from torch.distributed.elastic.multiprocessing.errors import record
import tdn
from tdn.data.clips import TestClips, TrainingClips, VideoSet
from tdn.data.sampling import Views
from tdn.engine.distributed import process_group, rank
from tdn.engine.evaluation import evaluate
from tdn.engine.loading import TrainingLoader
from tdn.engine.recipes import Recipe
from tdn.engine.trainer import fit

data, results, mode, found = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], {{}}

class FullDisk(TrainingClips):
    def __getitem__(self, index):
        if os.environ["RANK"] == "1":
            raise OSError("the disk of this machine is full")
        return super().__getitem__(index)

def train(name, videos, epochs, micro_batch=2, kind=TrainingClips):
    torch.manual_seed(rank())  # other weights in every process, until they get those of the first
    model = tdn.create_model("tdn_resnet10", 24, 2, width=8, dropout=0.5)
    if rank() == 0:
        torch.manual_seed(0)
        model = tdn.create_model("tdn_resnet10", 24, 2, width=8, dropout=0.5)
        model.stage1.bn.running_mean += 3  # as of a network that was trained before
    loader = TrainingLoader(kind(videos, 2, 5, seed=3), 12, micro_batch)
    recipe = Recipe(epochs, 12, 0.01, micro_batch=micro_batch)
    training = fit(model, loader, recipe, 48, results / name, torch.device("cpu"))
    found[name] = training.history, training.unreadable, model.state_dict()
    return model

@record
def main():
    train_set, val_set = SPEC.videos(data)
    known = copy.copy(train_set)
    if mode == "error":
        train("error", train_set, 1, kind=FullDisk)
    for videos in (train_set, val_set):
        videos.keep_in_memory()
    if mode == "resume":
        train("resumed", train_set, 2)
    train("plain", train_set, 1)
    if rank() == 0:
        shutil.copytree(results / "plain", results / "first epoch")
    model = train("plain", train_set, 2)
    scores = evaluate(model, TestClips(val_set, 2, 5, Views(2, 3, 48)), torch.device("cpu"), batch=9)
    found["scores"] = scores.scores, scores.labels, scores.videos
    gone = [v._replace(path=v.path.with_name("gone.mp4")) if i % 3 == 0 and i < 33 else v
            for i, v in enumerate(train_set.videos)]  # 11 of 36: some steps have micro-batches without a video
    train("unreadable", VideoSet(gone, train_set.class_names), 1, micro_batch=1)
    if rank() == 0:
        known.known_unreadable = {{3: "broken", 17: "broken"}}  # to this process alone
    train("known", known, 1)
    if rank() == 0:
        torch.save(found, results / "found.pt")
if __name__ == "__main__":
    with process_group():
        main()
"""


def start(processes, data_root, results, mode="all"):
    """Starting processes takes longest: one start for all scenarios."""
    results.mkdir(exist_ok=True)
    program = results / "program.py"
    program.write_text(PROGRAM.format(tests=str(Path(__file__).parents[1])))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += [program, data_root, results, mode]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=HIDDEN)


def start_on_two_machines(data_root, results):
    """Two agents of torchrun with a process each, which meet at a port of the first, as on two machines."""
    results.mkdir(exist_ok=True)
    (results / "program.py").write_text(PROGRAM.format(tests=str(Path(__file__).parents[1])))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d"]
    command += [
        f"--rdzv-endpoint={meeting}",
        "--local-addr=127.0.0.1",
        results / "program.py",
        data_root,
        results,
        "all",
    ]
    agents = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=HIDDEN) for _ in range(2)]
    for agent in agents:
        errors = agent.communicate(timeout=300)[1]
        assert agent.returncode == 0, errors


@pytest.fixture(scope="module")
def outcomes(data_root, tmp_path_factory):
    """Of one, two and three processes; the three also resume what two have begun."""
    folder, found = tmp_path_factory.mktemp("torchrun"), {}
    for processes in (1, 2, 3):
        if processes == 3:
            shutil.copytree(folder / "2/first epoch", folder / "3/resumed")
        done = start(processes, data_root, folder / str(processes), "resume" if processes == 3 else "all")
        assert done.returncode == 0, done.stderr
        found[processes] = torch.load(folder / str(processes) / "found.pt", weights_only=False)
    return found


def losses(outcome):
    return [row["loss"] for row in outcome[0]]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_any_number_of_processes_trains_and_evaluates_to_the_same(processes, outcomes):
    """Six micro-batches in a step, 38 clips to score in batches of three: neither is a multiple of all of 1, 2, 3."""
    alone, several = outcomes[1], outcomes[processes]
    assert losses(several["plain"]) == pytest.approx(losses(alone["plain"]), abs=1e-4)
    assert [row["train_top1"] for row in several["plain"][0]] == [row["train_top1"] for row in alone["plain"][0]]
    for key, value in alone["plain"][2].items():
        if not key.endswith("num_batches_tracked"):  # how many micro-batches the first process had
            torch.testing.assert_close(several["plain"][2][key], value, atol=1e-4, rtol=1e-3, msg=key)
    scores, labels, videos = several["scores"]
    assert videos.tolist() == list(range(19)) and np.array_equal(labels, alone["scores"][1])
    np.testing.assert_allclose(scores, alone["scores"][0], atol=1e-4)
    # Micro-batches without a readable video; videos that one process alone knows to be unreadable.
    for name in ("unreadable", "known"):
        assert losses(several[name]) == pytest.approx(losses(alone[name]), abs=1e-4)
    assert several["unreadable"][1] == alone["unreadable"][1] and len(several["unreadable"][1]) == 1, "one path"
    assert losses(alone["known"]) != pytest.approx(losses(alone["plain"])[:1], abs=1e-4)
    if processes == 3:  # which resume what two have begun: two epochs
        assert losses(several["resumed"]) == pytest.approx(losses(alone["plain"]), abs=1e-4)


def test_a_step_of_one_micro_batch_reaches_the_processes_that_had_none(monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "all_reduce", lambda flat: flat + torch.tensor([3.0, 4, 5, 6]))  # the other's
    norm = nn.BatchNorm1d(2)
    statistics = RunningStatistics(norm)
    statistics.start(0)
    statistics.finish(1)
    assert norm.running_mean.tolist() == [3, 4] and norm.running_var.tolist() == [5, 6]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="names of threads are files of Linux")
def test_no_thread_of_the_processes_group_outlives_it():
    """One that does can abort Python's end, when all work is done."""
    program = """
from pathlib import Path
from torch import nn
from tdn.engine.distributed import process_group
def of_gloo():
    return [task for task in Path("/proc/self/task").iterdir() if "gloo" in (task / "comm").read_text()]
with process_group():
    nn.parallel.DistributedDataParallel(nn.Linear(2, 2))
    assert of_gloo()
assert not of_gloo()
"""
    alone = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1", "--no-python"]
    command = [sys.executable, *alone, sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=HIDDEN)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_two_machines_train_as_two_processes_of_one(outcomes, data_root, tmp_path):
    start_on_two_machines(data_root, tmp_path)
    found = torch.load(tmp_path / "found.pt", weights_only=False)
    assert losses(found["plain"]) == pytest.approx(losses(outcomes[2]["plain"]), abs=1e-4)
    np.testing.assert_allclose(found["scores"][0], outcomes[2]["scores"][0], atol=1e-4)


@pytest.mark.slow
def test_the_error_of_a_worker_is_what_ends_the_run(data_root, tmp_path):
    done = start(2, data_root, tmp_path, "error")
    assert done.returncode != 0 and "the disk of this machine is full" in done.stderr
    assert not (tmp_path / "found.pt").exists()


def test_running_statistics_are_the_mean_over_the_micro_batches():
    norm = nn.BatchNorm1d(2, momentum=0.1)
    micro_batches, statistics = [torch.randn(8, 2) + number for number in range(5)], RunningStatistics(norm)
    statistics.start(5)
    for number, micro_batch in enumerate(micro_batches):
        statistics.start_micro_batch(number)
        norm(micro_batch)
    statistics.finish(5)
    torch.testing.assert_close(norm.running_mean, 0.1 * torch.stack([x.mean(0) for x in micro_batches]).mean(0))
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * torch.stack([x.var(0) for x in micro_batches]).mean(0))


@pytest.mark.parametrize("count", [1, 3])
def test_running_statistics_of_a_step_can_be_undone(count):
    norm = nn.BatchNorm1d(2)
    statistics, before = RunningStatistics(norm), norm.running_mean.fill_(7).clone()
    place = norm.running_mean.data_ptr()
    statistics.start(count, keep=True)
    for number in range(count):
        statistics.start_micro_batch(number)
        norm(torch.randn(8, 2))
        assert (norm.running_mean.data_ptr() == place) == (count == 1), "a CUDA graph knows where they are"
    assert not torch.equal(norm.running_mean, before)
    statistics.undo()
    assert torch.equal(norm.running_mean, before)
