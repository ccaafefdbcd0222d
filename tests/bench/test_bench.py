"""What the benchmark compares is the same, and its tables have the rows they promise. Not the timings."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.reference import randomise

from tdn.bench import networks as bench_networks
from tdn.bench import reading as bench
from tdn.bench.plain_tdn import frame_wise_differences, straightforward
from tdn.bench.synthetic import make_clip, write_jpegs, write_mp4
from tdn.bench.timing import CLEAR_REFS, Form, peak_memory
from tdn.commands.bench import machine, main
from tdn.model.tdm import difference_input
from tdn.model.zoo import create_model


@pytest.fixture
def clip():
    return make_clip(3, 30, 240, 320)


@pytest.mark.parametrize("write", [write_mp4, write_jpegs])
def test_baseline_and_tdn_make_the_same_of_a_video(write, clip, tmp_path):
    """The same frames, crops and flips, so the same pixels but for rounding."""
    paths = [write(tmp_path / f"v{number}{'.mp4' if write is write_mp4 else ''}", clip) for number in range(3)]
    made = bench.pipelines(paths, seed=5)
    by_pil, ours = made[bench.PIL](), made["tdn, and what the device does"]()
    assert by_pil.shape == ours.shape == (3, bench.SEGMENTS, bench.WINDOW, 3, bench.SIZE, bench.SIZE)
    assert by_pil.dtype == ours.dtype == torch.float32
    assert (by_pil - ours).abs().mean() < 0.02  # one of 255 levels
    decoded = made["tdn, what a worker does"]()
    side = decoded[0].crops[0].side
    assert decoded[0].clip.shape == (bench.SEGMENTS, bench.WINDOW, 3, side, side)
    assert decoded[0].clip.dtype == torch.uint8


def test_the_videos_move_and_are_the_same_each_time(clip):
    assert clip.shape == (30, 240, 320, 3) and clip.dtype == np.uint8
    assert np.array_equal(clip, make_clip(3, 30, 240, 320))
    assert not np.array_equal(clip, make_clip(4, 30, 240, 320))
    moved = np.abs(np.diff(clip.astype(int), axis=0)).mean((1, 2, 3))
    assert moved.min() > 2 and clip.std() > 20


def test_rows_of_a_tiny_run(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "BATCH", 2)
    threads = torch.get_num_threads()
    (tmp_path / "data").mkdir()
    data = bench.measure_data(tmp_path / "data", videos=2, repetitions=1, long_frames=60)
    assert torch.get_num_threads() == threads
    assert len(data) == 9 and data["what"].nunique() == data["pipeline"].nunique() == 3
    assert (data[data["pipeline"] == bench.PIL]["times PIL"] == 1).all()
    assert (data.select_dtypes("number") > 0).all(axis=None)
    frames = data["frames per second and core"] / data["clips per second and core"]
    assert np.allclose(frames, bench.SEGMENTS * bench.WINDOW)

    (tmp_path / "memory").mkdir()
    memory = bench.measure_memory(tmp_path / "memory", videos=2, clips=(2, 5))
    assert memory["clips read"].tolist() == [2, 5]
    assert memory["more than at first (%)"][0] == 0 and (memory["resident MB"] > 50).all()


def test_the_straightforward_network_is_the_same_function():
    """In both modes: scores, gradients, and what batch norms remember."""
    clips = torch.randn(2, 4, 5, 3, 64, 64, dtype=torch.double)
    torch.testing.assert_close(frame_wise_differences(clips), difference_input(clips))
    torch.manual_seed(0)
    model = randomise(create_model("tdn_resnet10", 7, 4, width=16, dropout=0.0)).double()
    other = straightforward(model)
    assert other.stage3[0].temporal.conv is not model.stage3[0].temporal.conv
    for training in (False, True):
        scores, expected = model.train(training)(clips), other.train(training)(clips)
        torch.testing.assert_close(scores, expected)
        for network, given in ((model, scores), (other, expected)):
            network.zero_grad()
            given.square().sum().backward()
        for (name, ours), theirs in zip(model.named_parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-7, atol=1e-9, msg=name)
    for (name, ours), theirs in zip(model.named_buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)


def test_rows_of_the_networks(monkeypatch):
    monkeypatch.setattr(bench_networks, "FORMS", (Form(), Form(training=True)))
    names = (bench_networks.BASE, bench_networks.OURS, bench_networks.REFERENCE)
    table = bench_networks.measure_networks({1: names}, size=64, turns=1)
    cpu = table[table["device"] == "CPU"]
    assert cpu["network"].tolist() == [*names] * 2
    assert cpu["form"].unique().tolist() == ["inference, float32", "training step, float32"]
    assert (cpu[cpu["network"] == "TSN"]["times TSN"] == 1).all()
    assert (cpu[cpu["network"] == "TDN, straightforward"]["straightforward takes"] == 1).all()
    assert (cpu["lowest"] <= cpu["ms a video"]).all() and (cpu["ms a video"] <= cpu["highest"]).all()
    training = cpu["form"].str.startswith("training")
    assert (cpu["peak MB"].notna() == training).all() and (cpu[training]["peak MB"] > 50).all()
    if not torch.cuda.is_available():
        assert table.iloc[-1][["device", "form"]].tolist() == ["GPU", "not measured"]


@pytest.mark.skipif(not CLEAR_REFS.exists(), reason="peaks of memory are read from Linux")
def test_the_memory_of_a_network_is_not_that_of_the_process_that_asks():
    held = torch.ones(150_000_000)  # 600 MB
    cpu = torch.device("cpu")
    one, eight = (peak_memory(small_network, "tdn", Form(), videos, 64, cpu, False) for videos in (1, 8))
    assert 0 < one < eight < held.nbytes / 1e6


def small_network(name):
    return create_model(f"{name}_resnet10", 5, 4)


def test_waiting_for_clips_is_a_share_of_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "SIZE", 64)
    table = bench.measure_waiting(tmp_path, videos=4)
    assert table["network"].tolist() == ["tsn_resnet50", "tdn_resnet50"]
    assert table["waiting for clips (%)"].between(0, 100).all() and (table["videos a second"] > 0).all()


def test_each_measurement_is_said_and_written(tmp_path, monkeypatch, capsys):
    table = pd.DataFrame({"what": ["nothing"], "clips per second and core": [3.14]})
    monkeypatch.setattr(bench, "MEASUREMENTS", {"data": (lambda folder: table, "what it is; about no time")})
    for arguments in ([], ["data"]):
        assert main(arguments, tmp_path / "results") == 0
    written = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert written == [f"{machine()}-data.csv", f"{machine()}-data.md"]
    assert pd.read_csv(tmp_path / "results" / written[0]).equals(table)
    said = capsys.readouterr().out
    assert said.startswith("bench data: what it is; about no time\n") and "| nothing |" in said
    with pytest.raises(SystemExit, match="2"):
        main(["speed"], tmp_path)


def test_the_machine_is_fit_for_a_file_name():
    assert all(character.isalnum() or character == "-" for character in machine())
    assert machine().endswith("-cores")
