"""What every room may use: whole-file writes, worker processes, names in errors, markdown. Imports no torch."""

import difflib
import errno
import hashlib
import json
import mmap
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import psutil
from filelock import FileLock
from tabulate import tabulate

if TYPE_CHECKING:
    import pandas as pd

HOME = "TDN_HOME"  # environment variable: where the configuration, rendered data and results are kept
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO}
DISK_REMEDY = f"make room there, or choose another folder ({HOME} for the files of the study)"
CHECKOUT = Path(__file__).resolve().parents[1]
CGROUP = Path("/sys/fs/cgroup")  # limits of a container
NOT_RUN = "not run"
IN_PLACE = [  # what downloads leave in place of a file, by its first bytes
    (rb"version https://git-lfs", "the text of a Git LFS pointer: fetch the file (git lfs pull)"),
    (rb"(?i)(\xef\xbb\xbf)?\s*<[!?a-z]", "a web page: download the file itself"),
]
RECORDS = ("manifest.json", "about.json")  # of a run, of an evaluation: they list the digests of the files beside them


class _Worker(multiprocessing.get_context("spawn").Process):
    def start(self) -> None:
        """With Ctrl-C blocked, which reaches every process: a worker that still imports would show a traceback."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Context(type(multiprocessing.get_context("spawn"))):
    Process = _Worker


context = _Context()  # "spawn": forking a process in which torch has started its threads may hang

UNGUARDED = (
    'a script that starts worker processes needs its lines under `if __name__ == "__main__":`, for every worker '
    "imports it again"
)


def refuse_unguarded() -> None:
    """Raises RuntimeError in a worker process that is only importing its script, which therefore lacks the guard: what
    it would wait for, a lock say, is its parent's."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError(UNGUARDED)


def check_script() -> None:
    """`refuse_unguarded` before workers start; RuntimeError also in a script that they cannot import."""
    refuse_unguarded()
    if getattr(sys.modules["__main__"], "__file__", None) == "<stdin>":
        raise RuntimeError("a script from standard input can't start worker processes: save it as a file")


@contextmanager
def worker_pool(
    workers: int, initializer: Callable[..., None] | None = None, *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """Processes that each call `initializer(*arguments)` first, if there is one.

    Where the block ends in an error or Ctrl-C they are killed at once; where this process is killed they go with it.
    Either way what they were writing is left as a `.part` file (`write_whole`). Raises RuntimeError where not one could
    start, as `check_script` and in a script without its guard.
    """
    check_script()
    others = multiprocessing.active_children()
    started = context.RawValue("b", 0)  # no lock: a killed worker may hold it
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(started, initializer, arguments))
    try:
        yield pool
    except BaseException as error:
        for process in set(multiprocessing.active_children()) - set(others):
            process.kill()  # not terminate(): an exception raised in the middle of anything may be swallowed there
        pool.shutdown(cancel_futures=True)
        if not started.value and isinstance(error.__cause__ or error, BrokenProcessPool):
            raise RuntimeError(f"no worker process could start: {UNGUARDED}") from None
        raise
    pool.shutdown()


def _start(started: Any, initializer: Callable[..., None] | None, arguments: tuple) -> None:
    started.value = 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # for kernels started here
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    if initializer:
        initializer(*arguments)


def free_memory() -> int:
    """Bytes that this process may still take: of the machine, or of its container where that allows less."""
    free = psutil.virtual_memory().available
    versions = {"memory.max": ("anon", "shmem"), "memory/memory.limit_in_bytes": ("total_rss", "total_shmem")}
    for limit, used in versions.items():
        with suppress(OSError, ValueError, KeyError):  # no such limit; "max"
            stat = (CGROUP / limit).with_name("memory.stat").read_text()
            known = dict(line.split() for line in stat.splitlines())
            taken = sum(int(known.get(name, 0)) for name in used)  # without files that are only cached
            free = min(free, max(int((CGROUP / limit).read_text()) - taken, 0))
    return free


class SharedMemory:
    """`size` bytes, `buffer`. A process that is started with this object gets the same memory.

    It takes none until something is written, and is a file without a name, of the system's memory where there is such
    a thing (Linux): what a container allows for /dev/shm may be too small."""

    def __init__(self, size: int, descriptor: int | None = None):
        if descriptor is None:
            descriptor = os.memfd_create("tdn") if hasattr(os, "memfd_create") else _unnamed_file()
            os.ftruncate(descriptor, size)
        self._size, self._descriptor = size, descriptor
        self.buffer = mmap.mmap(descriptor, size)

    def __reduce__(self) -> tuple:
        return _received, (DupFd(self._descriptor), self._size)

    def __del__(self) -> None:
        os.close(self._descriptor)  # the buffer keeps the memory


