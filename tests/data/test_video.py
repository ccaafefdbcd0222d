"""Opening and reading videos, whole, damaged and hanging."""

import gc
import os
import pickle
import re
import struct
import sys
import weakref
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from helpers.videos import assert_shows, damage, numbered, read, write_folder, write_video

from tdn.data import frames
from tdn.data.pocket import render as pocket
from tdn.data.video import TensorVideo, VideoError, open_video

CLIPS = Path(__file__).parents[3] / "shared/clips"
READERS = pytest.mark.parametrize("reader", ["pyav", "decord"])


@READERS
def test_frames_are_read_as_chosen_more_than_once(reader, tmp_path):
    rendered = pocket.render_clip(8, 3)
    pocket.encode(tmp_path / "clip.mp4", rendered)
    with open_video(tmp_path / "clip.mp4", reader) as opened:
        assert (opened.num_frames, opened.height, opened.width) == (len(rendered), 56, 56)
        whole = opened.read(range(len(rendered)))
        chosen = np.array([[30, 5, 5], [0, 30, len(rendered) - 1]])  # any order, repeated, any shape
        for _ in range(2):
            assert torch.equal(opened.read(chosen), whole[chosen])
        part = opened.read(chosen, (slice(8, 24), slice(40, 56)))
        for wrong in ([-1], [0, len(rendered)]):
            with pytest.raises(IndexError, match=f"has frames 0 to {len(rendered) - 1}"):
                opened.read(wrong)
    assert whole.dtype == torch.uint8 and whole.shape == (len(rendered), 3, 56, 56) and whole.stride(1) == 1
    error = (whole.permute(0, 2, 3, 1).float() - torch.from_numpy(rendered).float()).abs()
    assert error.mean() < 6, "the same frames in the same order, but for compression"
    assert torch.equal(part, whole[chosen][..., 8:24, 40:56])
    assert part.untyped_storage().nbytes() == part.numel(), "no hidden rest goes from process to process"

    with TensorVideo(whole) as of_tensor:
        assert (of_tensor.num_frames, of_tensor.height, of_tensor.width) == (len(rendered), 56, 56)
        assert torch.equal(of_tensor.read(chosen), whole[chosen])
        assert torch.equal(of_tensor.read(chosen, (slice(8, 24), slice(40, 56))), part)


def test_pyav_reads_from_the_start_and_decord_from_key_frames(tmp_path, monkeypatch):
    """Each by itself: neither takes over what the other can't read."""
    clip = numbered(40, 64, 96)
    path = damage(write_video(tmp_path / "damaged.mp4", clip, options={"g": "10"}), 13)
    with pytest.raises(VideoError, match=r"damaged\.mp4: Invalid data found when processing input"):
        read(path, [39, 25])
    assert_shows(read(path, [39, 25, 25, 38], "decord"), clip[[39, 25, 25, 38]])
    with pytest.raises(VideoError):
        read(path, [0, 15], "decord")
    with pytest.raises(ValueError, match="unknown reader 'decor'; did you mean decord"):
        open_video(path, "decor")
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(ImportError, match="decord is not installed: pip install decord"):
        open_video(path, "decord")


OTHERS = [("decord_flipping_a_pancake.mkv", 310, (240, 426)), ("decord_video_rot90.mov", 3, (568, 320))]
OTHERS += [("mmaction2_part_0.mp4", 32, (256, 340)), ("mmaction2_test.avi", 164, (240, 320))]
OTHERS += [("torchcodec_nasa_13013.mp4", 390, (270, 480)), ("decord_CORRUPTED.mp4", 0, ())]


