"""The pages of the book in a browser, and JupyterLab as `make lab` starts it."""

import base64
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import time

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from helpers.pages import check_formulas, check_page, open_page
from nbconvert import HTMLExporter
from PIL import Image

from tdn.__main__ import main
from tdn.book.pages import make_pages
from tdn.maps.activation import Maps
from tdn.maps.pictures import player
from tdn.utils import CHECKOUT, escaped_text, markdown, write_text


def notebook(title, *outputs):
    cells = [nbformat.v4.new_markdown_cell(f"# {title}\n\n**Question.** What is\nit?\n\nMore.")]
    cells += [nbformat.v4.new_code_cell("show()", outputs=list(outputs), execution_count=1)]
    return nbformat.v4.new_notebook(cells=cells)


def table(columns):
    row = "| " + " | ".join(["word"] * columns) + " |"
    return nbformat.v4.new_output("display_data", {"text/markdown": f"{row}\n|{'---|' * columns}\n{row}\n{row}"})


def figure(width, height):
    png = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(png, "png")
    return nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(png.getvalue()).decode()})


@pytest.fixture
def executed(tmp_path):
    (folder := tmp_path / "executed").mkdir()
    stderr = nbformat.v4.new_output("stream", name="stderr", text="a note of this machine")
    nbformat.write(notebook("First & last", table(3), figure(300, 100), stderr), folder / "01_first.ipynb")
    nbformat.write(notebook("Second", table(40), figure(1500, 300), table(2)), folder / "02_second.ipynb")
    return folder


@pytest.mark.slow
def test_pages_have_their_tables_and_figures_and_a_way_through(executed, tmp_path, browser):
    site = tmp_path / "site"
    made = make_pages(executed, executed, site, "Of a *test*.")
    assert made == [site / "index.html", site / "01_first.html", site / "02_second.html"]
    assert check_page(browser, made[1], executed / "01_first.ipynb") == (1, 1)
    assert check_page(browser, made[2], executed / "02_second.ipynb") == (2, 1)
    page = open_page(browser, made[0])
    assert page.title() == "The TDN study book" and page.get_by_text("What is it?").count() == 2
    page.get_by_role("link", name="First & last", exact=True).click()
    assert page.url.endswith("01_first.html") and page.title() == "First & last"
    assert "a note of this machine" not in page.content()
    page.get_by_role("link", name="→ 02 Second").first.click()
    assert page.url.endswith("02_second.html") and page.get_by_role("link", name="→").count() == 0
    page.get_by_role("link", name="Contents").first.click()
    assert page.url.endswith("index.html")
    page.context.close()
    (executed / "02_second.ipynb").unlink()
    make_pages(executed, executed, site, "")
    assert {path.name for path in site.glob("*.html")} == {"index.html", "01_first.html"}, (
        "none of a notebook that is gone"
    )


PICTURE = "![of the record](../results/record/figures/{}.png)"
METHOD = f"""# Method

**Question.** What is $H$?

$$\\widehat F_i = F_i + H \\tag{{1}}$$

## A part of it

[Second](02_second.ipynb) has more. {PICTURE.format("drawn")} {PICTURE.format("other")}

## Discussion

Half is 50.0<!--of_nothing["a"]--> %: gedanken."""


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 390])
def test_a_page_teaches_without_network(executed, tmp_path, browser, width):
    """Formulas, the record's pictures, links to other pages, contents of the page, and the search."""
    figures = tmp_path / "results/record/figures"
    figures.mkdir(parents=True)
    for name in ("drawn", "other"):
        Image.new("RGB", (200, 100), "teal").save(figures / f"{name}.png")
    copy = notebook("Method", figure(300, 100))
    copy.cells[0].source = METHOD
    copy.cells[1].source = 'save_figure(plot(), "drawn", study)'
    nbformat.write(copy, executed / "01_first.ipynb")
    make_pages(executed, executed, tmp_path / "lab/site", "")
    page = open_page(browser, tmp_path / "lab/site/01_first.html", width)
    assert check_formulas(page) == 2 and "50.0 %" in page.content().replace('<!--of_nothing["a"]-->', "")
    assert page.locator(".jp-RenderedMarkdown img").count() == 1, "what the notebook drew is there already"
    assert page.locator(".jp-RenderedMarkdown img").evaluate("image => image.naturalWidth") == 200
    assert page.locator(".sections a").all_text_contents() == ["A part of it", "Discussion"]
    anchor = page.locator(".sections a").last.get_attribute("href")
    assert page.locator(anchor).text_content().startswith("Discussion")
    page.locator(".finder input").fill("GEDANKEN")
    assert page.locator(".finder li a").all_text_contents() == ["Method"]
    page.get_by_role("link", name="Second", exact=True).click()
    assert page.url.endswith("02_second.html")
    page.context.close()