def _unnamed_file() -> int:
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _received(descriptor: Any, size: int) -> SharedMemory:
    return SharedMemory(size, descriptor.detach())


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """`write(file)` into a temporary neighbour of `path` that then takes its place in one step.

    A process killed at any moment leaves the old file, or none. Folders are made where missing. Raises OSError, which
    names `path` and says what to do, where the disk is full or can't be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch and encoders raise the second for the first
        of_disk = next((e for e in (error, error.__context__) if getattr(e, "errno", None) in DISK_ERRORS), None)
        if of_disk is None:
            raise
        raise OSError(of_disk.errno, f"{os.strerror(of_disk.errno)}; {DISK_REMEDY}", str(path)) from error
    finally:
        with suppress(OSError):  # where nothing can be written, or there is none
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """In UTF-8; of names of files what is not of it as backslash and number."""
    write_whole(path, lambda file: file.write(text.encode(errors="backslashreplace")))


def digest_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_record(path: Path, content: dict[str, Any], files: dict[str, str]) -> None:
    """Writes `content` as json, with the digests of the `files` beside it, by name, and at the end its own."""
    text = json.dumps(content | {"files": files, "sha256": ""}, indent=1)
    write_text(path, text.removesuffix('"\n}') + hashlib.sha256(text.encode()).hexdigest() + '"\n}')


def read_record(path: Path, remedy: str) -> dict[str, Any]:
    """What `write_record` wrote. Raises FileNotFoundError; ValueError where it is not as it was written, which ends
    with `remedy`: what to do."""
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: {remedy}")
    text = path.read_bytes()
    own = re.search(rb'"sha256": "([0-9a-f]{64})"\n}\Z', text)
    if not own or hashlib.sha256(text.replace(own[1], b"")).hexdigest().encode() != own[1]:
        raise ValueError(f"{path} is damaged, or of an earlier version: its sha256 does not fit it; {remedy}")
    content = json.loads(text)
    del content["sha256"]
    return content


def write_listed(path: Path, write: Callable[[Path], object]) -> None:
    """`write(path)`, and its digest into the manifest.json beside it. A process killed meanwhile leaves a file that is
    not listed; others that write a listed file of this folder wait."""
    record = path.with_name("manifest.json")
    with FileLock(path.with_name(".lock")):
        content = read_record(record, f"remove {path.parent} and make it again")
        files = content.pop("files")
        if files.pop(path.name, None):
            write_record(record, content, files)
        write(path)
        write_record(record, content, files | {path.name: digest_of(path)})


def check_digest(path: Path, record: Path, remedy: str) -> None:
    """Compares a file with its digest in the record beside it. Raises as `read_record`; ValueError also where the file
    is not the listed one, FileNotFoundError where it is missing."""
    listed = read_record(record, remedy)["files"].get(path.name)
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: {remedy}")
    if digest_of(path) != listed:
        raise ValueError(f"{path} is damaged: its sha256 is not the one in {record.name}; {remedy}")


def check_if_listed(path: Path) -> None:
    """`check_digest` of a file that may be anybody's: only where a record beside it lists it. What to do is then the
    record's `command`, which made the files."""
    for record in (path.with_name(name) for name in RECORDS):
        text = record.read_bytes() if record.is_file() else b""
        marks = b'"command": "tdn ', b'"files": {', b'"sha256": "'
        if sum(mark in text for mark in marks) > 1:  # ours, even if one of them is damaged
            remove = f"remove {path.parent}"
            content = read_record(record, f"{remove} and make it again")
            if path.name in content["files"]:
                check_digest(path, record, f"{remove}, then: {content.get('command', 'make it again')}")


def kind_of(start: bytes, kinds: Iterable[tuple[bytes, str]] = IN_PLACE) -> str | None:
    """The first kind of file whose pattern fits the first bytes of one."""
    return next((kind for pattern, kind in kinds if re.match(pattern, start)), None)


def unknown_name(kind: str, name: str, valid: Iterable[str], shown: str = "") -> str:
    """The text of an error: which names are near to `name`, and all there are (or a shorter list, `shown`)."""
    near = difflib.get_close_matches(name, list(valid), n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"unknown {kind} {name!r}; {hint}valid: {shown or ', '.join(valid) or 'none'}"


# What markdown, html and formulas (MathJax) read as theirs. In an element of its own no letter begins a formula.
MARKS = {letter: f"&#{ord(letter)};" for letter in "<>|`~"} | {"&": "&amp;", "*": r"\*"}
MARKS |= {letter: f"<span>&#{ord(letter)};</span>" for letter in "$\\"}


def escaped_text(name: str) -> str:
    """A name of a class, a file or a network as markdown that shows it as it is, on one line, in a table too."""
    marked = "".join(MARKS.get(letter, letter) for letter in one_line(name))
    marked = re.sub(r"(?<![^\W_])_", "&#95;", marked).replace("](", "&#93;(")
    # A heading or a list, where the name begins a line.
    return re.sub(r"^(\d*)([-+#.)])(?=#*( |$))", lambda found: f"{found[1]}&#{ord(found[2])};", marked)


def one_line(name: str) -> str:
    """A name for a terminal: no line breaks, other letters that can't be shown as backslash and number."""
    shown = (
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in " ".join(name.split())
    )
    return "".join(shown)


def markdown(table: "pd.DataFrame", digits: int = 1, text: Callable[[str], str] = escaped_text) -> str:
    """So many decimals, nothing where nothing is known, "not run" for an empty table; names as `text` makes them."""
    if table.empty:
        return NOT_RUN
    columns = [list(column.astype(object).where(column.notna(), None)) for _, column in table.items()]
    names = [number for number, column in enumerate(columns) if any(isinstance(value, str) for value in column)]
    for number in names:
        columns[number] = [_cell(value, digits, text) for value in columns[number]]
    how = {"tablefmt": "pipe", "floatfmt": f".{digits}f", "missingval": "", "disable_numparse": names}  # 007 is a name
    return tabulate(zip(*columns, strict=True), [text(str(name)) for name in table], **how)


def _cell(value: object, digits: int, text: Callable[[str], str]) -> object:
    if isinstance(value, float):
        return f"{value:.{digits}f}"
    return text(value) if isinstance(value, str) else value


def home() -> Path:
    """Where the configuration, rendered data and results are kept: `TDN_HOME`, else this checkout."""
    return Path(os.environ.get(HOME) or CHECKOUT).absolute()
