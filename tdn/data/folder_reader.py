"""Frames that lie in a folder as JPEG or PNG files."""

import re
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torchvision.io import ImageReadMode, decode_image

from tdn.data.frames import CLIP, CLIP_GB, VideoError, VideoReader, check_memory, in_time

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")  # of the frames in a folder
RGB = ("", "img", "image", "frame", "rgb", "color", "colour")  # the letters in the names of RGB frames next to others
TOGETHER = 20  # files that are read at a time


class FolderReader(VideoReader):
    """The order is that of the numbers in the names, whether padded with zeros or not; gaps are no frames.

    Files whose names begin with a dot and folders are skipped. Where names differ in more than numbers, those that are
    RGB by convention (`RGB`) are read, with a warning that names both: optical flow, masks and thumbnails are often
    kept next to them. Raises VideoError where none or several of these kinds are RGB by convention, and where two files
    have the same number.
    """

    def __init__(self, path: Path):
        self.path = path
        self._files = self._choose(in_time(path, self._images))
        self.num_frames = len(self._files)
        (self._first,) = self._decoded(self._files[:1])
        self.height, self.width, _ = self._first.shape
        check_memory(path, CLIP, self.height, self.width, CLIP_GB)

    def _images(self) -> list[Path]:
        entries = (entry for entry in self.path.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES)
        return [entry for entry in entries if not entry.name.startswith(".") and not entry.is_dir()]

    def _choose(self, files: Sequence[Path]) -> list[Path]:
        if not files:
            raise VideoError(self.path, "no frames")
        kinds = defaultdict(dict)  # by the name with # for numbers: files by their numbers
        for file in sorted(files):
            numbers = tuple(map(int, re.findall(r"\d+", file.stem)))
            same = kinds[re.sub(r"\d+", "#", file.stem.lower())].setdefault(numbers, file)
            if same is not file:
                raise VideoError(self.path, f"{same.name} and {file.name} are the same frame: keep one of them")
        kind, names = next(iter(kinds)), ", ".join(sorted(kinds)[:8])
        if len(kinds) > 1:
            rgb = [kind for kind in kinds if "#" in kind and re.sub(r"[\W\d_]", "", kind) in RGB]
            if len(rgb) != 1:
                raise VideoError(
                    self.path, f"has {len(kinds)} kinds of images ({names}): keep only the frames, numbered (img_#)"
                )
            (kind,) = rgb
            warnings.warn(f"of the images in a folder ({names}) only {kind} are read as frames", stacklevel=4)
        return [file for _, file in sorted(kinds[kind].items())]

    def _frames(self, needed: np.ndarray) -> Iterator[np.ndarray]:
        if needed[0] == 0:
            yield self._first
        later = [self._files[index] for index in needed if index > 0]
        for start in range(0, len(later), TOGETHER):
            yield from self._decoded(later[start : start + TOGETHER])

    def _decoded(self, files: Sequence[Path]) -> Iterator[np.ndarray]:
        contents = in_time(self.path, lambda: [bytearray(file.read_bytes()) for file in files])
        for file, content in zip(files, contents, strict=True):
            try:
                image = decode_image(torch.frombuffer(content, dtype=torch.uint8), ImageReadMode.RGB)
            except (RuntimeError, ValueError) as error:
                reason = str(error).partition("\n")[0]
                raise VideoError(self.path, f"{file.name} is no image that can be read: {reason}") from error
            if image.dtype == torch.uint16:
                image = ((image.int() + 128) // 257).byte()  # 65535 is 255
            yield image.permute(1, 2, 0).numpy()  # as it was decoded: the colours of a pixel side by side
