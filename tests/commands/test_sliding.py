"""`tdn predict --sliding`: the classes of a long video over time."""

import csv
import json
import struct

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from helpers.networks import save_network, small_tdn
from helpers.videos import damage, numbered, write_folder, write_video
from PIL import Image

import tdn
from tdn.__main__ import main
from tdn.data.pocket import render
from tdn.data.sampling import Views
from tdn.data.streaming import length, timed_frames
from tdn.data.video import VideoError, open_video
from tdn.engine.sliding import ScoredStretch, moments, slide
from tdn.maps import subtitles
from tdn.maps.timeline import plot_timeline

NAMES = ["打开 a door", "$x_1^{$", *(f"Doing {number} with a very long name" * 3 for number in range(2, 24))]
VIEWS = Views(size=48, scale=48 / 56)  # of the pocket clips: nothing is resized


@pytest.fixture
def model():
    return small_tdn()


@pytest.fixture
def weights(model, tmp_path):
    return save_network(model, tmp_path / "weights.pt", NAMES, clips=1)


@pytest.fixture
def long_video(tmp_path):
    """About eleven seconds, 12 frames a second."""
    clips = [render.render_clip(label, seed) for seed, label in enumerate((0, 8, 20))]
    render.encode(tmp_path / "long.mp4", np.concatenate(clips)[:135])
    return tmp_path / "long.mp4"


def stretches_of(model, path, *arguments):
    with open_video(path) as video:
        return list(slide(model, video, *arguments))


def spans(stretches):
    return [(stretch.start, stretch.end) for stretch in stretches]


@pytest.mark.parametrize("views", [VIEWS, Views(2, 3, 48, 48 / 56, 2)])
def test_a_stretch_has_the_scores_of_its_frames(model, long_video, views):
    with open_video(long_video) as video:
        frames = video.read(np.arange(video.num_frames))
    stretches = stretches_of(model, long_video, 3, 1.1, views)
    starts = [*(round(1.1 * number, 6) for number in range(8)), 8.25]  # the last one ends with the video
    assert spans(stretches) == [(start, round(start + 3, 6)) for start in starts]
    for start, end, scores in stretches:
        inside = [index for index in range(len(frames)) if start <= round(index / 12, 6) < end]
        torch.testing.assert_close(scores, tdn.predict(model, frames[inside], views), rtol=1e-4, atol=1e-4)


def test_stretches_of_any_length_and_stride(model, long_video):
    assert spans(stretches_of(model, long_video, 60, None, VIEWS)) == [(0, 11.25)]
    assert spans(stretches_of(model, long_video, 5, None, VIEWS)) == [(0, 5), (2.5, 7.5), (5, 10), (6.25, 11.25)]
    apart = stretches_of(model, long_video, 1, 4, VIEWS)
    assert spans(apart) == [(0, 1), (4, 5), (8, 9)] and moments(apart) == spans(apart)
    assert moments([ScoredStretch(0, 4, None), ScoredStretch(2, 6, None)]) == [(0, 3), (3, 6)]


def test_frames_have_the_times_of_the_file(model, tmp_path):
    """Also where they stand still: a stretch in which no frame begins shows the one before."""
    ticks = [0, 3, 20, 21, 50, 99, 100, 500, 504, 508]
    path = write_video(tmp_path / "odd.mp4", numbered(10, 64, 48), ticks=ticks)
    with open_video(path) as video:
        times = [time for time, _ in timed_frames(video, 64, 48)]
        assert times == pytest.approx([tick / 100 for tick in ticks]) and length(video) == pytest.approx(5.08 * 10 / 9)
        frames = video.read(np.arange(10))
        stretches = list(slide(model, video, 1, 1, Views(size=48, scale=1)))
    assert spans(stretches)[:4] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    for number, inside in enumerate((slice(0, 6), slice(6, 7), slice(6, 7), slice(6, 7))):
        expected = tdn.predict(model, frames[inside], Views(size=48, scale=1))
        torch.testing.assert_close(stretches[number].scores, expected, rtol=1e-4, atol=1e-4)


def test_a_video_held_sideways_is_shrunk_and_upright(tmp_path):
    clip = numbered(6, 96, 128)
    path = write_video(tmp_path / "sideways.mp4", clip)
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44
    turned = (0, 1, 0, -1, 0, 0, 96, 0)  # by 90 degrees to the right
    content[matrix : matrix + 36] = struct.pack(">9i", *(value << 16 for value in turned), 1 << 30)
    path.write_bytes(content)
    with open_video(path) as video:
        shown = np.stack([frame for _, frame in timed_frames(video, 64, 48)])
    upright = [Image.fromarray(np.rot90(frame, -1)).resize((48, 64), Image.Resampling.BILINEAR) for frame in clip]
    assert np.abs(shown - np.stack(upright).astype(float)).mean((1, 2, 3)).max() < 8


