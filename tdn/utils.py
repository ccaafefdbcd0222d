"""What every room may use: whole-file writes, worker processes, names in errors, markdown. Imports no torch."""

import difflib
import errno
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from tabulate import tabulate

if TYPE_CHECKING:
    import pandas as pd

HOME = "TDN_HOME"  # environment variable: where the configuration, rendered data and results are kept
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO}
CHECKOUT = Path(__file__).resolve().parents[1]
NOT_RUN = "not run"

# "spawn": forking a process in which torch has started its threads may hang.
context = multiprocessing.get_context("spawn")


@contextmanager
def worker_pool(
    workers: int, initializer: Callable[..., None] | None = None, *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """Processes that each call `initializer(*arguments)` first, if there is one.

    Where the block ends in an error or Ctrl-C they are killed at once; where this process is killed they go with it.
    Either way what they were writing is left as a `.part` file (`write_whole`).
    """
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(initializer, arguments))
    try:
        yield pool
    except BaseException:
        for process in set(multiprocessing.active_children()) - set(others):
            process.kill()  # not terminate(): an exception raised in the middle of anything may be swallowed there
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def _start(initializer: Callable[..., None] | None, arguments: tuple) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent decides
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    if initializer:
        initializer(*arguments)


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """`write(file)` into a temporary neighbour of `path` that then takes its place in one step.

    A process killed at any moment leaves the old file, or none. Folders are made where missing. Raises OSError, which
    names `path` and says what to do, where the disk is full or can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch and encoders raise the second for the first
        of_disk = next((e for e in (error, error.__context__) if getattr(e, "errno", None) in DISK_ERRORS), None)
        if of_disk is None:
            raise
        what = f"{os.strerror(of_disk.errno)}; make room there, or choose another folder ({HOME} for the study's files)"
        raise OSError(of_disk.errno, what, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_whole(path, lambda file: file.write(text.encode()))


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
