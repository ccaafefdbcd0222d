"""Worker processes that never outlive the work."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

# "spawn": forking a process in which torch has started its threads may hang.
context = multiprocessing.get_context("spawn")


@contextmanager
def worker_pool(
    workers: int, initializer: Callable[..., None] | None = None, *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """Processes that each call `initializer(*arguments)` first, if there is one.

    Where the block ends in an error or Ctrl-C they are killed at once; where this process is killed they go with it.
    Either way what they were writing is left as a `.part` file (`files.write_whole`).
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
