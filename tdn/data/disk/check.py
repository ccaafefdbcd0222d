"""Which videos of a data set can be read: each is tried once, and an index remembers the outcome.

An index is a csv file with one row per video, and next to it a json file with the names of the classes and what tells
whether the csv still fits the annotation.
"""

import csv
import hashlib
import io
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

from tdn.data.clips import Video, VideoSet
from tdn.data.disk.published import Labelled
from tdn.data.transforms import mirrored_labels
from tdn.data.video import IMAGE_SUFFIXES, VideoError, open_video
from tdn.utils import worker_pool, write_text, write_whole

COLUMNS = ("set", "path", "label", "class", "frames", "bytes", "modified", "problem")
MISSING = "missing"
CHUNK = 8  # videos that a worker takes at a time, and loses when the check is interrupted
SAVE_EVERY = 60  # seconds
SHOWN = 20  # problems in a report


class Checked(NamedTuple):
    """One video, tried: `problem` says why it can't be read.

    Of a folder of frames, `bytes` is their sum and `modified`, in nanoseconds, the time of the latest change.
    """

    frames: int = 0
    bytes: int = 0
    modified: int = 0
    problem: str = ""


def load(file: Path, root: Path, fingerprint: str, command: str) -> tuple[VideoSet, VideoSet] | None:
    """Training and validation videos as the index `file` has them; None, with a line that says why, where the index
    does not fit or is not finished; `command` is what makes it anew.

    Neither annotations nor videos are touched. What could not be read at the check is `known_unreadable`.
    """
    if not file.exists():
        return None
    content, state = file.read_bytes(), _state(file)
    rows = _rows(content)
    if (
        rows[:1] != [list(COLUMNS)]
        or state.get("csv") != hashlib.sha256(content).hexdigest()
        or state["fingerprint"] != fingerprint
    ):
        print(f"the index {file.name} does not fit the data any more and is not used; anew: {command}")
        return None
    del rows[0]
    if len(rows) < state["videos"]:
        print(
            f"the index {file.name} has only {len(rows)} of {state['videos']} videos and is not used; more: {command}"
        )
        return None
    train, val = (_video_set([row for row in rows if row[0] == part], root, state) for part in ("train", "val"))
    return train, val


def check(
    labelled: Labelled, file: Path, root: Path, fingerprint: str, workers: int, reader: str = "pyav"
) -> dict[Path, Checked]:
    """Tries the first and the last frame of every video, in `workers` processes, and writes the index `file`.

    A video that an earlier check by the same reader could read and whose size and time of change are as they were is
    not read again.
    Ctrl-C leaves an index of what was checked so far, any other end one that is at most a minute older. A second
    check of the same index waits for the first.
    """
    paths = list(dict.fromkeys(video.path for video in (*labelled.train, *labelled.val)))
    file.parent.mkdir(parents=True, exist_ok=True)
    with _alone_with(file):
        checked = _earlier(file, root, reader)
        saved = time.monotonic()
        try:
            with (
                tqdm(total=len(paths), desc="checking", unit="video") as bar,
                closing(_try_all({path: checked.get(path) for path in paths}, workers, reader)) as tried,
            ):
                for results in tried:
                    checked |= results
                    bar.update(len(results))
                    if time.monotonic() - saved > SAVE_EVERY:
                        _write(file, labelled, root, fingerprint, checked, reader)
                        saved = time.monotonic()
        finally:
            _write(file, labelled, root, fingerprint, checked, reader)
    return {path: checked[path] for path in paths}


def report(labelled: Labelled, checked: Mapping[Path, Checked]) -> str:
    """What a check found, for a person."""
    names = labelled.class_names
    said, problems = [], []
    for title, videos in (("training", labelled.train), ("validation", labelled.val)):
        results = [(video.path, checked[video.path]) for video in videos]
        bad = [f"  {path}: {result.problem}" for path, result in results if result.problem]
        missing = sum(result.problem == MISSING for _, result in results)
        frames = np.array([result.frames for _, result in results if not result.problem])
        said.append(
            f"{title}: {len(videos):,} videos in {len({video.label for video in videos})} of {len(names)} classes"
        )
        if len(frames):
            lengths = f"{frames.min()} to {frames.max()} a video, median {np.median(frames):g}"
            said.append(f"  {frames.sum():,} frames, {lengths}")
        said.append(f"  missing: {missing}, unreadable: {len(bad) - missing}")
        problems += bad
    if problems:
        said += ["missing or unreadable:", *problems[:SHOWN]]
        said += [f"  and {len(problems) - SHOWN} more, all in the index"] if len(problems) > SHOWN else []
    both = {video.path for video in labelled.train} & {video.path for video in labelled.val}
    if both:
        said.append(f"in training and in validation: {_some(sorted(str(path) for path in both))}")
    trained = {video.label for video in labelled.train}
    said.append(f"classes without training videos: {_some(n for i, n in enumerate(names) if i not in trained)}")
    mirrored = mirrored_labels(names)
    exchanged = sum(other not in (None, label) for label, other in enumerate(mirrored))
    said.append(f"classes that mirroring exchanges for another: {exchanged}")
    alone = (name for name, other in zip(names, mirrored, strict=True) if other is None)
    said.append(f"classes without a mirror image, never mirrored: {_some(alone)}")
    return "\n".join(said)


