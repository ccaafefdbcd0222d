"""The pocket benchmark: what is rendered, and that rendering can be repeated and resumed."""

import csv
import hashlib
import shutil
from collections import Counter

import cv2
import decord
import numpy as np
import pytest

from tdn.data.pocket import render as pocket
from tdn.data.pocket import scenes

SPEC = pocket.PocketSpec(train=18, val=18)
NAMES = [c.name for c in pocket.CLASSES]
REVERSED = {0: 1, 2: 3, 4: 5, 6: 7, 8: 9, 12: 13, 14: 15, 16: 17}  # labels


def read_index(folder):
    return list(csv.DictReader((folder / "index.csv").read_text(encoding="utf-8").splitlines()))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    return pocket.render_set(tmp_path_factory.mktemp("pocket"), SPEC, workers=1)


@pytest.mark.parametrize("label", range(18))
def test_clip_depends_on_the_seed_alone_and_pairs_are_exact_reversals(label):
    clip, other = (pocket.render_clip(label, (seed, label)) for seed in (3, 4))
    assert clip.dtype == np.uint8 and clip.shape[1:] == (scenes.PIXELS, scenes.PIXELS, 3)
    assert np.array_equal(clip, pocket.render_clip(label, (3, label))) and not np.array_equal(clip, other)
    if label in REVERSED:
        assert np.array_equal(clip, pocket.render_clip(REVERSED[label], (3, label))[::-1])


def test_lengths_vary_within_their_range_whatever_the_class():
    lengths = [len(pocket.render_clip(8, seed)) for seed in range(25)]
    assert min(lengths) >= 40 and max(lengths) <= 72 and max(lengths) - min(lengths) > 20
    assert len({len(pocket.render_clip(label, 1)) for label in range(18)}) == 1


def test_mistakes_are_refused(tmp_path):
    for label in (-1, 18):
        with pytest.raises(IndexError):
            pocket.render_clip(label, 0)
    with pytest.raises(ValueError, match="negative"):
        pocket.PocketSpec(train=-1, val=0)
    with pytest.raises(OSError):
        pocket.encode(tmp_path / "missing" / "clip.mp4", np.zeros((40, 56, 56, 3), np.uint8))


def test_index_is_balanced_and_true(rendered):
    assert len(set(NAMES)) == 18
    assert Counter(c.family for c in pocket.CLASSES) == {"short": 4, "long": 8, "both": 6}
    rows = read_index(rendered)
    expected = [(split, str(label)) for split in ("train", "val") for label in range(18)]
    assert sorted((row["split"], row["label"]) for row in rows) == sorted(expected)
    for row in rows:
        content = (rendered / row["path"]).read_bytes()
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
        assert (row["class"], row["family"]) == pocket.CLASSES[int(row["label"])]
    assert len({row["sha256"] for row in rows}) == 36  # train and val differ


def test_files_decode_to_the_rendered_frames(rendered):
    for row in read_index(rendered):
        split = ("train", "val").index(row["split"])
        number = int(row["path"].split("/")[1].removesuffix(".mp4"))
        clip = pocket.render_clip(int(row["label"]), (0, split, number)).astype(np.float32)
        reader = decord.VideoReader(str(rendered / row["path"]), num_threads=1)
        decoded = reader.get_batch(range(len(reader))).asnumpy()
        assert decoded.shape == clip.shape and len(decoded) == int(row["frames"])
        assert reader.get_avg_fps() == pocket.FRAMES_PER_SECOND and np.abs(decoded - clip).mean() < 6
        assert np.abs((decoded - clip).mean(axis=(1, 2, 3))).max() < 2


def test_a_finished_render_is_left_alone_and_specs_have_their_own_folders(rendered, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in rendered.rglob("*")}
    assert pocket.render_set(rendered.parent, SPEC) == rendered
    assert before == {path: path.stat().st_mtime_ns for path in rendered.rglob("*")}
    specs = [pocket.PocketSpec(0, 0), pocket.PocketSpec(0, 0, seed=1)]
    assert len({pocket.render_set(tmp_path, spec, workers=1) for spec in specs}) == 2


@pytest.mark.slow
def test_a_killed_render_completes(rendered, tmp_path):
    """Clips that no digest vouches for are rendered again: one of them is damaged here."""
    folder = tmp_path / rendered.name
    shutil.copytree(rendered, folder)
    whole = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
    with (folder / "train" / "00000.mp4").open("r+b") as file:
        file.truncate(2000)
    for name in ("index.csv.sha256", "train/00001.mp4", "train/00004.mp4", "val/00002.mp4"):
        (folder / name).unlink()
    (folder / "train" / ".00001.mp4.1.part").write_bytes(b"half a file")
    assert pocket.render_set(tmp_path, SPEC, workers=1) == folder
    assert whole == {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


# What single frames and their neighbours tell about a running pattern, without noise.

TOWARDS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.setattr(scenes, "NOISE_SIGMA", (0.0, 0.0))
    monkeypatch.setattr(scenes, "FLICKER", 0.0)


def running_pattern(word, seed):
    """The running pattern alone: frames of the colour in which it shows best, mean 0."""
    label = NAMES.index(f"Letting a pattern run {word} inside [something]")
    clip = pocket.render_clip(label, (word in ("up", "down"), seed)).astype(np.float32)
    y, x = np.nonzero(clip.std(axis=0).max(axis=2) > 2)  # all else stands still
    patch = clip[:, y.min() : y.max() + 1, x.min() : x.max() + 1]
    patch -= patch.mean(axis=(0, 1, 2))
    return patch[..., patch.std(axis=(0, 1, 2)).argmax()]


def found_share(gap, reach=6):
    """How often the best match between frames ``gap`` apart points to where the pattern runs."""
    hits = []
    for word in TOWARDS:
        for seed in range(6):
            pattern = running_pattern(word, seed)
            for t in range(3, 33, 5):
                inner = np.ascontiguousarray(pattern[t, reach:-reach, reach:-reach])
                match = cv2.matchTemplate(pattern[t + gap], inner, cv2.TM_CCOEFF_NORMED)
                _, _, _, (x, y) = cv2.minMaxLoc(match)
                scores = {w: np.dot((x - reach, y - reach), v) for w, v in TOWARDS.items()}
                hits.append(scores[word] > 0 and scores[word] == max(scores.values()))
    return float(np.mean(hits))


@pytest.mark.usefixtures("quiet")
def test_adjacent_frames_show_where_a_pattern_runs_and_those_of_different_segments_do_not():
    assert found_share(gap=1) > 0.9
    assert 0.15 < found_share(gap=5) < 0.38  # chance is a quarter


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_single_frames_do_not_tell_how_a_pattern_runs():
    for word in TOWARDS:  # the pattern is as steep along x as along y, wherever it runs
        steep = np.zeros(2)
        for seed in range(16):
            inside = running_pattern(word, seed)[::6, 6:-6, 6:-6]
            steep += [np.abs(np.diff(inside, axis=axis)).mean() for axis in (2, 1)]
        assert steep[0] == pytest.approx(steep[1], rel=0.06), word
