"""What the benchmark compares is the same, and its tables have the rows they promise. Not the timings."""

import functools

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.reference import randomise

from tdn.__main__ import main
from tdn.bench import networks, reading, training
from tdn.bench.plain_tdn import frame_wise_differences, reference_implementation
from tdn.bench.synthetic import make_clip, write_jpegs, write_mp4
from tdn.bench.timing import CLEAR_REFS, Form, interleaved, peak_memory, prepared, summary
from tdn.model.tdm import difference_input
from tdn.model.zoo import create_model


@pytest.mark.parametrize("write", [write_mp4, write_jpegs])
def test_baseline_and_tdn_make_the_same_of_a_video(write, tmp_path):
    clip = make_clip(3, 30, 240, 320)
    assert np.array_equal(clip, make_clip(3, 30, 240, 320)) and clip.dtype == np.uint8 and clip.std() > 20
    assert np.abs(np.diff(clip.astype(int), axis=0)).mean((1, 2, 3)).min() > 2, "it moves"
    paths = [write(tmp_path / f"v{number}{'.mp4' if write is write_mp4 else ''}", clip) for number in range(3)]
    by_pil, ours = reading.pil_batch(paths), reading.input_batch(paths)
    assert by_pil.shape == ours.shape == (3, reading.SEGMENTS, reading.WINDOW, 3, reading.SIZE, reading.SIZE)
    assert by_pil.dtype == ours.dtype == torch.float32
    assert (by_pil - ours).abs().mean() < 0.02  # one of 255 levels: the same frames, crops and flips


def test_rows_of_reading(tmp_path):
    data = pd.DataFrame(reading.measure_data(tmp_path, videos=2, rounds=1, long_frames=60))
    assert len(data) == 9 and data["what"].nunique() == data["pipeline"].nunique() == 3
    assert (data[data["pipeline"] == reading.PIL]["times PIL"] == 1).all()
    memory = pd.DataFrame(reading.measure_memory(tmp_path, videos=2, clips=(2, 5)))
    assert memory["clips read"].tolist() == [2, 5] and memory["more than at first (%)"][0] == 0
    assert (memory["resident MB"] > 50).all() and (data.select_dtypes("number") > 0).all(axis=None)


