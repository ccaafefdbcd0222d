"""Whole files or none."""

import subprocess
import sys
import time

import pytest

from tdn.utils import write_text, write_whole

SLOW_WRITER = """
import sys, time
from pathlib import Path
from tdn.utils import write_whole
def slowly(file):
    file.write(b"half"); file.flush()
    Path(sys.argv[2]).touch()
    time.sleep(60)
write_whole(Path(sys.argv[1]), slowly)
"""


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write_text(path, "old")

    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

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