@pytest.mark.parametrize(("name", "frames", "size"), OTHERS)
@pytest.mark.skipif(not CLIPS.exists(), reason="needs video files of other projects")
def test_both_readers_give_the_same_frames_of_other_projects_files(name, frames, size):
    if not frames:
        for reader in ("pyav", "decord"):
            with pytest.raises(VideoError, match=name):
                read(CLIPS / name, reader=reader)
        return
    ends = [0, frames // 2, frames - 1]
    by_pyav, by_decord = [], []
    for reader, found in (("pyav", by_pyav), *[("decord", by_decord)] * 10):
        with open_video(CLIPS / name, reader) as opened:
            assert (opened.num_frames, opened.height, opened.width) == (frames, *size)
            try:
                found.append(opened.read(ends).float())
            except VideoError as error:  # its last frame of an avi is a gamble: right, or refused
                assert name.endswith("avi") and reader == "decord" and "frames that cannot be" in error.reason
    assert by_pyav and all((each - by_pyav[0]).abs().mean() < 4 for each in by_decord)


@READERS
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_rotated_file_is_read_upright(turns, reader, tmp_path):
    clip = numbered(6, 64, 96)
    path = write_video(tmp_path / "held_sideways.mp4", clip)
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44  # how to show the track: turned so often by 90 degrees to the right
    cos, sin = [(1, 0), (0, 1), (-1, 0), (0, -1)][turns]
    values = (cos, sin, 0, -sin, cos, 0, *[(0, 0), (64, 0), (96, 64), (0, 96)][turns])  # in 1 / 2**16
    content[matrix : matrix + 36] = struct.pack(">9i", *(value << 16 for value in values), 1 << 30)
    path.write_bytes(content)
    assert_shows(read(path, reader=reader), np.rot90(clip, -turns, (1, 2)))
    content[matrix : matrix + 36] = struct.pack(">9i", -1 << 16, 0, 0, 0, 1 << 16, 0, 96 << 16, 0, 1 << 30)
    path.write_bytes(content)
    with pytest.raises(VideoError, match="a player shows it mirrored"):  # as cameras that look at the user write
        read(path, reader=reader)


@READERS
@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.webm"])
def test_frames_of_a_variable_rate_are_those_that_were_encoded(name, reader, tmp_path):
    clip = numbered(30, 64, 96)
    ticks = np.random.default_rng(1).integers(1, 60, 30).cumsum()
    codec, options = ("libvpx-vp9", {}) if name == "v.webm" else ("libx264", {"g": "12"})
    path = write_video(tmp_path / name, clip, codec, ticks=ticks, options=options)
    assert_shows(read(path, reader=reader), clip)
    some = [2, 11, 12, 25, 29]  # not one after the other, with key frames between
    assert_shows(read(path, some, reader), clip[some])


ODD = [(5, 240, 427, "libvpx-vp9"), (5, 33, 17, "libvpx-vp9"), (5, 63, 95, "libx264")]  # first: as SSv2 comes
ODD += [(4, 32, 1920, "libx264"), (4, 1080, 34, "libx264"), (1, 64, 96, "libx264"), (2, 64, 96, "libx264")]


@READERS
@pytest.mark.parametrize(("frames", "height", "width", "codec"), ODD)
def test_odd_sizes_and_lengths(frames, height, width, codec, reader, tmp_path):
    clip, pixels = numbered(frames, height, width), "yuv444p" if height == 63 else "yuv420p"
    path = write_video(tmp_path / ("v.webm" if "vp9" in codec else "v.mp4"), clip, codec, pixels)
    assert_shows(read(path, reader=reader), clip, off=14)  # colours at the edge of red, in so few pixels


def test_what_decord_can_not_read_pyav_can(tmp_path):
    clip = numbered(4, 16, 16)
    narrow = write_video(tmp_path / "tiny.mp4", clip, pixels="yuv444p")
    unnamed = write_video(tmp_path / "v.mp4", clip).rename(tmp_path / os.fsdecode(b"caf\xe9.mp4"))
    for path, reason in ((narrow, "cannot read frames of this width"), (unnamed, "its name is not UTF-8")):
        assert_shows(read(path), clip, off=14)
        with pytest.raises(VideoError, match=reason):
            read(path, reader="decord")
    folder = write_folder(tmp_path / "v", clip, "{:05d}.png").rename(tmp_path / os.fsdecode(b"caf\xe9"))
    assert_shows(read(folder), clip)


@pytest.mark.parametrize("cut", ["start", "end"])
def test_frames_cut_off_by_an_edit_list_are_not_shown(cut, tmp_path):
    """As by `ffmpeg -ss 0.2 -c copy`: they stay in the file, and decord would show the last one in their place."""
    clip = numbered(40, 64, 96)
    path = write_video(tmp_path / "whole.mp4", clip, options={"g": "20"})
    content = bytearray(path.read_bytes())
    edit = content.index(b"elst") + 12  # duration in milliseconds, then the start in units of the track
    duration, start = struct.unpack(">Ii", content[edit : edit + 8])
    with av.open(str(path)) as container:
        seconds = container.streams.video[0].time_base
    edited = (duration, start + round(0.2 / seconds)) if cut == "start" else (1000, start)
    content[edit : edit + 8] = struct.pack(">Ii", *edited)
    path.write_bytes(content)
    shown, some = clip[5:] if cut == "start" else clip[:25], [0, 20, 24]
    assert_shows(read(path), shown)
    assert_shows(read(path, some), shown[some])
    with pytest.raises(VideoError, match="may show others of its frames"):
        read(path, reader="decord")


@READERS
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<!DOCTYPE html>\n<html><head><title>Sign in</title>\n" + b"<p>text</p>\n" * 500, "a web page: download"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1\n",
            "the text of a Git LFS pointer: fetch",
        ),
    ],
)
def test_what_lies_in_place_of_a_video_is_named(content, kind, reader, tmp_path):
    for suffix in ("mp4", "avi", "txt"):
        (tmp_path / f"v.{suffix}").write_bytes(content)
        with pytest.raises(VideoError, match=f"no video but {kind}"):
            open_video(tmp_path / f"v.{suffix}", reader)


