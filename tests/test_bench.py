"""What the benchmark compares is the same, and its tables have the rows they promise. Not the timings."""

import numpy as np
import pandas as pd
import pytest
import torch
from reference import randomise

from tdn import bench, create_model
from tdn.bench_networks import measure_networks
from tdn.bench_reference import frame_wise_differences, straightforward
from tdn.model.tdm import difference_input


@pytest.fixture
def clip():
    return bench.make_clip(3, 30, 240, 320)


@pytest.mark.parametrize("write", [bench.write_mp4, bench.write_jpegs])
def test_baseline_and_tdn_make_the_same_of_a_video(write, clip, tmp_path):
    """The same frames, crops and flips, so the same pixels but for rounding."""
    paths = [write(tmp_path / f"v{number}{'.mp4' if write is bench.write_mp4 else ''}", clip) for number in range(3)]
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
    assert np.array_equal(clip, bench.make_clip(3, 30, 240, 320))
    assert not np.array_equal(clip, bench.make_clip(4, 30, 240, 320))
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

    (tmp_path / "memory").mkdir()
    memory = bench.measure_memory(tmp_path / "memory", videos=2, clips=(2, 5))
    assert memory["clips read"].tolist() == [2, 5]
    assert memory["more than at first (%)"][0] == 0 and (memory["resident MB"] > 50).all()


def test_the_straightforward_network_is_the_same_function():
    """In both modes: scores, gradients, and what batch norms remember."""
    clips = torch.randn(2, 4, 5, 3, 64, 64)
    torch.testing.assert_close(frame_wise_differences(clips), difference_input(clips), rtol=1e-4, atol=1e-5)
    torch.manual_seed(0)
    model = randomise(create_model("tdn_resnet10", 7, 4, width=16, dropout=0.0))
    other = straightforward(model)
    assert other.stage3[0].temporal.conv is not model.stage3[0].temporal.conv
    for network in (model.eval(), other.eval(), model.train(), other.train()):
        network.scores = network(clips).detach()
        if network.training:
            network(clips).square().sum().backward()
        elif network is other:
            torch.testing.assert_close(other.scores, model.scores, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(other.scores, model.scores, rtol=1e-4, atol=1e-4)
    gradients = dict(other.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name].grad, parameter.grad, rtol=1e-2, atol=1e-3)
    for (name, ours), theirs in zip(model.named_buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4, msg=name)


def test_networks_take_turns(monkeypatch):
    compared = {
        name: create_model(f"{system}_resnet10", 5, 2, width=8) for name, system in (("TSN", "tsn"), ("TDN", "tdn"))
    }
    table = measure_networks(compared, batch=1, size=64, repetitions=2)
    assert table["network"].tolist() == ["TSN", "TDN"] * 2 and table["mode"].nunique() == 2
    assert (table[table["network"] == "TSN"]["times TSN"] == 1).all()
    assert (table["lowest"] <= table["ms a video"]).all() and (table["ms a video"] <= table["highest"]).all()


def test_each_measurement_is_said_and_written(tmp_path, monkeypatch, capsys):
    table = pd.DataFrame({"what": ["nothing"], "clips per second and core": [3.14]})
    monkeypatch.setattr(bench, "MEASUREMENTS", {"data": (lambda folder: table, "what it is; about no time")})
    for arguments in ([], ["data"]):
        assert bench.main(arguments, tmp_path / "results") == 0
    written = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert written == [f"{bench.machine()}-data.csv", f"{bench.machine()}-data.md"]
    assert pd.read_csv(tmp_path / "results" / written[0]).equals(table)
    said = capsys.readouterr().out
    assert said.startswith("bench data: what it is; about no time\n") and "| nothing |" in said
    with pytest.raises(SystemExit, match="2"):
        bench.main(["speed"], tmp_path)


def test_the_machine_is_fit_for_a_file_name():
    assert all(character.isalnum() or character == "-" for character in bench.machine())
    assert bench.machine().endswith("-cores")
