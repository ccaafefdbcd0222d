"""One, two and three processes of torchrun: the same training, the same evaluation, to the last video."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tdn.data.clips import TrainingClips
from tdn.engine.distributed import RunningStatistics
from tdn.engine.loading import Deal

PROGRAM = """
import json, os, sys
from pathlib import Path
import torch
sys.path.insert(0, {tests!r})
from conftest import SPEC
from torch.distributed.elastic.multiprocessing.errors import record
import tdn
from tdn.data.clips import TestClips, TrainingClips, Unreadable, VideoSet
from tdn.data.sampling import Views
from tdn.engine.distributed import process_group, rank
from tdn.engine.evaluation import evaluate
from tdn.engine.recipes import Recipe
from tdn.engine.trainer import fit

@record
def main():
    data, folder, epochs, wrong = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    train, val = SPEC.videos(data)
    if wrong == "known" and int(os.environ["RANK"]) == 0:  # to this process alone
        train.known_unreadable = dict([(3, "broken"), (17, "broken")])
    if wrong == "unreadable":  # 11 of 36: some updates have parts without a video
        train = VideoSet([v._replace(path=v.path.with_name("gone.mp4")) if i % 3 == 0 and i < 33 else v
                          for i, v in enumerate(train.videos)], train.class_names)
    cpu = torch.device("cpu")
    torch.set_num_threads(1)
    with process_group():
        torch.manual_seed(rank())  # other weights in every process, until they get those of the first
        model = tdn.create_model("tdn_resnet10", 18, 2, width=8, dropout=0.5)
        if rank() == 0:
            torch.manual_seed(0)
            model = tdn.create_model("tdn_resnet10", 18, 2, width=8, dropout=0.5)
            model.stage1.bn.running_mean += 3  # as of a network that was trained before
        class Clips(TrainingClips):
            def __getitem__(self, video):
                often = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" or wrong == "error"
                if "error" in wrong and often and rank() == 1 and self.epoch == 1:
                    raise OSError("the disk of this machine is full")
                return super().__getitem__(video)
        clips = Clips(train, 2, 5, seed=3)
        recipe = Recipe(epochs, 12, 0.01, micro_batch=1 if wrong == "unreadable" else 2)
        training = fit(model, clips, recipe, 48, folder, cpu)
        evaluation = evaluate(model, TestClips(val, 2, 5, Views(2, 3, 48)), cpu, batch=9)
        if rank() == 0:
            evaluation.save(folder / "scores.npz")
            torch.save(model.state_dict(), folder / "weights.pt")
            (folder / "training.json").write_text(json.dumps([training.history, training.unreadable]))

