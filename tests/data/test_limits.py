"""What opening a video may touch and take: names are files, headers are believed, memory is bounded."""

import os
import subprocess
import sys

import av
import numpy as np
import pytest
from helpers.videos import assert_shows, numbered, read, write_folder, write_video

from tdn.data import frames
from tdn.data.clips import TrainingClips, Unreadable, Video, VideoSet
from tdn.data.video import VideoError, open_video

CLIP = numbered(50, 64, 96)
NAMES = [
    "12:30.mp4",
    "http:x.mp4",
    "concat:a|b.mp4",
    "file:c.mp4",
    "pipe:0",
    "%03d.mp4",
    "a%d.gif",
    "-i.mp4",
    "é?#.mp4",
]


@pytest.mark.parametrize("reader", ["pyav", "decord"])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_file_whatever_it_looks_like(name, reader, tmp_path, monkeypatch):
    if name.endswith("gif"):
        made = write_video(tmp_path / "made.gif", CLIP[:8], "gif", "rgb8")
    else:
        made = write_video(tmp_path / "made.mp4", CLIP[:8])
    monkeypatch.chdir(tmp_path)
    os.rename(made, name)
    if name.endswith("gif") and reader == "decord":
        with pytest.raises(VideoError, match="decord may show others"):
            open_video(name, reader)
    else:
        assert_shows(read(name, reader=reader), CLIP[:8], off=30 if name.endswith("gif") else 8)


@pytest.mark.parametrize("text", ["#EXTM3U\n#EXTINF:1,\nv.ts\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile v.ts\n"])
def test_a_file_that_names_other_files_opens_none_of_them(text, tmp_path):
    write_video(tmp_path / "v.ts", CLIP)
    (tmp_path / "list.mp4").write_text(text)
    with pytest.raises(VideoError):
        open_video(tmp_path / "list.mp4")


@pytest.mark.parametrize("reader", ["pyav", "decord"])
def test_a_nul_in_a_name_is_an_unreadable_video(reader):
    with pytest.raises(VideoError, match="NUL character"):
        open_video("a\0b.mp4", reader)


@pytest.mark.parametrize("name", ["v.avi", "v.mkv", "v.flv", "v.mov", "v.mp4", "v.gif", "v.wmv", "v.ivf", "v.mxf"])
def test_a_file_that_breaks_off_is_named_with_both_numbers(name, tmp_path):
    """Wherever the header promises more: frames, or a length in time or bytes."""
    codecs = {"avi": "mpeg4", "gif": "gif", "wmv": "wmv2", "ivf": "libvpx-vp9", "mxf": "mpeg2video"}
    codec = codecs.get(name[2:], "libx264")
    clip = np.random.default_rng(0).integers(0, 256, CLIP.shape, np.uint8)
    path = write_video(tmp_path / name, clip, codec, "rgb8" if codec == "gif" else "yuv420p", options={"g": "10"})
    if name == "v.mov":
        path = write_video(tmp_path / "first.mp4", clip).rename(path)  # its header comes first
    with open_video(path) as opened:
        assert opened.num_frames == len(clip)
    content = path.read_bytes()
    for share in (0.5, 0.9):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(VideoError) as error:
            open_video(path)
        there, promised = map(int, [word for word in error.value.reason.split() if word.isdigit()])
        assert "breaks off: holds" in error.value.reason
        assert abs(there - share * len(clip)) <= 8 and there < promised
        assert abs(promised - len(clip)) <= 4 or (name == "v.gif" and promised == there + 1)  # a GIF promises nothing


def test_whole_files_are_not_said_to_break_off(tmp_path):
    """With sound that goes on, with a last frame that is shown for long, with a stream of unknown length."""
    ticks = [0, 4, 8, 500, 1500]
    for name in ("v.mkv", "v.webm", "v.flv", "v.avi"):
        codec = {"v.webm": "libvpx-vp9", "v.avi": "mpeg4", "v.flv": "flv"}.get(name, "libx264")
        path = write_video(tmp_path / name, CLIP[:5], codec, ticks=None if name == "v.avi" else ticks)
        assert_shows(read(path), CLIP[:5], off=14)
    for suffix in ("mkv", "flv", "mp4"):
        path = tmp_path / f"sound.{suffix}"
        with av.open(str(path), "w") as container:
            sound, video = container.add_stream("aac", rate=44100), container.add_stream("libx264", rate=25)
            video.height, video.width, video.pix_fmt = 64, 96, "yuv420p"
            for number, image in enumerate(CLIP[:10]):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts = number
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
            for number in range(200):
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                silence.sample_rate, silence.pts = 44100, 1024 * number
                container.mux(sound.encode(silence))
            container.mux(sound.encode(None))
        assert_shows(read(path), CLIP[:10])


