"""Pages in a browser."""

import nbformat

TABLE_MARKS = (("text/markdown", "\n|:-"), ("text/markdown", "\n|-"), ("text/html", "<table"))


def open_page(browser, path, width=1200):
    """Without network: what a page needs lies beside it."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    context.route("http*://**", lambda route: route.abort())
    page = context.new_page()
    page.goto(path.as_uri())
    return page


def check_page(browser, path, executed):
    """Every table and picture of the executed notebook is to be seen, on a phone as well; gives how many of each."""
    cells = nbformat.read(executed, 4).cells
    data = [o.get("data", {}) for cell in cells for o in cell.get("outputs", [])]
    tables = sum(any(mark in of_one.get(kind, "") for kind, mark in TABLE_MARKS) for of_one in data)
    images = sum("image/png" in of_one for of_one in data)
    for width in (1200, 390):
        page = open_page(browser, path, width)
        shown = [box for item in page.locator(".jp-OutputArea table").all() if (box := item.bounding_box())]
        assert len(shown) >= tables and all(box["width"] > 50 and box["height"] > 30 for box in shown)
        pictures = page.locator(".jp-RenderedImage img").all()
        assert len(pictures) == images
        for picture in pictures:
            assert picture.evaluate("image => image.complete && image.naturalWidth > 100") and picture.is_visible()
            assert width > 700 or picture.bounding_box()["width"] >= 700, "its letters can't be read"
        formulas = check_formulas(page)
        assert formulas or not any("$$" in cell.source for cell in cells if cell.cell_type == "markdown")
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        page.context.close()
    return tables, images


def check_formulas(page):
    """Every formula is set; gives how many there are."""
    page.wait_for_function("() => window.MathJax && MathJax.isReady && !MathJax.Hub.queue.pending")
    assert page.locator(".merror, .MathJax_Error").count() == 0
    return page.locator(".MathJax").count()
