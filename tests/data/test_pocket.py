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
from tdn.data.pocket.shapes import OUTLINES

SPEC = pocket.PocketSpec(train=24, val=24)
NAMES = [c.name for c in pocket.CLASSES]
REVERSED = {0: 4, 1: 5, 2: 6, 3: 7, 8: 9, 10: 11, 12: 13, 14: 15}  # labels


def read_index(folder):
    return list(csv.DictReader((folder / "index.csv").read_text(encoding="utf-8").splitlines()))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    return pocket.render_set(tmp_path_factory.mktemp("pocket"), SPEC, workers=1)


@pytest.mark.parametrize("label", range(24))
def test_clip_depends_on_the_seed_alone_and_pairs_are_exact_reversals(label):
    clip, other = (pocket.render_clip(label, (seed, label)) for seed in (3, 4))
    assert clip.dtype == np.uint8 and clip.shape[1:] == (scenes.PIXELS, scenes.PIXELS, 3)
    assert np.array_equal(clip, pocket.render_clip(label, (3, label))) and not np.array_equal(clip, other)
    if label in REVERSED:
        assert np.array_equal(clip, pocket.render_clip(REVERSED[label], (3, label))[::-1])


def test_lengths_vary_within_their_range_whatever_the_class():
    lengths = [len(pocket.render_clip(8, seed)) for seed in range(25)]
    assert min(lengths) >= 40 and max(lengths) <= 72 and max(lengths) - min(lengths) > 20
    assert len({len(pocket.render_clip(label, 1)) for label in range(24)}) == 1


def test_families_that_a_moving_camera_films(monkeypatch):
    filmed, camera = set(), scenes._camera
    for label, of_class in enumerate(pocket.CLASSES):
        monkeypatch.setattr(scenes, "_camera", lambda *given, of=of_class: filmed.add(of.family) or camera(*given))
        pocket.render_clip(label, 1)
    assert filmed == {*pocket.PANNED}


def test_mistakes_are_refused(tmp_path):
    for label in (-1, 24):
        with pytest.raises(IndexError):
            pocket.render_clip(label, 0)
    with pytest.raises(ValueError, match="negative"):
        pocket.PocketSpec(train=-1, val=0)
    with pytest.raises(OSError):
        pocket.encode(tmp_path / "missing" / "clip.mp4", np.zeros((40, 56, 56, 3), np.uint8))


def test_index_is_balanced_and_true(rendered):
    assert len(set(NAMES)) == 24
    assert Counter(c.family for c in pocket.CLASSES) == {"short": 8, "order": 8, "both": 8}
    rows = read_index(rendered)
    expected = [(split, str(label)) for split in ("train", "val") for label in range(24)]
    assert sorted((row["split"], row["label"]) for row in rows) == sorted(expected)
    for row in rows:
        content = (rendered / row["path"]).read_bytes()
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
        assert (row["class"], row["family"]) == pocket.CLASSES[int(row["label"])]
    assert len({row["sha256"] for row in rows}) == 48  # train and val differ


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


def test_a_clip_rendered_alone_is_that_of_the_set_and_nothing_else_is_rendered(rendered, tmp_path):
    video = SPEC.val_video(20, tmp_path)
    assert video.label == 20 and video.path.relative_to(tmp_path).parts == (rendered.name, "val", "00020.mp4")
    assert video.path.read_bytes() == (rendered / "val/00020.mp4").read_bytes()
    assert [path.name for path in tmp_path.rglob("*.*")] == ["00020.mp4"]
    video.path.write_bytes(b"of the reader")
    assert SPEC.val_video(20, tmp_path).path.read_bytes() == b"of the reader", "what is there stays"


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


# What single frames and their neighbours tell, without noise.

TOWARDS = dict(zip(NAMES[:8], np.exp(0.25j * np.pi * np.arange(8)), strict=True))  # x + iy, y downwards


@pytest.fixture
def quiet(monkeypatch):
    for name in ("NOISE_SIGMA", "PAN", "SWAY"):
        monkeypatch.setattr(scenes, name, (0.0, 0.0))
    monkeypatch.setattr(scenes, "FLICKER", 0.0)


