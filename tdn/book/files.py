"""Files that notebooks read: those that a reader names, and the committed benchmarks."""

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tdn.data.disk import lists
from tdn.engine.inference import Network, load_network
from tdn.utils import CHECKOUT


def find_file(path: str | os.PathLike) -> Path:
    """The file or folder with this path: absolute, or relative to the current directory, to the directory in which
    JupyterLab was started, or to the project folder; the first that exists. Raises FileNotFoundError, naming them."""
    path = Path(str(path)).expanduser()  # papermill makes a number of a folder's name 12345
    # The kernel of a notebook runs in the folder of the notebook, but inherits PWD from JupyterLab.
    folders = dict.fromkeys([Path.cwd(), Path(os.environ.get("PWD", Path.cwd())), CHECKOUT])
    for folder in folders:
        if (folder / path).exists():  # an absolute path stays as it is
            return folder / path
    where = "" if path.is_absolute() else f" in {' or in '.join(map(str, folders))}"
    raise FileNotFoundError(f"there is no {path}{where}")


def load_own_network(weights: str, segments: int | str | None, class_names: Sequence[str] | str | None) -> Network:
    """`load_network` for the parameters of a notebook, which papermill may give as text: `segments` as "8",
    `class_names` as the path of a file with one name per line. Paths as `find_file`. Raises as `load_network`."""
    if segments is not None and not (str(segments).isdecimal() and int(segments)):
        raise ValueError(f"segments are a number, 1 or more, not {segments!r}")
    if isinstance(class_names, str):
        class_names = lists.class_names(find_file(class_names))
    return load_network(find_file(weights), None if segments is None else int(segments), class_names)


def bench_table(kind: str) -> pd.DataFrame:
    """The committed benchmarks of a kind ("networks", "data", "waiting" or "memory"), which `make bench` measured:
    results/bench/<machine>-<kind>.csv of all machines, with a column `machine`; empty where there is none."""
    paths = sorted((CHECKOUT / "results/bench").glob(f"*-{kind}.csv"))
    tables = {path.stem.removesuffix(f"-{kind}"): pd.read_csv(path) for path in paths}
    if not tables:
        return pd.DataFrame()
    return pd.concat(tables, names=["machine"]).reset_index("machine").reset_index(drop=True)