main()
"""


def run(processes, data_root, folder, epochs=2, wrong="nothing", *options):
    program = folder.parent / "program.py"
    program.write_text(PROGRAM.format(tests=str(Path(__file__).parents[1])))
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *options]
    return subprocess.run(
        [*command, program, data_root, folder, str(epochs), wrong], capture_output=True, text=True, timeout=100
    )


def outcome(folder):
    history, unreadable = json.loads((folder / "training.json").read_text())
    with np.load(folder / "scores.npz") as stored:
        scores, labels, videos = (stored[name] for name in ("scores", "labels", "videos"))
    return history, unreadable, scores, labels, videos, torch.load(folder / "weights.pt", weights_only=True)


@pytest.fixture(scope="module")
def alone(data_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone") / "1"
    done = run(1, data_root, folder)
    assert done.returncode == 0, done.stderr
    return outcome(folder)


@pytest.mark.parametrize("processes", [2, 3])
def test_any_number_of_processes_trains_and_evaluates_alike(processes, alone, data_root, tmp_path):
    """Six parts an update, 38 clips to score in batches of three: neither divides evenly by all of 1, 2 and 3."""
    done = run(processes, data_root, tmp_path / "n")
    assert done.returncode == 0, done.stderr
    history, _, scores, labels, videos, weights = outcome(tmp_path / "n")
    for row, expected in zip(history, alone[0], strict=True):
        assert row["loss"] == pytest.approx(expected["loss"], abs=1e-4)
        assert row["train_top1"] == expected["train_top1"]
    assert videos.tolist() == list(range(19)) and np.array_equal(labels, alone[3])
    np.testing.assert_allclose(scores, alone[2], atol=1e-4)
    for key, value in alone[5].items():
        if not key.endswith("num_batches_tracked"):  # how many parts the first process had
            torch.testing.assert_close(weights[key], value, atol=1e-4, rtol=1e-3, msg=key)


def test_training_goes_on_with_another_number_of_processes(alone, data_root, tmp_path):
    assert run(2, data_root, tmp_path / "n", epochs=1).returncode == 0
    done = run(3, data_root, tmp_path / "n", epochs=2)
    assert done.returncode == 0, done.stderr
    history = outcome(tmp_path / "n")[0]
    assert [row["loss"] for row in history] == pytest.approx([row["loss"] for row in alone[0]], abs=1e-4)


def test_a_process_whose_videos_can_not_be_read_takes_part_with_nothing(data_root, tmp_path):
    one, three = (run(number, data_root, tmp_path / str(number), 1, "unreadable") for number in (1, 3))
    assert one.returncode == three.returncode == 0, three.stderr
    (history, unreadable, *_), expected = outcome(tmp_path / "3"), outcome(tmp_path / "1")
    assert history[0]["loss"] == pytest.approx(expected[0][0]["loss"], abs=1e-4)
    assert unreadable == expected[1] and len(unreadable) == 1, "one path, that of all of them"


def test_processes_that_know_other_unreadable_videos_deal_the_same(data_root, tmp_path):
    one, two = (run(number, data_root, tmp_path / str(number), 1, "known") for number in (1, 2))
    assert one.returncode == two.returncode == 0, two.stderr
    loss = [outcome(tmp_path / name)[0][0]["loss"] for name in "12"]
    assert loss[0] == pytest.approx(loss[1], abs=1e-4)


def test_the_error_of_a_worker_is_what_ends_the_run(data_root, tmp_path):
    done = run(2, data_root, tmp_path / "n", 2, "error")
    assert done.returncode != 0 and "the disk of this machine is full" in done.stderr
    assert not (tmp_path / "n" / "training.json").exists()


def test_torchrun_starts_failed_workers_again_and_they_go_on(alone, data_root, tmp_path):
    done = run(2, data_root, tmp_path / "n", 2, "error once", "--max-restarts=1")
    assert done.returncode == 0 and "the disk of this machine is full" in done.stderr
    losses = [row["loss"] for row in outcome(tmp_path / "n")[0]]
    assert losses == pytest.approx([row["loss"] for row in alone[0]], abs=1e-4)


class _Clips:
    seed = 0

    def __init__(self, videos):
        self.videos = videos

    def __len__(self):
        return len(self.videos)


def test_more_processes_than_parts_are_refused(video_sets, monkeypatch):
    monkeypatch.setattr("tdn.engine.loading.world_size", lambda: 4)
    assert Deal(_Clips(video_sets[0]), 12, 3).parts == 4
    with pytest.raises(ValueError, match="4 processes, but a batch of 12 has only 3 parts of 4 videos"):
        Deal(_Clips(video_sets[0]), 12, 4)


def test_videos_that_are_left_out_are_not_dealt_and_all_others_are(video_sets):
    clips = TrainingClips(video_sets[0], 2, 1)
    deal = Deal(clips, 10, 4, left_out=[0, 35])
    assert (deal.updates, deal.parts) == (3, 3)
    dealt = [[[sample.video for sample in samples] for samples, _ in share] for share in deal.epoch(0, 0)]
    assert [[len(part) for part in update] for update in dealt] == [[4, 4, 2]] * 3
    every = [video for update in dealt for part in update for video in part]
    assert len(set(every)) == 30 and not {0, 35} & set(every)
    later = [[[sample.video for sample in samples] for samples, _ in share] for share in deal.epoch(0, 2)]
    assert later == dealt[2:], "from the update that is asked for"
    with pytest.raises(ValueError, match="not one of 36"):
        Deal(clips, 10, 4, left_out=range(36))


def test_running_statistics_are_the_mean_over_the_parts():
    norm = nn.BatchNorm1d(2, momentum=0.1)
    first, second = torch.randn(8, 2) + 5, torch.randn(8, 2)
    statistics = RunningStatistics(norm)
    statistics.start()
    for part in (first, second):
        norm(part)
        statistics.end_part()
    statistics.finish()
    torch.testing.assert_close(norm.running_mean, 0.1 * (first.mean(0) + second.mean(0)) / 2)
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * (first.var(0) + second.var(0)) / 2)
