"""What every room may use: whole-file writes, worker processes, names in errors, markdown. Imports no torch."""

import difflib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import pandas as pd

HOME = "TDN_HOME"  # environment variable: where the configuration, rendered data and results are kept
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

    A process killed at any moment leaves the old file, or none. Folders are made where missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_whole(path, lambda file: file.write(text.encode()))


def unknown_name(kind: str, name: str, valid: Iterable[str], shown: str = "") -> str:
    """The text of an error: which names are near to `name`, and all there are (or a shorter list, `shown`)."""
    near = difflib.get_close_matches(name, list(valid), n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"unknown {kind} {name!r}; {hint}valid: {shown or ', '.join(valid) or 'none'}"


def markdown(table: "pd.DataFrame", digits: int = 1) -> str:
    """So many decimals, nothing where nothing is known, "not run" for an empty table; stars of formulas stay stars."""
    if table.empty:
        return NOT_RUN
    escaped = table.map(escaped_text).rename(columns=escaped_text)
    known = escaped.astype(object).where(escaped.notna(), None)
    return known.to_markdown(index=False, floatfmt=f".{digits}f", missingval="")


def escaped_text(value: object) -> object:
    return value.replace("*", r"\*") if isinstance(value, str) else value


def home() -> Path:
    """Where the configuration, rendered data and results are kept: `TDN_HOME`, else this checkout."""
    return Path(os.environ.get(HOME) or CHECKOUT).absolute()
