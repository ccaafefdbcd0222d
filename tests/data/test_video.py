"""Decoding, and files that can't be decoded."""

import gc
import os
import pickle
import re
import struct
import wave
import weakref
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from helpers.videos import assert_shows, damage, numbered, write_folder, write_video

from tdn.data import video
from tdn.data.pocket import render as pocket
from tdn.data.video import VideoError, all_frames, read_frames

CLIPS = Path(__file__).parents[3] / "shared/clips"


def no_pyav(path, choose):
    raise VideoError(path, "left out")


@pytest.fixture(params=["PyAV", "decord"])
def decoder(request, monkeypatch):
    """The test runs once with each decoder as the only one."""
    if request.param == "PyAV":
        monkeypatch.setattr(video, "_read_decord", lambda path, choose: pytest.fail("PyAV did not read it"))
    else:
        monkeypatch.setattr(video, "_read_av", no_pyav)
    return request.param


def test_frames_come_as_chosen(tmp_path):
    rendered = pocket.render_clip(8, 3)
    pocket.encode(tmp_path / "clip.mp4", rendered)
    whole, second = read_frames(tmp_path / "clip.mp4", all_frames)
    assert second is None
    assert whole.dtype == torch.uint8 and whole.shape == (len(rendered), 3, 56, 56)
    error = (whole.permute(0, 2, 3, 1).float() - torch.from_numpy(rendered).float()).abs()
    assert error.mean() < 6, "the same frames in the same order, but for compression"

    chosen = np.array([[30, 5, 5], [0, 30, len(rendered) - 1]])  # any order, repeated, any shape
    frames, _ = read_frames(tmp_path / "clip.mp4", lambda count: chosen)
    assert torch.equal(frames, whole[chosen])


def test_a_part_of_each_frame_is_all_that_is_kept(tmp_path):
    path = write_video(tmp_path / "v.mp4", numbered(6, 64, 96))
    whole, _ = read_frames(path, all_frames)
    asked = []

    def cut(height, width):
        asked.append((height, width))
        return slice(8, 24), slice(40, 96)

    part, _ = read_frames(path, all_frames, cut)
    assert asked == [(64, 96)] and torch.equal(part, whole[..., 8:24, 40:96])
    assert part.untyped_storage().nbytes() == part.numel(), "no hidden rest goes from process to process"


def test_what_pyav_fails_at_decord_reads_and_says_so(tmp_path):
    """PyAV goes through the file from the start; decord jumps to the last key frame before the frame wanted."""
    clip = numbered(40, 64, 96)
    path = damage(write_video(tmp_path / "damaged.mp4", clip, options={"g": "10"}), 3)
    frames, pyav_failed = read_frames(path, lambda count: np.array([[39, 25], [25, 38]]))
    assert pyav_failed == "Invalid data found when processing input"
    assert frames.shape == (2, 2, 3, 64, 96) and torch.equal(frames[0, 1], frames[1, 0])
    assert_shows(frames.flatten(0, 1), clip[[39, 25, 25, 38]])
    with pytest.raises(VideoError, match=r"PyAV: Invalid data found .*; decord: "):
        read_frames(path, lambda count: np.array([0, 5]))


def test_both_decoders_give_the_same_frames(tmp_path, monkeypatch):
    pocket.encode(tmp_path / "clip.mp4", pocket.render_clip(8, 3))
    by_pyav, _ = read_frames(tmp_path / "clip.mp4", all_frames)
    monkeypatch.setattr(video, "_read_av", no_pyav)
    by_decord, why = read_frames(tmp_path / "clip.mp4", all_frames)
    assert why == "left out" and by_pyav.shape == by_decord.shape
    assert (by_pyav.float() - by_decord.float()).abs().mean() < 2  # they may turn YUV into RGB each in its own way
    monkeypatch.setattr(video, "decord", None)
    with pytest.raises(VideoError, match="PyAV: left out; decord: not installed"):
        read_frames(tmp_path / "clip.mp4", all_frames)