def test_a_folder_of_frames_is_a_video(tmp_path):
    rendered = pocket.render_clip(8, 3)[:12]
    folder = write_folder(tmp_path / "v", rendered)
    (folder / "list.txt").write_text("no frame")
    for reader in ("pyav", "decord"):
        frames = read(folder, [[11, 0], [3, 3]], reader)
        shown = torch.from_numpy(rendered[[11, 0, 3, 3]]).permute(0, 3, 1, 2).unflatten(0, (2, 2))
        assert frames.shape == (2, 2, 3, 56, 56) and (frames.float() - shown.float()).abs().mean() < 3

    (folder / "00005.jpg").write_bytes(b"half a picture")
    read(folder, [3, 5])  # the fifth is not asked for
    with pytest.raises(VideoError, match=r"v: 00005\.jpg is no image that can be read"):
        read(folder)
    empty = write_folder(tmp_path / "nothing", [])
    (empty / "list.txt").write_text("no frame")
    with pytest.raises(VideoError, match="nothing: no frames"):
        open_video(empty)
    mixed = write_folder(tmp_path / "mixed", [rendered[0], rendered[0][:40]])
    with pytest.raises(VideoError, match="not all of one size"):
        read(mixed)


@READERS
@pytest.mark.parametrize("kind", ["absent", "empty", "text", "truncated"])
def test_an_unreadable_file_is_named_with_its_reason(broken_videos, kind, reader):
    path = broken_videos[kind]
    with pytest.raises(VideoError) as error:
        open_video(path, reader)
    assert error.value.path == path
    reason = error.value.reason
    assert reason and not re.search(r"\d\d:\d\d|\n", reason), "the same words each time"
    assert str(error.value) == f"{path}: {reason}"
    again = pickle.loads(pickle.dumps(error.value))  # it has to come out of worker processes
    assert (again.path, again.reason) == (path, reason)


def write_sound(path, codec, cover=None):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=44100)
        if cover is not None:
            picture = container.add_stream("mjpeg", rate=1)
            picture.height, picture.width, picture.pix_fmt = *cover.shape[:2], "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
            container.mux(picture.encode(av.VideoFrame.from_ndarray(cover, format="rgb24")))
        samples = np.zeros((1, 1024 if codec == "aac" else 1152), np.float32)
        silence = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        silence.sample_rate, silence.pts = 44100, 0
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))


def test_what_is_no_video_is_refused(tmp_path):
    image = numbered(1, 64, 96)[0]
    (tmp_path / "picture.mp4").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    (tmp_path / "words.txt").write_text("FFmpeg plays text files\n" * 50)
    write_sound(tmp_path / "sound.mp4", "aac")
    write_sound(tmp_path / "cover.mp3", "libmp3lame", cover=image)
    reasons = dict.fromkeys(("picture.mp4", "words.txt"), "a picture or text, no video")
    reasons |= dict.fromkeys(("sound.mp4", "cover.mp3"), "no video in the file")
    for name, reason in reasons.items():
        with pytest.raises(VideoError) as error:
            open_video(tmp_path / name)
        assert error.value.reason == reason


def test_half_a_download_and_frames_of_two_sizes_are_refused(tmp_path):
    path = write_video(tmp_path / "v.mp4", np.random.default_rng(0).integers(0, 256, (30, 64, 96, 3), np.uint8))
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "the table of contents is at the start of the file"
    for fraction in (0.3, 0.7):
        path.write_bytes(content[: int(len(content) * fraction)])
        with pytest.raises(VideoError, match=r"breaks off: holds \d+ of its 30 frames"):
            open_video(path)

    small, large = (write_video(tmp_path / f"{h}.ts", numbered(6, h, 96)) for h in (64, 80))
    small.write_bytes(small.read_bytes() + large.read_bytes())
    for reader, reason in (("pyav", "its frames are not all of one size"), ("decord", "may show others")):
        with pytest.raises(VideoError, match=reason):
            read(small, reader=reader)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    path = write_video(tmp_path / "v.mp4", numbered(4, 64, 96))
    folder = write_folder(tmp_path / "v", numbered(2, 64, 96))
    for refused, name in ((path, "v.mp4"), (folder / "00001.jpg", "v"), (folder, "v")):
        refused.chmod(0)
        with pytest.raises(VideoError, match="Permission denied"):
            read(tmp_path / name)
        refused.chmod(0o755)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are listed in /proc, on Linux")
def test_an_error_keeps_its_type_and_holds_no_memory_and_files_are_closed(tmp_path):
    path, seen = write_video(tmp_path / "v.mp4", numbered(4, 64, 96)), []

    def work():
        something = np.zeros(1)
        seen.append(weakref.ref(something))
        raise ZeroDivisionError(4)

    def opened():
        return sum(os.path.realpath(f"/proc/self/fd/{number}") == str(path) for number in os.listdir("/proc/self/fd"))

    gc.disable()
    try:
        with pytest.raises(ZeroDivisionError, match="4"):
            frames.in_time(tmp_path, work)
        assert [ref() for ref in seen] == [None]
        with open_video(path) as one:
            assert opened() == 1
            one.read([0])
        path.write_bytes(path.read_bytes()[:1500])
        with pytest.raises(VideoError):
            open_video(path)
        assert opened() == 0
    finally:
        gc.enable()