def test_what_takes_more_memory_than_there_is_is_an_unreadable_video(tmp_path, monkeypatch):
    path = write_video(tmp_path / "v.mp4", CLIP)
    folder = write_folder(tmp_path / "v", CLIP[:3])
    monkeypatch.setenv("TDN_VIDEO_GB", "0.0005")  # 40 frames of 96 x 64 take 0.0007
    clips = TrainingClips(VideoSet([Video(path, 0), Video(folder, 0)], ["a class"]), 8, 5)
    for index in range(2):
        item = clips[index]
        assert isinstance(item, Unreadable)
        assert (
            "40 frames of 96 x 64 take 0.000737 GB, more than the 0.0005 GB" in item.reason
            and "TDN_VIDEO_GB=" in item.reason
        )
    monkeypatch.setenv("TDN_VIDEO_GB", "0.0008")
    with open_video(path) as opened:
        assert opened.read(range(40)).shape[0] == 40
        with pytest.raises(VideoError, match="50 frames of 96 x 64 take"):
            opened.read(range(50))
        assert opened.read(range(50), (slice(0, 32), slice(0, 48))).shape == (50, 3, 32, 48)
    monkeypatch.delenv("TDN_VIDEO_GB")
    with pytest.raises(VideoError, match=r"40 frames of 8192 x 8192 take 8\.05 GB, more than the 4 GB allowed"):
        frames.check_memory(path, frames.CLIP, 8192, 8192, frames.CLIP_GB)
    frames.check_memory(path, frames.CLIP, 4320, 7680, frames.CLIP_GB)  # 8K is fine

    def empty(shape, *arguments, **options):
        if len(shape) == 4:
            raise MemoryError
        return np.zeros(shape, *arguments, **options)

    with open_video(path) as opened, monkeypatch.context() as patch:
        patch.setattr(frames.np, "empty", empty)
        with pytest.raises(VideoError, match="not enough memory for 2 frames"):
            opened.read([0, 1])


MEMORY = r"""
import re, sys, psutil
from pathlib import Path
from tdn.data.video import open_video
before = psutil.Process().memory_info().rss
with open_video(sys.argv[1]) as video:
    frames = video.read([0, video.num_frames // 2, video.num_frames - 1])
peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024  # getrusage has the parent's
print(video.num_frames, (peak - before) / 1e6, frames.numel() / 1e6)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux has it")
@pytest.mark.parametrize("name", ["v.avi", "v.mkv", "v.mov"])
def test_a_large_file_is_not_held_in_memory(name, tmp_path):
    """300 MB and more of packets; peak below 300 MB above the frames asked for."""
    clip = np.random.default_rng(0).integers(0, 256, (4, 720, 1280, 3), np.uint8)
    one = write_video(tmp_path / f"one.{name[2:]}", clip, "mjpeg", "yuvj420p", options={"qmin": "1", "qmax": "1"})
    with av.open(str(one)) as old, av.open(str(tmp_path / name), "w") as new:
        packets = [packet for packet in old.demux(video=0) if packet.size]
        out = new.add_stream_from_template(old.streams.video[0], opaque=True)
        step = packets[1].pts - packets[0].pts
        for number in range(320):
            packet = av.Packet(bytes(packets[number % 4]))
            packet.pts, packet.dts, packet.duration = number * step, number * step, step
            packet.time_base, packet.is_keyframe, packet.stream = packets[0].time_base, True, out
            new.mux(packet)
    assert (tmp_path / name).stat().st_size > 3e8
    program = [sys.executable, "-c", MEMORY, str(tmp_path / name)]
    told = subprocess.run(program, capture_output=True, text=True, check=True)
    number, peak, needed = map(float, told.stdout.split())
    assert number == 320 and peak < needed + 300
