"""Executes the notebooks, each in a kernel process of its own, so memory on the device is free again when it ends. The
executed copies go to results/<profile>/notebooks/; the notebooks in notebooks/ are never written."""

import multiprocessing
import os
import re
import sys
import time
from collections.abc import Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil
import torch
from papermill.exceptions import PapermillExecutionError
from tqdm import tqdm

from tdn.utils import unknown_name, worker_pool


class NotebookError(RuntimeError):
    """A notebook stopped; the message names the cell and the error, the executed copy has the rest."""


def select(notebooks: Path, numbers: Sequence[str] | None = None) -> list[Path]:
    """The notebooks of a folder whose leading number is one of `numbers` ("2" and "02" are equal); all for None. Raises
    ValueError where there is no notebook at all, or none with one of these numbers."""
    paths = {re.match(r"\d+", path.name).group(): path for path in sorted(notebooks.glob("[0-9]*.ipynb"))}
    if not paths:
        raise ValueError(f"there is no numbered notebook in {notebooks}")
    for number in numbers or ():
        if number.zfill(2) not in paths:
            raise ValueError(f"no notebook {number!r}; there are {', '.join(paths)}")
    wanted = {number.zfill(2) for number in numbers or paths}
    return [path for number, path in paths.items() if number in wanted]


def execute(paths: Sequence[Path], results: Path, parameters: dict[str, Any], root: Path, jobs: int) -> str:
    """Execute notebooks in order, `jobs` at a time, as `run_notebook`; the copies go to `results`/notebooks. Returns
    the verdict, a line. The first error ends all; a notebook that did not come to its end leaves no copy."""
    folder, start, workers = results / "notebooks", time.monotonic(), []
    jobs = min(jobs, len(paths))
    threads = max(1, torch.get_num_threads() // jobs)  # side by side on all of them, each waits for the others

    def report(done: int, *name: str) -> None:  # a live bar would mix with the bars that cells print
        meter = tqdm.format_meter(done, len(paths), time.monotonic() - start, ncols=70, unit=" notebooks")
        print(meter, *name, flush=True)

    for left in folder.glob(".*.*.ipynb"):  # of a killed process
        process = left.name.split(".")[-2]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            left.unlink(missing_ok=True)
    report(0)
    try:
        with worker_pool(jobs) as pool:
            of_all = parameters, root, threads
            waiting = {pool.submit(run_notebook, path, folder / path.name, *of_all): path for path in paths}
            workers += [process.pid for process in multiprocessing.active_children()]
            for done, future in enumerate(as_completed(waiting), start=1):
                future.result()
                report(done, waiting[future].name)
    finally:
        for worker in workers:
            for unfinished in folder.glob(f".*.{worker}.ipynb"):
                unfinished.unlink()
    files = {"notebook": paths, "table": [*results.glob("tables/*.csv")], "figure": [*results.glob("figures/*.png")]}
    counts = [f"{len(found)} {name}{'s' * (len(found) != 1)}" for name, found in files.items()]
    return f"{counts[0]} ran, {counts[1]} and {counts[2]} in {results}; nothing failed"


def run_notebook(path: Path, output: Path, parameters: dict[str, Any], root: Path, threads: int | None = None) -> None:
    """Execute the notebook `path` in directory `root`, on so many `threads` if told, and keep the executed copy as
    `output`. What the cells print is passed on to this process's stdout and stderr as it comes. Raises ValueError where
    the cell tagged ``parameters`` does not define a parameter, NotebookError where a cell raised or the kernel died:
    `output` is the copy up to there."""
    path, output = Path(path).resolve(), Path(output).resolve()
    valid = list(papermill.inspect_notebook(path))
    for name in set(parameters) - set(valid):  # papermill only warns
        raise ValueError(f"{path.name}: {unknown_name('parameter', name, valid)}")
    # A user-level kernel of the same name must not replace the one of this environment.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    if threads:
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    output.parent.mkdir(parents=True, exist_ok=True)
    # Named by process: two runners may execute the same notebook at the same time.
    unfinished = output.with_name(f".{output.stem}.{os.getpid()}.ipynb")
    settings = {"kernel_name": "python3", "cwd": Path(root).resolve(), "progress_bar": False, "log_output": False}
    settings |= {"stdout_file": sys.stdout, "stderr_file": sys.stderr}
    settings |= {"extra_arguments": ["--log-level=ERROR"]}  # no warning that local sockets are not encrypted
    settings |= {"coalesce_streams": True}  # keep the last state of a progress bar, not every tick
    try:
        papermill.execute_notebook(path, unfinished, parameters, **settings)
        os.replace(unfinished, output)
    except (PapermillExecutionError, RuntimeError) as error:  # RuntimeError: the kernel did not start, or died
        of_cell = isinstance(error, PapermillExecutionError)
        name, text = (error.ename, error.evalue) if of_cell else (type(error).__name__, error)
        lines = f"{path.name}: {_where(unfinished)}{name}: {text}".splitlines()
        lines[12:] = ["..."] * (len(lines) > 12)  # compilers and CUDA append pages
        os.replace(unfinished, output)
        lines.append(f"executed copy up to there: {output}")
        raise NotebookError("\n".join(lines)) from (None if of_cell else error)
    finally:
        unfinished.unlink(missing_ok=True)  # there only after Ctrl-C or an unforeseen error


def _where(executed: Path) -> str:
    """Number and first line of the last code cell that was started, counted as in the source notebook."""
    cells = [cell for cell in nbformat.read(executed, as_version=4).cells if cell.cell_type == "code"]
    cells = [cell for cell in cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    started = [i for i, cell in enumerate(cells) if cell.metadata.get("papermill", {}).get("start_time")]
    if not started:
        return "failed before its first cell\n"
    first_line = cells[started[-1]].source.strip().partition("\n")[0]
    return f"code cell {started[-1] + 1} failed\n    {first_line}\n"
