"""Videos made for the benchmarks."""

from pathlib import Path

import av
import cv2
import numpy as np


def make_clip(seed: int, frames: int, height: int, width: int) -> np.ndarray:
    """uint8 RGB `(frames, height, width, 3)`: a camera that pans over a texture with detail at every size, a square
    that moves, and a little noise."""
    rng = np.random.default_rng(seed)
    texture = np.zeros((2 * height, 2 * width, 3), np.float32)
    for size in (8, 16, 32, 64, 128):
        coarse = rng.standard_normal((2 * height // size + 2, 2 * width // size + 2, 3), np.float32)
        texture += size**0.5 * cv2.resize(coarse, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC)
    texture = 128 + 40 * texture / texture.std()
    side = height // 3
    square = 255 - texture[:side, :side]
    speeds = rng.uniform(0.05, 0.1, 4)
    clip = np.empty((frames, height, width, 3), np.uint8)
    for number in range(frames):
        camera_y, camera_x, y, x = (1 + np.sin(number * speeds)) / 2  # 0 to 1
        top, left = round(camera_y * height), round(camera_x * width)
        image = texture[top : top + height, left : left + width].copy()
        top, left = round(y * (height - side)), round(x * (width - side))
        image[top : top + side, left : left + side] = square
        clip[number] = (image + rng.integers(-4, 5, image.shape)).clip(0, 255)
    return clip


def write_mp4(path: Path, clip: np.ndarray) -> Path:
    """H.264 as most videos are encoded; width and height even."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "23", "preset": "medium"})
        stream.height, stream.width, stream.pix_fmt = *clip.shape[1:3], "yuv420p"
        for image in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def write_mp4s(folder: Path, videos: int) -> list[Path]:
    """So many files of 45 frames of 426 x 240 pixels."""
    return [write_mp4(folder / f"{number}.mp4", make_clip(number, 45, 240, 426)) for number in range(videos)]


def write_jpegs(folder: Path, clip: np.ndarray) -> Path:
    """A folder of frames, named as in Something-Something V1."""
    folder.mkdir()
    for number, image in enumerate(clip, start=1):
        cv2.imwrite(str(folder / f"{number:05d}.jpg"), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    return folder
