"""The committed notebooks are thin and stripped, their words are those of the field, and a reader's own video works."""

import ast
import builtins
import itertools
import os
import re
import subprocess
import symtable
import sys

import nbformat
import papermill
import pytest
import torch

import tdn
from tdn.book.files import find_file, load_own_network
from tdn.book.pages import title_and_question
from tdn.book.runner import NotebookError, run_notebook
from tdn.data.pocket import render
from tdn.utils import CHECKOUT

NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))
SOURCES = sorted((CHECKOUT / "tdn").rglob("*.py"))
FORBIDDEN = re.compile(r"\bsys\.path\b|^\s*[!%]+\s*pip\b", re.MULTILINE)
PARAMETERS = {"profile": "str"}
OF_VIDEO = {"video": "str", "weights": "str", "segments": "int", "class_names": "list[str]"}
MORE = {"27_your_video": PARAMETERS | OF_VIDEO, "28_train_your_own": PARAMETERS | {"folder": "str"}}
WORDS = re.compile(
    r"\b(heat|(?<!one-)hot|hottest|printed|random starts?|straightforward|indistinguishable|taking turns|half done|"
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
    assert path.stat().st_size < 90_000
    kernel = notebook.metadata.kernelspec  # papermill needs the language to inject parameters
    assert (kernel.name, kernel.language) == ("python3", "python")
    texts = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    title, question = title_and_question(notebook)
    assert notebook.cells[0] is texts[0] and texts[0].source.startswith("# ") and title and question.endswith("?")
    assert re.search(r"^## Exercises$", texts[-1].source, re.MULTILINE)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) <= 16
    for cell in code:
        assert cell.outputs == [] and cell.execution_count is None, cell.source
        assert len(cell.source.splitlines()) <= (32 if path.stem.startswith("05") else 26), cell.source
        assert not FORBIDDEN.search(cell.source), cell.source
        ast.parse(cell.source)
    assert ["parameters" in cell.metadata.get("tags", []) for cell in code] == [True] + [False] * (len(code) - 1)
    _all_that_it_takes_is_a_parameter(path, [cell.source for cell in code])

    for cell in notebook.cells:  # also in the text of an exercise: a name that is no longer there would stop a reader
        for module, names in re.findall(r"from (tdn[\w.]*)\s+import\s+([\w, ]+)", cell.source):
            exec(f"from {module} import {names.rstrip(', ')}")
    for before, cell in itertools.pairwise(notebook.cells):
        if cell.cell_type == "code" and "train_or_load(" in cell.source:
            assert "trains what is missing" in before.source, "a text tells that the next cell may train"


def _all_that_it_takes_is_a_parameter(path, sources):
    """As papermill sees it: typed, explained, used, never set again; and every name that is read is set somewhere."""
    found = papermill.inspect_notebook(path)
    types = {name: of_one["inferred_type_name"] for name, of_one in found.items()}
    assert types == MORE.get(path.stem, PARAMETERS)
    assert all(of_one["help"] for of_one in found.values()) and found["profile"]["default"] == '"record"'
    top, after = (symtable.symtable("\n".join(cells), path.name, "exec") for cells in (sources, sources[1:]))
    scopes = [top, *top.get_children()]
    read = {
        name.get_name() for scope in scopes for name in scope.get_symbols() if name.is_referenced() and name.is_global()
    }
    made = {name.get_name() for name in top.get_symbols() if name.is_assigned() or name.is_imported()}
    assert read <= made | set(vars(builtins)) and set(found) <= read
    assert not [name for name in found if after.lookup(name).is_assigned()], "a parameter is set again"


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


@pytest.fixture
def started(tmp_path, monkeypatch):
    """A folder in which a reader starts, with a video, weights and names; home is empty."""
    home, started = tmp_path / "home", tmp_path / "started"
    for name, folder in {"TDN_HOME": home, "PWD": started}.items():
        folder.mkdir()
        monkeypatch.setenv(name, str(folder))
    render.encode(started / "holiday.mp4", render.render_clip(3, 1))
    network = {"name": "tdn_resnet10", "options": {"width": 8}, "num_segments": 4}
    model = tdn.create_model(network["name"], 24, 4, **network["options"])
    views = {"size": 48, "scale": 48 / 56}
    names = [*ODD_NAMES, *(f"Doing {number}" for number in range(len(ODD_NAMES), 24))]
    torch.save(
        {"model": model.state_dict(), "network": network, "views": views, "class_names": names}, started / "w.pt"
    )
    (started / "names.txt").write_text("".join(f"{name}\n" for name in names))
    return started


ODD_NAMES = ("<script>window.ran = 1</script>", "<img src=x onerror='window.ran = 1'>", "a|b", "*a* _b_ `c` $d$ &lt;")


def executed_outputs(path):
    cells = nbformat.read(path, as_version=4).cells
    return [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]


def test_parameters_as_papermill_gives_them(started):
    given = ("w.pt", "4", "names.txt"), ("w.pt", 4, list(map(str, range(24)))), ("w.pt", None, None)
    for weights, segments, class_names in given:
        network = load_own_network(weights, segments, class_names)
        assert network.model.num_segments == 4 and len(network.class_names) == 24
    assert load_own_network("w.pt", "4", "names.txt").class_names[2] == "a|b"
    for segments in ("eight", "", "0", 0, -4, 4.5, True):
        with pytest.raises(ValueError, match=r"segments are a number, 1 or more, not"):
            load_own_network("w.pt", segments, None)
    (started / "12345").mkdir()
    assert find_file(12345) == started / "12345"


@pytest.mark.slow
def test_own_video_trains_and_renders_nothing(started, tmp_path):
    """Through the command line of papermill, with paths relative to where it is started."""
    given = [
        "-p",
        "video",
        "holiday.mp4",
        "-p",
        "weights",
        "w.pt",
        "-r",
        "segments",
        "4",
        "-p",
        "class_names",
        "names.txt",
    ]
    notebook, out = CHECKOUT / "notebooks/27_your_video.ipynb", tmp_path / "out.ipynb"
    here = os.environ | {"PYTHONPATH": str(CHECKOUT), "JUPYTER_PREFER_ENV_PATH": "1"}
    subprocess.run(
        [sys.executable, "-m", "papermill", notebook, out, *given, "--no-progress-bar"],
        cwd=started,
        env=here,
        check=True,
    )
    data = [output.get("data", {}) for output in executed_outputs(out)]
    (table,) = (of_one["text/markdown"] for of_one in data if "probability" in of_one.get("text/markdown", ""))
    assert len(table.splitlines()) == 7 and "<script" not in table and "<img" not in table
    assert any("image/png" in of_one for of_one in data)
    assert list((tmp_path / "home").iterdir()) == [], "nothing trained, nothing rendered"


@pytest.mark.slow
def test_one_of_the_two_paths_is_said(started, tmp_path, monkeypatch):
    notebook, out = CHECKOUT / "notebooks/27_your_video.ipynb", tmp_path / "out.ipynb"
    run_notebook(notebook, out, {"profile": "smoke", "weights": str(started / "w.pt")}, tmp_path)
    printed = "".join(output.get("text", "") for output in executed_outputs(out) if output.get("name") == "stdout")
    assert "No video is given: this one is of the pocket benchmark.\n" in printed and "No weights" not in printed
    with pytest.raises(NotebookError, match=r"FileNotFoundError: there is no absent\.mp4 in "):
        run_notebook(notebook, out, {"video": "absent.mp4"}, tmp_path)
    assert not list((tmp_path / "home").glob("results/*/runs")), "said before anything is trained"
