"""`tdn book`: executes the notebooks, makes pages of them."""

import argparse
import multiprocessing
import re
import sys
import time
from collections.abc import Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tdn.book.runner import NotebookError, _unfinished, run_notebook
from tdn.utils import CHECKOUT, worker_pool


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


def main(argv: Sequence[str] | None = None, root: Path = CHECKOUT) -> int:
    """Run the command line on `root`/notebooks; returns the exit status.

    Raises:
        SystemExit: with status 2 for an unknown profile or notebook.
    """
    from tdn.experiments.profiles import get_profile
    from tdn.experiments.queue import default_jobs
    from tdn.experiments.registry import all_runs
    from tdn.experiments.runs import stored

    parser = argparse.ArgumentParser(prog="tdn book", description="Execute the notebooks.")
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