NAMES = [
    "<script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 1'>",
    "</td></table><svg onload=window.ran=1>",
    "[here](javascript:window.ran=1)",
    "a|b",
    "*stars* **and** _lines_ __twice__ in_the_middle",
    "`code` ~~gone~~",
    "$x_1$ \\(y\\) \\begin{equation}z\\end{equation} $$w$$",
    "&lt;b&gt; &amp; &#33;",
    "![picture](x)",
    "007",
    "1e5",
    "# a [something] <!-- note -->",
    "- no list",
    "1. no list",
    "## no heading",
    "打开 👋",
    "two\nlines",
]


@pytest.mark.slow
def test_names_are_text_on_the_page_and_in_the_notebook(executed, tmp_path, browser):
    """In markdown and in tables of pandas; by our template and by nbconvert's own."""
    table = pd.DataFrame({"class": NAMES, "*_<b>|": 1.5})
    findings = [f"- {escaped_text(name)}: found." for name in NAMES]
    of_pandas = {"text/html": table._repr_html_(), "text/plain": str(table)}
    shown = [{"text/markdown": markdown(table)}, {"text/markdown": "\n".join(findings)}, of_pandas]
    outputs = [nbformat.v4.new_output("display_data", data) for data in shown]
    copy = notebook("Names", *outputs, nbformat.v4.new_output("stream", text="\n".join(NAMES)))
    nbformat.write(copy, executed / "01_first.ipynb")
    site = tmp_path / "site"
    make_pages(executed, executed, site, "")
    for template in ("lab", "classic", "basic"):
        write_text(site / f"{template}.html", HTMLExporter(template_name=template).from_notebook_node(copy)[0])
    lines = [" ".join(name.split()) for name in NAMES]
    for path in (site / "01_first.html", *(site / f"{name}.html" for name in ("lab", "classic", "basic"))):
        page = open_page(browser, path)
        ours, of_pandas = page.locator("table").all()
        cells = [cell.text_content().strip() for cell in ours.locator("td:first-child").all()]
        assert cells == lines and ours.locator("td").count() == 2 * len(NAMES)
        assert ours.locator("th").all_text_contents() == ["class", "*_<b>|"]
        cells = [" ".join(cell.text_content().split()) for cell in of_pandas.locator("td:nth-of-type(1)").all()]
        assert [cell.replace("two\\nlines", "two lines") for cell in cells if cell] == lines
        assert [item.text_content() for item in page.locator("li").all()] == [f"{line}: found." for line in lines]
        assert (
            page.evaluate("window.ran") is None and page.locator("svg[onload], img[src=x], a[href^=java]").count() == 0
        )
        if path.name == "01_first.html":  # it has MathJax beside it
            assert check_formulas(page) == 0
        else:  # MathJax reads the letters of an element together: no formula begins and ends in one
            nodes = "t => [...t.querySelectorAll('td')].flatMap(c => [...c.childNodes].map(n => n.textContent))"
            texts = ours.evaluate(nodes)
            assert not [text for text in texts if "$" in text.strip("$") or "\\(" in text or "\\begin" in text]
        page.context.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 390])
