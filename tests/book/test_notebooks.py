"""The committed notebooks stay thin: stripped, short, and without code that belongs in the package."""

import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
FORBIDDEN = re.compile(r"^\s*class\s|\bsys\.path\b|^\s*[!%]+\s*pip\b", re.MULTILINE)


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


@pytest.fixture
def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_file(path, notebook):
    nbformat.validate(notebook)
    assert re.match(r"\d\d_", path.name), "the name starts with the two-digit number that the runner sorts by"
    assert path.stat().st_size < 60_000
    # papermill needs the language to inject parameters
    kernel = notebook.metadata.kernelspec
    assert (kernel.name, kernel.language) == ("python3", "python")


def test_stripped(code):
    for cell in code:
        assert cell.outputs == [], cell.source
        assert cell.execution_count is None, cell.source


def test_thin(code):
    assert len(code) <= 12
    for cell in code:
        assert len(cell.source.splitlines()) <= 15, cell.source
        assert not FORBIDDEN.search(cell.source), cell.source


def test_parameters(notebook):
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert tagged[0].cell_type == "code"
    assert tagged[0].source == 'profile = "pocket"  # smoke, pocket or paper', "the runner passes a profile"


def test_frame(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    last = [cell for cell in notebook.cells if cell.cell_type == "markdown"][-1]
    assert re.search(r"^#+ .*\bexercises\b", last.source, re.MULTILINE | re.IGNORECASE)
