"""What the benchmark compares is the same, and its tables have the rows they promise. Not the timings."""

import functools

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.reference import randomise

from tdn.__main__ import main
from tdn.bench import networks, reading
from tdn.bench.plain_tdn import frame_wise_differences, reference_implementation
from tdn.bench.synthetic import make_clip, write_jpegs, write_mp4
from tdn.bench.timing import CLEAR_REFS, Form, interleaved, peak_memory, prepared, summary
from tdn.commands.bench import machine
from tdn.model.tdm import difference_input
from tdn.model.zoo import create_model


@pytest.fixture
def clip():
    return make_clip(3, 30, 240, 320)


@pytest.mark.parametrize("write", [write_mp4, write_jpegs])
def test_baseline_and_tdn_make_the_same_of_a_video(write, clip, tmp_path):
    """The same frames, crops and flips, so the same pixels but for rounding."""
    paths = [write(tmp_path / f"v{number}{'.mp4' if write is write_mp4 else ''}", clip) for number in range(3)]
    by_pil, ours = reading.pil_batch(paths), reading.input_batch(paths)
    assert by_pil.shape == ours.shape == (3, reading.SEGMENTS, reading.WINDOW, 3, reading.SIZE, reading.SIZE)
    assert by_pil.dtype == ours.dtype == torch.float32
    assert (by_pil - ours).abs().mean() < 0.02  # one of 255 levels
    decoded = reading.decoded_batch(paths)
    side = decoded[0].crops[0].side
    assert decoded[0].clip.shape == (reading.SEGMENTS, reading.WINDOW, 3, side, side)
    assert decoded[0].clip.dtype == torch.uint8


def test_the_videos_move_and_are_the_same_each_time(clip):
    assert clip.shape == (30, 240, 320, 3) and clip.dtype == np.uint8
    assert np.array_equal(clip, make_clip(3, 30, 240, 320))
    assert not np.array_equal(clip, make_clip(4, 30, 240, 320))
    moved = np.abs(np.diff(clip.astype(int), axis=0)).mean((1, 2, 3))
    assert moved.min() > 2 and clip.std() > 20


def test_rows_of_reading(tmp_path):
    threads = torch.get_num_threads()
    data = pd.DataFrame(reading.measure_data(tmp_path, videos=2, rounds=1, long_frames=60))
    assert torch.get_num_threads() == threads
    assert len(data) == 9 and data["what"].nunique() == data["pipeline"].nunique() == 3
    assert (data[data["pipeline"] == reading.PIL]["times PIL"] == 1).all()
    assert (data.select_dtypes("number") > 0).all(axis=None)
    frames = data["frames per second and core"] / data["clips per second and core"]
    assert np.allclose(frames, reading.SEGMENTS * reading.WINDOW)


def test_rows_of_memory(tmp_path):
    memory = pd.DataFrame(reading.measure_memory(tmp_path, videos=2, clips=(2, 5)))
    assert memory["clips read"].tolist() == [2, 5]
    assert memory["more than at first (%)"][0] == 0 and (memory["resident MB"] > 50).all()


def test_the_reference_implementation_is_the_same_function():
    """In both modes: scores, gradients, and what batch norms remember."""
    clips = torch.randn(2, 4, 5, 3, 64, 64, dtype=torch.double)
    torch.testing.assert_close(frame_wise_differences(clips), difference_input(clips))
    torch.manual_seed(0)
    model = randomise(create_model("tdn_resnet10", 7, 4, width=16, dropout=0.0)).double()
    other = reference_implementation(model)
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


def test_rounds_are_interleaved_and_the_first_does_not_count():
    calls, ticks = [], iter(range(100))
    made = {name: functools.partial(calls.append, name) for name in ("TSN", "TDN")}
    seconds = interleaved(made, 2, clock=lambda: next(ticks))
    assert calls == ["TSN", "TDN"] * 3 and seconds.to_dict("list") == {"TSN": [1, 1], "TDN": [1, 1]}
    seconds = pd.DataFrame({"TSN": [1.0, 2.0, 3.0], "TDN": [2.0, 3.0, 12.0]})
    assert summary(seconds, 2, "TSN").loc["TDN"].tolist() == [1500, 1250, 3750, 1000 / 1500, 2.0]


@pytest.mark.slow
def test_rows_of_the_networks(monkeypatch):
    monkeypatch.setattr(networks, "FORMS", (Form(), Form(training=True)))
    names = (networks.BASE, networks.OURS, networks.REFERENCE)
    table = pd.DataFrame(networks.measure_networks({1: names}, size=64, rounds=1))
    cpu = table[table["device"] == "CPU"]
    assert cpu["network"].tolist() == [*names] * 2
    assert cpu["form"].unique().tolist() == ["inference, float32", "training step, float32"]
    assert (cpu[cpu["network"] == networks.BASE]["times TSN"] == 1).all()
    assert (cpu[cpu["network"] == networks.REFERENCE]["reference takes"] == 1).all()
    assert (cpu["lowest"] <= cpu["ms a video"]).all() and (cpu["ms a video"] <= cpu["highest"]).all()
    training = cpu["form"].str.startswith("training")
    assert (cpu["peak MB"].notna() == training).all() and (cpu[training]["peak MB"] > 50).all()
    if not torch.cuda.is_available():
        assert table.iloc[-1][["device", "form"]].tolist() == ["GPU", "not measured"]


@pytest.mark.slow
@pytest.mark.skipif(not CLEAR_REFS.exists(), reason="peaks of memory are read from Linux")
def test_the_memory_of_a_network_is_not_that_of_the_process_that_asks():
    held, cpu = torch.ones(150_000_000), torch.device("cpu")  # 600 MB
    one, eight = (peak_memory(functools.partial(small_tdn, videos), cpu) for videos in (1, 8))
    assert 0 < one < eight < held.nbytes / 1e6


def small_tdn(videos):
    return prepared(create_model("tdn_resnet10", 5, 4), Form(), videos, 64, torch.device("cpu"))


@pytest.mark.slow
def test_waiting_for_clips_is_a_share_of_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "SIZE", 64)
    table = pd.DataFrame(reading.measure_waiting(tmp_path, videos=4))
    assert table["network"].tolist() == ["tsn_resnet50", "tdn_resnet50"]
    assert table["waiting for clips (%)"].between(0, 100).all() and (table["videos a second"] > 0).all()


def test_rows_are_written_as_they_come(home, monkeypatch, capsys):
    def measure(folder):
        yield {"what": "nothing", "clips per second and core": 3.14}
        (written,) = (home / "results/bench").glob("*.csv")
        assert len(pd.read_csv(written)) == 1
        yield {"what": "something", "clips per second and core": 2.72}

    monkeypatch.setattr("tdn.commands.bench.MEASUREMENTS", {"data": (measure, "what it is; about no time")})
    for arguments in (["bench"], ["bench", "data"]):
        assert main(arguments) == 0
    written = sorted(path.name for path in (home / "results/bench").iterdir())
    assert written == [f"{machine()}-data.csv", f"{machine()}-data.md"]
    table = pd.read_csv(home / "results/bench" / written[0])
    assert table["clips per second and core"].tolist() == [3.14, 2.72]
    said = capsys.readouterr().out
    assert said.startswith("bench data: what it is; about no time\n") and "| nothing " in said


def test_the_machine_is_fit_for_a_file_name():
    assert all(character.isalnum() or character == "-" for character in machine())
    assert machine().endswith("-cores")
