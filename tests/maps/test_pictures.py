"""Names in pictures: of any letters and any length."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from tdn.maps import lettering
from tdn.maps.activation import Maps
from tdn.maps.lettering import by_font, drawable, fitted
from tdn.maps.pictures import plot_columns, plot_rows, plot_strip


@pytest.fixture(autouse=True)
def no_font_but_matplotlib_s(monkeypatch):
    monkeypatch.setattr(lettering, "findSystemFonts", list)
    lettering._installed_family.cache_clear()
    with plt.rc_context({"font.family": ["DejaVu Sans"]}):
        yield
    lettering._installed_family.cache_clear()


def maps(frames):
    pictures = torch.full((frames, 3, 48, 48), 128, dtype=torch.uint8)
    energy = torch.ones(frames) / frames
    return Maps(torch.zeros(frames, 48, 48), pictures, tuple(range(frames)), 8, energy, 1.0, 3, torch.zeros(5))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Opening a door", "Opening a door"),
        ("Öffnen, ouvrir ça, открыть, άνοιγμα", "Öffnen, ouvrir ça, открыть, άνοιγμα"),
        ("two\nlines\tand\x00 more", "two lines and more"),
        ("打开一本书", "class 3"),
        ("किताब", "class 3"),
        ("waving 👋🏽 at 👨‍👩‍👧 you", "waving at you"),
        ("👋🏽", "class 3"),
        ("ＦＵＬＬ width", "FULL width"),
        ("", "class 3"),
    ],
)
def test_without_a_font_letters_become_plainer_or_the_class_its_number(name, shown):
    assert drawable(name, "class 3") == shown


def test_an_installed_font_that_has_the_letters_is_taken(tmp_path, monkeypatch):
    pen = TTGlyphPen(None)
    for place in ((0, 0), (0, 700), (700, 700), (700, 0)):
        (pen.lineTo if place != (0, 0) else pen.moveTo)(place)
    pen.closePath()
    font = FontBuilder(1000)
    font.setupGlyphOrder([".notdef", "square"])
    font.setupCharacterMap({ord("打"): "square"})
    font.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": pen.glyph()})
    font.setupHorizontalMetrics({".notdef": (800, 0), "square": (800, 0)})
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "One Letter", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(tmp_path / "letter.ttf")
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    monkeypatch.setattr(lettering, "findSystemFonts", lambda: [str(path) for path in tmp_path.glob("*.ttf")])
    assert drawable("打 once", "class 3") == "打 once" and plt.rcParams["font.family"][-1] == "One Letter"
    assert [text for text, _ in by_font("打 once")] == ["打", " once"]
    assert drawable("打开", "class 3") == "class 3", "one letter that is in no font is enough"
    with warnings.catch_warnings(action="error"):
        figure = plot_strip(maps(1), "打")
        figure.canvas.draw()
        dark = (np.asarray(figure.canvas.buffer_rgba())[:40, :, 0] < 50).sum()
    plt.close(figure)
    assert dark > 50, "the square of the one letter"


@pytest.mark.parametrize("name", ["W" * 30, "W" * 3000, "i" * 3000, "a word " * 3000, "$x_1^{ \\frac"])
def test_names_of_any_length_leave_the_figure_whole(name):
    with warnings.catch_warnings(action="error"):
        for figure in (
            plot_strip(maps(1), name),
            plot_strip(maps(8), name),
            plot_columns({name: [maps(1)] * 3}, [name] * 3),
            plot_rows({name: maps(3), "TDN": maps(3)}, name),
        ):
            figure.canvas.draw()
            box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
            assert box.x0 > -0.1 and box.y0 > -0.1 and box.x1 < width + 0.1 and box.y1 < height + 0.1
            assert all(axis.get_window_extent().height > 60 for axis in figure.axes if axis.images)
            plt.close(figure)


def test_titles_overlap_neither_neighbours_nor_the_picture_above():
    columns = plot_columns({"TDN": [maps(1)] * 3}, ["W" * 99] * 3)
    columns.canvas.draw()
    boxes = [axis.title.get_window_extent() for axis in columns.axes[:3]]
    assert boxes[0].x1 <= boxes[1].x0 and boxes[1].x1 <= boxes[2].x0
    for frames in (1, 4, 8, 9):
        strip = plot_strip(maps(frames), "A title")
        strip.canvas.draw()
        rows = np.array(strip.axes).reshape(-1, min(frames, 8))
        for above, below in zip(rows[:-1, 0], rows[1:, 0], strict=True):
            assert below.title.get_window_extent().y1 < above.get_window_extent().y0
        plt.close(strip)
    plt.close(columns)


def test_a_cut_name_ends_in_three_dots():
    assert fitted("one two three", 9, 10) == "one two three" and fitted("", 1, 10) == ""
    cut = fitted("Pretending to put something behind something", 1.2, 8, 2)
    assert cut.startswith("Pretending to put\n") and cut.endswith("…") and cut.count("\n") == 1
    assert fitted("W" * 50, 0.01, 10, 2) == "W\n…"
