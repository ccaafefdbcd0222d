"""A long video with the class of each moment lettered on it."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from tdn.data.frames import VideoReader
from tdn.data.streaming import length, timed_frames
from tdn.engine.inference import top_classes
from tdn.engine.sliding import ScoredStretch, moments
from tdn.maps.lettering import POINTS, by_font, drawable, fitted
from tdn.utils import write_whole

LONGEST, SMALL = 640, 320  # pixels of the longer side: at most, and up to which small videos are enlarged
LINES = 2
TICKS = 60_000  # a second: whole numbers of them between frames at 24, 25, 30; MPEG-4 allows no more than 65,535
ENCODERS = {"libx264": {"crf": "20", "preset": "veryfast"}, "mpeg4": {"b": "4M"}}  # FFmpeg may lack the first


def save_subtitled(
    video: VideoReader, stretches: Sequence[ScoredStretch], class_names: Sequence[str], path: Path
) -> None:
    """An mp4 of all frames of an open video, at their times, without sound and at most 640 pixels wide and high. On
    each frame is the likeliest class of the stretch whose middle is nearest, and its probability.

    The video is decoded once more, as frames that wait for their stretch would take much memory. Raises as
    `timed_frames` and `write_whole`.
    """
    longer = max(video.height, video.width)
    scale = LONGEST / longer if longer > LONGEST else max(SMALL // longer, 1)
    height, width = (max(2 * round(scale * side / 2), 2) for side in (video.height, video.width))  # even, for H.264
    labels = []
    for stretch in stretches:
        ((name, probability),) = top_classes(stretch.scores, class_names, 1)
        shown = drawable(name, f"class {int(stretch.scores.argmax())}")
        labels.append(f"{100 * probability:.0f} % {shown}")
    write_whole(path, lambda file: _encode(file, video, (height, width), moments(stretches), labels))


def _encode(
    file: BinaryIO,
    video: VideoReader,
    size: tuple[int, int],
    spans: Sequence[tuple[float, float]],
    labels: Sequence[str],
) -> None:
    rate = video.num_frames / (length(video) or video.num_frames / 25)
    encoder = next(name for name in ENCODERS if name in av.codecs_available)
    frames = tqdm(timed_frames(video, *size), "lettering", video.num_frames, unit="frame", leave=False)
    number, ticks, letters = 0, -1, _letters(labels[0], size)
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(encoder, Fraction(rate).limit_denominator(1001), ENCODERS[encoder])
        (stream.height, stream.width), stream.pix_fmt = size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        for time, image in frames:
            while time >= spans[number][1] and number < len(spans) - 1:
                number += 1
                letters = _letters(labels[number], size)
            if time >= spans[number][0]:  # else between two stretches
                image = _lettered(image, letters)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            ticks = max(round(time * TICKS), ticks + 1)
            frame.pts, frame.time_base = ticks, Fraction(1, TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _letters(text: str, size: tuple[int, int]) -> np.ndarray:
    """How much of each pixel of a band at the bottom is covered by letters, 0 to 255, `(height, width)`."""
    height, width = size
    pixels = min(max(min(size) // 18, 12), 24)
    lines = fitted(text, (width - pixels) / POINTS, pixels, LINES).split("\n")
    band = Image.new("L", (width, min(round(pixels * (1.3 * len(lines) + 0.5)), height)))
    for number, line in enumerate(lines, start=1):
        left = pixels / 2
        for part, path in by_font(line):
            font = ImageFont.truetype(path, pixels)
            ImageDraw.Draw(band).text((left, 1.3 * pixels * number), part, 255, font, anchor="ls")
            left += font.getlength(part)
    return np.asarray(band)


def _lettered(image: np.ndarray, letters: np.ndarray) -> np.ndarray:
    """White on a band that is darker than the frame."""
    image, rows = image.copy(), slice(len(image) - len(letters), None)
    image[rows] = np.maximum(image[rows] // 4, letters[..., None])
    return image
