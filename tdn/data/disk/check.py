"""Which videos of a data set can be read: each is tried once, and an index keeps the outcome.

An index is a csv file with one row per video, and next to it a json file with the names of the classes, what shows
whether it still fits the annotation, and a digest of both files.
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
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

from tdn.data.clips import Video, VideoSet
from tdn.data.disk.duplicates import repeated
from tdn.data.disk.lists import printable, some
from tdn.data.disk.published import Labelled
from tdn.data.folder_reader import state_of
from tdn.data.stretches import Stretch
from tdn.data.transforms import mirrored_labels
from tdn.data.video import VideoError, open_video
from tdn.utils import refuse_unguarded, worker_pool, write_whole

COLUMNS = (
    "set",
    "path",
    "start",
    "end",
    "label",
    "class",
    "frames",
    "bytes",
    "modified",
    "height",
    "width",
    "problem",
    "note",
)
MISSING = "missing"
CHUNK = 8  # videos that a worker takes at a time, and loses when the check is interrupted
SAVE_EVERY = 60  # seconds
SHOWN = 20  # problems in a report


class Checked(NamedTuple):
    """The outcome for one video."""

    frames: int = 0
    bytes: int = 0  # of a folder of frames, their sum
    modified: int = 0  # in nanoseconds; of a folder of frames, the time of the latest change
    height: int = 0
    width: int = 0
    problem: str = ""  # why it can't be read
    note: str = ""  # what of it is not read


def load(file: Path, root: Path, fingerprint: str, command: str) -> tuple[VideoSet, VideoSet, list[str]] | None:
    """Training and validation videos from the index `file`, and the `notes` on them; None, with a line that says why,
    where the index does not fit, is damaged or is not complete; `command` is what makes it again.

    Neither annotations nor videos are opened. What could not be read at the check, and has not changed since, is
    `known_unreadable`.
    """
    if not file.exists() and not _state_file(file).exists():
        return None
    try:
        rows, state = _read(file)
    except (OSError, ValueError) as error:
        print(f"the index {file} is damaged and not used ({error}); to make it again: {command}")
        return None
    if state["fingerprint"] != fingerprint:
        print(f"the index {file} no longer fits the data and is not used; to make it again: {command}")
        return None
    if len(rows) < state["videos"]:
        count = f"{len(rows)} of {state['videos']}"
        print(f"the index {file} has only {count} videos and is not used; to complete it: {command}")
        return None
    sets = []
    for part in ("train", "val"):
        videos, problems, sizes = [], {}, []
        for index, (_, path, start, end, label, _, *result) in enumerate(row for row in rows if row[0] == part):
            outcome = _outcome(result)
            stretch = Stretch(float(start), float(end) if end else None) if start else None
            videos.append(Video(root / path, int(label), stretch))
            sizes.append(outcome.frames * outcome.height * outcome.width * 3)
            if outcome.problem and not _changed(root / path, outcome):
                problems[index] = f"{outcome.problem} (tdn data check, {state['date']})"
        about = {"known_unreadable": problems, "sizes": sizes, "mirrored": state.get("mirrored", True)}
        sets.append(VideoSet(videos, state["class_names"], **about))
    return *sets, state["notes"]


def check_videos(
    labelled: Labelled, file: Path, root: Path, fingerprint: str, workers: int, reader: str = "pyav"
) -> dict[Path, Checked]:
    """Tries the first and the last frame of every video, in `workers` processes, and writes the index `file`.

    A video that an earlier check by the same reader could read is not read again while its size and time of change are
    the same. Ctrl-C leaves an index of what was checked so far, any other end one that is at most a minute older. A
    second check of the same index waits for the first. Raises RuntimeError in a script without its guard.
    """
    refuse_unguarded()
    paths = list(dict.fromkeys(video.path for video in (*labelled.train, *labelled.val)))
    file.parent.mkdir(parents=True, exist_ok=True)
    with _lock(file):
        checked, saved = _earlier(file, root, reader), time.monotonic()
        try:
            with (
                tqdm(total=len(paths), desc="checking", unit="video") as bar,
                closing(_try_all([(path, checked.get(path)) for path in paths], workers, reader)) as tried,
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


def notes(labelled: Labelled, checked: Mapping[Path, Checked] | None = None) -> list[str]:
    """What to know before training on these videos: what is left out, and labels that cannot be right."""
    found = [f"{what}: {_counted(paths)}" for what, paths in repeated(labelled).items() if paths]
    if len(trained := {video.label for video in labelled.train}) == 1:
        name = printable(labelled.class_names[trained.pop()])
        found.append(f"only one class has training videos ({name}): there is nothing to tell apart")
    paths = dict.fromkeys(video.path for video in (*labelled.train, *labelled.val)) if checked else ()
    if partly := [f"{path}: {checked[path].note}" for path in paths if path in checked and checked[path].note]:
        found.append(f"folders of which not all images are read: {len(partly)} ({some(partly)})")
    return [*labelled.notes, *found]


def report(labelled: Labelled, checked: Mapping[Path, Checked]) -> str:
    """The outcome of a check, for people."""
    names = labelled.class_names
    lines, problems = [], []
    for title, videos in (("training", labelled.train), ("validation", labelled.val)):
        results = [checked[video.path] for video in videos]
        num_classes = len({video.label for video in videos})
        lines.append(f"{title}: {len(videos):,} videos in {num_classes} of {len(names)} classes")
        if frames := [result.frames for result in results if not result.problem]:
            lengths = f"{min(frames)} to {max(frames)} per video, median {np.median(frames):g}"
            lines.append(f"  {sum(frames):,} frames, {lengths}")
        missing = sum(result.problem == MISSING for result in results)
        lines.append(f"  missing: {missing}, unreadable: {len(results) - len(frames) - missing}")
        problems += [f"{path}: {checked[path].problem}" for path, _, _ in videos if checked[path].problem]
    problems = list(dict.fromkeys(problems))
    if problems:
        lines += ["missing or unreadable:", *(f"  {printable(problem, 500)}" for problem in problems[:SHOWN])]
    if len(problems) > SHOWN:
        lines.append(f"  and {len(problems) - SHOWN} more, all in the index")
    lines += [f"{what}: none" for what, paths in repeated(labelled).items() if not paths]
    trained, mirrored = {video.label for video in labelled.train}, mirrored_labels(names, labelled.mirrored)
    lines.append(f"classes without training videos: {_counted(n for i, n in enumerate(names) if i not in trained)}")
    exchanged = sum(other not in (None, label) for label, other in enumerate(mirrored))
    lines.append(f"classes that mirroring exchanges for another: {exchanged}")
    alone = (name for name, other in zip(names, mirrored, strict=True) if other is None)
    lines.append(f"classes without a mirror image, never mirrored: {_counted(alone)}")
    if doubtful := notes(labelled, checked):
        lines += ["to look at before training:", *(f"  {note}" for note in doubtful)]
    return "\n".join(lines)


def _counted(items: Iterable[str]) -> str:
    items = list(items)
    return f"{len(items)} ({some(items, SHOWN)})" if items else "none"


def _try_all(jobs: list, workers: int, reader: str, size: int = CHUNK) -> Iterator[dict[Path, Checked]]:
    """Outcomes of jobs, each a video and its earlier outcome. RuntimeError where no worker could start."""
    while jobs:
        chunks = [jobs[start : start + size] for start in range(0, len(jobs), size)]
        done: set[Path] = set()
        with worker_pool(min(workers, len(chunks)), _start_worker) as pool:
            started = pool.submit(os.getpid)
            for future in as_completed([pool.submit(_try_some, chunk, reader) for chunk in chunks]):
                if not isinstance(future.exception(), BrokenProcessPool):
                    done |= future.result().keys()
                    yield future.result()
            started.result()
        jobs = [job for job in jobs if job[0] not in done]
        if jobs and size > 1:  # a worker died; chunks are begun in order, so the video is among the first: each alone
            first, jobs = jobs[: workers * CHUNK], jobs[workers * CHUNK :]
            yield from _try_all(first, 1, reader, size=1)
        elif jobs:  # the only worker died at the first that has no outcome
            yield {jobs.pop(0)[0]: Checked(problem="reading it ends the process (a decoder crashed, or no memory)")}


def _start_worker() -> None:
    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders print what they also raise, over the progress bar


def _try_some(jobs: list, reader: str) -> dict[Path, Checked]:
    return {path: _try(path, before, reader) for path, before in jobs}


def _state_of(path: Path) -> tuple[int, int, str]:
    """Its size, its time of change, and what keeps them from being read, as in `Checked`."""
    try:
        return *state_of(path), ""
    except (FileNotFoundError, NotADirectoryError):
        return 0, 0, MISSING
    except (OSError, ValueError) as error:  # ValueError: a NUL, or what the file system cannot encode
        return 0, 0, getattr(error, "strerror", None) or str(error)


def _changed(path: Path, before: Checked) -> bool:
    size, modified, problem = _state_of(path)
    return not problem and (size, modified) != (before.bytes, before.modified)


def _try(path: Path, before: Checked | None, reader: str) -> Checked:
    size, modified, problem = _state_of(path)
    if problem:
        return Checked(problem=problem)
    # What could not be read may have been the disk's fault: it is tried again.
    if before and not before.problem and (size, modified) == (before.bytes, before.modified):
        return before
    try:
        with open_video(path, reader) as video:
            video.read([0, video.num_frames - 1])
    except VideoError as error:
        return Checked(bytes=size, modified=modified, problem=error.reason)
    except Exception as error:  # whatever it is, the other videos are still to be tried
        return Checked(bytes=size, modified=modified, problem=f"{type(error).__name__}: {error}")
    return Checked(video.num_frames, size, modified, video.height, video.width, note=video.note)


def _lock(file: Path):
    lock = FileLock(file.with_suffix(".lock"))
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print("another process is checking the same data set; waiting for it", flush=True)
        return lock.acquire()


def _write(file: Path, labelled: Labelled, root: Path, fingerprint: str, checked: dict, reader: str) -> None:
    """What is checked of the labelled videos; the json file last, with the digest of both files."""
    text, below = io.StringIO(), f"{root}{os.sep}"
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for part, videos in (("train", labelled.train), ("val", labelled.val)):
        for path, label, stretch in videos:
            if path in checked:
                row = (part, str(path).removeprefix(below), *(stretch or ("", "")), label, labelled.class_names[label])
                writer.writerow((*row, *checked[path]))
    content = text.getvalue().encode("utf-8", "surrogatepass")  # names of files need not be UTF-8
    state = {
        "fingerprint": fingerprint,
        "videos": len(labelled.train) + len(labelled.val),
        "date": date.today().isoformat(),
        "class_names": labelled.class_names,
        "mirrored": labelled.mirrored,
        "reader": reader,
        "notes": notes(labelled, checked),
    }
    write_whole(file, lambda out: out.write(content))
    write_whole(_state_file(file), lambda out: out.write(_sealed(state, content)))


def _state_file(file: Path) -> Path:
    return file.with_suffix(".json")


def _sealed(state: dict, content: bytes) -> bytes:
    """The bytes of the json file: `state`, and the digest of it and of the csv file."""
    digest = hashlib.sha256(json.dumps(state).encode() + content).hexdigest()
    return json.dumps(state | {"sha256": digest}, indent=1).encode()


def _read(file: Path) -> tuple[list[list[str]], dict]:
    """The rows of the csv file and the content of the json file. Raises OSError, and ValueError where a byte of them is
    not as a check wrote it."""
    content, sealed = file.read_bytes(), _state_file(file).read_bytes()
    try:
        state = json.loads(sealed)
        del state["sha256"]
        rows = list(csv.reader(io.StringIO(content.decode("utf-8", "surrogatepass"), newline="")))
    except (ValueError, TypeError, KeyError, RecursionError, csv.Error):
        rows, state = [], {}
    if _sealed(state, content) != sealed:
        raise ValueError("it is not as a check left it")
    if not rows or rows[0] != list(COLUMNS):
        raise ValueError("another version of tdn wrote it")
    return rows[1:], state


def _outcome(row: list[str]) -> Checked:
    *numbers, problem, note = row
    return Checked(*map(int, numbers), problem, note)


def _earlier(file: Path, root: Path, reader: str) -> dict[Path, Checked]:
    """Outcomes of an earlier check by this reader, whatever the annotation was; none, with a line that says so, where
    its index is damaged."""
    if not file.exists() and not _state_file(file).exists():
        return {}
    try:
        rows, state = _read(file)
    except (OSError, ValueError) as error:
        print(f"the index {file} is damaged and not used ({error}): every video is tried", flush=True)
        return {}
    return {root / row[1]: _outcome(row[6:]) for row in rows} if state["reader"] == reader else {}
