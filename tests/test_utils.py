"""Whole files or none."""

import subprocess
import sys
import time

import pytest

from tdn.utils import write_text, write_whole

SLOW_WRITER = """import sys, time, pathlib, tdn.utils
def slowly(file):
    file.write(b"half"); file.flush()
    pathlib.Path(sys.argv[2]).touch()
    time.sleep(60)
tdn.utils.write_whole(pathlib.Path(sys.argv[1]), slowly)"""


def test_a_failed_write_leaves_the_old_file(tmp_path):
    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    path = tmp_path / "new" / "a.txt"
    write_text(path, "old")
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, fail)
    assert path.read_text() == "old" and [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_a_killed_writer_leaves_no_file_under_the_name(tmp_path):
    path, started = tmp_path / "a.txt", tmp_path / "started"
    writer = subprocess.Popen([sys.executable, "-c", SLOW_WRITER, path, started])
    while not started.exists():
        assert writer.poll() is None
        time.sleep(0.05)
    writer.kill()
    writer.wait()
    assert not path.exists()
    write_text(path, "whole")
    assert path.read_text() == "whole"
