"""Names in pictures: letters that a font of this machine has, cut to the room that there is."""

import functools
import itertools
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.font_manager import FontProperties, findfont, findSystemFonts, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.textpath import text_to_path

POINTS = 72  # per inch
HINTING = 1.05  # letters drawn in whole pixels are wider than their outlines, by so much at most


def drawable(text: str, instead: str) -> str:
    """`text` on one line, in letters that can be drawn. Where the present font lacks some, an installed one is added to
    matplotlib's. Of what none has, letters become plainer ones (compatible in Unicode), or else the whole is `instead`;
    emoji and other signs are left out."""
    text = " ".join("".join(c if unicodedata.category(c)[0] != "C" or c.isspace() else "" for c in text).split())
    for letter in sorted(set(text)):
        family = None if _has_letter(letter) else _installed_family(letter)
        if family and family not in plt.rcParams["font.family"]:
            plt.rcParams["font.family"] = [*plt.rcParams["font.family"], family]
    plainer = {c: c if _has_letter(c) else unicodedata.normalize("NFKD", c) for c in set(text)}
    missing = {c for c in set("".join(plainer.values())) if not _has_letter(c)}
    if any(unicodedata.category(c)[0] in "LN" for c in missing):
        return instead
    shown = "".join(c for letter in text for c in plainer[letter] if c not in missing)
    return " ".join(shown.split()) or instead


def fitted(text: str, inches: float, size: float, lines: int = 1) -> str:
    """`text` in at most so many lines of a width in letters of `size` points, with "…" where it is cut."""
    rows, rest = [], " ".join(text.split())
    while rest and len(rows) < lines:
        most = _letters_that_fit(rest, inches, size)
        if most < len(rest) and len(rows) == lines - 1:
            rows.append(rest[: _letters_that_fit(f"…{rest}", inches, size) - 1].rstrip() + "…")
            break
        at = rest.rfind(" ", 0, most + 1) if most < len(rest) else most
        at = at if at > 0 else most
        rows.append(rest[:at].rstrip())
        rest = rest[at:].lstrip()
    return "\n".join(rows)


def by_font(text: str) -> Iterator[tuple[str, str]]:
    """Parts of a text of `drawable`, each with the file of its font: the first of matplotlib's with the letters."""
    paths = [findfont(FontProperties(family=[name])) for name in plt.rcParams["font.family"]]

    def path_of(letter: str) -> str:
        return next((path for path in paths if ord(letter) in _letters(path)), paths[0])

    return (("".join(letters), path) for path, letters in itertools.groupby(text, path_of))


def _letters_that_fit(text: str, inches: float, size: float) -> int:
    """1 or more."""
    font, low, high = FontProperties(size=size), 1, min(len(text), int(inches * POINTS))
    while low < high:  # a letter more is wider
        middle = (low + high + 1) // 2
        width, _, _ = text_to_path.get_text_width_height_descent(text[:middle], font, False)
        low, high = (middle, high) if width <= inches * POINTS / HINTING else (low, middle - 1)
    return low


def _has_letter(letter: str) -> bool:
    """Whether a font that matplotlib draws with now has it."""
    families = plt.rcParams["font.family"]
    return letter == " " or any(ord(letter) in _letters(findfont(FontProperties(family=[name]))) for name in families)


@functools.cache
def _letters(path: str) -> frozenset[int]:
    """The letters (code points) of a font's file that can be drawn at any size: none of a font of pictures."""
    try:
        font = FT2Font(path)
    except (RuntimeError, OSError):
        return frozenset()
    return frozenset(font.get_charmap()) if font.scalable else frozenset()


@functools.cache
def _installed_family(letter: str) -> str | None:
    """The family of an installed font with a letter; of a font that is not upright and regular only if there is no
    other."""
    paths = (path for path in findSystemFonts() if "resort" not in Path(path).stem.lower())  # has boxes for all letters
    for path in sorted(paths, key=lambda path: (not _is_regular(path), path)):
        if ord(letter) in _letters(path):
            fontManager.addfont(path)
            return FT2Font(path).family_name
    return None


def _is_regular(path: str) -> bool:
    name = Path(path).stem.lower()
    return not any(style in name for style in ("bold", "italic", "oblique", "light", "black", "thin", "mono", "serif"))
