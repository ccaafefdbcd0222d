"""Notebooks that read a record: what it keeps the weights for is drawn, all else is shown as committed."""

import os
import shutil
import subprocess
import sys

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import pytest
from helpers.runs import TINY, made_up_record

from tdn.book import report
from tdn.book.lines import Line, computable
from tdn.book.runner import run_notebook
from tdn.experiments import runs
from tdn.experiments.profiles import PROFILES
from tdn.experiments.record import pack
from tdn.experiments.tables import SHORT_VS_LONG
from tdn.utils import CHECKOUT

NEEDED = {"16": "tdrl_tim", "21": "short_vs_long", "22": "short_vs_long", "23": "short_vs_long"}
KEPT = {"16": "tdrl_pem tdrl_pem_change tdrl_td_loss tdrl_similarity", "21": "", "22": "cam_frames"}
KEPT["23"] = "cam_places cam_stages cam_shift cam_curves"


def test_whole_results_are_computable_those_of_a_record_are_not(tmp_path, data_root):
    whole = runs.run(TINY, tmp_path, data_root)
    (record := tmp_path / "record").mkdir()
    pack(record, [whole])
    of_record = runs.stored(TINY, record)
    lines = [Line(SHORT_VS_LONG[0], results) for results in ([whole], [of_record], [whole, of_record], [])]
    assert [computable([lines[0], line]) for line in lines] == [True, False, False, False]


def test_what_is_kept_is_shown_and_what_is_missing_is_said(tmp_path, monkeypatch):
    study = PROFILES["pocket"]
    monkeypatch.setattr("tdn.experiments.profiles.ROOT", tmp_path)
    (absent,) = report.kept("a", study)
    assert absent.data.startswith("results/pocket has no `a`: ") and report.kept_table("a", study).empty
    report.save_table(pd.DataFrame({"x": [1.25]}), "a", study, digits=2)
    (study.output / "figures").mkdir()
    plt.figure().savefig(study.output / "figures/a.png")
    table, figure = report.kept("a", study)
    assert "1.25" in table.data and figure.data.startswith(b"\x89PNG")
    assert report.kept_table("a", study)["x"].tolist() == [1.25]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the package with a made-up record and one committed table and figure."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(CHECKOUT / "tdn", folder / "tdn", ignore=shutil.ignore_patterns("__pycache__"))
    made_up_record(folder / "results/record", PROFILES["record"], [*dict.fromkeys(NEEDED.values())])
    for name in ("tables", "figures"):
        (folder / "results/record" / name).mkdir()
    (folder / "results/record/tables/cam_frames.md").write_text("| kept |\n|:--|\n| 1 |\n")
    plt.figure().savefig(folder / "results/record/figures/tdrl_pem.png")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("number", NEEDED)
def test_notebook_reads_a_record(number, checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(checkout))
    monkeypatch.setenv("TDN_HOME", str(tmp_path / "home"))
    (source,) = CHECKOUT.glob(f"notebooks/{number}_*.ipynb")
    run_notebook(source, tmp_path / "out.ipynb", {}, checkout)
    cells = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
    data = [output.get("data", {}) for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    texts, images = " ".join(of.get("text/markdown", "") for of in data), [of for of in data if "image/png" in of]
    missing = {name for name in KEPT[number].split() if f"has no `{name}`" in texts}
    assert missing == {*KEPT[number].split()} - {"tdrl_pem", "cam_frames"} and ("| kept |" in texts) == (number == "22")
    assert len(images) == {"16": 1, "21": 5, "22": 6, "23": 0}[number]
    assert not (checkout / "results/record/runs").exists() and not list((tmp_path / "home").glob("results/record"))


@pytest.mark.slow
def test_the_book_opens_on_the_committed_record_and_leaves_it_as_it_is(tmp_path):
    """Every notebook, where nothing has been trained or rendered."""
    for name in ("tdn", "notebooks", "results/record", "results/bench"):
        shutil.copytree(CHECKOUT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "runs"))
    before = {path: path.read_bytes() for path in tmp_path.glob("results/**/*") if path.is_file()}
    command = [sys.executable, "-m", "tdn", "book", "execute", "--profile", "record"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TDN_")}
    where = {"cwd": tmp_path, "env": environment | {"PYTHONPATH": str(tmp_path)}}
    done = subprocess.run(command, **where, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    written = {path: path.read_bytes() for path in tmp_path.glob("results/**/*") if path.is_file()}
    assert before.items() <= written.items()
    assert all(path.is_relative_to(tmp_path / "results/lab") for path in written.keys() - before.keys())
    count = len(list((tmp_path / "notebooks").glob("*.ipynb")))
    assert len(list((tmp_path / "results/lab/notebooks").glob("*.ipynb"))) == count
