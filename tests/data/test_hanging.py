"""Files and decoders that hang."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.videos import assert_shows, numbered, write_folder, write_video

from tdn.data import video
from tdn.data.video import VideoError, all_frames, read_frames


class Sleeper:
    """In place of a decoder: no file that hangs one and not the other is known that could be made here."""

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


def test_a_decoder_that_hangs_is_left_for_the_other(tmp_path, monkeypatch):
    path = write_video(tmp_path / "v.mp4", numbered(4, 64, 96))
    monkeypatch.setattr(video, "SECONDS", 0.5)
    monkeypatch.setattr(video, "_read_av", Sleeper)
    frames, pyav_failed = read_frames(path, all_frames)
    assert_shows(frames, numbered(4, 64, 96))
    assert pyav_failed == "took more than 0.5 s"


def test_a_file_that_hangs_is_given_up(tmp_path, monkeypatch):
    path = write_video(tmp_path / "v.mp4", numbered(4, 64, 96))
    folder = write_folder(tmp_path / "v", numbered(4, 64, 96))
    monkeypatch.setattr(video, "SECONDS", 0.5)
    with held(path), pytest.raises(VideoError) as error:
        read_frames(path, all_frames)
    assert error.value.reason == "PyAV: took more than 0.5 s; decord: took more than 0.5 s"
    with held(folder / "00002.jpg"), pytest.raises(VideoError, match=r"v: took more than 0\.5 s"):
        read_frames(folder, all_frames)


READ = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is started with it ignored
sys.path.insert(0, {tests!r})
from data.test_hanging import Sleeper
from tdn.data import video

video.SECONDS = float(sys.argv[2])
if len(sys.argv) > 3:
    video.decord.VideoReader = Sleeper
print("reading", flush=True)
try:
    video.read_frames(sys.argv[1], video.all_frames)
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


def test_a_process_ends_at_once_though_threads_of_it_hang(tmp_path):
    """One sleeps, one is inside FFmpeg."""
    path = write_video(tmp_path / "v.mp4", numbered(4, 64, 96))
    with held(path):
        process = start_reading(path, 0.5, "sleep")
        assert process.stdout.readline().endswith(b"PyAV: took more than 0.5 s; decord: took more than 0.5 s\n")
        _, said = process.communicate(timeout=20)  # importing and leaving torch takes seconds of it
    assert (process.returncode, said) == (0, b"")


def test_ctrl_c_ends_a_reading_that_hangs(tmp_path):
    path = write_video(tmp_path / "v.mp4", numbered(4, 64, 96))
    with held(path):
        process = start_reading(path, 60)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert said.endswith(b"KeyboardInterrupt\n")
