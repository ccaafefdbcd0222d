"""Frames that are decoded once and kept; stretches of videos; frames shrunk while they are read."""

import os

import numpy as np
import pytest
import torch
from helpers import layouts
from PIL import Image

from tdn.data.clips import TestClips, TrainingClips, Unreadable, Video, VideoSet
from tdn.data.disk.catalog import DatasetSpec
from tdn.data.disk.check import check_videos
from tdn.data.kept import KeptFrames, KeptVideo
from tdn.data.pocket import render
from tdn.data.sampling import Views, sample_windows, training_windows
from tdn.data.stretches import Stretch, open_stretch
from tdn.data.video import VideoError, open_video
from tdn.engine.evaluation import evaluate
from tdn.model.zoo import create_model


@pytest.mark.parametrize("reader", ["pyav", "decord"])
def test_frames_are_shrunk_while_they_are_read(reader, video):
    with open_video(video, reader) as opened:
        whole = opened.read(np.arange(6))
        small = opened.read(np.arange(6), side=28)
        part = opened.read([[3, 3]], (slice(10, 50), slice(4, 24)), side=10)
        assert torch.equal(opened.read([2], side=500), whole[2:3]), "nothing is enlarged"
    for frame, expected in zip(small, whole, strict=True):
        image = Image.fromarray(expected.permute(1, 2, 0).numpy()).resize((28, 28), Image.Resampling.BILINEAR)
        assert np.array_equal(frame.permute(1, 2, 0).numpy(), np.asarray(image))
    assert small.shape == (6, 3, 28, 28) and part.shape == (1, 2, 3, 20, 10)


def test_kept_frames_are_those_of_the_video_and_made_once(video, tmp_path):
    kept = KeptFrames(tmp_path / "frames", 30)
    videos = VideoSet([Video(video, 0)], ["a"], kept=kept)
    videos.decode()
    (file,) = kept.folder.iterdir()
    before = file.stat().st_mtime_ns
    with open_video(video) as opened, videos.open(0) as small:
        assert (small.num_frames, small.height, small.width) == (opened.num_frames, 30, 30)
        indices, crop = [[5, 0], [2, 2]], (slice(3, 20), slice(1, 30))
        assert torch.equal(small.read(indices, crop), opened.read(indices, side=30)[..., crop[0], crop[1]])
        before_it = small.read([0])
    assert videos.decoded and file.stat().st_mtime_ns == before
    render.encode(video, render.render_clip(3, 4))  # another video under the same name
    os.utime(video, ns=(1, 1))
    with videos.open(0) as small:
        assert torch.equal(small.read([0]), before_it), "a training ends with what it began with"
    videos.kept = KeptFrames(tmp_path / "frames", 30)
    with open_video(video) as opened, videos.open(0) as small:
        assert torch.equal(small.read([0]), opened.read([0], side=30))
    (other,) = {*kept.folder.iterdir()} - {file}
    whole = other.read_bytes()
    for size in (200, 0):
        other.write_bytes(whole[:size])
        with pytest.raises(VideoError, match=r"kept frames can't be read .*: remove .*npy"):
            KeptVideo(video, other)
        videos.open(0)
        assert other.read_bytes() == whole, "what is damaged is made again"


def test_a_video_that_is_listed_often_is_kept_by_several_threads(video, tmp_path):
    kept = KeptFrames(tmp_path / "frames", 30)
    videos = VideoSet([Video(video, 0)] * 40, ["a"], kept=kept)
    videos.decode()
    assert not videos.known_unreadable and len(list(kept.folder.iterdir())) == 1
    with videos.open(39) as small:
        assert small.height == 30


def test_a_frame_that_changes_makes_another_video_of_its_folder(tmp_path):
    layouts.frame_folder(tmp_path / "v", 0)
    before = KeptFrames(tmp_path, 30).file(tmp_path / "v")
    assert KeptFrames(tmp_path, 30).file(tmp_path / "v") == before != KeptFrames(tmp_path, 40).file(tmp_path / "v")
    changed = tmp_path / "v/00003.jpg"
    changed.write_bytes((tmp_path / "v/00004.jpg").read_bytes())  # the folder itself does not change
    os.utime(changed, ns=(2 * 10**18, 2 * 10**18))
    assert KeptFrames(tmp_path, 30).file(tmp_path / "v") != before


def test_what_cannot_be_read_is_known_and_nothing_is_kept_of_it(broken_videos, video, tmp_path):
    paths = [video, *broken_videos.values()]
    videos = VideoSet([Video(path, 0) for path in paths], ["a"], kept=KeptFrames(tmp_path / "frames", 30))
    videos.decode()
    assert sorted(videos.known_unreadable) == [1, 2, 3, 4] and len(list((tmp_path / "frames").iterdir())) == 1
    with pytest.raises(VideoError, match="empty file"):
        videos.open(paths.index(broken_videos["empty"]))


def test_a_full_disk_ends_the_decoding(video, tmp_path):
    (tmp_path / "frames").touch()  # no folder: nothing can be written below it
    videos = VideoSet([Video(video, 0)], ["a"], kept=KeptFrames(tmp_path / "frames", 30))
    with pytest.raises(OSError, match="frames"):
        videos.decode()


