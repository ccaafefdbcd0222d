"""What every notebook teaches: its discussion says numbers of the record, its exercises have answers that hold, the
formula stands where the method is explained, and the way from notebook to notebook is whole."""

import re

import nbformat
import pandas as pd
import pytest

from tdn.experiments.tables import CSV_FOLDER
from tdn.utils import CHECKOUT

NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))
RECORD = CHECKOUT / "results/record"
METHOD = ("02", "03", "15", "21")  # S-TDM, L-TDM, TDRL, Grad-CAM
# A number and, hidden in a comment, the expression that gives it: 89.0<!--short_vs_long["TDN", "measured top-1"]-->
CHECKED = re.compile(r"([+−-]?\d[\d,]*(?:\.\d+)?)<!--(.+?)-->")
MEASURED = re.compile(r"[+−-]?\d+\.\d+|[+−-]?\d+(?= (?:%|points?\b))")
ANSWER = re.compile(r"<details><summary>Answer</summary>\n\n(.+?)\n\n</details>", re.DOTALL)
CODE = re.compile(r"^```python\n(.+?)^```$", re.DOTALL | re.MULTILINE)
by_name = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


class Table:
    """A committed csv file: `table["TDN", "top-1"]` is the number in that column, of the only row with such a cell."""

    def __init__(self, path):
        self.rows = pd.read_csv(path, dtype=str, keep_default_na=False)

    def __getitem__(self, key):
        *cells, column = key
        found = self.rows[[set(map(str, cells)) <= set(row) for row in self.rows.to_numpy().tolist()]]
        assert len(found) == 1, f"{cells}: {len(found)} rows"
        return float(re.match(r"[+-]?[\d.]+", found[column].iloc[0]).group())


TABLES = {
    path.stem: Table(path)
    for folder in (CSV_FOLDER, RECORD / "tables", RECORD / "gestures/tables")
    for path in folder.glob("*.csv")
}


def sections(path):
    """Heading and source of every markdown cell that has one, by heading."""
    cells = nbformat.read(path, as_version=4).cells
    headed = (re.match(r"#{1,2} (.+)", cell.source) for cell in cells if cell.cell_type == "markdown")
    sources = (cell.source for cell in cells if cell.cell_type == "markdown")
    return {match.group(1): source for match, source in zip(headed, sources, strict=True) if match}


def test_a_table_is_read_by_the_cells_of_its_row(tmp_path):
    (tmp_path / "a.csv").write_text('network,top-1,gain\nTSN,28.9,\n"T, N",89.04,"+2.5 ± 0.4"\n')
    table = Table(tmp_path / "a.csv")
    assert table["T, N", "top-1"] - table["TSN", "top-1"] == pytest.approx(60.14) and table["T, N", "gain"] == 2.5
    with pytest.raises(AssertionError, match="0 rows"):
        table["TDN", "top-1"]


@by_name
def test_first_cell_tells_what_it_takes(path):
    first = nbformat.read(path, as_version=4).cells[0].source
    assert re.search(r"^\*\*Before\.\*\* ", first, re.MULTILINE), "what to know before"
    assert re.search(r"^\*\*Cost\.\*\* .+", first, re.MULTILINE), "what it will cost"


@by_name
def test_discussion_says_numbers_of_the_record(path):
    text = sections(path)["Discussion"]
    assert len(text.splitlines()) >= 8 and CHECKED.search(text)
    for number, expression in CHECKED.findall(text):
        value = eval(expression, {"abs": abs, "min": min, "max": max, "paper": TABLES, **TABLES})
        assert expression.lstrip("-") != number, "a number is no check of itself"
        decimals = len(number.partition(".")[2])
        said = float(number.replace(",", "").replace("−", "-"))
        assert f"{said:.{decimals}f}" == f"{value:.{decimals}f}", f"{number} is {value}: {expression}"
    assert MEASURED.findall(CHECKED.sub("", text)) == [], "a number that nothing checks"


@by_name
def test_something_to_change_and_to_see(path):
    cells = nbformat.read(path, as_version=4).cells
    (place,) = (number for number, cell in enumerate(cells) if cell.source.startswith("## Change this and see"))
    assert cells[place + 1].cell_type == "code"


@by_name
def test_answers_hold(path):
    """Each in a namespace of its own: what an answer needs it imports, so a reader can run it alone."""
    text = sections(path)["Exercises"]
    assert re.findall(r"^\*\*(\d)\*\* \(\d+ minutes?\)\. ", text, re.MULTILINE) == ["1", "2", "3"]
    answers = ANSWER.findall(text)
    assert len(answers) == 3
    for answer in answers:
        (code,) = CODE.findall(answer)
        assert "assert " in code
        exec(compile(code, path.name, "exec"), {})


def test_the_way_through():
    for number, path in enumerate(NOTEBOOKS):
        *_, last = nbformat.read(path, as_version=4).cells
        way = re.findall(r"\]\((\d\d_\w+\.ipynb)\)", last.source.splitlines()[-1])
        assert way == [of.name for of in NOTEBOOKS[max(0, number - 1) : number + 2] if of != path], path.name


@by_name
def test_pictures_of_the_record(path):
    """A code host shows results, though the notebooks are committed without outputs."""
    source = path.read_text("utf-8")
    pictures = re.findall(r"!\[[^\]]+\]\(\.\./results/record/([\w/]+\.png)\)", source)
    assert all((RECORD / picture).exists() for picture in pictures)
    assert pictures or "save_figure" not in source
    assert path.stem[:2] not in METHOD or re.search(r"\$\$", source), "the equation"


def test_every_table_and_figure_of_the_papers_has_its_place():
    text = sections(NOTEBOOKS[0])["Every table and figure of the papers"]
    rows = re.findall(r"^\| (.+?) \| .+ \| \[\d\d\]\((\w+\.ipynb)\) \| `(\w+)` \|$", text, re.MULTILINE)
    for _, notebook, name in rows:
        assert f'"{name}' in (CHECKOUT / "notebooks" / notebook).read_text("utf-8").replace("\\", ""), name
        assert list(RECORD.glob(f"figures/{name}*.png")) or (RECORD / f"tables/{name}.csv").exists(), name
    named = " ".join(where for where, *_ in rows)
    for paper, tables, figures in (("CVPR", ["1" + of for of in "abcdef"] + [2, 3, 4, 5], 4), ("TDRL", range(1, 8), 4)):
        for number in tables:
            assert f"{paper} Table {number}" in named
        for number in range(1, figures + 1):
            assert re.search(rf"{paper} Figures? (\d, )*{number}\b", named), (paper, number)
