"""The check of all videos of a data set, and its index."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path, PosixPath
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from data.test_catalog import EXPECTED, ORDER, L, content, edited, first_and_last
from helpers import layouts

from tdn.__main__ import main
from tdn.data.clips import TestClips, TrainingClips, Video
from tdn.data.disk import catalog
from tdn.data.disk.catalog import DatasetSpec
from tdn.data.disk.check import Checked, check_videos, load, report
from tdn.data.disk.check import _sealed as sealed
from tdn.data.disk.published import Labelled
from tdn.data.sampling import Views
from tdn.data.video import VideoError
from tdn.engine.evaluation import evaluate
from tdn.engine.loading import TrainingLoader
from tdn.model.zoo import create_model

pytestmark = pytest.mark.usefixtures("home")  # no data set of this machine


def no_parser():
    """A context in which reading an annotation is a TypeError."""
    return mock.patch.object(catalog, "_labelled", None)


def test_a_check_reports_what_is_broken_and_its_index_is_used(place, home, capsys):
    root = place("ssv2")
    videos = root / "20bn-something-something-v2"
    (videos / "202.webm").write_bytes(b"")
    (videos / "203.webm").write_bytes(b"this is no video\n" * 100)
    (videos / "207.webm").unlink()
    assert main(["data", "check", "ssv2"]) == 1
    out = capsys.readouterr().out
    for line in ("202.webm: empty file", "203.webm: ", "207.webm: missing"):
        assert f"{videos}/{line}" in out
    assert "training: 5 videos in 3 of 3 classes" in out and "validation: 3 videos in 3 of 3 classes" in out
    assert "36 frames, 12 to 12 per video, median 12" in out and "24 frames" in out
    assert "missing: 0, unreadable: 2" in out and "missing: 1, unreadable: 0" in out

    index = csv.DictReader((home / ".data/index/ssv2.csv").read_text().splitlines())
    rows = {Path(row["path"]).name: row for row in index}
    part, _, _, _, *row = rows["201.webm"].values()
    size = str((videos / "201.webm").stat().st_size)
    assert (part, *row[:4], row[-1], rows["207.webm"]["problem"]) == ("train", "1", L, "12", size, "", "missing")

    shutil.move(videos, tmp := root / "away")  # not a video is touched
    with no_parser():
        train, val = DatasetSpec("ssv2").videos(home / ".data")
    assert "not used" not in capsys.readouterr().out
    shutil.move(tmp, videos)
    assert [content(train, root), content(val, root)] == EXPECTED["ssv2"] and train.class_names == ORDER["ssv2"]
    assert train.videos == DatasetSpec("ssv2").labelled().train, "in the same order"
    assert set(train.known_unreadable) == {1, 2} and set(val.known_unreadable) == {1}
    with pytest.raises(VideoError, match=r"207.webm: missing \(tdn data check"):
        first_and_last(val, 1)
    shutil.copy(videos / "201.webm", videos / "202.webm")  # repaired
    assert set(DatasetSpec("ssv2").videos(home / ".data")[0].known_unreadable) == {2}


def test_a_check_names_the_folders_of_which_some_images_are_left_out(place, home, capsys):
    root = place("ssv1")
    folder = root / "20bn-something-something-v1/102"
    for number in range(9):
        shutil.copy(folder / "00001.jpg", folder / f"flow_x_{number}.jpg")
    note = f"not all images are read: 1 ({folder}: of its images (#: 12, flow_x_#: 9) only # are read as frames)\n"
    for _ in range(2):  # the second has an index
        assert main(["data", "check", "ssv1"]) == 0 and note in capsys.readouterr().out
    DatasetSpec("ssv1").videos(home / ".data")
    assert note in capsys.readouterr().out


def test_an_index_is_refused_once_it_does_not_fit(place, home, capsys, tmp_path, monkeypatch):
    root = place("lists")
    spec = DatasetSpec("lists")
    file = spec.index_file(home)
    check_videos(spec.labelled(), file, root, spec.fingerprint(), workers=1)
    with no_parser():
        spec.videos(home)
    assert not capsys.readouterr().out
    rows, state = file.read_text(), file.with_suffix(".json")

    def refused():
        with pytest.raises(TypeError, match="not callable"), no_parser():
            spec.videos(home)
        form = r"the index .*lists-\w+.csv (no longer fits|is damaged) .* data check lists\n"
        return re.fullmatch(form, capsys.readouterr().out)

    file.write_text(rows.replace("waving", "weaving"))
    assert refused(), "edited by hand"
    other = rows.replace("problem", "problem,second_decoder", 1).encode()
    kept = json.loads(state.read_text())
    file.write_bytes(other)
    state.write_bytes(sealed({key: value for key, value in kept.items() if key != "sha256"}, other))
    assert refused(), "other columns"
    file.write_text(rows)
    state.write_text(json.dumps(kept, indent=1))
    shutil.copytree(root, tmp_path / "copy")
    monkeypatch.setenv("TDN_LISTS", str(tmp_path / "copy"))
    assert refused(), "made for another folder"
    monkeypatch.setenv("TDN_LISTS", str(root))
    edited(root / "train.txt", "take 1.mp4 2", "take 1.mp4 1")
    assert refused(), "other labels"
    assert spec.videos(home)[0].videos[0].label == 1


def damages(content):
    """One bit of every third byte, lines that fell away, an end cut off, other contents."""
    for place in range(0, len(content), 3):
        yield content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :]
    lines = content.splitlines(keepends=True)
    yield from (b"".join(lines[:n] + lines[n + 1 :]) for n in range(len(lines)))
    yield from (content[: len(content) // 2], b"", b"{}", b"[]", b"null", b"[" * 100_000, content + b"\n", content * 2)


def test_no_damaged_index_is_used(place, home, capsys):
    root = place("lists")
    spec = DatasetSpec("lists")
    file = spec.index_file(home)
    check_videos(spec.labelled(), file, root, spec.fingerprint(), workers=1)
    message = f"the index {file} is damaged and not used (it is not as a check left it); to make it again: again\n"
    for path in (file, file.with_suffix(".json")):
        whole = path.read_bytes()
        for damaged in damages(whole):
            path.write_bytes(damaged)
            assert load(file, root, spec.fingerprint(), "again") is None
            assert capsys.readouterr().out == message
        path.unlink()
        assert load(file, root, spec.fingerprint(), "again") is None and f"{path}" in capsys.readouterr().out
        path.write_bytes(whole)
    assert load(file, root, spec.fingerprint(), "again") is not None

    file.write_bytes(file.read_bytes().replace(b"12", b"13"))
    assert spec.videos(home)[0].sizes is None, "the annotation is read"
    capsys.readouterr()
    checked = check_videos(spec.labelled(), file, root, spec.fingerprint(), workers=1)
    assert {result.frames for result in checked.values()} == {layouts.FRAMES}
    assert f"the index {file} is damaged and not used" in capsys.readouterr().out
    train, _, _ = load(file, root, spec.fingerprint(), "again")
    assert train.sizes == [layouts.FRAMES * 56 * 56 * 3] * 5


def test_a_set_without_a_readable_video_ends_in_one_line(place, home, capsys):
    root = place("lists")
    for path in (*root.glob("**/*.mp4"), *root.glob("frames/*/*")):
        path.write_bytes(b"no video")
    assert main(["data", "check", "lists"]) == 1
    assert "missing: 0, unreadable: 5" in capsys.readouterr().out
    train, val = DatasetSpec("lists").videos(home / ".data")
    with pytest.raises(ValueError, match=r"^not one of 5 training videos .*/take 1.mp4: .*; .*/take 2.mp4: [^\n]*$"):
        TrainingLoader(TrainingClips(train, 8, 5), batch=2, micro_batch=1)
    evaluation = evaluate(create_model("tdn_resnet10", 3, width=8), TestClips(val, 8, 5, Views()), torch.device("cpu"))
    assert len(evaluation.unreadable) == evaluation.of == 3


@pytest.mark.slow
def test_an_interrupted_check_resumes(home, tmp_path, capsys, monkeypatch):
    root, videos = tmp_path / "mine", 64
    image = cv2.imencode(".png", np.zeros((2500, 2500, 3), np.uint8))[1].tobytes()  # small, and slow to read
    for number in range(videos):
        (root / f"class {number % 2}/{number}").mkdir(parents=True)
        (root / f"class {number % 2}/{number}/1.png").write_bytes(image)
    spec = DatasetSpec(str(root))
    first, *others = (video.path for video in spec.labelled().train[:5])
    exchanged(first, b"?" * len(image))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # one worker
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "start_new_session": True, "env": environment}
    options["preexec_fn"] = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # ignored by a job in the background
    process = subprocess.Popen([sys.executable, "-m", "tdn", "data", "check", root], **options)
    shown = b""
    while not re.search(rf"\b[1-9]\d*/{videos} ".encode(), shown):  # of the progress bar
        new = os.read(process.stderr.fileno(), 4096)
        assert new, f"ended too early: {shown.decode()}"
        shown += new
    os.killpg(process.pid, signal.SIGINT)
    assert "interrupted" in process.communicate()[1].decode() and process.returncode == 130

    index = csv.DictReader(spec.index_file(home / ".data").read_text().splitlines())
    problems = {root / row["path"]: row["problem"] for row in index}
    assert len(others) < len(problems) < videos
    assert problems[first].startswith("1.png is no image") and not problems[others[0]]
    spec.videos(home / ".data")
    assert f"has only {len(problems)} of {videos} videos and is not used; to complete it: " in capsys.readouterr().out

    for path in others:
        exchanged(path, b"?" * len(image))  # not to be read again
    exchanged(first, image)  # to be read again, for it could not be
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert main(["data", "check", str(root)]) == 0
    with no_parser():
        assert sum(len(each) for each in spec.videos(home / ".data")) == videos


def exchanged(folder, content):
    """Another content of the same size and age."""
    state = (folder / "1.png").stat()
    (folder / "1.png").write_bytes(content)
    os.utime(folder / "1.png", ns=(state.st_atime_ns, state.st_mtime_ns))


class Deadly(PosixPath):
    """A file that ends the process that looks at it, as a decoder may that crashes."""

    def stat(self, **arguments):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_video_that_ends_its_process_is_one_unreadable_video(tmp_path):
    paths = [tmp_path / f"{number}.mp4" for number in range(12)]
    for path in paths:
        layouts.video_file(path, 1)
    paths[7] = Deadly(paths[7])
    labelled = Labelled(["a"], [Video(path, 0) for path in paths], [])
    checked = check_videos(labelled, tmp_path / "index.csv", tmp_path, "", workers=1)
    problems = {path.name: result.problem[:28] for path, result in checked.items() if result.problem}
    assert problems == {"7.mp4": "reading it ends the process "}
    assert [result.frames for result in checked.values()].count(layouts.FRAMES) == 11


def test_a_report_names_what_a_person_should_know():
    names = ["Turning left", "Turning right", "Moving left", "Standing", "Leaving"]
    paths = [Path(f"/data/{number}.mp4") for number in range(30)]
    train = [Video(path, number % 4) for number, path in enumerate(paths)]
    checked = {path: Checked(problem="missing") for path in paths[:25]}
    checked |= {path: Checked(frames) for path, frames in zip(paths[25:], (10, 20, 40, 1000, 70), strict=True)}
    text = report(Labelled(names, train, [Video(paths[29], 3)]), checked)
    assert "1,140 frames, 10 to 1000 per video, median 40" in text
    assert "/data/19.mp4: missing" in text and "/data/20.mp4" not in text and "and 5 more" in text
    assert "in training and in validation: 1 (/data/29.mp4)" in text
    assert "classes without training videos: 1 (Leaving)" in text and "exchanges for another: 2" in text
    assert "without a mirror image, never mirrored: 1 (Moving left)" in text


def test_data_lists_the_sets_and_check_explains_what_is_missing(place, home, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TDN_MY_SET", "/nowhere")
    root = place("ucf101")
    (root / "ucfTrainTestlist/testlist02.txt").unlink()
    for arguments, message in (
        ("./mine", f"there is no folder {tmp_path}/mine"),
        ("ucf101 --split 4", "valid: 1 to 3"),
        ("ucf101 --split 2", f"there is no testlist02.txt in {root} or {root}/ucfTrainTestlist"),
    ):
        assert main(["data", "check", *arguments.split()]) == 2
        assert message in capsys.readouterr().err
    assert main(["data"]) == 0
    out = capsys.readouterr().out
    assert re.search(rf"ucf101 +{root} \(the environment variable TDN_UCF101\)\n", out)
    assert re.search(r"my_set +/nowhere .*, which is no folder\n", out) and re.search(r"k400 +not configured\n", out)