@pytest.mark.parametrize("kept", [False, True])
def test_a_stretch_is_the_frames_between_two_times(kept, tmp_path):
    frames = np.concatenate([render.render_clip(label, 0) for label in range(20)])
    render.encode(tmp_path / "long.mp4", frames)
    with open_video(tmp_path / "long.mp4") as opened:
        rate = render.FRAMES_PER_SECOND
        every = opened.read(np.arange(opened.num_frames))
    first, last = 520, 560
    stretches = [Stretch(first / rate, last / rate), Stretch(0, 10 / rate), Stretch(600 / rate, None)]
    videos = VideoSet([Video(tmp_path / "long.mp4", 0, of) for of in stretches], ["a"])
    videos.kept = KeptFrames(tmp_path / "frames", 56) if kept else None
    for index, (start, end) in enumerate([(first, last), (0, 10), (600, len(every))]):
        with videos.open(index) as opened:
            assert torch.equal(opened.read(np.arange(opened.num_frames)), every[start:end])
            with pytest.raises(IndexError):
                opened.read([end - start])
    with pytest.raises(VideoError, match=r"no frame from 1000 to 1001 s: the last is at"):
        open_stretch(tmp_path / "long.mp4", Stretch(1000, 1001))
    layouts.frame_folder(tmp_path / "folder", 0)
    with pytest.raises(VideoError, match="no times"):
        open_stretch(tmp_path / "folder", Stretch(0, 1))


@pytest.mark.parametrize("kept", [False, True])
def test_one_stretch_that_is_not_there_leaves_the_others_of_its_file(kept, video, tmp_path):
    stretches = [None, Stretch(0, 1), Stretch(1000, 1001), Stretch(1, 2)]
    videos = VideoSet([Video(video, 0, of) for of in stretches], ["a"])
    videos.kept = KeptFrames(tmp_path / "frames", 56) if kept else None
    torch.manual_seed(0)
    model = create_model("tsn_resnet10", 1, 2, width=8).eval()
    found = evaluate(model, TestClips(videos, 2, 1, Views(size=48)), torch.device("cpu"))
    assert found.videos.tolist() == [0, 1, 3] and found.of == 4
    assert [of.path.name for of in found.unreadable] == ["clip.mp4 (1000 to 1001 s)"]
    clips = TrainingClips(videos, 2, 1)
    missing = clips[2]
    clips.start_epoch(1, {str(missing.path): missing.reason})
    assert [isinstance(clips[index], Unreadable) for index in range(4)] == [False, False, True, False]


def test_lists_may_name_stretches(tmp_path, video, home):
    rate = render.FRAMES_PER_SECOND
    rows = f"v.mp4,0,{10 / rate},wave\nv.mp4,0:00,0:01,point\n"
    for name in ("train.csv", "val.csv"):
        (tmp_path / name).write_text(f"path,start,end,class\n{rows}")
    video.rename(tmp_path / "v.mp4")
    spec = DatasetSpec(str(tmp_path))
    before = spec.videos(home)[0].videos
    assert [of.stretch for of in before] == [Stretch(0, 10 / rate), Stretch(0, 1)]
    arguments = spec.labelled(), spec.index_file(home), tmp_path, spec.fingerprint()
    check_videos(*arguments, workers=1)
    train, _ = spec.videos(home)
    assert train.videos == before, "from the index, too"
    with train.open(0) as opened:
        assert opened.num_frames == 10
    contents = spec.contents()
    (tmp_path / "train.csv").write_text(f"path,start,end,class\n{rows.replace('0:01', '0:02')}")
    assert DatasetSpec(str(tmp_path)).contents() != contents
    for wrong, message in (("5,4", "line 2: a stretch from 5 to 4 s"), ("a,4", "line 2: 'a' is no time")):
        (tmp_path / "train.csv").write_text(f"path,start,end,class\nv.mp4,{wrong},wave\n")
        with pytest.raises(ValueError, match=message):
            spec.labelled()


def test_frames_of_a_window_may_lie_apart(video):
    windows = sample_windows(50, 4, 5, stride=3)
    assert (np.diff(windows) == 3).all() and windows[0, 0] == int(38 / 8) and windows[-1, -1] < 50
    assert np.array_equal(Views(stride=3).windows(50, 4, 5, 0), windows)
    for sampling in ("even", "released"):
        drawn = training_windows(50, 4, 5, np.random.default_rng(0), sampling, 3)
        assert (np.diff(drawn) == 3).all() and drawn.max() < 50
    assert sample_windows(6, 2, 5, stride=3).tolist() == [[0, 3, 5, 5, 5], [1, 4, 5, 5, 5]], "the last is repeated"
    videos = VideoSet([Video(video, 0)], ["a"])
    views = Views(size=48, scale=48 / 56, stride=2)
    clip = TestClips(videos, 4, 5, views)[0].clip
    with open_video(video) as opened:
        expected = opened.read(sample_windows(opened.num_frames, 4, 5, stride=2))
    assert torch.equal(clip[0], expected[..., 4:52, 4:52])
    clips = TrainingClips(videos, 2, 5, (1.0,), 0, "even", 4)
    assert clips[0].clip.shape == (2, 5, 3, 56, 56)
