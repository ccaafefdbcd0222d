"""Clips from video files: what is drawn, what is remembered, what can't be read."""

import dataclasses
from itertools import chain
from types import SimpleNamespace

import pytest
import torch
from helpers.videos import damage, numbered, read, write_video
from torch.utils.data import DataLoader

from tdn.data.clips import TestClips, TrainingClips, Unreadable, Video, VideoSet, collate, read_crops
from tdn.data.sampling import Views, sample_windows
from tdn.data.transforms import Crop, indexed, to_input, to_input_of_frames
from tdn.data.video import TensorVideo, VideoReader


def same(a, b):
    return torch.equal(a.clip, b.clip) and dataclasses.replace(a, clip=b.clip) == b


def test_memory_gives_what_the_files_give_where_there_is_room(video_sets, monkeypatch):
    train, _ = video_sets
    room = SimpleNamespace(available=read(train.videos[0].path).numel() * 10)  # about five videos in half of it
    with monkeypatch.context() as patch:
        patch.setattr("psutil.virtual_memory", lambda: room)
        assert not train.keep_in_memory() and not train.known_unreadable
    from_file = [TrainingClips(train, 8, 5, seed=1)[i] for i in range(0, 36, 7)]
    assert not train.in_memory and train.keep_in_memory() and train.in_memory
    from_memory = [TrainingClips(train, 8, 5, seed=1)[i] for i in range(0, 36, 7)]
    assert all(same(a, b) for a, b in zip(from_file, from_memory, strict=True))


@pytest.mark.parametrize("numbers", [None, [5, 0, 17, 9, 22]])
def test_clips_that_are_numbers_of_frames_on_a_device_have_the_same_pixels(numbers, video_sets):
    whole, _ = video_sets
    assert whole.keep_in_memory()
    videos = whole.part(numbers, [4, 5, 6, 7, 8], whole.class_names, None) if numbers else whole
    inputs = []
    for device in (None, torch.device("cpu")):
        clips = TrainingClips(videos, 8, 5, (48 / 56,), seed=1, sampling="even")
        if device:
            clips.move_to(device, 48)
        samples = [clips[index] for index in range(len(videos))]
        crops, of_all = [sample.crops[0] for sample in samples], [sample.clip for sample in samples]
        assert {crop.flip for crop in crops} == {True, False}
        inputs.append(to_input_of_frames(clips.frames, of_all, crops) if device else to_input(of_all, crops, 48))
    as_on_a_gpu = indexed(clips.frames, of_all, crops)
    assert torch.equal(*inputs) and torch.equal(inputs[0], as_on_a_gpu)
    assert clips.frames.data_ptr() == whole.memory.frames(device).data_ptr(), "one copy for all parts"


def test_clips_stay_where_they_are_if_crops_are_to_be_resized_or_sizes_differ(video_sets, tmp_path):
    whole, _ = video_sets
    assert whole.keep_in_memory()
    two = [write_video(tmp_path / f"{size}.mp4", numbered(12, size, size)) for size in (56, 64)]
    mixed = VideoSet([Video(path, 0) for path in two], ["a"])
    assert mixed.keep_in_memory()
    for videos, scales, size in ((whole, (48 / 56,), 40), (whole, (1, 48 / 56), 48), (mixed, (48 / 56,), 48)):
        clips = TrainingClips(videos, 8, 5, scales, sampling="even")
        clips.move_to(torch.device("cpu"), size)
        assert clips.frames is None and clips[0].clip.dtype == torch.uint8


# Of a set in an index; of one without, where the sample has the long ones and where it misses them.
@pytest.mark.parametrize(("lengths", "index"), [((16, 3, 0), True), ((16, 3, 0), False), ((1, 2, 100), False)])
def test_memory_is_taken_only_where_there_is_room(lengths, index, tmp_path, monkeypatch, capsys):
    """Short clips and a few long ones, which alone need more than the limit."""
    short, long = (write_video(tmp_path / f"{n}.mp4", numbered(n, 56, 56)) for n in (5, 400))
    before, between, after = lengths
    videos = VideoSet([Video(path, 0) for path in [short] * before + [long] * between + [short] * after], ["a"])
    videos.sizes = [int(video.path.stem) * 3 * 56 * 56 for video in videos.videos] if index else None
    limit = 600 * 3 * 56 * 56  # a long one, but not its copy too
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=2 * limit))
    lengths_read, read_all = [], VideoReader.read

    def remembered(video, indices, crop=None):
        lengths_read.append(video.num_frames)
        return read_all(video, indices, crop)

    monkeypatch.setattr(VideoReader, "read", remembered)
    assert not videos.keep_in_memory() and not videos.in_memory and not videos.known_unreadable
    assert 400 not in lengths_read, "there is no room for it"
    assert ("MiB: they are read from file" in capsys.readouterr().out) == (after > 0), "begun, and stopped"
    assert TrainingClips(videos, 8, 5)[before].clip.shape[:3] == (8, 5, 3)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=20 * limit))
    assert videos.keep_in_memory()


