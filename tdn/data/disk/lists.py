"""Lists with one entry per line, as editors, spreadsheets and other projects write them. Imports no torch."""

import codecs
import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

EXPECTED = "`path label` or `path frames label`, or a table with the columns path and label; labels count from 0"
# Titles of columns, in lower case; of several that fit the first is taken.
PATHS = ("path", "video_path", "clip_path", "file_path", "filepath", "file", "filename", "file_name", "video", "videos")
PATHS += ("video_name", "clip", "clip_name", "name")
LABELS = ("label", "labels", "class", "class_id", "label_id", "target", "category", "action", "class_name", "tag")
STARTS = ("start", "begin", "from", "start_time", "time_start", "start_seconds", "start_s", "t_start")
ENDS = ("end", "stop", "to", "until", "end_time", "time_end", "end_seconds", "end_s", "t_end")
LOOKED_UP = 100  # lines whose paths decide what a number before the label is


class Row(NamedTuple):
    line: int
    path: str
    label: str  # a number, or the name of a class
    start: str = ""  # of the stretch that is meant, in seconds or h:mm:ss
    end: str = ""


def read_text(file: Path) -> str:
    """Text in UTF-8, or in UTF-16 with a byte order mark, whatever the locale. Raises OSError, and ValueError with the
    file, the line and the likely encoding where it is another."""
    content = file.read_bytes()
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
        if text.count("\0") > len(text) / 4:
            raise ValueError(f"{file} has NUL characters, as UTF-16 or UTF-32 without a mark: save it as UTF-8")
        return text
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        pairs = re.fullmatch(rb"(?:[\x00-\x7f]|[\x81-\xfe][\x80-\xfe])*", content)
        likely = "GBK, Big5, Shift-JIS or EUC-KR" if pairs else "ISO-8859-1, or another with one byte a letter"
        raise ValueError(
            f"{file} is not in UTF-8: line {line} has the byte 0x{content[error.start]:02x}, as in {likely}; save it "
            "as UTF-8 (iconv -f ENCODING -t UTF-8)"
        ) from error


def lines(file: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not blank. Raises as `read_text`."""
    text = read_text(file).replace("\r\n", "\n").replace("\r", "\n")
    numbered = enumerate(map(str.strip, text.split("\n")), 1)
    return ((number, line) for number, line in numbered if line)


def class_names(file: Path) -> list[str]:
    """One name per line, in the order of the labels; with or without its number before it (`1 walk` or `1,walk`, all
    numbers, from 0 or 1). Raises as `read_text`; ValueError for a blank line between names, a name that is there twice,
    and an empty file."""
    names: dict[str, None] = {}
    numbered = list(lines(file))
    pairs = [re.fullmatch(r"(\d+)(?:\s*[,;]\s*|\s+)(.+)", text) for _, text in numbered]
    offsets = {int(pair[1]) - place for place, pair in enumerate(pairs) if pair}
    if all(pairs) and offsets in ({0}, {1}) and len({pair[2] for pair in pairs}) == len(pairs):  # not 1 cup, 2 cups
        numbered = [(number, pair[2]) for (number, _), pair in zip(numbered, pairs, strict=True)]
    for number, name in numbered:
        if number != len(names) + 1 or name in names:
            raise wrong(file, number, f"a blank line before it would shift the labels, or it is there twice: {name!r}")
        names[name] = None
    if not names:
        raise ValueError(f"{file} is empty")
    return list(names)


def read_list(file: Path, root: Path) -> tuple[list[Row], list[str]]:
    """Paths and labels, and what is doubtful about them.

    Lists of TSN, TSM and TDN (`path frames label`) and of SlowFast (`path label`), separated by blanks, paths in quotes
    or not; tables with tabs, semicolons or commas, with titles of columns or not, whose labels may be names. The number
    of frames is not used. Raises as `read_text`, and ValueError with file and line for another form.
    """
    numbered = list(lines(file))
    if not numbered:
        raise ValueError(f"{file} is empty")
    titles = numbered[0][1].split()
    tables = [table for separator in "\t;," if (table := _table(numbered, separator))]
    for table in [*tables, _table(numbered, " ") if _titles(titles) else None]:
        if table and (columns := _titles(table[0][1])):
            times = [_column(table[0][1], names) for names in (STARTS, ENDS)]
            rows = [(line, [fields[column] for column in columns], fields) for line, fields in table[1:]]
            return [
                Row(line, *found, *("" if at is None else fields[at] for at in times)) for line, found, fields in rows
            ], []
    for table in tables:
        if all(fields[-1].isdecimal() for _, fields in table):
            return _numbered(file, root, table)
    if _titles(titles) and titles[-1].lower() in LABELS:
        numbered = numbered[1:]
    trailing = [len(re.search(r"(?:\s+\d+)*$", text)[0].split()) for _, text in numbered]
    if numbered and all(trailing):
        count = min(trailing)
        rows = [(line, text.rsplit(None, count)) for line, text in numbered]
        if count > 2 and not _one_hot(rows):  # the paths end in numbers
            rows = [(line, text.rsplit(None, 2)) for line, text in numbered]
        rows = [(line, [re.sub(r"""^(["'])(.*)\1$""", r"\2", path), *others]) for line, (path, *others) in rows]
        return _numbered(file, root, rows)
    for table in tables:
        labels = [fields[-1] for _, fields in table]
        # Without titles the label might be first: names of classes are no files.
        paths = any(re.search(r"/|\.\w{2,4}$", label) for label in labels)
        if len(table[0][1]) == 2 and not paths and not any(os.path.exists(root / each) for each in labels[:LOOKED_UP]):
            rows = [Row(line, *fields) for line, fields in table]
            there = [os.path.exists(root / row.path) for row in rows[:LOOKED_UP]]
            if any(there[1:]) and not there[0] and rows[0].label not in {row.label for row in rows[1:]}:
                return rows[1:], [f"{file.name}: line 1 is read as titles of the columns: {' | '.join(table[0][1])}"]
            return rows, []
    _refuse_odd_row(file, numbered, "\t;, " if _titles(titles) else "\t;,")
    line, text = numbered[trailing.index(0)] if numbered else (1, " ".join(titles))
    what = "neither `path label` nor `path frames label`, labels from 0 on, nor a table with the columns path and label"
    raise wrong(file, line, f"{what}: {text[:200]!r}")