def test_the_reference_implementation_is_the_same_function():
    """In both modes: scores, gradients, and what batch norms remember."""
    clips = torch.randn(2, 4, 5, 3, 64, 64, dtype=torch.double)
    torch.testing.assert_close(frame_wise_differences(clips), difference_input(clips))
    torch.manual_seed(0)
    model = randomise(create_model("tdn_resnet10", 7, 4, width=16, dropout=0.0)).double()
    other = reference_implementation(model)
    for mode in (False, True):
        scores, expected = model.train(mode)(clips), other.train(mode)(clips)
        torch.testing.assert_close(scores, expected)
        gradients = torch.autograd.grad(scores.square().sum(), list(model.parameters()))
        theirs = torch.autograd.grad(expected.square().sum(), list(other.parameters()))
        torch.testing.assert_close(gradients, theirs, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(dict(model.named_buffers()), dict(other.named_buffers()))


def test_rounds_are_interleaved_and_the_first_does_not_count():
    calls = []
    made = {name: functools.partial(calls.append, name) for name in ("TSN", "TDN")}
    seconds = interleaved(made, 2, clock=iter(range(100)).__next__)
    assert len(interleaved({"TSN": lambda: None}, 2, clock=iter(range(100)).__next__, warm_up=3)) == 2
    assert calls == ["TSN", "TDN"] * 3 and seconds.to_dict("list") == {"TSN": [1, 1], "TDN": [1, 1]}
    seconds = pd.DataFrame({"TSN": [1.0, 2.0, 3.0], "TDN": [2.0, 3.0, 12.0]})
    assert summary(seconds, 2, "TSN").loc["TDN"].tolist() == [1500, 1250, 3750, 1000 / 1500, 2.0]


@pytest.mark.slow
def test_rows_of_the_networks(monkeypatch):
    monkeypatch.setattr(networks, "FORMS", {"cpu": [Form(training=True)]})
    monkeypatch.setattr(networks, "peak_memory", lambda make, device: 60.0 if make() else 0.0)
    names = (networks.BASE, networks.REFERENCE)
    table = pd.DataFrame(networks.measure_networks(torch.device("cpu"), {1: names}, 64, rounds=1))
    cpu = table[table["device"] == "CPU"].set_index("network")
    assert tuple(cpu.index) == names and (cpu["form"] == "training step, float32").all()
    assert cpu["times TSN"][networks.BASE] == cpu["reference takes"][networks.REFERENCE] == 1
    assert cpu["ms a video"].between(cpu["lowest"], cpu["highest"]).all()
    assert (cpu["peak MB"] == 60).all() and (cpu["of the reference's"] == 1).all()
    assert torch.cuda.is_available() or table.iloc[-1][["device", "form"]].tolist() == ["GPU", "not measured"]


@pytest.mark.slow
@pytest.mark.skipif(not CLEAR_REFS.exists(), reason="peaks of memory are read from Linux")
def test_the_memory_of_a_network_is_not_that_of_the_process_that_asks():
    held, cpu = torch.ones(150_000_000), torch.device("cpu")  # 600 MB
    one, many = (peak_memory(functools.partial(small_tdn, videos), cpu) for videos in (1, 48))
    assert 0 < one < many < held.nbytes / 1e6


def small_tdn(videos):
    return prepared(create_model("tdn_resnet10", 5, 4), Form(), videos, 64, torch.device("cpu"))


@pytest.mark.slow
def test_waiting_for_clips_is_a_fraction_of_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "SIZE", 64)
    table = pd.DataFrame(reading.measure_waiting(tmp_path, videos=4))
    assert table["waiting for clips (%)"].between(0, 100).all() and (table["videos a second"] > 0).all()


def test_rows_are_written_as_they_come(home, monkeypatch, capsys):
    def measure(folder, device):
        yield {"what": "nothing", "clips per second and core": 3.14}
        (written,) = (home / "results/bench").glob("*.csv")
        assert len(pd.read_csv(written)) == 1
        yield {"what": "something", "clips per second and core": 2.72}

    monkeypatch.setattr("tdn.commands.bench.MEASUREMENTS", {"data": measure})
    assert main(["bench"]) == main(["bench", "data"]) == 0
    table, text = sorted((home / "results/bench").iterdir())
    assert table.name.endswith("-cores-data.csv") and text.name == f"{table.stem}.md"
    assert all(character.isalnum() or character == "-" for character in table.stem), "the machine, fit for a file name"
    assert pd.read_csv(table)["clips per second and core"].tolist() == [3.14, 2.72]
    assert "| nothing " in capsys.readouterr().out


def test_training_steps_are_measured_beside_the_roofs_of_the_device():
    rows = pd.DataFrame(
        training.measure_training(torch.device("cpu"), 2, {"tiny": training.Scale(10, 8, 48, 2, "adamw")})
    )
    measured = rows[rows["network"].notna()]
    assert measured["form"].eq("eager").all() and list(measured["precision"].unique()) in (
        ["bfloat16", "float32"],
        ["float32"],
    )
    assert list(measured["network"][:3]) == ["TSN", "temporal convolution", "TDN"]
    assert (measured["clips a second"] == 2 * measured["steps a second"]).all()
    assert measured["of the product (%)"].between(0, 110, "neither").all() and (measured["of the copy (%)"] > 0).all()
    assert measured.loc[measured["network"] == "TSN", "times TSN"].eq(1).all()


def test_traffic_is_what_operators_read_and_write():
    a, b = torch.zeros(10, 20), torch.zeros(20, 5)
    with training.Traffic() as traffic:
        _ = (a.view(10, 20) @ b).T
    assert traffic.bytes == 4 * (200 + 100 + 50), "of the product, not of the views"
