"""The whole book at its smallest scale, as `make smoke` runs it."""

import os
import re
import subprocess
import sys

import nbformat
import pandas as pd
import pytest
from helpers.pages import check_page

from tdn.book.lengths import measured_lengths
from tdn.book.printed_costs import published_costs
from tdn.experiments.profiles import get_profile
from tdn.experiments.registry import all_runs, with_pretrained
from tdn.experiments.tables import TABLES
from tdn.model.zoo import SYSTEMS
from tdn.utils import CHECKOUT

pytestmark = pytest.mark.slow
RUNS = len(with_pretrained(all_runs(get_profile("smoke"))))
NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))


def tdn(home, *arguments):
    """Prints of a command that has its results in `home` and no data set."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TDN_")}
    where = {"cwd": CHECKOUT, "env": environment | {"TDN_HOME": str(home)}}
    done = subprocess.run([sys.executable, "-m", "tdn", *arguments], **where, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def outputs_of(path):
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"], path.name
    return outputs


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Where the whole book has run."""
    folder = tmp_path_factory.mktemp("smoke")
    assert f"{RUNS} runs, 0 of them done" in tdn(folder, "train", "--profile", "smoke")
    verdict = tdn(folder, "book", "execute", "--profile", "smoke").splitlines()[-1]
    assert re.fullmatch(rf"{len(NOTEBOOKS)} notebooks ran, \d+ tables and \d+ figures in .*; nothing failed", verdict)
    return folder


def test_the_book_runs_and_a_second_time_trains_nothing(made):
    results = made / "results" / "smoke"
    for source in NOTEBOOKS:
        outputs = outputs_of(results / "notebooks" / source.name)
        assert any("image/png" in output.get("data", {}) for output in outputs), f"{source.name} shows no figure"
    tables = {path.stem: pd.read_csv(path) for path in (results / "tables").glob("*.csv")}
    assert tables["short_vs_long"]["measured top-1"].between(0, 100).all()
    rows = {name: len(table.rows) for name, table in TABLES.items()}
    rows |= {"overview": sum(rows.values()), "models": len(SYSTEMS), "costs": len(published_costs())}
    rows |= {"overview_claims": 33, "overview_claims_tdrl": 28, "overview_order": 7, "overview_order_tdrl": 6}
    rows |= {"pocket_classes": 24, "location_costs": 8, "transfer_published": 11, "running_time": 7}
    rows |= {"kinetics_views": 6, "kinetics_costs": 6, "accuracy_cost": 35}
    rows |= {"cam_places": 6, "cam_stages": 24, "cam_shift": 4, "cam_curves": 8, "cam_frames": 2}
    assert {name: len(tables[name]) for name in rows} == rows
    compared = {"something_v1": (35, 6), "something_v2": (21, 0), "kinetics": (32, 6)}  # V2's runs are V1's
    assert {name: (len(tables[name]), tables[name]["measured top-1"].count()) for name in compared} == compared
    assert tables["transfer"]["measured top-1"].count() == 2
    shown = {path.stem for path in (results / "figures").iterdir()}
    assert shown >= {*TABLES} - {"reach"} | {"overview_claims", "overview_claims_tdrl", "overview_order"}
    assert shown >= {"tdrl_pem", "tdrl_td_loss", "tdrl_gap", "beyond_gap", "lengths"}
    assert shown >= {"something_something", "kinetics", "kinetics_views", "transfer", "accuracy_cost"}
    assert shown >= {"cam_centre", "cam_centre_stage2", "cam_places", "cam_curves", "cam_all_1", "your_video"}
    times = tables["running_time"].set_index("network")
    assert times.loc["I3D", "published ms (V100)"] == 2095
    assert (times[["network ms", "data ms", "together ms", "peak MB"]] > 0).all(axis=None)
    assert tables["running_time_operators"]["operator"].tolist()[-2:] == ["everything else", "sum"]
    runs = {path: path.stat().st_mtime_ns for path in results.glob("runs/*/*.*")}
    assert f"{RUNS} runs, {RUNS} of them done" in tdn(made, "train", "--profile", "smoke")
    assert {path: path.stat().st_mtime_ns for path in results.glob("runs/*/*.*")} == runs


def test_every_page_shows_its_tables_and_figures(made, browser):
    executed, site = made / "results/smoke/notebooks", made / "results/smoke/book"
    assert str(site / "index.html") in tdn(made, "book", "pages", "--profile", "smoke")
    pages = {"index.html", *(f"{path.stem}.html" for path in NOTEBOOKS)}
    assert {path.name for path in site.iterdir()} == pages | {"search.js", "mathjax"}
    without = {"21_cam_centre_frames"} | ({"13_trained_long_enough"} if measured_lengths().empty else set())
    for source in NOTEBOOKS:
        tables, images = check_page(browser, site / f"{source.stem}.html", executed / source.name)
        assert images and (tables or source.stem in without), source.name


def test_paper_without_data_shows_what_is_published_and_what_runs_the_rest(tmp_path):
    tdn(tmp_path, "book", "execute", "--profile", "paper", "--notebook", "16", "20", "--jobs", "1")
    results = tmp_path / "results" / "paper"
    for path, table in zip(sorted((results / "notebooks").iterdir()), ("tdrl_tim", "transfer"), strict=True):
        outputs = outputs_of(path)
        text = "".join(output.get("data", {}).get("text/markdown", "") for output in outputs)
        assert f"tdn train --profile paper --table {table} --list" in text and "is not on this machine" in text
    assert "| 97.4 |" in " ".join(text.split()) and not list((results / "runs").glob("*"))
    assert any("image/png" in output.get("data", {}) for output in outputs)
