"""A training that is asked for again: with other videos, another recipe, others to compare with, or interrupted."""

import dataclasses
import os
import shlex
import shutil
from unittest import mock

import matplotlib.pyplot as plt
import pytest
from helpers.own import SMALL, folder_of, job_of, without_processes  # noqa: F401

from tdn.__main__ import main
from tdn.engine import trainer
from tdn.engine.inference import load_network
from tdn.experiments.runs import save_weights, stored, videos
from tdn.own import training
from tdn.own.choice import read_recipe
from tdn.own.compare import compare_networks, compared_runs
from tdn.own.result import write_result
from tdn.own.training import describe, train_network
from tdn.own.videos import OwnVideos


@pytest.fixture
def mine(tmp_path):
    return folder_of(tmp_path / "mine", each=2, names=["left", "right"])


@pytest.fixture
def untrained(monkeypatch):
    """What is trained is only begun."""
    monkeypatch.setattr(training, "result_of", lambda *_, **__: None)


@pytest.mark.usefixtures("home", "untrained")
def test_a_result_is_of_one_folder_as_it_was_and_of_one_recipe(mine, tmp_path):
    job = job_of(mine)
    (job.folder).mkdir(parents=True)
    (job.folder / "compare.csv").write_text("network\nanother\n")
    train_network(job)
    assert not (job.folder / "compare.csv").exists(), "it was of another network"
    train_network(job_of(mine))
    other = folder_of(tmp_path / "other/mine", each=2, names=["left", "right"])
    with pytest.raises(ValueError, match=rf"own/mine has the result of {mine}, not of {other}: choose --out FOLDER"):
        job_of(other)
    job_of(other, tmp_path / "out")
    recipe = job.folder / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("epochs = 1", "epochs = 2"))
    with pytest.raises(ValueError, match=r"another recipe: epochs 1 \(now 2\)"):
        job_of(mine, **read_recipe(recipe))
    shutil.copy(mine / "left/0.mp4", mine / "left/more.mp4")
    with pytest.raises(ValueError, match=r"as it was before it changed \(2 classes, 2 \+ 2 .*; now 2 classes, 3 \+ 2 "):
        job_of(mine)


@pytest.mark.usefixtures("home")
def test_a_folder_that_changed_is_read_again(mine, tmp_path):
    job = job_of(mine)
    before = len(videos(job.config.data, job.data)[0])
    shutil.copy(mine / "left/0.mp4", mine / "left/more.mp4")
    job = job_of(mine)
    assert len(videos(job.config.data, job.data)[0]) == before + 1


@pytest.mark.usefixtures("home", "untrained")
def test_old_results_are_not_compared_with_new_ones(mine, monkeypatch):
    job = job_of(mine)
    for name in ("TSN", "TDN"):
        folder = stored(compared_runs(job, 1)[name][0], job.folder).folder
        folder.mkdir(parents=True)
        (folder / "config.json").write_text('{"contents": "others"}')
        (folder / "checkpoint.pt").touch()
    with pytest.raises(ValueError, match=r"is not as it was .* with 2: .*/tsn_resnet10-.*, .*/tdn_resnet10-"):
        compare_networks(job, 1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--from", "record"], "weights of tdn alone: --compare goes with --from scratch"),
        (["--patience", "3"], "goes without"),
    ],
)
def test_what_would_not_compare_alike_is_refused_before_anything_is_trained(given, message, mine, home, capsys):
    small = [] if "record" in given else SMALL
    assert main(["train", str(mine), *small, *given, "--compare", "1"]) == 2 and message in capsys.readouterr().err
    assert not (home / "results").exists()


@pytest.mark.usefixtures("home")
def test_the_time_of_a_comparison_is_told(mine):
    job = job_of(mine)
    assert describe(job, 17)[-1].startswith("compare  17 more networks, about ")
    job.result.folder.mkdir(parents=True)
    (job.result.folder / "checkpoint.pt").touch()
    assert describe(job, 17)[-1] == "compare  17 more networks, each for about as long as this one"
    assert describe(job)[-1] == "time     it resumes where it was interrupted"


@pytest.mark.usefixtures("home")
def test_resumed_within_an_epoch_the_best_weights_stay_those_of_an_epochs_end(mine, monkeypatch):
    job, rows, best = job_of(mine, epochs=2, batch=1), [], []

    def step(of, *arguments):
        if of.history and of.step == 1:
            of.save()  # as after ten minutes
            best.append((job.result.folder / "best.pt").read_bytes())
            raise KeyboardInterrupt
        return trained_step(of, *arguments)

    trained_step = trainer.Training.train_step
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(trainer.Training, "train_step", step)
        train_network(job)

    def resume(history):
        rows.append(len(history))
        if len(rows) == 1:
            best.append((job.result.folder / "best.pt").read_bytes())

    log = mock.Mock()
    monkeypatch.setattr(training, "_tensorboard", lambda _: log)
    train_network(job, mine, resume)
    assert rows == [1, 2] and best[0] == best[1]
    assert {call.args[2] for call in log.add_scalar.call_args_list} == {2}


def test_no_gpu_is_asked_for_before_devices_cpu_hides_it(home, monkeypatch):
    seen = []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(
        "tdn.commands.train.default_precision", lambda: seen.append(os.environ["CUDA_VISIBLE_DEVICES"]) or "fp32"
    )
    assert main(["train", str(home / "none"), "--devices", "cpu"]) == 2 and seen == [""]


@pytest.mark.usefixtures("home")
def test_names_that_are_not_utf_8_are_written_escaped(tmp_path):
    job = job_of(folder_of(tmp_path / "mine", each=5, names=[os.fsdecode(b"caf\xe9"), "right"]))
    train_network(job)
    page = write_result(job)
    assert r"caf\udce9" in page.read_text("utf-8") and r"caf\udce9" in (job.folder / "classes.csv").read_text("utf-8")
    assert load_network(job.folder).class_names[0] == os.fsdecode(b"caf\xe9")


@pytest.mark.usefixtures("home")
def test_the_command_in_a_manifest_is_one_that_works(tmp_path, monkeypatch):
    root = folder_of(tmp_path / "my videos", each=5, names=["left", "right"])
    config = job_of(root).config
    save_weights(config.create_model(), config, ["left", "right"], tmp_path / "from.pt")
    job = job_of(root, tmp_path / "my results", initialised_from=str(tmp_path / "from.pt"))
    command = train_network(job).manifest["command"]
    before = (job.result.folder / "weights.pt").stat().st_mtime_ns
    assert main(shlex.split(command)[1:]) == 0 and (job.result.folder / "weights.pt").stat().st_mtime_ns == before
    monkeypatch.setenv("TDN_UCF101", str(root))
    published = dataclasses.replace(job.config, data=OwnVideos("ucf101", side=56))
    assert stored(published, job.folder).command.startswith("tdn train ucf101 --out ")


@pytest.mark.usefixtures("home")
def test_a_notebook_keeps_its_backend(mine):
    plt.close("all")  # of other tests
    job, before = job_of(mine), plt.get_backend()
    plt.switch_backend("svg")
    try:
        train_network(job)
        write_result(job)
        assert plt.get_backend() == "svg" and not plt.get_fignums()
    finally:
        plt.switch_backend(before)
