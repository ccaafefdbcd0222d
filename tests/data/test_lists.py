"""Lists of paths, labels and names of classes, as other programs and projects write them."""

import os
import re
import subprocess
import sys

import pytest

from tdn.__main__ import main
from tdn.data.disk.lists import class_names, printable, read_list, seconds

NAMES = [f"类 {number}" for number in range(18)]
TEXT = "\n".join(NAMES)


@pytest.mark.parametrize(
    "content",
    [
        f"{TEXT}\n\n".encode(),
        f"{TEXT}\n \n\n".encode("utf-8-sig"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        TEXT.encode("utf-16"),  # with a mark: Notepad, PowerShell
        "\n".join(f"{number} {name}" for number, name in enumerate(NAMES, 1)).encode(),  # UCF101's classInd.txt
        "\n".join(f"{number:03d},{name}" for number, name in enumerate(NAMES)).encode(),
    ],
)
def test_names_are_read_however_they_were_saved(content, tmp_path):
    (tmp_path / "names.txt").write_bytes(content)
    assert class_names(tmp_path / "names.txt") == NAMES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TEXT.encode("gbk"), "line 1 has the byte 0xc0, as in GBK, Big5, Shift-JIS or EUC-KR; save it"),
        ("walk\nKüche\n".encode("latin-1"), "line 2 has the byte 0xfc, as in ISO-8859-1, or another with one byte"),
        (TEXT.encode("utf-16-le"), "has NUL characters, as UTF-16"),
        (b"a\n\nb\n", "line 3: a blank line"),
        (b"a\nb\na\n", "line 3: .* there twice"),
        (b"\n", "is empty"),
        (b"1 a\n\n2 b\n", "line 3: a blank line"),
    ],
)
def test_other_names_are_refused_by_file_and_place(content, message, tmp_path, capsys):
    file = tmp_path / "names.txt"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"{file}.*{message}"):
        class_names(file)
    with pytest.raises(SystemExit, match="2"):
        main(["predict", "a.mp4", "--weights", "w.pt", "--classes", str(file)])
    assert re.search(f"--classes: {file}.*{message}.*\n$", error := capsys.readouterr().err) and error.count("\n") == 1


@pytest.mark.parametrize("names", [["1 cup", "2 cups", "3 cups"], ["0 a", "2 b"], ["2 a", "3 b"], ["1 a", "b"]])
def test_numbers_that_do_not_count_the_names_belong_to_them(names, tmp_path):
    (tmp_path / "names.txt").write_text("\n".join(names))
    assert class_names(tmp_path / "names.txt") == names


def test_the_locale_decides_nothing(tmp_path):
    (tmp_path / "names.txt").write_text(TEXT, "utf-8-sig")
    code = "import sys; from tdn.commands.options import text_file; print(ascii(text_file(sys.argv[1])))"
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", code, tmp_path / "names.txt"]
    assert subprocess.run(command, env=environment, capture_output=True, check=True).stdout.decode() == f"{NAMES!a}\n"


