"""Whole files or none."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from tdn.utils import free_memory, write_text, write_whole

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


FULL = """import pathlib, resource, signal, sys, numpy, torch, tdn.utils
from tdn.data.pocket.render import encode
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))  # as a disk that is full after so many bytes
noise = numpy.random.default_rng(0).integers(256, size=(60, 56, 56, 3), dtype=numpy.uint8)
for name, write in {
    "weights.pt": lambda file: torch.save(torch.zeros(10_000), file),
    "scores.npz": lambda file: numpy.savez(file, noise),
    "clip.mp4": lambda file: encode(file, noise),
    "table.csv": lambda file: file.write(b"1\\n" * 10_000),
}.items():
    try:
        tdn.utils.write_whole(pathlib.Path(sys.argv[1]) / name, write)
    except OSError as error:
        print(error)"""


def test_a_full_disk_is_said_in_a_line_with_the_file_and_what_to_do(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path], capture_output=True, text=True, env=environment)
    said = done.stdout.splitlines()
    assert len(said) == 4 and list(tmp_path.iterdir()) == [], done.stderr
    for line, name in zip(said, ("weights.pt", "scores.npz", "clip.mp4", "table.csv"), strict=True):
        assert line.startswith("[Errno 27] File too large; make room there, or choose another folder (TDN_HOME ")
        assert line.endswith(f"'{tmp_path / name}'")


def test_a_disk_that_cannot_be_written_is_said_and_other_errors_stay(tmp_path, monkeypatch):
    def fails(number):
        def call(*_):
            raise OSError(number, os.strerror(number))

        return call

    monkeypatch.setattr(os, "fsync", fails(errno.EROFS))  # root may write to any folder that a test could make
    monkeypatch.setattr(Path, "unlink", fails(errno.EROFS))
    with pytest.raises(OSError, match=r"Read-only file system; make room there.*a\.txt'$"):
        write_text(tmp_path / "a.txt", "text")
    monkeypatch.undo()
    (part,) = tmp_path.iterdir()  # nothing can be removed there either
    part.unlink()
    monkeypatch.setattr(os, "fsync", fails(errno.EINVAL))
    with pytest.raises(OSError, match=r"^\[Errno 22\] Invalid argument$"):
        write_text(tmp_path / "a.txt", "text")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("folder", "limit", "used"), [(".", "memory.max", "anon"), ("memory", "memory.limit_in_bytes", "total_rss")]
)
def test_the_memory_of_a_container_is_what_its_limit_leaves(folder, limit, used, tmp_path, monkeypatch):
    monkeypatch.setattr("tdn.utils.CGROUP", tmp_path)
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "memory.stat").write_text(f"cache 5\n{used} 700\n")
    for text, free in (("1000", 300), ("600", 0), ("max", 10**9), (str(2**63), 10**9)):
        (tmp_path / folder / limit).write_text(f"{text}\n")
        monkeypatch.setattr("psutil.virtual_memory", lambda: Mock(available=10**9))
        assert free_memory() == free
