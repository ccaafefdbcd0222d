"""Which frames of a video a network sees: T segments, a window of W consecutive frames in each."""

import numpy as np


def sample_windows(
    num_frames: int, num_segments: int, window: int, rng: np.random.Generator | None = None, offset: float = 0.5
) -> np.ndarray:
    """Frame numbers `(T, W)`, 0-based and in order of time (TSN sampling; TDN section 3.1).

    The possible starts of a window are cut into T equal parts; each gives one start, drawn from `rng` while
    training; at test (`rng=None`) it stands at `offset` of its part, 0 to below 1, in the middle unless told.

    Short videos, in training and test alike: where fewer windows fit than there are segments, windows may run
    over the end and repeat the last frame, just so far that there are as many starts as segments; a video
    with fewer frames than segments spreads the segments over all its frames.

    Raises:
        ValueError: `num_frames`, `num_segments` or `window` below 1.
    """
    if min(num_frames, num_segments, window) < 1:
        raise ValueError(
            f"need at least one frame, segment and window frame: {num_frames=}, {num_segments=}, {window=}"
        )
    possible_starts = max(num_frames - window + 1, min(num_frames, num_segments))
    offset = np.full(num_segments, offset) if rng is None else rng.random(num_segments)
    starts = ((np.arange(num_segments) + offset) * possible_starts / num_segments).astype(int)
    return np.minimum(starts[:, None] + np.arange(window), num_frames - 1)
