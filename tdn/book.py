"""Execute the notebooks: ``python -m tdn.book --profile NAME [--notebook 02 05 ...] [--jobs N]``.

They are started in order, several at a time. Each runs in a kernel process of its own, so memory on the device is
free again when it ends. The executed copies go to ``results/<profile>/notebooks/``; the notebooks in
``notebooks/`` are never written.
"""

import argparse
import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

import nbformat
import papermill
from papermill.exceptions import PapermillExecutionError
from tqdm import tqdm

from tdn.model.zoo import unknown_name
from tdn.processes import worker_pool

ROOT = Path(__file__).resolve().parents[1]


class NotebookError(RuntimeError):
    """A notebook stopped; the message names the cell and the error, the executed copy has the rest."""


def run_notebook(path: Path, output: Path, parameters: dict[str, Any], root: Path) -> None:
    """Execute the notebook `path` in directory `root` and keep the executed copy as `output`.

    What the cells print is passed on to this process's stdout and stderr as it comes.

    Raises:
        ValueError: a parameter is not defined in the cell tagged ``parameters``.
        NotebookError: a cell raised or the kernel died; `output` is the copy up to there.
    """
    path, output = Path(path).resolve(), Path(output).resolve()
    _check_parameters(path, parameters)
    # A user-level kernel of the same name must not replace the one of this environment.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = _unfinished(output, os.getpid())
    try:
        papermill.execute_notebook(
            path,
            unfinished,
            parameters,
            kernel_name="python3",
            cwd=Path(root).resolve(),
            progress_bar=False,
            log_output=False,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
            extra_arguments=["--log-level=ERROR"],  # no warning that local sockets are not encrypted
            coalesce_streams=True,  # keep the last state of a progress bar, not every tick
        )
        os.replace(unfinished, output)
    except PapermillExecutionError as error:
        what = _where(unfinished) + _short(f"{error.ename}: {error.evalue}")
        os.replace(unfinished, output)
        raise NotebookError(f"{path.name}: {what}\nexecuted copy with the traceback: {output}") from None
    except RuntimeError as error:  # the kernel did not start, or died (out of memory, for example)
        what = _where(unfinished) + _short(f"{type(error).__name__}: {error}")
        os.replace(unfinished, output)
        raise NotebookError(f"{path.name}: {what}\nexecuted copy up to there: {output}") from error
    finally:
        unfinished.unlink(missing_ok=True)  # there only after Ctrl-C or an unforeseen error


def _check_parameters(path: Path, parameters: dict[str, Any]) -> None:
    """papermill itself only warns of a parameter that nothing reads."""
    valid = list(papermill.inspect_notebook(path))
    for name in parameters:
        if name not in valid:
            raise ValueError(f"{path.name}: {unknown_name('parameter', name, valid)}")


def _where(executed: Path) -> str:
    """Number and first line of the last code cell that was started, counted as in the source notebook."""
    cells = [
        cell
        for cell in nbformat.read(executed, as_version=4).cells
        if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    started = [i for i, cell in enumerate(cells) if cell.metadata.get("papermill", {}).get("start_time")]
    if not started:
        return "failed before its first cell\n"
    first_line = cells[started[-1]].source.strip().partition("\n")[0]
    return f"code cell {started[-1] + 1} failed\n    {first_line}\n"


def _short(error: str, lines: int = 10) -> str:
    """The first `lines` lines of an error text; compilers and CUDA append pages."""
    head, rest = error.splitlines()[:lines], error.splitlines()[lines:]
    return "\n".join(head + (["..."] if rest else []))


def _select(notebooks: list[Path], wanted: Sequence[str] | None) -> list[Path]:
    """The notebooks whose leading number is in `wanted` ("2" and "02" are the same); all for None.

    Raises:
        ValueError: there is no notebook at all, or none with one of these numbers.
    """
    if not notebooks:
        raise ValueError("there is no numbered notebook in notebooks/")
    if wanted is None:
        return notebooks
    numbers = {path: re.match(r"\d+", path.name).group() for path in notebooks}
    for number in wanted:
        if not number.isdecimal() or int(number) not in map(int, numbers.values()):
            raise ValueError(f"no notebook {number!r}; there are {', '.join(numbers.values())}")
    return [path for path in notebooks if int(numbers[path]) in map(int, wanted)]


def _meter(done: int, total: int, start: float) -> str:
    return tqdm.format_meter(done, total, time.monotonic() - start, ncols=70, unit=" notebooks")


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run the command line on `root`/notebooks; returns the exit status.

    Raises:
        SystemExit: with status 2 for an unknown profile or notebook.
    """
    from tdn.experiment import stored  # not needed by run_notebook
    from tdn.jobs import default_jobs
    from tdn.study import all_runs, get_profile

    parser = argparse.ArgumentParser(prog="python -m tdn.book", description="Execute the notebooks.")
    parser.add_argument("--profile", default="pocket", help="scale to run at (default: %(default)s)")
    parser.add_argument("--notebook", nargs="+", metavar="NUMBER", help="only these (default: all)")
    parser.add_argument("--jobs", type=int, help="notebooks at a time (default: 1 while runs are to be trained)")
    args = parser.parse_args(argv)
    if args.jobs is not None and args.jobs < 1:
        parser.error(f"--jobs is a number of notebooks, 1 or more; got {args.jobs}")
    try:
        profile = get_profile(args.profile)
        paths = _select(sorted((root / "notebooks").glob("[0-9]*.ipynb")), args.notebook)
    except ValueError as error:
        parser.error(str(error))

    # A notebook whose runs are missing trains as many at a time as there are cores.
    complete = all(stored(config, profile.results).complete for config in all_runs(profile))
    jobs = args.jobs or (default_jobs() if complete else 1)
    folder = profile.results / "notebooks"
    print(f"{len(paths)} notebooks, profile {args.profile}, {jobs} at a time; executed copies go to {folder}")
    try:
        _run_all(paths, folder, {"profile": args.profile}, root, jobs)
    except (NotebookError, ValueError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


def _run_all(paths: Sequence[Path], folder: Path, parameters: dict[str, Any], root: Path, jobs: int) -> None:
    """The first error ends all; what had not finished leaves no copy."""
    start = time.monotonic()
    # A line for each notebook, not a live bar: it would fight with the bars that cells print.
    print(_meter(0, len(paths), start), flush=True)
    workers: list[int] = []
    try:
        with worker_pool(min(jobs, len(paths))) as pool:
            waiting = {pool.submit(run_notebook, path, folder / path.name, parameters, root): path for path in paths}
            workers += [process.pid for process in multiprocessing.active_children()]
            for done, future in enumerate(as_completed(waiting), start=1):
                future.result()
                print(_meter(done, len(paths), start), waiting[future].name, flush=True)
    finally:
        for path in paths:
            for worker in workers:
                _unfinished(folder / path.name, worker).unlink(missing_ok=True)


def _unfinished(output: Path, process: int) -> Path:
    """One name for each process: two runners may execute the same notebook at the same time."""
    return output.with_name(f".{output.stem}.{process}.ipynb")


if __name__ == "__main__":
    # Being terminated cleans up as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
