"""Checks of the networks' arguments."""

from collections.abc import Collection

from torch import Tensor


def require(name: str, value: str, valid: Collection[str]) -> None:
    """Raises ValueError that lists what is valid."""
    if value not in valid:
        raise ValueError(f"{name} must be one of {', '.join(valid)}; got {value!r}")


def require_counts(num_segments: int, num_classes: int) -> None:
    """Raises ValueError for no segment or no class."""
    if num_segments < 1 or num_classes < 1:
        raise ValueError(f"need at least one segment and one class: {num_segments=}, {num_classes=}")


def require_clips(clips: Tensor, num_segments: int, window: int) -> None:
    """Raises ValueError for clips that are not `(N, T, L, 3, H, W)` with T `num_segments` and L `window`."""
    expected = (num_segments, window, 3)
    if clips.ndim != 6 or tuple(clips.shape[1:4]) != expected:
        needed = f"(N, T, L, C, H, W) with (T, L, C) = {expected}"
        raise ValueError(f"clips must be {needed} for this network, got {tuple(clips.shape)}")
