"""Folders of frames: which of the images are frames, in which order, and with how many bits."""

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from helpers.videos import assert_shows, numbered, read, write_folder
from PIL import ExifTags, Image

from tdn.data.video import VideoError, open_video

CLIP = numbered(12, 32, 48)


def as_tensor(clip):
    return torch.from_numpy(np.array(clip)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("name", ["{}.png", "img_{:03d}.png", "{:03d}.png", "take 2, {}.PNG", "v1_{}_x.png"])
def test_digits_compare_as_numbers(name, tmp_path):
    """1, 2, ..., 12; and where three digits run past 999."""
    write_folder(tmp_path / "v", CLIP, name)
    assert torch.equal(read(tmp_path / "v"), as_tensor(CLIP))
    (tmp_path / "late").mkdir()
    for number, file in enumerate(sorted((tmp_path / "v").iterdir(), key=os.path.getmtime)):
        file.rename(tmp_path / "late" / name.format(995 + number))
    assert torch.equal(read(tmp_path / "late"), as_tensor(CLIP))


def test_every_group_of_digits_counts_and_gaps_are_no_frames(tmp_path):
    write_folder(tmp_path / "v", CLIP[:0])
    for index, (shot, frame) in enumerate([(2, 9), (2, 10), (10, 1), (10, 20)]):
        cv2.imwrite(str(tmp_path / "v" / f"shot{shot}_{frame}.png"), CLIP[index, ..., ::-1])
    assert torch.equal(read(tmp_path / "v"), as_tensor(CLIP[:4]))


def test_png_files_of_which_decord_robs_torchvision_are_not_called_damaged(tmp_path):
    """Whichever module is loaded first keeps its zlib: here tdn loads torchvision first, there a script did not."""
    write_folder(tmp_path / "v", CLIP, "{}.png")
    for first, told in [("pass", ""), ("import decord", "decord was imported before torchvision, which then reads no")]:
        script = f"{first}; import numpy, sys; from tdn.data.video import open_video\n"
        script += "with open_video(sys.argv[1]) as video: video.read(numpy.arange(3))"
        ran = subprocess.run([sys.executable, "-c", script, tmp_path / "v"], capture_output=True, text=True)
        assert bool(ran.returncode) == bool(told) and told in ran.stderr, ran.stderr


@pytest.mark.parametrize("names", [("1.png", "1.jpg"), ("01.png", "1.png"), ("img_7.png", "IMG_7.jpeg")])
def test_two_files_of_one_number_are_refused(names, tmp_path):
    write_folder(tmp_path / "v", CLIP[:5], "{:04d}.png" if "img" not in names[0] else "img_{:04d}.png")
    for name in names:
        cv2.imwrite(str(tmp_path / "v" / name), CLIP[0])
    with pytest.raises(VideoError, match=r"v: \S+ and \S+ are the same frame: keep one of them"):
        open_video(tmp_path / "v")


@pytest.mark.parametrize("kind", ["RGB", "gray", "RGBA"])
def test_16_bits_are_scaled_to_8(kind, tmp_path):
    """Also mixed with frames of 8 bits; the same to 1 of 255, whether white is 257 x 255 or 256 x 255."""
    clip = CLIP[..., :1] if kind == "gray" else CLIP
    for factor in (256, 257):
        folder = write_folder(tmp_path / str(factor), CLIP[:0])
        for index, image in enumerate(clip):
            deep = image.astype(np.uint16) * factor if index % 3 else image
            if kind == "RGBA":
                deep = np.dstack([deep, np.full_like(deep[..., :1], np.iinfo(deep.dtype).max)])
                cv2.imwrite(str(folder / f"{index}.png"), cv2.cvtColor(deep, cv2.COLOR_RGBA2BGRA))
            else:
                cv2.imwrite(str(folder / f"{index}.png"), deep[..., ::-1])
        frames = read(folder)
        assert frames.dtype == torch.uint8
        assert (frames.int() - as_tensor(np.broadcast_to(clip, CLIP.shape)).int()).abs().max() <= 1


@pytest.mark.parametrize("orientation", [1, 2, 3, 6, 8])
def test_jpeg_files_are_turned_as_their_exif_says(orientation, tmp_path):
    turns = {1: 0, 2: 0, 3: 2, 6: 1, 8: 3}[orientation]  # to the right; 2 is mirrored
    folder, exif = write_folder(tmp_path / "v", CLIP[:0]), Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    for number, image in enumerate(CLIP):
        Image.fromarray(image).save(folder / f"{number}.jpg", quality=98, exif=exif)
    assert_shows(read(folder), np.rot90(CLIP[:, :, ::-1] if orientation == 2 else CLIP, -turns, (1, 2)))


OTHERS = [("flow_x_{:05d}.jpg", "flow_y_{:05d}.jpg"), ("mask_{:05d}.png",), ("img_{:05d}_thumb.jpg",), ("cover.jpg",)]


@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.parametrize("name", ["img_{:05d}.png", "{:05d}.png", "frame{}.png", "RGB-{}.png"])
def test_flow_masks_and_thumbnails_are_no_frames(name, others, tmp_path):
    folder = write_folder(tmp_path / "v", CLIP, name)
    for other in others:
        for number in range(1, 12):
            cv2.imwrite(str(folder / other.format(number)), CLIP[0, :8, :8])
    with pytest.warns(UserWarning, match=r"v: of its images \(.*\) only \S+ are read as frames"):
        assert torch.equal(read(folder), as_tensor(CLIP))


@pytest.mark.parametrize(
    "names", [("flow_x_{}.png", "flow_y_{}.png"), ("img_{}.png", "frame_{}.png"), ("left_{}.png", "right_{}.png")]
)
def test_kinds_without_one_that_is_rgb_are_refused_by_name(names, tmp_path):
    folder = write_folder(tmp_path / "v", CLIP[:0])
    for name in names:
        for number in range(3):
            cv2.imwrite(str(folder / name.format(number)), CLIP[number])
    first, second = sorted(name.format("#").removesuffix(".png") for name in names)
    with pytest.raises(VideoError, match=rf"v: has 2 kinds of images \({first}: 3, {second}: 3\): keep only"):
        open_video(folder)


@pytest.mark.parametrize("name", ["cam{}_{:03d}.png", "{1:03d} Cam {0}.png", "x_take_3_cam{}-{}.png"])
def test_several_sequences_are_refused_by_name(name, tmp_path):
    folder = write_folder(tmp_path / "v", CLIP[:0])
    for camera, count in enumerate((12, 10, 11)):
        for number in range(count):
            cv2.imwrite(str(folder / name.format(camera, number)), CLIP[number])
    with pytest.raises(VideoError, match=r"v: has images of 3 sequences: cam0 \(12\), cam1 \(10\), cam2 \(11\); give"):
        open_video(folder)


@pytest.mark.parametrize("name", ["frame_{:02d}_{:02d}.png", "{:02d}-{:02d}.png", "take_{}_{}.png"])
def test_times_and_takes_one_after_the_other_are_one_sequence(name, tmp_path):
    folder = write_folder(tmp_path / "v", CLIP[:0])
    for number, image in enumerate(CLIP):
        first, second = divmod(number, 4)
        cv2.imwrite(str(folder / name.format(first, number if "take" in name else second)), image[..., ::-1])
    assert torch.equal(read(folder), as_tensor(CLIP))


@pytest.mark.parametrize("place", [1, 2])  # the first is opened for its size, others are only read
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_an_image_that_is_none_is_named_as_what_it_is(suffix, place, tmp_path):
    folder = write_folder(tmp_path / "v", CLIP[:3], f"{{}}.{suffix}")
    file = folder / f"{place}.{suffix}"
    whole = file.read_bytes()
    contents = {b"": "empty", b"half a picture": "no image that can be read"}
    contents |= {whole[:size]: "damaged or cut short" for size in (20, 150, len(whole) // 2, len(whole) - 20)}
    contents |= {b"<!DOCTYPE html><html>404": "a web page: download the file itself"}
    for content, kind in contents.items():
        file.write_bytes(content)
        with pytest.raises(VideoError) as error:
            read(folder)
        assert str(error.value) == f"{folder}: {file.name} is {kind}"


def test_the_size_of_images_has_one_limit(tmp_path, monkeypatch):
    """Not also Pillow's, of 179 million pixels."""
    folder = write_folder(tmp_path / "v", CLIP[:0])
    cv2.imwrite(str(folder / "1.png"), np.zeros((18_000, 10_000), np.uint8))
    with pytest.raises(VideoError, match=r"take 21\.6 GB, more than the 4 GB allowed \(TDN_VIDEO_GB=21\.8 in the env"):
        open_video(folder)
    monkeypatch.setenv("TDN_VIDEO_GB", "21.8")
    assert open_video(folder).height == 18_000


def test_hidden_files_and_folders_are_skipped(tmp_path):
    folder = write_folder(tmp_path / "v", CLIP, "{:05d}.png")
    for number in range(1, 6):
        (folder / f"._{number:05d}.png").write_bytes(b"\0\5\x16\7 macOS keeps its attributes here")
    (folder / "00099.png").mkdir()
    (folder / ".hidden.jpg").write_bytes(b"")
    assert torch.equal(read(folder), as_tensor(CLIP))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("1.png", "2.bmp", "3.png", "4.webp"), r"2 images such as 2\.bmp are not \.jpg, \.jpeg, \.png"),
        (("1.bmp", "2.bmp"), r"2 images such as 1\.bmp"),
        (("t_0.05.png", "t_0.1.png"), r"names such as t_0\.05\.png have decimals"),
        (("flow_x_1.png", "flow_x_2.png"), r"its images are named flow_x_#: no RGB frames"),
    ],
)
def test_what_cannot_be_frames_in_their_order_is_refused(names, message, tmp_path):
    folder = write_folder(tmp_path / "v", CLIP[:0])
    for name, image in zip(names, CLIP, strict=False):
        cv2.imwrite(str(folder / name), image)
    with pytest.raises(VideoError, match=message):
        open_video(folder)
    write_folder(tmp_path / "w", CLIP, "take.v2.{:04d}.png")  # no decimals: as many digits in each
    assert torch.equal(read(tmp_path / "w"), as_tensor(CLIP))
