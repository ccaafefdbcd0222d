"""Decoding, and files that can't be decoded."""

import pickle
import re

import numpy as np
import pytest
import torch

from tdn.data import pocket
from tdn.data.video import VideoError, all_frames, read_frames


def test_frames_come_as_chosen(tmp_path):
    rendered = pocket.render_clip(8, 3)
    pocket.encode(tmp_path / "clip.mp4", rendered)
    whole = read_frames(tmp_path / "clip.mp4", all_frames)
    assert whole.dtype == torch.uint8 and whole.shape == (len(rendered), 3, 56, 56)
    error = (whole.permute(0, 2, 3, 1).float() - torch.from_numpy(rendered).float()).abs()
    assert error.mean() < 6, "the same frames in the same order, but for compression"

    chosen = np.array([[30, 5, 5], [0, 30, len(rendered) - 1]])  # any order, repeated, any shape
    frames = read_frames(tmp_path / "clip.mp4", lambda count: chosen)
    assert torch.equal(frames, whole[chosen])


def test_a_width_that_decord_fails_at_is_said(tmp_path):
    pocket.encode(tmp_path / "narrow.mp4", np.zeros((5, 64, 72, 3), np.uint8))
    with pytest.raises(VideoError, match=r"narrow\.mp4: decord cannot read frames of this width"):
        read_frames(tmp_path / "narrow.mp4", all_frames)


@pytest.mark.parametrize("kind", ["absent", "empty", "text", "truncated"])
def test_an_unreadable_file_is_named_with_its_reason(broken_videos, kind):
    path = broken_videos[kind]
    with pytest.raises(VideoError) as error:
        read_frames(path, all_frames)
    assert error.value.path == path
    assert not re.search(r"\d\d:\d\d|\n", error.value.reason), "the same words each time"
    assert error.value.reason and str(error.value) == f"{path}: {error.value.reason}"
    again = pickle.loads(pickle.dumps(error.value))  # it has to come out of worker processes
    assert (again.path, again.reason) == (error.value.path, error.value.reason)
