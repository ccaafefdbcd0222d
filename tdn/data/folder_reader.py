"""Frames that lie in a folder as JPEG or PNG files."""

import os
import re
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from tdn.data.frames import CLIP, CLIP_GB, VideoError, VideoReader, check_memory, in_time
from tdn.utils import IN_PLACE, kind_of

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")  # of the frames in a folder
JPEG, PNG, CUT = b"\xff\xd8", b"\x89P", "damaged or cut short"
KINDS = [(rb"\Z", "empty"), (JPEG, CUT), (PNG, CUT), *IN_PLACE, (b"", "no image that can be read")]  # by first bytes
OTHERS = (".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".jxl", ".avif", ".heic", ".exr")  # not read
NOT_RGB = re.compile(r"flow|depth|mask|thumb|disp|seg|pose|normal")
DECIMAL = re.compile(r"\d\.(\d+)")
RGB = ("", "img", "image", "frame", "rgb", "color", "colour")  # the letters in the names of RGB frames next to others
NUMBER = re.compile(r"\d+")
TOGETHER = 64  # files that are read at a time


def state_of(path: Path) -> tuple[int, int]:
    """Size in bytes and time of change, in nanoseconds, of a video; of a folder the sum over its images, and the latest
    of all. Raises OSError, and ValueError for what is no path."""
    state = os.stat(path)
    entries = list(os.scandir(path)) if path.is_dir() else []
    frames = [entry.stat() for entry in entries if entry.name.lower().endswith(IMAGE_SUFFIXES)]
    size = sum(frame.st_size for frame in frames) if path.is_dir() else state.st_size
    return size, max(each.st_mtime_ns for each in (state, *frames))


class FolderReader(VideoReader):
    """The order is that of the numbers in the names, whether padded with zeros or not; gaps are no frames. JPEG files
    are turned as their EXIF says.

    Files whose names begin with a dot and folders are skipped. Where names differ in more than numbers, those that are
    RGB by convention (`RGB`) are read, with a warning that names both: optical flow, masks and thumbnails are often
    kept next to them. Raises VideoError where none or several of these kinds are RGB by convention, where two files
    have the same number or names have decimals, for several sequences (of several cameras), and for images of another
    kind or in another format.
    """

    def __init__(self, path: Path):
        self.path = path
        self._files = self._choose(self._images())
        self.num_frames = len(self._files)
        self.width, self.height = self._size(self._files[0])
        check_memory(path, CLIP, self.height, self.width, CLIP_GB)

    def _images(self) -> list[str]:
        with os.scandir(self.path) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".") and not entry.is_dir()]
        if others := sorted(name for name in names if name.lower().endswith(OTHERS)):
            valid = ", ".join(IMAGE_SUFFIXES)
            raise VideoError(self.path, f"{len(others)} images such as {others[0]} are not {valid}: convert them")
        return [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]

    def _size(self, name: str) -> tuple[int, int]:
        """Width and height, from the header."""
        with (self.path / name).open("rb") as file:
            start = file.read(512)
            file.seek(0)
            try:
                # Not Image.open, but for other formats with these suffixes: it refuses what `check_memory` may allow.
                image = {JPEG: JpegImageFile, PNG: PngImageFile}.get(start[:2], Image.open)(file)
                on_its_side = image.format == "JPEG" and "exif" in image.info and image.getexif().get(0x112, 1) > 4
                return image.size[::-1] if on_its_side else image.size
            except Exception as error:  # bytes that are no image make Pillow raise nearly anything
                if getattr(error, "errno", None):  # of the disk, not of Pillow
                    raise
                raise VideoError(self.path, f"{name} is {kind_of(start, KINDS)}") from error

    def _choose(self, files: Sequence[str]) -> list[str]:
        if not files:
            raise VideoError(self.path, "no frames")
        kinds = defaultdict(dict)  # by the name with # for numbers: files by their numbers
        for file in sorted(files):
            stem = file.rpartition(".")[0].lower()
            same = kinds[NUMBER.sub("#", stem)].setdefault(tuple(map(int, NUMBER.findall(stem))), file)
            if same is not file:
                raise VideoError(self.path, f"{same} and {file} are the same frame: keep one of them")
        if len({len(digits) for file in files for digits in DECIMAL.findall(file.rpartition(".")[0])}) > 1:
            raise VideoError(self.path, f"names such as {sorted(files)[0]} have decimals: number frames 1, 2, 3, ...")
        kind, names = next(iter(kinds)), ", ".join(f"{kind}: {len(kinds[kind])}" for kind in sorted(kinds)[:8])
        if len(kinds) == 1 and NOT_RGB.search(kind):
            raise VideoError(self.path, f"its images are named {kind}: no RGB frames")
        if len(kinds) > 1:
            rgb = [kind for kind in kinds if "#" in kind and re.sub(r"[\W\d_]", "", kind) in RGB]
            if len(rgb) != 1:
                what = f"has {len(kinds)} kinds of images ({names})"
                raise VideoError(self.path, f"{what}: keep only the frames, numbered (img_#)")
            (kind,) = rgb
            self.note = f"of its images ({names}) only {kind} are read as frames"
            warnings.warn(f"{self.path}: {self.note}", stacklevel=4)
        self._refuse_sequences(kind, kinds[kind])
        return [file for _, file in sorted(kinds[kind].items())]

    def _refuse_sequences(self, kind: str, files: dict[tuple[int, ...], str]) -> None:
        """VideoError for cam0_001, ..., cam1_001, ...: nearly the same numbers for each of a few values of one with a
        word before it. (Frames after one another, as shot1_17, shot2_18, have others; frame_00_59 is a time.)"""
        for place, before in enumerate(kind.split("#")[:-1]):
            word = re.sub(r"[\W\d_]", "", before)
            if word not in RGB and len(values := Counter(numbers[place] for numbers in files)) > 1:
                others = {numbers[:place] + numbers[place + 1 :] for numbers in files}
                if len(values) <= len(others) and len(files) > 0.6 * len(values) * len(others):
                    what = ", ".join(f"{word}{value} ({count})" for value, count in sorted(values.items())[:8])
                    raise VideoError(self.path, f"has images of {len(values)} sequences: {what}; give each a folder")

    def _frames(self, needed: np.ndarray) -> Iterator[np.ndarray]:
        for start in range(0, len(needed), TOGETHER):
            names = [self._files[index] for index in needed[start : start + TOGETHER]]
            contents = in_time(self.path, lambda names=names: [bytearray((self.path / n).read_bytes()) for n in names])
            yield from map(self._decoded, names, contents)

    def _decoded(self, name: str, content: bytearray) -> np.ndarray:
        from torchvision.io import ImageReadMode, decode_image  # it takes seconds to load

        try:
            data = torch.frombuffer(content, dtype=torch.uint8)
            image = decode_image(data, ImageReadMode.RGB, apply_exif_orientation=content.startswith(JPEG))
        except (RuntimeError, ValueError) as error:
            first = next(module for module in sys.modules if module in ("decord", "torchvision"))
            if first == "decord" and content.startswith(PNG):
                text = "decord was imported before torchvision, which then reads no PNG: import torchvision first"
                raise ImportError(text) from error
            kind = "too large for the memory" if "allocate memory" in str(error) else kind_of(content, KINDS)
            raise VideoError(self.path, f"{name} is {kind}") from error
        if image.dtype == torch.uint16:
            image = ((image.int() + 128) // 257).byte()  # 65535 is 255
        return image.permute(1, 2, 0).numpy()  # as it was decoded: the colours of a pixel side by side
