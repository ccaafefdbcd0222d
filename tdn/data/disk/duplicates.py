"""Videos that a data set lists more than once."""

import functools
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from tdn.data.disk.published import Labelled


class _Listed(NamedTuple):
    start: float
    end: float
    part: int  # 0: training, 1: validation
    label: int
    shown: str


def repeated(labelled: Labelled) -> dict[str, list[str]]:
    """By what is wrong with it: the same file, also through folders that are links, or stretches of it that overlap."""
    of_file: dict[str, list[_Listed]] = {}
    real_folder = functools.cache(os.path.realpath)
    for part, videos in enumerate(labelled[1:3]):
        for path, label, stretch in videos:
            folder, name = os.path.split(listed := os.path.normpath(path))
            with suppress(ValueError):  # no file can have this name
                folder = real_folder(folder)
            start, end = stretch or (0.0, None)
            shown = f"{listed} ({stretch})" if stretch else listed
            one = _Listed(start, math.inf if end is None else end, part, label, shown)
            of_file.setdefault(os.path.join(folder, name), []).append(one)
    pairs = [pair for of in of_file.values() if len(of) > 1 for pair in _overlapping(sorted(of))]
    found = {
        "videos with two labels or more": [(a, b) for a, b in pairs if a.label != b.label],
        "videos in training and in validation": [(a, b) for a, b in pairs if a.part != b.part],
        "videos twice in the same set": [(a, b) for a, b in pairs if a.part == b.part and a[:2] == b[:2]],
    }
    return {what: sorted({*itertools.starmap(_shown, of)}) for what, of in found.items()}


def _overlapping(stretches: Sequence[_Listed]) -> Iterator[tuple[_Listed, _Listed]]:
    """Pairs of stretches of one file, in the order of their starts, that have a time in common."""
    for place, one in enumerate(stretches, start=1):
        for other in itertools.takewhile(lambda other, end=one.end: other.start < end, stretches[place:]):
            yield one, other


def _shown(one: _Listed, other: _Listed) -> str:
    return (" = " if one[:2] == other[:2] else " and ").join(dict.fromkeys((one.shown, other.shown)))