def _table(numbered: Sequence[tuple[int, str]], separator: str) -> list[tuple[int, list[str]]] | None:
    """Line and fields of every row; None where the rows have not all the same number of fields, two or more."""
    rows: list[tuple[int, list[str]]] = []
    for line, text in numbered:
        fields = _fields(text, separator)
        if len(fields) < 2 or (rows and len(fields) != len(rows[0][1])):
            return None
        rows.append((line, fields))
    return rows


def _fields(text: str, separator: str) -> list[str]:
    try:
        return [field.strip() for field in next(csv.reader([text], delimiter=separator, skipinitialspace=True))]
    except csv.Error:  # a field of more than 128 kB
        return []


def _refuse_odd_row(file: Path, numbered: Sequence[tuple[int, str]], separators: str) -> None:
    """ValueError for the first row with another number of fields than most have, two or more."""
    for separator in separators:
        counts = [len(_fields(text, separator)) for _, text in numbered]
        (usual, rows), *_ = Counter(counts).most_common(1) or [(0, 0)]
        if usual > 1 and len(counts) / 2 < rows < len(counts):
            count, (line, text) = next(row for row in zip(counts, numbered, strict=True) if row[0] != usual)
            raise wrong(file, line, f"fields separated by {separator!r}: {count}, usually {usual}: {text[:200]!r}")


def _titles(fields: Sequence[str]) -> tuple[int, int] | None:
    """The columns of the path and of the label, where the fields are titles."""
    path, label = (_column(fields, names) for names in (PATHS, LABELS))
    return None if path is None or label is None else (path, label)


def _column(fields: Sequence[str], names: Sequence[str]) -> int | None:
    """The first of the columns with these titles."""
    titles = [re.sub(r"[\s-]+", "_", field.lower()) for field in fields]
    return next((titles.index(name) for name in names if name in titles), None)


def seconds(text: str) -> float:
    """Of a time as 12.5, 1:02.5 or 1:00:02. Raises ValueError."""
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d*)?", text):
        raise ValueError(f"{text!r} is no time: seconds, m:ss or h:mm:ss")
    total = 0.0
    for part in text.split(":"):
        total = 60 * total + float(part)
    return total


def _numbered(file: Path, root: Path, table: list[tuple[int, list[str]]]) -> tuple[list[Row], list[str]]:
    """Rows of a path and as many numbers on every line, the last of which is the label."""
    count = len(table[0][1]) - 1
    if count == 1:
        return [Row(line, *fields) for line, fields in table], []
    one_hot = _one_hot(table)
    if count > 2 or not all(fields[1].isdecimal() for _, fields in table):
        what = "one-hot labels" if one_hot else f"{count} columns after the path"
        raise wrong(file, table[0][0], f"{what} on every line; expected is {EXPECTED}")
    # Of `take 1 0` the path is "take 1" if that is on the disk and "take" is not.
    shorter = [Row(line, " ".join(fields[:-2]), fields[-1]) for line, fields in table]
    longer = [Row(line, " ".join(fields[:-1]), fields[-1]) for line, fields in table]
    exist = [any(os.path.exists(root / row.path) for row in rows[:LOOKED_UP]) for rows in (shorter, longer)]
    if exist == [False, True]:
        return longer, []
    notes = []
    if all(int(fields[1]) < 5 for _, fields in table):  # not even one segment's frames
        what = "one-hot labels" if one_hot else "numbers of frames, labels or something else"
        notes.append(
            f"{file.name}: every line ends in two numbers, the first of them below 5: read as `path frames label`, but "
            f"they could be {what}; if the labels are wrong, write `path label`"
        )
    return shorter, notes


def _one_hot(table: list[tuple[int, list[str]]]) -> bool:
    return all(sorted(numbers) == ["0"] * (len(numbers) - 1) + ["1"] for _, (_, *numbers) in table)


def wrong(file: Path, line: int, what: str) -> ValueError:
    return ValueError(f"{file}, line {line}: {what}")


def some(items: Sequence[str], shown: int = 5) -> str:
    """The first of them, for people, and how many more there are."""
    more = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(map(printable, items[:shown])) + more


def printable(text: str, length: int = 200) -> str:
    """The text with escapes in place of control characters and of what is not UTF-8, its middle cut if long."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= length else f"{text[: length // 2]}...{text[-length // 2 :]}"