@pytest.mark.parametrize(
    ("name", "frames", "size"),
    [
        ("decord_flipping_a_pancake.mkv", 310, (240, 426)),
        ("decord_video_rot90.mov", 3, (568, 320)),
        ("mmaction2_part_0.mp4", 32, (256, 340)),
        ("mmaction2_test.avi", 164, (240, 320)),
        ("torchcodec_nasa_13013.mp4", 390, (270, 480)),
    ],
)
@pytest.mark.skipif(not CLIPS.exists(), reason="needs video files of other projects")
def test_files_of_other_projects(name, frames, size, monkeypatch):
    def ends(count):
        assert count == frames
        return np.array([0, count // 2, count - 1])

    shown, second = read_frames(CLIPS / name, ends)
    assert shown.shape == (3, 3, *size) and second is None
    by_pyav = shown.float()
    monkeypatch.setattr(video, "_read_av", no_pyav)
    decord = []
    for _ in range(10):
        try:
            decord.append(read_frames(CLIPS / name, ends)[0].float())
        except VideoError as error:  # its last frame of an avi is a gamble: right, or refused
            assert name.endswith("avi") and "frames that cannot be decoded" in error.reason
    assert all((by_decord - by_pyav).abs().mean() < 4 for by_decord in decord)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_rotated_file_is_read_upright(turns, decoder, tmp_path):
    clip = numbered(6, 64, 96)
    path = write_video(tmp_path / "held_sideways.mp4", clip)
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44  # how to show the track: turned so often by 90 degrees to the right
    cos, sin = [(1, 0), (0, 1), (-1, 0), (0, -1)][turns]
    moved = [(0, 0), (64, 0), (96, 64), (0, 96)][turns]
    one = 1 << 16
    content[matrix : matrix + 36] = struct.pack(
        ">9i", cos * one, sin * one, 0, -sin * one, cos * one, 0, moved[0] * one, moved[1] * one, 1 << 30
    )
    path.write_bytes(content)
    assert_shows(read_frames(path, all_frames)[0], np.rot90(clip, -turns, (1, 2)))


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.webm"])
def test_frames_of_a_variable_rate_are_those_that_were_encoded(name, decoder, tmp_path):
    clip = numbered(30, 64, 96)
    ticks = np.random.default_rng(1).integers(1, 60, 30).cumsum()
    codec, options = ("libvpx-vp9", {}) if name == "v.webm" else ("libx264", {"g": "12"})
    path = write_video(tmp_path / name, clip, codec, ticks=ticks, options=options)
    assert_shows(read_frames(path, all_frames)[0], clip)
    some = [2, 11, 12, 25, 29]  # not one after the other, with key frames between
    assert_shows(read_frames(path, lambda count: np.array(some))[0], clip[some])


@pytest.mark.parametrize(
    ("frames", "height", "width", "codec", "pixels"),
    [
        (5, 240, 427, "libvpx-vp9", "yuv420p"),  # as Something-Something V2 comes
        (5, 33, 17, "libvpx-vp9", "yuv420p"),
        (5, 63, 95, "libx264", "yuv444p"),
        (4, 32, 1920, "libx264", "yuv420p"),
        (4, 1080, 34, "libx264", "yuv420p"),
        (1, 64, 96, "libx264", "yuv420p"),
        (2, 64, 96, "libx264", "yuv420p"),
    ],
)
def test_odd_sizes_and_lengths(frames, height, width, codec, pixels, decoder, tmp_path):
    clip = numbered(frames, height, width)
    path = write_video(tmp_path / ("v.webm" if "vp9" in codec else "v.mp4"), clip, codec, pixels)
    assert_shows(read_frames(path, all_frames)[0], clip, off=14)  # colours at the edge of red, in so few pixels


def test_tiny_frames_and_narrow_ones(tmp_path, monkeypatch):
    clip = numbered(4, 16, 16)
    path = write_video(tmp_path / "tiny.mp4", clip, pixels="yuv444p")
    frames, second = read_frames(path, all_frames)
    assert_shows(frames, clip)
    assert second is None
    monkeypatch.setattr(video, "_read_av", no_pyav)
    with pytest.raises(VideoError, match="decord: cannot read frames of this width"):
        read_frames(path, all_frames)


def test_a_name_that_is_not_utf_8(tmp_path):
    clip = numbered(4, 64, 96)
    path = write_video(tmp_path / "v.mp4", clip).rename(tmp_path / os.fsdecode(b"caf\xe9.mp4"))
    assert_shows(read_frames(path, all_frames)[0], clip)
    damage(path, 0)
    with pytest.raises(VideoError, match="decord: its name is not UTF-8"):
        read_frames(path, all_frames)
    folder = write_folder(tmp_path / "v", clip, "{:05d}.png").rename(tmp_path / os.fsdecode(b"caf\xe9"))
    assert_shows(read_frames(folder, all_frames)[0], clip)


@pytest.mark.parametrize("cut", ["start", "end"])
def test_frames_cut_off_by_an_edit_list_are_not_shown(cut, tmp_path, monkeypatch):
    """As by `ffmpeg -ss 0.2 -i ... -c copy`: such frames stay in the file, for those that build on them. decord would
    count them, and repeat the last frame that is shown in their place."""
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
    shown = clip[5:] if cut == "start" else clip[:25]
    assert_shows(read_frames(path, all_frames)[0], shown)
    some = [0, 20, 24]
    assert_shows(read_frames(path, lambda count: np.array(some))[0], shown[some])
    monkeypatch.setattr(video, "_read_av", no_pyav)
    with pytest.raises(VideoError, match="decord: counts frames that an edit list cuts off"):
        read_frames(path, all_frames)


def test_a_folder_of_frames_is_a_video(tmp_path):
    rendered = pocket.render_clip(8, 3)[:12]
    folder = write_folder(tmp_path / "v", rendered)
    (folder / "list.txt").write_text("no frame")
    frames, second = read_frames(folder, lambda count: np.array([[count - 1, 0], [3, 3]]))
    assert frames.shape == (2, 2, 3, 56, 56) and second is None
    shown = torch.from_numpy(rendered[[11, 0, 3, 3]]).permute(0, 3, 1, 2).unflatten(0, (2, 2))
    assert (frames.float() - shown.float()).abs().mean() < 3

    (folder / "00005.jpg").write_bytes(b"half a picture")
    read_frames(folder, lambda count: np.array([3, 5]))  # nobody asked for the fifth
    with pytest.raises(VideoError, match=r"v: 00005\.jpg is no image that can be read"):
        read_frames(folder, all_frames)
    empty = write_folder(tmp_path / "nothing", [])
    (empty / "list.txt").write_text("no frame")
    with pytest.raises(VideoError, match="nothing: no frames"):
        read_frames(empty, all_frames)
    mixed = write_folder(tmp_path / "mixed", [rendered[0], rendered[0][:40]])
    with pytest.raises(VideoError, match="not all of one size"):
        read_frames(mixed, all_frames)


@pytest.mark.parametrize("kind", ["absent", "empty", "text", "truncated"])
def test_an_unreadable_file_is_named_with_its_reason(broken_videos, kind):
    path = broken_videos[kind]
    with pytest.raises(VideoError) as error:
        read_frames(path, all_frames)
    assert error.value.path == path
    assert not re.search(r"\d\d:\d\d|\n", error.value.reason), "the same words each time"
    assert error.value.reason and str(error.value) == f"{path}: {error.value.reason}"
    again = pickle.loads(pickle.dumps(error.value))  # it has to come out of worker processes
    assert (again.path, again.reason) == (error.value.path, error.value.reason)


def write_sound(path, codec, cover=None):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=44100)
        if cover is not None:
            picture = container.add_stream("mjpeg", rate=1)
            picture.height, picture.width, picture.pix_fmt = *cover.shape[:2], "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
            container.mux(picture.encode(av.VideoFrame.from_ndarray(cover, format="rgb24")))
        buffer = av.AudioFifo()
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        silence.sample_rate, silence.pts = 44100, 0
        buffer.write(silence)
        while frame := buffer.read(1024 if codec == "aac" else 1152):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_what_is_no_video_is_refused(tmp_path):
    picture = numbered(1, 64, 96)[0]
    cv2.imwrite(str(tmp_path / "picture.png"), picture)
    (tmp_path / "picture.png").rename(tmp_path / "picture.mp4")
    (tmp_path / "words.txt").write_text("FFmpeg plays text files\n" * 50)
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(8000)
        sound.writeframes(bytes(8000))
    write_sound(tmp_path / "sound.mp4", "aac")
    write_sound(tmp_path / "cover.mp3", "libmp3lame", cover=picture)
    for name, reason in (
        ("picture.mp4", "a picture or text, no video"),
        ("words.txt", "a picture or text, no video"),
        ("sound.wav", "no video in the file"),
        ("sound.mp4", "no video in the file"),
        ("cover.mp3", "no video in the file"),
    ):
        reasons = set()
        for _ in range(2):
            with pytest.raises(VideoError, match=reason) as error:
                read_frames(tmp_path / name, all_frames)
            reasons.add(error.value.reason)
        assert len(reasons) == 1, "the same words each time"


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_half_a_download_is_refused_even_where_the_frames_asked_for_are_there(share, tmp_path):
    path = write_video(tmp_path / "v.mp4", np.random.default_rng(0).integers(0, 256, (30, 64, 96, 3), np.uint8))
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "what is in the file stands at its start"
    path.write_bytes(content[: int(len(content) * share)])
    for frames in (all_frames, lambda count: np.array([0, 1])):
        with pytest.raises(VideoError, match=r"breaks off: holds \d+ of its 30 frames"):
            read_frames(path, frames)


def test_frames_of_two_sizes_are_refused(tmp_path):
    """decord would repeat the last frame of the first size."""
    small, large = (write_video(tmp_path / f"{h}.ts", numbered(6, h, 96)) for h in (64, 80))
    small.write_bytes(small.read_bytes() + large.read_bytes())
    with pytest.raises(VideoError, match="PyAV: its frames are not all of one size; decord: frames that cannot be"):
        read_frames(small, all_frames)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    path = write_video(tmp_path / "v.mp4", numbered(4, 64, 96))
    folder = write_folder(tmp_path / "v", numbered(2, 64, 96))
    for refused, name in ((path, "v.mp4"), (folder / "00001.jpg", "v"), (folder, "v")):
        refused.chmod(0)
        with pytest.raises(VideoError, match="Permission denied"):
            read_frames(tmp_path / name, all_frames)
        refused.chmod(0o755)


def test_an_error_of_the_choice_keeps_its_type_and_holds_no_memory(tmp_path):
    """Only in the decoders' own errors a second decoder is tried."""
    path = write_video(tmp_path / "v.mp4", numbered(4, 64, 96))
    seen = []

    def choose(count):
        something = np.zeros(1)
        seen.append(weakref.ref(something))
        raise ZeroDivisionError(count)

    gc.disable()
    try:
        with pytest.raises(ZeroDivisionError, match="4"):
            read_frames(path, choose)
        assert [ref() for ref in seen] == [None]
    finally:
        gc.enable()


def test_the_second_decoder_is_asked_for_the_frames_that_the_first_was(tmp_path):
    path = damage(write_video(tmp_path / "damaged.mp4", numbered(30, 64, 96), options={"g": "10"}), 3)
    drawn = []

    def choose(count):
        drawn.append(np.random.default_rng().integers(10, count, 6))
        return drawn[-1]

    frames, pyav_failed = read_frames(path, choose)
    assert pyav_failed and len(drawn) == 1
    assert_shows(frames, numbered(30, 64, 96)[drawn[0]])