def test_what_is_random_depends_on_seed_epoch_and_video_alone(video_sets):
    train, _ = video_sets
    clips = TrainingClips(train, 4, 5, seed=1)
    first = [clips[i] for i in range(6)]
    in_workers = []
    for samples, _ in DataLoader(clips, 2, collate_fn=collate, num_workers=2, sampler=range(6)):
        in_workers += samples
    assert all(same(a, b) for a, b in zip(first, in_workers, strict=True))
    clips.start_epoch(1)
    assert not any(same(first[i], clips[i]) for i in range(6))
    assert not any(same(a, TrainingClips(train, 4, 5, seed=2)[i]) for i, a in enumerate(first))


def test_test_clips_are_the_middle_of_everything(video_sets):
    _, val = video_sets
    sample = TestClips(val, 8, 5, Views(scale=0.8))[3]
    video = read(val.videos[3].path)
    assert torch.equal(sample.clip, video[sample_windows(len(video), 8, 5)][None, ..., 5:50, 5:50])
    assert (sample.crops, sample.label, sample.video) == ((Crop(0, 0, 45, 45),), 3, 3)


def test_a_mirrored_clip_has_the_mirrored_label(video_sets):
    train, _ = video_sets
    names = ("Moving [something] left, then right", "Moving [something] right, then left")
    left, right = map(train.class_names.index, names)
    alone = VideoSet([Video(train.videos[0].path, 0)], ["Tilting it to the left"])  # a class without a mirror image
    for videos, index, expected in ((train, left, {(False, left), (True, right)}), (alone, 0, {(False, 0)})):
        clips = TrainingClips(videos, 2, 1, seed=0)
        seen = set()
        for epoch in range(12):
            clips.start_epoch(epoch)
            sample = clips[index]  # of the training set, video i has label i % 24
            seen.add((sample.crops[0].flip, sample.label))
        assert seen == expected


def test_unreadable_videos_are_listed_and_never_replaced(video_sets, broken_videos):
    train, _ = video_sets
    videos = [*train.videos[:3], *(Video(path, 0) for path in broken_videos.values()), *train.videos[3:5]]
    video_set = VideoSet(videos, train.class_names)
    for in_memory in (False, True):
        assert not in_memory or video_set.keep_in_memory()
        loader = DataLoader(TestClips(video_set, 4, 5, Views()), 4, collate_fn=collate)
        samples, bad = (list(chain.from_iterable(lists)) for lists in zip(*loader, strict=True))
        assert [sample.video for sample in samples] == [0, 1, 2, 7, 8]
        assert [item.path for item in bad] == list(broken_videos.values())
        assert all(isinstance(item, Unreadable) and item.reason for item in bad)
    assert video_set.unreadable() == bad


def test_the_reader_of_a_set_decides(tmp_path):
    """decord jumps over the damaged frame, which is before the clip; PyAV does not."""
    path = damage(write_video(tmp_path / "v.mp4", numbered(60, 56, 56), options={"g": "10"}), 13)
    sets = [VideoSet([Video(path, 0)], ["a"], reader=reader) for reader in ("pyav", "decord")]
    by_pyav, by_decord = (TestClips(videos, 1, 5, Views())[0] for videos in sets)
    assert by_pyav == Unreadable(path, "Invalid data found when processing input")
    assert by_decord.clip.shape == (1, 1, 5, 3, 49, 49)


def test_of_a_frame_only_what_the_crops_need_is_read():
    frames = torch.randint(0, 256, (2, 3, 40, 70), dtype=torch.uint8)
    crops = (Crop(5, 10, 24, 24), Crop(9, 20, 24, 24, flip=True), Crop(5, 30, 16, 20))
    clip, moved = read_crops(TensorVideo(frames), [[0], [1]], crops)
    assert torch.equal(clip, frames[:, None, :, 5:33, 10:50])
    for crop, within in zip(crops, moved, strict=True):
        assert torch.equal(to_input([clip], [within], 16), to_input([frames[:, None]], [crop], 16))