def running_pattern(name, seed):
    """The running pattern alone: frames of the colour in which it shows best, mean 0."""
    clip = pocket.render_clip(NAMES.index(name), (NAMES.index(name) % 4, seed)).astype(np.float32)
    y, x = np.nonzero(clip.std(axis=0).max(axis=2) > 2)  # all else stands still
    centre, half = (round((y.min() + y.max()) / 2), round((x.min() + x.max()) / 2)), 8  # inside any square or circle
    patch = clip[:, centre[0] - half : centre[0] + half + 1, centre[1] - half : centre[1] + half + 1]
    patch -= patch.mean(axis=(0, 1, 2))
    return patch[..., patch.std(axis=(0, 1, 2)).argmax()]


def found_share(gap, reach=4):
    """How often the best match between frames ``gap`` apart points to where the pattern runs, of eight directions."""
    hits = []
    for name in TOWARDS:
        for seed in range(6):
            pattern = running_pattern(name, seed)
            for t in range(3, 33, 5):
                inner = np.ascontiguousarray(pattern[t, reach:-reach, reach:-reach])
                match = cv2.matchTemplate(pattern[t + gap], inner, cv2.TM_CCOEFF_NORMED)
                _, _, _, (x, y) = cv2.minMaxLoc(match)
                moved = complex(x - reach, y - reach)
                scores = {other: (moved * np.conj(way)).real for other, way in TOWARDS.items()}
                hits.append(scores[name] > 0 and scores[name] == max(scores.values()))
    return float(np.mean(hits))


@pytest.mark.usefixtures("quiet")
def test_adjacent_frames_show_where_a_pattern_runs_and_those_of_different_segments_do_not():
    assert found_share(gap=1) > 0.6
    assert found_share(gap=5) < 0.25  # chance is an eighth


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_single_frames_do_not_tell_how_a_pattern_runs():
    for name in TOWARDS:  # the pattern is as steep in all directions, wherever it runs
        tensor = np.zeros((2, 2))
        for seed in range(24):
            for image in running_pattern(name, seed)[::6]:
                steep = np.stack(np.gradient(image)).reshape(2, -1)
                tensor += steep @ steep.T / (steep**2).sum()
        tensor /= np.trace(tensor)
        assert np.abs(tensor - np.eye(2) / 2).max() < 0.05, name


@pytest.mark.parametrize("label", range(8, 16, 2))
def test_frames_of_neighbouring_segments_do_not_tell_the_order_of_two_shapes_and_those_of_distant_ones_do(label):
    """At short range the clip looks the same backwards: every ordered pair of frames is there in both orders."""

    def pairs(frames, gap):
        return set(zip(frames, frames[gap:], strict=False))

    for seed in range(4):
        drawing, _ = pocket._draw(pocket._ROWS[label], (5, seed))
        frames = [image[..., :3].tobytes() for image in drawing]
        empty = max(set(frames), key=frames.count)
        begin, end = ((at := [i for i, image in enumerate(frames) if image != empty])[0], at[-1])
        frames = [empty] * 60 + frames[begin : end + 1] + [empty] * 60  # the clip's ends cut no pair off
        segment = len(drawing) / 8
        for gap in range(1, int(1.5 * segment) + 1):
            assert pairs(frames, gap) == pairs(frames[::-1], gap)
        gap = round(3.7 * segment)
        told = [pairs(frames, g) != pairs(frames[::-1], g) for g in range(gap, round(4.8 * segment) + 1)]
        assert any(told)


@pytest.mark.parametrize("seed", range(6))
def test_a_move_there_and_back_rests_as_long_at_either_end_and_moves_alike(seed):
    done = scenes._there_and_back(np.random.default_rng(seed), 2000)
    assert abs((done == 0).mean() - (done == 1).mean()) < 0.002 and done.min() == 0 and done.max() == 1
    moving = np.flatnonzero((done > 0) & (done < 1))
    there, back = np.split(moving, [np.flatnonzero(np.diff(moving) > 1)[0] + 1])
    assert len(there) == pytest.approx(len(back), abs=2) and back[0] - there[0] == pytest.approx(1000, abs=2)
    assert np.abs(done[there][: len(back)] - done[back][::-1][: len(there)]).max() < 0.01


def test_pictures_are_one_frame_of_each_shape(tmp_path):
    spec = pocket.PocketSpec(train=8, val=0, pictures=True)
    train, val = spec.videos(tmp_path)
    assert train.class_names == [f"A {shape}" for shape in OUTLINES] == val.class_names and spec.num_classes == 8
    for index in range(8):
        with train.open(index) as video:
            assert video.num_frames == 1
