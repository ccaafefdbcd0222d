"""The committed notebooks are thin and stripped, their words are those of the field, and a reader's own video works."""

import ast
import itertools
import re

import nbformat
import pytest
import torch

import tdn
from tdn.book.files import find_file
from tdn.book.pages import title_and_question
from tdn.book.runner import run_notebook
from tdn.data.pocket import render
from tdn.utils import CHECKOUT

NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))
SOURCES = sorted((CHECKOUT / "tdn").rglob("*.py"))
FORBIDDEN = re.compile(r"^\s*class\s|\bsys\.path\b|^\s*[!%]+\s*pip\b", re.MULTILINE)
PARAMETERS = 'profile = "pocket"  # smoke, pocket or paper'
WORDS = re.compile(
    r"\b(heat|hot|hottest|printed|random starts?|straightforward|indistinguishable|taking turns|half done|"
    r"(cannot|can't|can not) (be )?(tell|told)|to be told from|each place alike|know nothing|speaks? for|a row an?|"
    r"norm_batch|on the things|where (the )?things are)\b|(?-i:\bW')",
    re.IGNORECASE,
)
ALLOWED = {"nothing was printed"}  # a program's output


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert re.match(r"\d\d_", path.name), "the name starts with the two-digit number that the runner sorts by"
    assert path.stat().st_size < 60_000
    kernel = notebook.metadata.kernelspec  # papermill needs the language to inject parameters
    assert (kernel.name, kernel.language) == ("python3", "python")
    texts = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    title, question = title_and_question(notebook)
    assert notebook.cells[0] is texts[0] and texts[0].source.startswith("# ") and title and question.endswith("?")
    assert re.search(r"^## Exercises$", texts[-1].source, re.MULTILINE)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) <= 12
    for cell in code:
        assert cell.outputs == [] and cell.execution_count is None, cell.source
        assert len(cell.source.splitlines()) <= 15 and not FORBIDDEN.search(cell.source), cell.source
        ast.parse(cell.source)
    assert ["parameters" in cell.metadata.get("tags", []) for cell in code] == [True] + [False] * (len(code) - 1)
    first, *others = code[0].source.splitlines()
    assert first == PARAMETERS, "the runner passes a profile"
    names = [line.split(" = ")[0] for line in others]
    assert names == (["video", "weights", "segments", "class_names"] if path.stem == "20_your_video" else [])

    for cell in notebook.cells:  # also in the text of an exercise: a name that is no longer there would stop a reader
        for module, names in re.findall(r"from (tdn[\w.]*)\s+import\s+([\w, ]+)", cell.source):
            exec(f"from {module} import {names.rstrip(', ')}")
    for before, cell in itertools.pairwise(notebook.cells):
        if cell.cell_type == "code" and "train_or_load(" in cell.source:
            assert "trains what is missing" in before.source, "a text tells that the next cell may train"


@pytest.mark.parametrize("path", [*NOTEBOOKS, *SOURCES], ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_words_of_the_field(path):
    """In the cells of notebooks, and in the docstrings and messages of the package."""
    if path.suffix == ".ipynb":
        texts = [cell.source for cell in nbformat.read(path, as_version=4).cells]
    else:
        constants = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
        texts = [node.value for node in constants if isinstance(node.value, str) and node.value not in ALLOWED]
    assert [text for text in texts if WORDS.search(text)] == []


def test_find_file(tmp_path, monkeypatch):
    for folder in (here := tmp_path / "here", lab := tmp_path / "lab"):
        folder.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("PWD", str(lab))  # where JupyterLab was started
    assert find_file("README.md") == CHECKOUT / "README.md"
    for folder in (lab, here):  # each comes before the one before
        (folder / "README.md").touch()
        assert find_file("README.md") == folder / "README.md"
    assert find_file(lab / "README.md") == lab / "README.md"
    with pytest.raises(FileNotFoundError, match=f"no a.mp4 in {here} or in {lab} or in {CHECKOUT}"):
        find_file("a.mp4")
    with pytest.raises(FileNotFoundError, match=r"no /[^ ]*/a\.mp4$"):
        find_file(tmp_path / "a.mp4")


@pytest.mark.slow
def test_own_video_trains_and_renders_nothing(tmp_path, monkeypatch):
    home, started = tmp_path / "home", tmp_path / "started"
    for name, folder in {"TDN_HOME": home, "PWD": started}.items():
        folder.mkdir()
        monkeypatch.setenv(name, str(folder))
    render.encode(started / "holiday.mp4", render.render_clip(3, 1))
    network = {"name": "tdn_resnet10", "options": {"width": 8}, "num_segments": 4}
    model = tdn.create_model(network["name"], 18, 4, **network["options"])
    views = {"size": 48, "scale": 48 / 56}
    torch.save({"model": model.state_dict(), "network": network, "views": views}, started / "weights.pt")
    own = {"profile": "pocket", "video": "holiday.mp4", "weights": str(started / "weights.pt")}
    run_notebook(CHECKOUT / "notebooks/20_your_video.ipynb", tmp_path / "out.ipynb", own, tmp_path)
    cells = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
    outputs = [output.get("data", {}) for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("probability" in data.get("text/markdown", "") for data in outputs)
    assert any("image/png" in data for data in outputs)
    assert list(home.iterdir()) == [], "nothing trained, nothing rendered"
