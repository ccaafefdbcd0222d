"""The whole book at its smallest scale, as `make smoke` runs it."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd

from tdn.model.zoo import SYSTEMS
from tdn.printed_costs import PRINTED
from tdn.study import all_runs, get_profile
from tdn.tables import TABLES

RUNS = len(all_runs(get_profile("smoke")))
CHECKOUT = Path(__file__).parents[1]
NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))


def python(home: Path, *arguments: str) -> str:
    environment = os.environ | {"TDN_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=CHECKOUT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_book_runs_and_a_second_time_trains_nothing(tmp_path):
    assert f"{RUNS} runs, 0 of them done" in python(tmp_path, "tdn.train", "--profile", "smoke")
    python(tmp_path, "tdn.book", "--profile", "smoke")
    results = tmp_path / "results" / "smoke"

    for source in NOTEBOOKS:
        cells = nbformat.read(results / "notebooks" / source.name, as_version=4).cells
        outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
        assert not [output for output in outputs if output.output_type == "error"]
        assert any("image/png" in output.get("data", {}) for output in outputs), f"{source.name} shows no figure"
    tables = {path.stem: pd.read_csv(path) for path in (results / "tables").glob("*.csv")}
    assert len(tables["short_vs_long"]) == 6 and len(tables["pocket_classes"]) == 18
    assert tables["short_vs_long"]["measured top-1"].between(0, 100).all()
    assert {name: len(tables[name]) for name in TABLES} == {name: len(table.rows) for name, table in TABLES.items()}
    assert len(tables["overview"]) == sum(len(table.rows) for table in TABLES.values())
    assert len(tables["overview_claims"]) == 31 and len(tables["overview_claims_tdrl"]) == 28
    assert len(tables["overview_order"]) == 7 and len(tables["overview_order_tdrl"]) == 6
    assert len(tables["location_costs"]) == 8 and len(tables["models"]) == len(SYSTEMS)
    assert len(tables["costs"]) == len(PRINTED)
    shown = {path.stem for path in (results / "figures").iterdir()}
    assert shown >= {*TABLES, "overview_claims", "overview_claims_tdrl", "overview_order", "tdrl_pem", "tdrl_td_loss"}

    runs = {path: path.stat().st_mtime_ns for path in results.glob("runs/*/*.*")}
    assert f"{RUNS} runs, {RUNS} of them done" in python(tmp_path, "tdn.train", "--profile", "smoke")
    assert {path: path.stat().st_mtime_ns for path in results.glob("runs/*/*.*")} == runs
