"""Which frames are seen, from one-frame videos up."""

import numpy as np
import pytest

from tdn.data.sampling import sample_windows, training_windows

LENGTHS = [*range(1, 30), 72, 1000]


def assert_windows(windows, frames):
    starts = windows[:, 0]
    assert windows.shape == (8, 5) and windows.min() >= 0 and windows.max() < frames
    assert (np.diff(starts) >= 0).all()
    expected = np.minimum(starts[:, None] + np.arange(5), frames - 1)  # past the end: the last frame again
    assert (windows == expected).all()


@pytest.mark.parametrize("frames", LENGTHS)
def test_windows_are_consecutive_in_order_and_spread_over_the_video(frames):
    tested = sample_windows(frames, 8, 5)
    drawn = [training_windows(frames, 8, 5, np.random.default_rng(seed), "even") for seed in range(20)]
    for windows in (tested, *drawn):
        starts = windows[:, 0]
        assert_windows(windows, frames)
        assert len(set(starts)) >= min(frames, 8) / 2  # parts may share the frame on their border
        assert frames == 1 or starts[-1] > 0, "never all segments on the first frame"
    if frames >= 8:
        assert len(set(tested[:, 0])) == 8, "a start of its own for every segment"


@pytest.mark.parametrize("frames", [12, 13, 40, 72, 1000])
def test_long_videos_are_sampled_as_tsn_does(frames):
    part = (frames - 4) / 8
    assert (sample_windows(frames, 8, 5)[:, 0] == [int(part / 2 + part * s) for s in range(8)]).all()
    seen = np.stack([training_windows(frames, 8, 5, np.random.default_rng(i), "even")[:, 0] for i in range(600)])
    for segment in range(8):
        first, last = int(part * segment), int(np.ceil(part * (segment + 1))) - 1
        assert first <= seen[:, segment].min() and seen[:, segment].max() <= last
        if frames <= 72:  # every frame of its part has been a start
            assert {first, last} <= set(seen[:, segment])
    assert seen.max() <= frames - 5, "no window of a long video runs over its end"


@pytest.mark.parametrize("frames", LENGTHS)
def test_released_training_windows(frames):
    """The authors' code: segments of floor((frames - 4) / T) starts; without one start for each, sorted draws from all
    starts; with no more frames than segments, frame 1 for all."""
    drawn = [training_windows(frames, 8, 5, np.random.default_rng(seed)) for seed in range(600)]
    seen, length = np.stack([windows[:, 0] for windows in drawn]), (frames - 4) // 8
    for windows in drawn[:20]:
        assert_windows(windows, frames)
    if length > 0:
        for segment, starts in enumerate(seen.T):
            possible = set(range(segment * length, (segment + 1) * length))
            assert set(starts) <= possible and (frames == 1000 or set(starts) == possible)
        assert seen.max() < 8 * length <= frames - 4, "the tail is never drawn"
    elif frames > 8:
        assert set(seen.flatten()) == set(range(frames - 4))
        assert len({tuple(starts) for starts in seen}) > 100
    else:
        assert not seen.any()


def test_one_frame_windows_and_none():
    assert sample_windows(80, 8, 1)[:, 0].tolist() == [5, 15, 25, 35, 45, 55, 65, 75]
    assert sample_windows(1, 1, 1).tolist() == [[0]]
    for sampling in ("released", "even"):
        assert training_windows(1, 1, 5, np.random.default_rng(0), sampling).tolist() == [[0] * 5]
    assert not training_windows(3, 1, 5, np.random.default_rng(0))[:, 0].any()  # frames in it, but no whole window
    for values in ((0, 8, 5), (10, 0, 5), (10, 8, 0)):
        with pytest.raises(ValueError, match="at least one"):
            sample_windows(*values)
        with pytest.raises(ValueError, match="at least one"):
            training_windows(*values, np.random.default_rng(0))
    with pytest.raises(ValueError, match="sampling must be one of released, even, not 'dense'"):
        training_windows(10, 8, 5, np.random.default_rng(0), "dense")
