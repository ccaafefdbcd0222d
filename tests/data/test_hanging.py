"""Files and decoders that hang."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from helpers.videos import numbered, read, write_folder, write_video

from tdn.data import frames
from tdn.data import video as video_room
from tdn.data.video import VideoError, open_video


@contextmanager
def held(path):
    """Opening the file blocks, as on a network disk that is gone: by a lease, which may be held for 45 s."""
    fcntl = pytest.importorskip("fcntl")
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # how the kernel asks for it
    file = os.open(path, os.O_RDWR)
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except (AttributeError, OSError):
        pytest.skip("leases are Linux's, and not on every file system")
    try:
        yield
    finally:
        os.close(file)
        signal.signal(signal.SIGIO, before)


def test_a_file_or_decoder_that_hangs_is_given_up(tmp_path, monkeypatch):
    clip = numbered(4, 64, 96)
    folder = write_folder(tmp_path / "v", clip)
    monkeypatch.setattr(frames, "SECONDS", 0.5)
    with monkeypatch.context() as patch:
        patch.setattr(video_room, "quarter_turns", lambda frame: (frame.pts and time.sleep(2)) or 0)
        path = write_video(tmp_path / "v.mp4", clip)
        with pytest.raises(VideoError, match=r"took more than 0\.5 s"), open_video(path) as opened:
            opened.read([0, 1])
    assert list(opened._container.streams), "the thread that hangs may still use it"

    for reader in ("pyav", "decord"):
        path = write_video(tmp_path / f"{reader}.mp4", clip)  # none that the thread of a case before has still open
        with held(path), pytest.raises(VideoError, match=r"took more than 0\.5 s"):
            open_video(path, reader)
    with held(folder / "00002.jpg"), pytest.raises(VideoError, match=r"v: took more than 0\.5 s"):
        read(folder)


READ = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is started with it ignored
from tdn.data import frames, video

frames.SECONDS = float(sys.argv[2])
if sys.argv[3] == "decord":
    import decord
    decord.VideoReader = lambda *arguments, **options: time.sleep(3600)  # no file is known that hangs it
print("reading", flush=True)
try:
    video.open_video(sys.argv[1], sys.argv[3])
except video.VideoError as error:
    print(error, flush=True)
"""


def start_reading(*arguments):
    command, pipe = [sys.executable, "-c", READ, *map(str, arguments)], subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe)
    assert process.stdout.readline() == b"reading\n"
    return process


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["pyav", "decord"])
def test_a_process_ends_at_once_though_a_thread_of_it_hangs(reader, tmp_path):
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
