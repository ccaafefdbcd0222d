"""Clips from video files: what is drawn, what is remembered, what can't be read."""

import dataclasses

import torch
from helpers.videos import damage, write_video
from torch.utils.data import DataLoader

import tdn
from tdn.data.clips import TestClips, TrainingClips, Unreadable, Video, VideoSet, collate
from tdn.data.pocket import render as pocket
from tdn.data.sampling import Views, sample_windows
from tdn.data.transforms import Crop
from tdn.data.video import all_frames, read_frames
from tdn.engine.evaluation import evaluate
from tdn.engine.recipes import Recipe
from tdn.engine.trainer import fit


def same(a, b):
    return torch.equal(a.clip, b.clip) and dataclasses.replace(a, clip=b.clip) == b


def test_memory_gives_what_the_files_give(video_sets):
    train, _ = video_sets
    from_file = [TrainingClips(train, 8, 5, seed=1)[i] for i in range(0, 36, 7)]
    assert not train.in_memory and train.keep_in_memory() and train.in_memory
    from_memory = [TrainingClips(train, 8, 5, seed=1)[i] for i in range(0, 36, 7)]
    assert all(same(a, b) for a, b in zip(from_file, from_memory, strict=True))


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
    video, _ = read_frames(val.videos[3].path, all_frames)
    assert torch.equal(sample.clip, video[sample_windows(len(video), 8, 5)][..., 5:50, 5:50])
    assert sample.crops == (Crop(0, 0, 45),)
    assert (sample.label, sample.video, sample.number) == (3, 3, 0)


def test_a_mirrored_clip_has_the_mirrored_label(video_sets):
    train, _ = video_sets
    left = train.class_names.index("Moving [something] left")
    right = train.class_names.index("Moving [something] right")
    clips = TrainingClips(train, 2, 1, seed=0)
    seen = set()
    for epoch in range(12):
        clips.start_epoch(epoch)
        sample = clips[left]  # video i has label i % 18
        seen.add((sample.crops[0].flip, sample.label))
    assert seen == {(False, left), (True, right)}


def test_a_class_that_has_no_mirror_image_is_never_flipped(video_sets):
    train, _ = video_sets
    alone = VideoSet([Video(train.videos[0].path, 0)], ["Tilting it to the left"])
    clips = TrainingClips(alone, 2, 1, seed=0)
    flips = []
    for epoch in range(20):
        clips.start_epoch(epoch)
        flips.append(clips[0].crops[0].flip)
    assert not any(flips)


def test_unreadable_videos_are_listed_and_never_replaced(video_sets, broken_videos):
    train, _ = video_sets
    videos = [*train.videos[:3], *(Video(path, 0) for path in broken_videos.values()), *train.videos[3:5]]
    video_set = VideoSet(videos, train.class_names)
    for in_memory in (False, True):
        assert not in_memory or video_set.keep_in_memory()
        loader = DataLoader(TestClips(video_set, 4, 5, Views()), 4, collate_fn=collate)
        samples, bad = [], []
        for some, some_bad in loader:
            samples += some
            bad += some_bad
        assert [sample.video for sample in samples] == [0, 1, 2, 7, 8]
        assert [item.path for item in bad] == list(broken_videos.values())
        assert all(isinstance(item, Unreadable) and item.reason for item in bad)
    assert video_set.unreadable() == bad


def test_what_the_second_decoder_reads_is_said_and_counted(video_sets, tmp_path, capsys):
    """Every frame is a key frame, the first one is damaged: not in the way of the clips that start later."""
    path = write_video(tmp_path / "damaged.mp4", pocket.render_clip(8, 3), options={"g": "1"})
    damage(path, 0)
    train, _ = video_sets
    some = VideoSet([*train.videos[:3], Video(path, 5)], train.class_names)
    model = tdn.create_model("tsn_resnet10", 18, 2, width=8)
    cpu = torch.device("cpu")
    training = fit(model, TrainingClips(some, 2, 1), Recipe(3, 4, 0.01), 48, tmp_path, cpu)
    said = "read by decord, PyAV failed: {}: Invalid data found when processing input"
    assert capsys.readouterr().out.count(said.format(path)) == 1, "once, not in every epoch"
    evaluation = evaluate(model, TestClips(some, 2, 1, Views(size=48)), cpu)
    assert list(training.second_decoder) == [str(path)]
    assert len(evaluation.labels) == 4 and not evaluation.unreadable
    assert [item.path for item in evaluation.second_decoder] == [path]
    assert some.keep_in_memory() and list(some.known_unreadable) == [3], "all its frames are asked for"


def test_a_set_too_large_for_memory_stays_on_disk(video_sets, monkeypatch):
    train, _ = video_sets
    size = read_frames(train.videos[0].path, all_frames)[0].numel()

    class Free:
        available = size * 10  # room for about five videos in half of it

    monkeypatch.setattr("psutil.virtual_memory", lambda: Free)
    assert not train.keep_in_memory() and not train.in_memory and not train.known_unreadable
    assert TrainingClips(train, 2, 1)[0].clip.shape == (2, 1, 3, 49, 49)
