"""The book as a static site: index.html and one page per executed notebook.

A page needs no file but the others; formulas are set with MathJax, from the web.
"""

from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from tqdm import tqdm

from tdn.utils import write_text

TEMPLATES = Path(__file__).parent / "page_templates"
INDEX = "index.html"


def make_pages(executed: Path, notebooks: Path, site: Path, about: str) -> list[Path]:
    """Make pages of the copies in `executed` of all `notebooks`, in `site`; returns them, the index first.

    Args:
        about: a sentence below the title of the index: which results these are.

    Raises:
        ValueError: a notebook has no executed copy, or one that did not come to its end; names all of them.
    """
    sources = sorted(notebooks.glob("[0-9]*.ipynb"))
    unfinished = [source.name for source in sources if not _whole(executed / source.name)]
    if unfinished:
        names = ", ".join(unfinished)
        raise ValueError(f"not executed to the end, in {executed}: {names}; make reproduce executes them")
    exporter = HTMLExporter(template_name="study_book", extra_template_basedirs=[str(TEMPLATES)])
    copies = [nbformat.read(executed / source.name, as_version=4) for source in sources]
    names = [f"{source.stem}.html" for source in sources]
    titles = [title_and_question(copy) for copy in copies]
    steps = [{"name": "Contents", "page": INDEX}] + [
        {"name": f"{name[:2]} {title}", "page": name} for name, (title, _) in zip(names, titles, strict=True)
    ]
    pages = [site / INDEX]
    for page in set(site.glob("*.html")) - {site / step["page"] for step in steps}:
        page.unlink()  # of a notebook that is no more
    for place, copy in enumerate(tqdm(copies, "pages", unit="page", leave=False), start=1):
        way = [steps[0]] + [
            {"name": f"{arrow} {steps[other]['name']}", "page": steps[other]["page"]}
            for arrow, other in (("←", place - 1), ("→", place + 1))
            if 0 < other < len(steps)
        ]
        pages.append(site / names[place - 1])
        _write(exporter, copy, pages[-1], titles[place - 1][0], way)
    lines = [f"1. [{title}]({name})  \n   {question}" for name, (title, question) in zip(names, titles, strict=True)]
    contents = nbformat.v4.new_markdown_cell("\n".join(["# The TDN study book", "", about, "", *lines]))
    _write(exporter, nbformat.v4.new_notebook(cells=[contents]), pages[0], "The TDN study book", steps[1:2])
    return pages


def _whole(path: Path) -> bool:
    """Whether every code cell of the executed copy has run, without an error."""
    if not path.exists():
        return False
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    failed = (output.output_type == "error" for cell in cells for output in cell.outputs)
    return all(cell.execution_count for cell in cells) and not any(failed)


def title_and_question(notebook: nbformat.NotebookNode) -> tuple[str, str]:
    """Title of the first cell, and its paragraph "**Question.** ..." without that word, "" if it has none."""
    title, *paragraphs = notebook.cells[0].source.split("\n\n")
    questions = [p.removeprefix("**Question.** ") for p in paragraphs if p.startswith("**Question.** ")]
    return title.removeprefix("# "), " ".join("".join(questions[:1]).split())


def _write(exporter: HTMLExporter, notebook: nbformat.NotebookNode, path: Path, title: str, way: list[dict]) -> None:
    """Write a page without what the cells wrote to stderr: progress bars and notes of the machine."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata["title"] = title
    html, _ = exporter.from_notebook_node(notebook, {"book": {"way": way}})
    write_text(path, html)
