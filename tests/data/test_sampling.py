"""Which frames are seen, from one-frame videos up."""

import numpy as np
import pytest

from tdn.data.sampling import sample_windows


@pytest.mark.parametrize("frames", [*range(1, 30), 72, 1000])
def test_windows_are_consecutive_in_order_and_spread_over_the_video(frames):
    for rng in (None, *map(np.random.default_rng, range(20))):  # for a test, and for training
        windows = sample_windows(frames, 8, 5, rng)
        starts = windows[:, 0]
        assert windows.shape == (8, 5) and windows.min() >= 0 and windows.max() < frames
        assert (np.diff(starts) >= 0).all()
        expected = np.minimum(starts[:, None] + np.arange(5), frames - 1)  # past the end: the last frame again
        assert (windows == expected).all()
        assert len(set(starts)) >= min(frames, 8) / 2  # parts may share the frame on their border
        assert frames == 1 or starts[-1] > 0, "never all segments on the first frame"
    if frames >= 8:
        assert len(set(sample_windows(frames, 8, 5)[:, 0])) == 8, "a start of its own for every segment"


@pytest.mark.parametrize("frames", [12, 13, 40, 72, 1000])
def test_long_videos_are_sampled_as_tsn_does(frames):
    part = (frames - 4) / 8
    assert (sample_windows(frames, 8, 5)[:, 0] == [int(part / 2 + part * s) for s in range(8)]).all()
    seen = np.stack([sample_windows(frames, 8, 5, np.random.default_rng(i))[:, 0] for i in range(600)])
    for segment in range(8):
        first, last = int(part * segment), int(np.ceil(part * (segment + 1))) - 1
        assert first <= seen[:, segment].min() and seen[:, segment].max() <= last
        if frames <= 72:  # every frame of its part has been a start
            assert {first, last} <= set(seen[:, segment])
    assert seen.max() <= frames - 5, "no window of a long video runs over its end"


def test_one_frame_windows_and_none():
    assert sample_windows(80, 8, 1)[:, 0].tolist() == [5, 15, 25, 35, 45, 55, 65, 75]
    assert sample_windows(1, 1, 1).tolist() == [[0]]
    for values in ((0, 8, 5), (10, 0, 5), (10, 8, 0)):
        with pytest.raises(ValueError, match="at least one"):
            sample_windows(*values)
