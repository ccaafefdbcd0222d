"""Decoded videos that several processes share."""

import os
import subprocess
import sys

import pytest
import torch
from helpers.videos import read

from tdn.data.frames import TensorVideo
from tdn.data.resident import Resident
from tdn.data.video import open_video
from tdn.utils import worker_pool

FRAMES = torch.arange(2 * 3 * 4 * 6, dtype=torch.uint8).view(2, 3, 4, 6)


def brighter(resident):
    resident.open(1).frames.add_(100)
    return os.getpid()


def test_a_process_that_is_started_gets_the_same_memory_not_a_copy():
    resident = Resident(10**6)
    resident.keep(7, FRAMES)
    resident.keep(1, FRAMES[:1])
    with worker_pool(1, brighter, resident) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()
    assert torch.equal(resident.open(1).frames, FRAMES[:1] + 100)
    assert torch.equal(resident.open(7).frames, FRAMES), "others stay"


@pytest.mark.parametrize("first", [True, False])
def test_a_part_has_its_own_videos_whether_the_whole_was_decoded_before_or_not(first, video_sets):
    whole = video_sets[1]
    assert not first or whole.keep_in_memory()
    part = whole.part([4, 2, 9], [0, 1, 0], ["a", "b"], None)
    assert part.in_memory == first and part.keep_in_memory()
    for index, number in enumerate((4, 2, 9)):
        expected = read(whole.videos[number].path)
        assert torch.equal(part.open(index).read(range(len(expected))), expected)


def test_room_that_is_not_used_takes_no_memory():
    """A limit may be half of all memory."""
    program = "from tdn.data.resident import Resident; r = Resident(10**11); r.keep(0, {frames})"
    program = program.format(frames="__import__('torch').ones(1, 3, 8, 8).byte()") + "; print(r.open(0).frames.sum())"
    assert "192" in subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_frames_in_memory_are_shrunk_as_those_of_a_file(video):
    every = read(video)
    small = TensorVideo(every).read([[1, 2], [3, 3]], (slice(0, 40), slice(4, 24)), side=10)
    with open_video(video) as opened:
        expected = opened.read([[1, 2], [3, 3]], (slice(0, 40), slice(4, 24)), side=10)
    assert small.shape == expected.shape == (2, 2, 3, 20, 10)
    assert (small.int() - expected.int()).abs().max() <= 1
