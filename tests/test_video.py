"""Decoding, and files that can't be decoded."""

import pickle
import re
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tdn.data import pocket, video
from tdn.data.video import VideoError, all_frames, read_frames

CLIPS = Path(__file__).parents[2] / "shared/clips"


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


def test_what_decord_fails_at_pyav_reads_and_says_so(tmp_path):
    rendered = pocket.render_clip(8, 3)[:, :, :48]
    pocket.encode(tmp_path / "narrow.mp4", np.ascontiguousarray(rendered))
    frames, decord_failed = read_frames(tmp_path / "narrow.mp4", lambda count: np.array([[7, 2], [count - 1, 7]]))
    assert decord_failed.startswith("cannot read frames of this width")
    assert frames.shape == (2, 2, 3, 56, 48) and torch.equal(frames[0, 0], frames[1, 1])
    shown = torch.from_numpy(np.ascontiguousarray(rendered[[7, 2]])).permute(0, 3, 1, 2)
    assert (frames[0].float() - shown.float()).abs().mean() < 6


def test_both_decoders_give_the_same_frames(tmp_path, monkeypatch):
    pocket.encode(tmp_path / "clip.mp4", pocket.render_clip(8, 3))
    by_decord, _ = read_frames(tmp_path / "clip.mp4", all_frames)
    monkeypatch.setattr(video, "decord", None)
    by_pyav, why = read_frames(tmp_path / "clip.mp4", all_frames)
    assert why == "not installed" and by_pyav.shape == by_decord.shape
    assert (by_pyav.float() - by_decord.float()).abs().mean() < 2  # they turn YUV into RGB each in its own way


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

    decord = [read_frames(CLIPS / name, ends)[0].float() for _ in range(10)]  # its last frame of an avi is a gamble
    monkeypatch.setattr(video, "decord", None)
    by_pyav = read_frames(CLIPS / name, ends)[0].float()
    assert by_pyav.shape == (3, 3, *size)
    assert all((by_decord - by_pyav).abs().mean() < 4 for by_decord in decord)


def test_a_rotated_file_is_read_upright_by_both(tmp_path, monkeypatch):
    pixels = np.zeros((6, 64, 96, 3), np.uint8)
    pixels[:, :20, :30, 0] = 255  # red, top left
    path = tmp_path / "held_sideways.mp4"
    pocket.encode(path, pixels)
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44  # how to show the track: turned by 90 degrees to the right
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 64 << 16, 0, 1 << 30)
    path.write_bytes(content)
    upright = torch.from_numpy(np.rot90(pixels, -1, (1, 2)).copy()).permute(0, 3, 1, 2).float()
    assert upright[0, 0, :30, -20:].min() == 255, "red, top right"
    for decoder in (video.decord, None):
        monkeypatch.setattr(video, "decord", decoder)
        frames, _ = read_frames(path, all_frames)
        assert frames.shape == (6, 3, 96, 64)
        assert (frames.float() - upright).abs().mean() < 6


def write_folder(folder, frames, name="{:05d}.jpg"):
    folder.mkdir()
    for number, frame in enumerate(frames, start=1):
        cv2.imwrite(str(folder / name.format(number)), frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
    return folder


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