@pytest.mark.filterwarnings("error")
def test_files(model, weights, long_video, tmp_path, capsys):
    command = ["predict", str(long_video), "--weights", str(weights), "--sliding", "2", "--stride", "1.5"]
    stretches = stretches_of(model, long_video, 2, 1.5, VIEWS)
    likeliest = [NAMES[int(stretch.scores.argmax())] for stretch in stretches]
    out = tmp_path / "out"
    assert main([*command, "-o", str(out)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2 + len(stretches) + 1 and all(map(str.__contains__, printed[2:], likeliest))
    assert sorted(path.name for path in out.iterdir()) == [f"long_sliding.{kind}" for kind in ("csv", "mp4", "png")]
    with (out / "long_sliding.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(float(row["start"]), float(row["end"])) for row in rows] == spans(stretches)
    assert [row["class"] for row in rows] == likeliest
    probabilities = [float(stretch.scores.softmax(0).max()) for stretch in stretches]
    assert [float(row["probability"]) for row in rows] == pytest.approx(probabilities, rel=1e-3)
    with Image.open(out / "long_sliding.png") as picture:
        assert 1100 < picture.width < 1300
    with open_video(long_video) as old, open_video(out / "long_sliding.mp4") as new:
        assert (new.height, new.width) == (280, 280), "a small video is enlarged"
        of_old, of_new = (list(timed_frames(video, 56, 56)) for video in (old, new))
    assert [time for time, _ in of_new] == pytest.approx([time for time, _ in of_old]) and len(of_new) == 135
    off = np.mean([np.abs(a - b.astype(float)) for (_, a), (_, b) in zip(of_old, of_new, strict=True)], (0, 2, 3))
    assert off[:40].max() < 8 < 20 < off[-8:].mean(), "letters are at the bottom only"
    assert main([*command, "--json", "--top", "2"]) == 0
    answers = json.loads(capsys.readouterr().out)
    for answer, stretch in zip(answers, stretches, strict=True):
        assert (answer["start"], answer["end"]) == (stretch.start, stretch.end) and len(answer["top"]) == 2
        np.testing.assert_allclose(answer["scores"], stretch.scores, rtol=1e-3, atol=1e-4)


def test_a_large_video_is_shrunk_and_needs_no_libx264(tmp_path, monkeypatch):
    monkeypatch.setattr(subtitles, "ENCODERS", {"mpeg4": subtitles.ENCODERS["mpeg4"]})
    path = write_video(tmp_path / "large.mp4", numbered(5, 402, 1000), ticks=[0, 4, 8, 50, 54])
    with open_video(path) as video:
        subtitles.save_subtitled(
            video,
            [ScoredStretch(0, 0.1, torch.ones(24)), ScoredStretch(0.3, 0.6, torch.ones(24))],
            NAMES,
            tmp_path / "new.mp4",
        )
    with open_video(tmp_path / "new.mp4") as new:
        assert (new.num_frames, new.height, new.width) == (5, 258, 640)
        assert [time for time, _ in timed_frames(new, 258, 640)] == pytest.approx([0, 0.04, 0.08, 0.5, 0.54])


def test_timeline_of_many_classes():
    scores = 9 * torch.eye(24)[[*range(14), 13, 13, 12]]
    stretches = [ScoredStretch(1800.0 * number, 1800.0 * number + 3000, row) for number, row in enumerate(scores)]
    figure = plot_timeline(stretches, [*NAMES[:13], "the last"], "W" * 300)
    figure.canvas.draw()
    axis = figure.axes[0]
    labels, times = (
        [label.get_text() for label in of_one()] for of_one in (axis.get_yticklabels, axis.get_xticklabels)
    )
    assert len(labels) == 12 and labels[-1] == "the last" and labels[1] == "$x_1^{$"
    assert axis.get_xlabel().endswith("not shown: 2 rarer") and {"0:00", "1:00:00", "6:00:00"} <= {*times}
    plt.close(figure)


def test_mistakes(model, weights, long_video, video, tmp_path, capsys):
    folder = write_folder(tmp_path / "frames", numbered(5, 64, 64))
    for videos, arguments, reason in (
        ([long_video], ["--sliding", "0"], "stretch is a number of seconds above 0, not 0"),
        ([long_video], ["--sliding", "nan"], "stretch is a number of seconds above 0"),
        ([long_video], ["--sliding", "2", "--stride", "-1"], "stride is a number of seconds above 0, not -1"),
        ([long_video, video], ["--sliding", "2"], "takes one video, not 2"),
        ([folder], ["--sliding", "2"], "frames is a folder of frames, which have no times"),
        ([long_video], ["--sliding", "2", "--reader", "decord"], "has times only for PyAV"),
        ([long_video], ["--sliding", "2", "-o", str(weights)], "is no folder"),
        ([long_video], ["-o", str(tmp_path)], "-o needs --sliding"),
        ([long_video], ["--stride", "1"], "--stride needs --sliding"),
    ):
        assert main(["predict", *map(str, videos), "--weights", str(weights), *arguments]) == 2
        assert [reason in line for line in capsys.readouterr().err.splitlines()] == [True]


def test_a_video_that_breaks_off(model, weights, long_video, tmp_path, capsys):
    damage(long_video, 100)
    out = tmp_path / "out"
    command = ["predict", str(long_video), "--weights", str(weights), "--sliding", "2", "-o", str(out)]
    assert main(command) == 1 and not out.exists()
    assert f"tdn predict: {long_video}: " in capsys.readouterr().err
    found = []
    with pytest.raises(VideoError), open_video(long_video) as opened:
        found.extend(stretch.start for stretch in slide(model, opened, 2, 1, VIEWS))
    assert found[:4] == [0, 1, 2, 3], "what comes before is classified"