def test_the_slider_goes_through_the_frames(executed, tmp_path, browser, width):
    colours = torch.tensor([[250, 0, 0], [0, 250, 0], [0, 0, 250]], dtype=torch.uint8)
    frames = colours.view(3, 3, 1, 1).expand(3, 3, 48, 48)
    maps = Maps(torch.zeros(3, 48, 48), frames, (0, 3, 7), 8, torch.tensor([0.2, 0.5, 0.3]), 1.0, 0, torch.zeros(2))
    slider = nbformat.v4.new_output("display_data", {"text/html": player(maps)})
    nbformat.write(notebook("Slider", slider), executed / "01_first.ipynb")
    make_pages(executed, executed, tmp_path / "site", "")
    page = open_page(browser, tmp_path / "site/01_first.html", width)
    picture, slider = page.locator(".animation img"), page.locator(".animation input[type=range]")
    assert picture.is_visible() and slider.is_visible() and slider.bounding_box()["x"] < width
    seen = []
    for number in range(3):
        slider.fill(str(number))
        seen.append(picture.get_attribute("src"))
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(seen[-1].split(",")[1]))).convert("RGB"))
        assert (pixels[len(pixels) // 2, pixels.shape[1] // 4] == colours[number].numpy()).all()
    assert len(set(seen)) == 3
    page.context.close()


def test_a_notebook_that_was_not_executed_to_its_end_is_named(executed, tmp_path, monkeypatch, capsys):
    (tmp_path / "notebooks").mkdir()
    for name in ("01_first", "03_absent", "04_failed", "05_half"):
        shutil.copy(executed / "01_first.ipynb", tmp_path / "notebooks" / f"{name}.ipynb")
    error, half = nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[]), notebook("Half")
    half.cells.append(nbformat.v4.new_code_cell("show()"))
    nbformat.write(notebook("Failed", error), executed / "04_failed.ipynb")
    nbformat.write(half, executed / "05_half.ipynb")
    named = r"03_absent\.ipynb, 04_failed\.ipynb, 05_half\.ipynb;"
    with pytest.raises(ValueError, match=rf"not executed to the end, in .*executed: {named}"):
        make_pages(executed, tmp_path / "notebooks", tmp_path / "site", "")
    assert not (tmp_path / "site").exists()
    monkeypatch.setattr("tdn.experiments.profiles.ROOT", tmp_path)
    assert main(["book", "pages", "--profile", "smoke"]) == 2
    assert "make reproduce executes them" in capsys.readouterr().err


@pytest.fixture
def lab(tmp_path):
    """JupyterLab, started by `make lab` in a copy of the checkout; gives the address of its page."""
    stamp, of_env = CHECKOUT / ".venv/.installed", [CHECKOUT / name for name in ("environment.yml", "pyproject.toml")]
    if not stamp.exists() or stamp.stat().st_mtime < max(path.stat().st_mtime for path in of_env):
        pytest.skip("needs the .venv that make lab runs in, as make env leaves it: else make would install the copy")
    for name in ("Makefile", "environment.yml", "pyproject.toml"):
        shutil.copy2(CHECKOUT / name, tmp_path)  # with its date: make has nothing to install
    (tmp_path / ".venv").symlink_to(CHECKOUT / ".venv")
    shutil.copytree(CHECKOUT / "notebooks", tmp_path / "notebooks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"port": port, "port_retries": 0, "open_browser": False}
    config = {"ServerApp": settings, "IdentityProvider": {"token": "secret"}}
    write_text(tmp_path / "config/jupyter_server_config.json", json.dumps(config))
    folders = ("JUPYTER_CONFIG_DIR", "config"), ("JUPYTER_RUNTIME_DIR", "runtime"), ("TDN_HOME", "home")
    folders += (("JUPYTERLAB_WORKSPACES_DIR", "workspaces"),)
    environment = os.environ | {name: str(tmp_path / folder) for name, folder in folders}
    with (tmp_path / "log").open("wb") as log:
        where = {"cwd": tmp_path, "env": environment, "stdout": log, "stderr": log}
        process = subprocess.Popen(["make", "lab"], **where, start_new_session=True)
    try:
        until = time.monotonic() + 120
        while "is running at" not in (said := (tmp_path / "log").read_text()):
            assert process.poll() is None and time.monotonic() < until, said
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@pytest.mark.slow
def test_a_notebook_runs_from_top_to_bottom_in_jupyterlab(lab, browser, tmp_path):
    page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    page.set_default_timeout(120_000)
    page.goto(f"{lab}/lab/tree/24_costs.ipynb?token=secret")
    page.get_by_text("| Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    cells = nbformat.read(CHECKOUT / "notebooks/24_costs.ipynb", 4).cells
    number = sum(cell.cell_type == "code" for cell in cells)  # in the prompt of the last code cell
    page.locator(".jp-InputPrompt", has_text=f"[{number}]").wait_for()
    page.keyboard.press("Control+s")
    kept = tmp_path / "results/lab/24_costs.ipynb"
    until = time.monotonic() + 60
    while not all(cell.execution_count for cell in nbformat.read(kept, 4).cells if cell.cell_type == "code"):
        assert time.monotonic() < until
        time.sleep(0.5)
    outputs = [o for cell in nbformat.read(kept, 4).cells for o in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    assert page.locator(".jp-RenderedImage img").count()
    assert any("|" in output.get("data", {}).get("text/markdown", "") for output in outputs)
    page.context.close()
    committed, here = ((folder / "notebooks/24_costs.ipynb").read_bytes() for folder in (CHECKOUT, tmp_path))
    assert here == committed, "only the copy has changed"