A_B = [("a 1.mp4", "0"), ("b.mp4", "1")]
NUMBERS = [("a", "0"), ("b", "1")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a 1.mp4 0\nb.mp4 1\n", A_B),  # SlowFast
        ("\"a 1.mp4\" 0\n'b.mp4' 1\n", A_B),
        ('"a 1.mp4" 120 0\nb.mp4 31 1\n', A_B),
        ("a 1.mp4,0\nb.mp4,1\n", A_B),
        ("a 1.mp4, 0\nb.mp4, 1\n", A_B),
        ("a 1.mp4\t0\nb.mp4\t1\n", A_B),
        ("a 1.mp4;0\r\nb.mp4;1\r\n", A_B),
        ("a 1.mp4 120 0\nb.mp4 31 1\n", A_B),  # TSN, TSM, TDN
        ("a 1.mp4,120,0\nb.mp4,31,1\n", A_B),
        ("path label\na 1.mp4 0\nb.mp4 1\n", A_B),
        ("label frames path\n0 120 a\n1 31 b\n", NUMBERS),
        ('\ufeffpath,label\n"a 1.mp4",0\nb.mp4,1\n', A_B),
        ("id;Video Name;Label\n7;a 1.mp4;0\n8;b.mp4;1\n", A_B),
        ("label,kind,path\n0,5,a 1.mp4\n1,5,b.mp4\n", A_B),
        ("clip_name,clip_path,label\nx,a 1.mp4,0\ny,b.mp4,1\n", A_B),
        ("my, a.mp4 0\nmy, b.mp4 1\n", [("my, a.mp4", "0"), ("my, b.mp4", "1")]),
        ("a.mp4,walk\nb.mp4,run fast\n", [("a.mp4", "walk"), ("b.mp4", "run fast")]),
        ("frames/a 3 120 0\nframes/b 5 90 1\n", [("frames/a 3", "0"), ("frames/b 5", "1")]),
    ],
)
def test_forms_of_lists(text, expected, tmp_path):
    (tmp_path / "train.csv").write_text(text)
    rows, notes = read_list(tmp_path / "train.csv", tmp_path)
    assert [(row.path, row.label) for row in rows] == expected and not notes
    lines = text.lstrip("\ufeff").splitlines()
    assert all(row.path in lines[row.line - 1] for row in rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.mp4\nb.mp4\n", "line 1: neither `path label` nor `path frames label`"),
        ("a.mp4 1\nb.mp4\n", "line 2: neither"),
        ("a.mp4 walk\nb.mp4 run\n", "line 1: neither"),
        ("0,a.mp4\n1,b.mp4\n", "line 1: neither"),
        ("0,videos/a\n1,videos/b\n", "line 1: neither"),
        ("title,what\na.mp4,b,3\n", "line 1: neither"),
        ("a.mp4 1 0 0\nb.mp4 0 0 1\n", "line 1: one-hot labels"),
        ("a.mp4,1,0,0\nb.mp4,0,0,1\n", "line 1: one-hot labels"),
        ("a.mp4,7,8,0\nb.mp4,9,0,1\n", "line 1: 3 columns after the path"),
        ("path,label\na,0\nb,x,1\nc,2\n", "line 3: fields separated by ',': 3, usually 2: 'b,x,1'"),
        ("a;walk\nb;run\n\nc walk\n", "line 4: fields separated by ';': 1, usually 2: 'c walk'"),
        ("path label\na walk\nb run\nc.mp4\n", "line 4: fields separated by ' ': 1, usually 2"),
        ("", "is empty"),
    ],
)
def test_other_lists_are_refused_with_what_is_expected(text, message, tmp_path):
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(ValueError, match=f"train.csv.*({message})"):
        read_list(tmp_path / "train.csv", tmp_path)


def test_two_numbers_that_may_be_something_else_are_doubtful(tmp_path):
    """One-hot `path 1 0` has the label of `path frames label`, too; `take 1 0` may be a path with a blank."""
    (tmp_path / "train.txt").write_text("a 1 0\nb 0 1\n")
    rows, notes = read_list(tmp_path / "train.txt", tmp_path)
    assert [row[1:3] for row in rows] == NUMBERS and re.search("train.txt: .* one-hot", *notes)
    (tmp_path / "train.txt").write_text("a 1 0\nb 1 1\nc 4 2")
    assert re.search("train.txt: .* numbers of frames", *read_list(tmp_path / "train.txt", tmp_path)[1])
    (tmp_path / "train.txt").write_text("take 1 0\ntake 2 1\n")
    (tmp_path / "take 2").mkdir()
    rows, notes = read_list(tmp_path / "train.txt", tmp_path)
    assert [row[1:3] for row in rows] == [("take 1", "0"), ("take 2", "1")] and not notes


def test_any_text_can_be_printed():
    assert printable("a\x1b[31m\n\0b" + os.fsdecode(b"\xff")) == r"a\x1b[31m\n\x00b\udcff"
    assert printable("类 é") == "类 é" and len(printable("x" * 100_000)) < 250


def test_what_of_a_list_is_not_used_is_said(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "train.csv").write_text("filename,gesture\na.mp4,wave\nb.mp4,point\n")  # titles that nobody knows
    rows, (note,) = read_list(tmp_path / "train.csv", tmp_path)
    assert [row.label for row in rows] == ["wave", "point"]
    assert note == "train.csv: line 1 is read as titles of the columns: filename | gesture"
    (tmp_path / "train.csv").write_text("path,start,end,label\na.mp4,0,10,walk\na.mp4,20,30,run\n")
    rows, notes = read_list(tmp_path / "train.csv", tmp_path)
    assert [row[1:] for row in rows] == [("a.mp4", "walk", "0", "10"), ("a.mp4", "run", "20", "30")] and not notes
    assert [seconds(text) for text in ("12.5", "1:02.5", "1:00:02")] == [12.5, 62.5, 3602]
    for text in ("", "1:", "-1", "1:2:3:4", "ten"):
        with pytest.raises(ValueError, match="no time: seconds"):
            seconds(text)
