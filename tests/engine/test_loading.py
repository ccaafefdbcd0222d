"""Which videos make which step; reading ahead changes nothing but when things happen."""

import threading

import pytest
import torch

from tdn.data.clips import Sample, TrainingClips
from tdn.engine import loading
from tdn.engine.loading import TrainingLoader, micro_batches, on_device, one_ahead


def indices(shards):
    return [[[sample.video for sample in samples] for samples, _ in shard] for shard in shards]


def test_every_video_but_those_left_out_takes_part_once(video_sets):
    assert micro_batches(range(11), 5, 2) == [[[0, 1], [2, 3], [4]], [[5, 6], [7, 8], [9]]]
    assert micro_batches([7, 1, 4], 3, 3) == [[[7, 1, 4]]] and micro_batches([7, 1], 3, 3) == []
    clips = TrainingClips(video_sets[0], 2, 1)
    loader = TrainingLoader(clips, 10, 4)
    loader.leave_out([0, 35])
    assert (loader.steps, loader.micro_batches) == (3, 3)
    steps = indices(loader.epoch(0))
    assert [[len(micro_batch) for micro_batch in step] for step in steps] == [[4, 4, 2]] * 3
    every = [video for step in steps for micro_batch in step for video in micro_batch]
    assert len(set(every)) == 30 and not {0, 35} & set(every)
    assert indices(loader.epoch(0, first=2)) == steps[2:], "from the step that is asked for"
    with pytest.raises(ValueError, match="not one of 36"):
        loader.leave_out(range(36))


def test_processes_share_the_micro_batches_of_a_step(video_sets, monkeypatch):
    clips = TrainingClips(video_sets[0], 2, 1, seed=3)
    alone = indices(TrainingLoader(clips, 12, 4).epoch(1))
    monkeypatch.setattr(loading, "world_size", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(loading, "rank", lambda rank=rank: rank)
        assert indices(TrainingLoader(clips, 12, 4).epoch(1)) == [step[rank::2] for step in alone]
    monkeypatch.setattr(loading, "world_size", lambda: 4)
    with pytest.raises(ValueError, match="4 processes, but a batch of 12 has only 3 micro-batches of 4 videos"):
        TrainingLoader(clips, 12, 4)


def test_the_next_item_is_fetched_while_one_is_in_use():
    second = threading.Event()

    def items():
        yield 1
        second.set()
        yield 2

    ahead = one_ahead(items())
    assert next(ahead) == 1 and second.wait(10), "nobody asked for it yet"
    assert list(ahead) == [2]
    assert list(one_ahead(range(50))) == list(range(50)) and list(one_ahead([None, None])) == [None, None]


def test_an_error_is_raised_when_its_item_is_asked_for_and_stopping_early_leaves_no_thread():
    before = threading.active_count()
    ahead = one_ahead(1 / (1 - number) for number in range(3))
    assert next(ahead) == 1
    with pytest.raises(ZeroDivisionError):
        next(ahead)
    ahead = one_ahead(range(1000))
    next(ahead)
    ahead.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_the_device_gets_the_clips_unchanged(device):
    given = [[([Sample(torch.full((2, 5, 3, 8, 8), n, dtype=torch.uint8), 0, (), n)], [])] for n in range(3)]
    found = list(on_device(given, torch.device(device)))
    assert len(found) == 3 and (device == "cuda" or all(a is b for a, b in zip(found, given, strict=True)))
    for number, ((samples, bad),) in enumerate(found):
        assert samples[0].clip.device.type == device and not bad
        assert (samples[0].clip == number).all() and samples[0].video == number
