"""Execute the notebooks: ``tdn book --profile NAME [--notebook 02 05 ...] [--jobs N]``.

They are started in order, several at a time. Each runs in a kernel process of its own, so memory on the device is
free again when it ends. The executed copies go to ``results/<profile>/notebooks/``; the notebooks in
``notebooks/`` are never written.
"""

import os
import sys
from pathlib import Path
from typing import Any

import nbformat
import papermill
from papermill.exceptions import PapermillExecutionError

from tdn.utils import unknown_name


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


def _unfinished(output: Path, process: int) -> Path:
    """One name for each process: two runners may execute the same notebook at the same time."""
    return output.with_name(f".{output.stem}.{process}.ipynb")
