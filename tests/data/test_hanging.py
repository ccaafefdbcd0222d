"""Files and decoders that hang."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.videos import numbered, read, write_folder, write_video

from tdn.data import video
from tdn.data.video import VideoError, open_video

READERS = pytest.mark.parametrize("reader", ["pyav", "decord"])


class Sleeper:
    """In place of a decoder: no file that hangs one is known that could be made here."""

    def __init__(self, *arguments, **options):
        time.sleep(3600)


@contextmanager
def held(path):
    """Opening the file blocks, as on a disk over a network that is gone: by a lease, which the kernel gives its holder
    45 s to give back."""
    fcntl = pytest.importorskip("fcntl")
    if not hasattr(fcntl, "F_SETLEASE"):
        pytest.skip("leases are Linux's")
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # how the kernel asks for it
    file = os.open(path, os.O_RDWR)
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError:
        pytest.skip("no leases on this file system")
    try:
        yield
    finally:
        os.close(file)
        signal.signal(signal.SIGIO, before)


def test_a_file_that_hangs_is_given_up(tmp_path, monkeypatch):
    path = write_video(tmp_path / "v.mp4", numbered(4, 64, 96))
    folder = write_folder(tmp_path / "v", numbered(4, 64, 96))
    monkeypatch.setattr(video, "SECONDS", 0.5)
    for reader in ("pyav", "decord"):
        with held(path), pytest.raises(VideoError, match=r"took more than 0\.5 s"):
            open_video(path, reader)
    with held(folder / "00002.jpg"), pytest.raises(VideoError, match=r"v: took more than 0\.5 s"):
        read(folder)


def test_a_decoder_that_hangs_while_reading_is_not_closed(tmp_path, monkeypatch):
    path = write_video(tmp_path / "v.mp4", numbered(4, 64, 96))
    monkeypatch.setattr(video, "SECONDS", 0.5)
    monkeypatch.setattr(video, "_quarter_turns", lambda frame: (frame.pts and time.sleep(2)) or 0)
    with pytest.raises(VideoError, match=r"took more than 0\.5 s"), open_video(path) as opened:
        opened.read([0, 1])
    assert list(opened._container.streams), "the thread that hangs may still use it"


READ = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is started with it ignored
sys.path.insert(0, {tests!r})
from data.test_hanging import Sleeper
from tdn.data import video

video.SECONDS = float(sys.argv[2])
if sys.argv[3] == "decord":
    import decord
    decord.VideoReader = Sleeper
print("reading", flush=True)
try:
    video.open_video(sys.argv[1], sys.argv[3])
except video.VideoError as error:
    print(error, flush=True)
"""


def start_reading(*arguments):
    process = subprocess.Popen(
        [sys.executable, "-c", READ.format(tests=str(Path(__file__).parents[1])), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"reading\n"
    return process


@pytest.mark.slow
@READERS
def test_a_process_ends_at_once_though_a_thread_of_it_hangs(reader, tmp_path):
    """One inside FFmpeg, one asleep."""
    path = write_video(tmp_path / "v.mp4", numbered(4, 64, 96))
    with held(path):
        process = start_reading(path, 0.5, reader)
        assert process.stdout.readline().endswith(b": took more than 0.5 s\n")
        _, said = process.communicate(timeout=20)  # importing and leaving torch takes seconds of it
    assert (process.returncode, said) == (0, b"")


@pytest.mark.slow
def test_ctrl_c_ends_a_reading_that_hangs(tmp_path):
    path = write_video(tmp_path / "v.mp4", numbered(4, 64, 96))
    with held(path):
        process = start_reading(path, 60, "pyav")
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert said.endswith(b"KeyboardInterrupt\n")