def _some(items: Iterable[str]) -> str:
    items = list(items)
    more = ", ..." if len(items) > SHOWN else ""
    return f"{len(items)} ({', '.join(items[:SHOWN])}{more})" if items else "none"


# trying


def _try_all(before: Mapping[Path, Checked | None], workers: int, reader: str) -> Iterator[dict[Path, Checked]]:
    """Each video's outcome, some at a time; `before` has those of an earlier check."""
    left = list(before.items())
    while left:
        done: set[Path] = set()
        chunks = [left[start : start + CHUNK] for start in range(0, len(left), CHUNK)]
        with worker_pool(min(workers, len(chunks)), _start_worker) as pool:
            for future in as_completed([pool.submit(_try_some, chunk, reader) for chunk in chunks]):
                if not isinstance(future.exception(), BrokenProcessPool):
                    done |= future.result().keys()
                    yield future.result()
        left = [job for job in left if job[0] not in done]
        if left:  # a worker died; chunks are begun in their order, so what it read is among the first
            results = _try_alone(left[: workers * CHUNK], reader)
            yield results
            left = [job for job in left if job[0] not in results]


def _try_alone(jobs: list[tuple[Path, Checked | None]], reader: str) -> dict[Path, Checked]:
    """One video after the other, each worker that dies replaced, to find the video that kills it.

    Raises BrokenProcessPool where workers die whatever they do.
    """
    results: dict[Path, Checked] = {}
    while len(results) < len(jobs):
        with worker_pool(1, _start_worker) as pool:
            pool.submit(os.getpid).result()
            for job in jobs[len(results) :]:
                try:
                    results |= pool.submit(_try_some, [job], reader).result()
                except BrokenProcessPool:
                    results[job[0]] = Checked(problem="reading it ends the process (a decoder crashed, or no memory)")
                    break
    return results


def _start_worker() -> None:
    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders print what they also give as errors, over the progress bar


def _try_some(jobs: list[tuple[Path, Checked | None]], reader: str) -> dict[Path, Checked]:
    return {path: _try(path, before, reader) for path, before in jobs}


def _try(path: Path, before: Checked | None, reader: str) -> Checked:
    try:
        size, modified = _size_and_change(path)
    except (FileNotFoundError, NotADirectoryError):
        return Checked(problem=MISSING)
    except OSError as error:
        return Checked(problem=error.strerror or str(error))
    # What could not be read may have been the disk's fault: it is tried again.
    if before and not before.problem and (before.bytes, before.modified) == (size, modified):
        return before
    try:
        with open_video(path, reader) as video:
            video.read([0, video.num_frames - 1])
    except VideoError as error:
        return Checked(0, size, modified, error.reason)
    except Exception as error:  # whatever it is, the other videos are still to be tried
        return Checked(0, size, modified, f"{type(error).__name__}: {error}")
    return Checked(video.num_frames, size, modified)


def _size_and_change(path: Path) -> tuple[int, int]:
    state = path.stat()
    if not path.is_dir():
        return state.st_size, state.st_mtime_ns
    with os.scandir(path) as entries:
        frames = [entry.stat() for entry in entries if entry.name.lower().endswith(IMAGE_SUFFIXES)]
    return sum(frame.st_size for frame in frames), max(each.st_mtime_ns for each in (state, *frames))


# the files


@contextmanager
def _alone_with(file: Path) -> Iterator[None]:
    lock = FileLock(file.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("another process is checking the same data set; waiting for it", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _write(
    file: Path, labelled: Labelled, root: Path, fingerprint: str, checked: Mapping[Path, Checked], reader: str
) -> None:
    """What is checked of the labelled videos; the json last, with the hash of the csv that it belongs to."""
    text, below = io.StringIO(), f"{root}{os.sep}"
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for part, videos in (("train", labelled.train), ("val", labelled.val)):
        for path, label in videos:
            if path in checked:
                said = (part, str(path).removeprefix(below), label, labelled.class_names[label])
                writer.writerow((*said, *checked[path]))
    content = text.getvalue().encode("utf-8", "surrogateescape")  # names of files need not be UTF-8
    state = {
        "csv": hashlib.sha256(content).hexdigest(),
        "fingerprint": fingerprint,
        "videos": len(labelled.train) + len(labelled.val),
        "date": date.today().isoformat(),
        "class_names": labelled.class_names,
        "reader": reader,
    }
    write_whole(file, lambda out: out.write(content))
    write_text(file.with_suffix(".json"), json.dumps(state, indent=1))


def _state(file: Path) -> dict:
    try:
        return json.loads(file.with_suffix(".json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _rows(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8", "surrogateescape"), newline="")))


def _earlier(file: Path, root: Path, reader: str) -> dict[Path, Checked]:
    """What an earlier check by this reader found, whatever the annotation was; nothing where its index is none that we
    know."""
    if _state(file).get("reader", "pyav") != reader:
        return {}
    try:
        rows = _rows(file.read_bytes())
        return {root / row[1]: Checked(*map(int, row[4:7]), *row[7:]) for row in rows[1:]}
    except (FileNotFoundError, ValueError, TypeError, IndexError):
        return {}


def _video_set(rows: list[list[str]], root: Path, state: dict) -> VideoSet:
    found = f" (tdn data check, {state['date']})"
    problems = {number: row[7] + found for number, row in enumerate(rows) if row[7]}
    videos = [Video(root / row[1], int(row[2])) for row in rows]
    return VideoSet(videos, state["class_names"], known_unreadable=problems)
