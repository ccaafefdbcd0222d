"""The book as a static site: index.html, one page per executed notebook, MathJax and a search. It needs no network."""

import importlib.resources
import json
import re
import shutil
from pathlib import Path
from urllib.parse import quote

import nbformat
from nbconvert import HTMLExporter
from tqdm import tqdm

from tdn.utils import write_text

TEMPLATES = Path(__file__).parent / "page_templates"
MATHJAX = "mathjax/MathJax.js?config=TeX-AMS-MML_HTMLorMML-full,Safe"
OF_RECORD = re.compile(r"!\[[^\]]*\]\(\.\./results/record/[\w/]*?(\w+)\.png\)\n*")  # a picture that is committed
TO_NOTEBOOK = re.compile(r"\]\((\d\d_\w+)\.ipynb\)")  # a link from one to another


def make_pages(executed: Path, notebooks: Path, site: Path, about: str) -> list[Path]:
    """Make pages of the copies in `executed` of all `notebooks`, in `site`; returns them, the index first. `about` is a
    sentence below the title of the index: which results these are. Raises ValueError, which names them, where notebooks
    have no executed copy, or one that did not come to its end."""
    sources = sorted(notebooks.glob("[0-9]*.ipynb"))
    if unfinished := [source.name for source in sources if not _whole(executed / source.name)]:
        names = ", ".join(unfinished)
        raise ValueError(f"not executed to the end, in {executed}: {names}; make reproduce executes them")
    exporter = HTMLExporter(
        template_name="study_book", extra_template_basedirs=[str(TEMPLATES)], mathjax_url=MATHJAX, embed_images=True
    )
    copies = [nbformat.read(executed / source.name, as_version=4) for source in sources]
    names = [f"{source.stem}.html" for source in sources]
    titled = [(name, *title_and_question(copy)) for name, copy in zip(names, copies, strict=True)]
    lines = [f"1. [{title}]({quote(name)})  \n   {question}" for name, title, question in titled]
    contents = nbformat.v4.new_markdown_cell("\n".join(["# The TDN study book", "", about, "", *lines]))
    copies.insert(0, nbformat.v4.new_notebook(cells=[contents]))
    names.insert(0, "index.html")
    titles = ["The TDN study book", *(title for _, title, _ in titled)]
    shown = ["Contents", *(f"{name[:2]} {title}" for name, title, _ in titled)]
    for page in set(site.glob("*.html")) - {site / name for name in names}:
        page.unlink()  # of a notebook that is no more
    for place, copy in enumerate(tqdm(copies, "pages", unit="page", leave=False)):
        way = [("", 0)] * (place > 0) + [("← ", place - 1)] * (place > 1)
        way += [("→ ", place + 1)] * (place + 1 < len(copies))
        copy.metadata["title"] = titles[place]
        for cell in copy.cells:  # without what cells wrote to stderr: progress bars and notes of the machine
            if cell.cell_type == "code":
                cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            else:
                source = TO_NOTEBOOK.sub(r"](\1.html)", _without(_drawn(copy), cell.source))
                cell.source = source.replace("](../", "](")  # nbconvert embeds what is below `path`
        links = [{"name": arrow + shown[other], "page": quote(names[other])} for arrow, other in way]
        book = {"way": links, "sections": _sections(copy) if place else []}
        html, _ = exporter.from_notebook_node(copy, {"book": book, "metadata": {"path": str(notebooks.parent)}})
        write_text(site / names[place], html)
    texts = [[quote(name), title, _words(copy)] for name, title, copy in zip(names, titles, copies, strict=True)][1:]
    write_text(site / "search.js", f"const PAGES = {json.dumps(texts)};\n")
    with importlib.resources.as_file(importlib.resources.files("jupyter_server_mathjax") / "static") as mathjax:
        shutil.copytree(mathjax, site / "mathjax", dirs_exist_ok=True)
    return [site / name for name in names]


def _drawn(notebook: nbformat.NotebookNode) -> re.Pattern:
    """Words in quotes in its code, the names of the figures that it draws among them; of an f-string how it begins."""
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return re.compile("|".join(name + r"\w+" * (more == "{") for name, more in re.findall(r'"(\w+)("|\{)', code)))


def _without(drawn: re.Pattern, source: str) -> str:
    """Markdown without the record's pictures of these names: the page has them from the notebook's own outputs."""
    return OF_RECORD.sub(lambda picture: "" if drawn.fullmatch(picture[1]) else picture[0], source)


def _sections(notebook: nbformat.NotebookNode) -> list[dict[str, str]]:
    """Titles of the sections, and the anchors that nbconvert gives them."""
    sources = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    titles = re.findall(r"^## (.+)$", "\n".join(sources), re.MULTILINE)
    return [{"title": title, "anchor": quote(title.replace(" ", "-"))} for title in titles]


def _words(notebook: nbformat.NotebookNode) -> str:
    """The text of a notebook for the search: what is written, without code, pictures and checks of numbers."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    text = re.sub(r"<!--.*?-->|!\[[^\]]*\]\([^)]*\)|```.*?```|<[^>]+>|[*`#|]", "", text, flags=re.DOTALL)
    return " ".join(text.split())


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
