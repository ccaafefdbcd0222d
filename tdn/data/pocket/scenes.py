"""What is drawn in the clips of the pocket benchmark.

Every scene is a function `scene(rng, frames)` that draws one clip as float32 `(frames, SIZE, SIZE, 4)`: RGB, about 0 to
255, and the mask of the objects, 0 to 1. `photograph` takes it at `PIXELS` x `PIXELS`, in uneven light and with a noisy
sensor. Coordinates are `(x, y)` in pixels, the origin in the upper left corner. Angles are in radians, clockwise. A
scene knows nothing of labels.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.random import Generator

from tdn.data.pocket.shapes import paint

SIZE = 76  # width and height of the drawing; every length below is in its pixels
# Width and height of a frame of the video. Not 48 or 72: decord 0.6 takes some narrow widths for RGBA.
PIXELS = 56

# Difficulty. Each pair is the range from which a clip draws uniformly. What is hard is to learn it from few clips: from
# 480 in place of 192 TDN gets nearly all right, and objects too faint to tell make it learn late (notebook 13).
NOISE_SIGMA = (1.0, 5.0)  # sensor noise, grey levels of 255
BACKGROUND_LEVEL = (50.0, 110.0)  # mean of the background in each colour, grey levels
OBJECT_CONTRAST = (80.0, 150.0)  # what an object is lighter than the background, each colour 15 % more or less
DISTRACTOR_CONTRAST = (15.0, 40.0)  # what a still shape is darker than the mean background, a channel
BACKGROUND_CONTRAST = (4.0, 10.0)  # standard deviation of the background texture, grey levels
LIGHT_GRADIENT = 0.15  # the light falls off across the frame by at most this fraction
FLICKER = 0.04  # the light changes over time by at most about this fraction
DISTRACTORS = (1, 3)  # still shapes, both ends included
PAN = (4.0, 10.0)  # pixels that the camera pans over the whole clip, in any direction
SWAY = (0.5, 1.5)  # pixels that it sways to either side, along x and along y
SWAY_PERIOD = (8.0, 16.0)  # frames
# short
PATTERN_CONTRAST = (20.0, 56.0)  # standard deviation of the running pattern, grey levels
PATTERN_SPEED = (2.2, 4.5)  # pixels per frame
PATTERN_TURN = 8.0  # degrees by which it runs off its direction, at most
PATTERN_GRAIN = (2.0, 2.5)  # blur of the pattern, pixels; it correlates over about twice that
PATTERN_MEMORY = 1.5  # frames; the pattern keeps exp(-(d / 2 memory)^2) of itself after d frames
PATTERN_RADIUS = (12.0, 17.0)  # of the patch, pixels
# order
SHOWN = (0.22, 0.28)  # fraction of the clip that a shape is shown
SHOWN_RADIUS = (11.0, 16.0)  # pixels
SHOWN_CONTRAST = (60.0, 130.0)  # as OBJECT_CONTRAST
APART = (0.48, 0.58)  # fraction of the clip from the middle of its first shape to that of its second
# both
MOVE = (0.2, 0.3)  # fraction of the clip that the way there takes, and as much the way back
PACE = 0.5  # how unevenly a move runs: 0 even, below 1 never backwards
TRAVEL = (24.0, 34.0)  # pixels that a moving object covers
GROWTH = (2.2, 3.0)  # size after growing, relative to the size before
TURN_DEGREES = (100.0, 170.0)
# End of the difficulty.

_SAFE = math.ceil(PAN[1] / 2 + SWAY[1]) + 1  # pixels that the camera may move off its middle
_STILL = ("circle", "square", "triangle", "bar", "star", "cross")


def _object_colour(rng: Generator, background: np.ndarray, contrast: float | None = None) -> np.ndarray:
    """A colour lighter than the mean background, by `contrast` or as OBJECT_CONTRAST says, at most 250."""
    contrast = rng.uniform(*OBJECT_CONTRAST) if contrast is None else contrast
    return np.minimum(background + contrast * rng.uniform(0.85, 1.15, size=3), 250).astype(np.float32)


def _camera(rng: Generator, frames: int) -> np.ndarray:
    """How far a hand-held camera has shifted the picture: `(frames, 2)`, pixels."""
    pan = np.linspace(-0.5, 0.5, frames)[:, None] * _vector(rng, rng.uniform(*PAN))
    phase, period = rng.uniform(0, 2 * math.pi, size=2), rng.uniform(*SWAY_PERIOD, size=2)
    return pan + rng.uniform(*SWAY, size=2) * np.sin(phase + 2 * math.pi * np.arange(frames)[:, None] / period)


def _stage(
    rng: Generator,
    shift: np.ndarray,
    keep_clear: Sequence[np.ndarray] = (),
    distractors: Sequence[str] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """The background with its still shapes, away from the points `keep_clear`, where the camera's `shift` puts it: the
    clip `(frames, SIZE, SIZE, 4)` and its mean colour `(3,)`."""
    side = SIZE + 2 * _SAFE
    mean = rng.uniform(*BACKGROUND_LEVEL, size=3).astype(np.float32)
    coarse = rng.normal(size=(9, 9, 3)).astype(np.float32)
    fine = rng.normal(size=(20, 20, 3)).astype(np.float32)
    scene = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    scene += 0.6 * cv2.resize(fine, (side, side), interpolation=cv2.INTER_CUBIC)
    scene = mean + scene * (rng.uniform(*BACKGROUND_CONTRAST) / scene.std())
    for _ in range(rng.integers(DISTRACTORS[0], DISTRACTORS[1] + 1) if distractors else 0):
        # Of some random places the one farthest from the event.
        places = rng.uniform(3, SIZE - 3, size=(8, 2))
        room = np.min([np.linalg.norm(places - point, axis=1) for point in keep_clear], axis=0)
        place = places[room.argmax()]
        shape, angle = str(rng.choice(distractors)), rng.uniform(0, 2 * math.pi)
        colour = np.maximum(mean - rng.uniform(*DISTRACTOR_CONTRAST, size=3), 5).astype(np.float32)
        paint(scene, shape, place + _SAFE, rng.uniform(4, 8), angle, colour)
    video = np.zeros((len(shift), SIZE, SIZE, 4), dtype=np.float32)
    for image, (x, y) in zip(video, shift, strict=True):
        move = np.array([[1, 0, x - _SAFE], [0, 1, y - _SAFE]])
        image[..., :3] = cv2.warpAffine(scene, move, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
    return video, mean


def photograph(rng: Generator, drawing: np.ndarray) -> np.ndarray:
    """The drawing in uneven and flickering light, with the camera's noise: uint8 `(frames, PIXELS, PIXELS, 3)`."""
    frames = len(drawing)
    video = _smaller(drawing[..., :3])
    across = np.linspace(-1, 1, PIXELS, dtype=np.float32)
    x, y = rng.uniform(-LIGHT_GRADIENT / 2, LIGHT_GRADIENT / 2, size=2)
    light = (1 + x * across[None, :] + y * across[:, None]).astype(np.float32)
    phase, cycles = rng.uniform(0, 2 * math.pi), rng.uniform(0.5, 3)
    flicker = 1 + FLICKER * np.sin(phase + cycles * np.linspace(0, 2 * math.pi, frames))
    # The same in all colours: what differs between neighbours in colour alone, mp4 does not keep.
    noise = rng.standard_normal((*video.shape[:3], 1), dtype=np.float32)
    noise *= rng.uniform(*NOISE_SIGMA)
    lit = video * light[None, :, :, None] * flicker[:, None, None, None].astype(np.float32)
    return np.clip(np.rint(lit + noise), 0, 255).astype(np.uint8)


def object_mask(drawing: np.ndarray) -> np.ndarray:
    """The fraction of each pixel that the objects of the class cover, 0 to 1: float32 `(frames, PIXELS, PIXELS)`."""
    return _smaller(drawing[..., 3])


def _smaller(drawing: np.ndarray) -> np.ndarray:
    images = np.ascontiguousarray(drawing)
    return np.stack([cv2.resize(image, (PIXELS, PIXELS), interpolation=cv2.INTER_AREA) for image in images])


def _vector(rng: Generator, length: float, angle: float | None = None) -> np.ndarray:
    """A vector `(x, y)` of this length, in a random direction unless given."""
    angle = rng.uniform(0, 2 * math.pi) if angle is None else angle
    return length * np.array([math.cos(angle), math.sin(angle)])


def _start(rng: Generator, way: np.ndarray, margin: float) -> np.ndarray:
    """Where a way may begin so that both its ends keep `margin` pixels to the frame's edge."""
    low = margin + np.maximum(-way, 0)
    high = SIZE - margin - np.maximum(way, 0)
    return rng.uniform(np.minimum(low, high), np.maximum(low, high))


def picture(rng: Generator, frames: int, shape: str) -> np.ndarray:
    """An object that stands still, of the sizes and colours of `showing`."""
    place = rng.uniform(17, SIZE - 17, size=2)
    video, mean = _stage(rng, np.zeros((frames, 2)), [place], ("bar", "star"))
    radius, angle = rng.uniform(*SHOWN_RADIUS), rng.uniform(0, 2 * math.pi)
    colour = _object_colour(rng, mean, rng.uniform(*SHOWN_CONTRAST))
    for image in video:
        paint(image, shape, place, radius, angle, colour)
    return video


def pattern_runs(rng: Generator, frames: int, towards: float) -> np.ndarray:
    """A texture scrolls in the direction `towards` (an angle) inside a square or a circle.

    The texture slowly turns into another one on its way: nothing of it is left to match a segment (5 frames) later.
    """
    radius, place = rng.uniform(*PATTERN_RADIUS), rng.uniform(PATTERN_RADIUS[1], SIZE - PATTERN_RADIUS[1], size=2)
    shape, angle = str(rng.choice(["square", "circle"])), rng.uniform(0, 2 * math.pi)
    shift = _camera(rng, frames)
    video, mean = _stage(rng, shift)

    speed, grain = rng.uniform(*PATTERN_SPEED), rng.uniform(*PATTERN_GRAIN)
    towards += math.radians(rng.uniform(-PATTERN_TURN, PATTERN_TURN))
    half = math.ceil(1.3 * PATTERN_RADIUS[1]) + math.ceil(3 * grain) + 1  # with the corners of a square, and the blur
    side, way = 2 * half, math.ceil(speed * frames) + 1
    noise = rng.standard_normal((frames, side, side + way), dtype=np.float32)
    over_time = noise.reshape(frames, -1)  # one column a pixel: blurred from frame to frame only
    noise = cv2.GaussianBlur(over_time, (1, 13), sigmaX=1, sigmaY=PATTERN_MEMORY).reshape(noise.shape)
    phase = rng.uniform(0, 1)
    cos, sin = math.cos(towards), math.sin(towards)
    texture = np.empty((frames, SIZE, SIZE), dtype=np.float32)
    for t in range(frames):
        offset = way - 1 + phase - speed * t  # falls: along its x axis the texture moves forwards
        left = math.floor(offset)
        window = cv2.GaussianBlur(np.ascontiguousarray(noise[t, :, left : left + side]), (0, 0), grain)
        centre = half + offset - left, half
        x, y = place + shift[t] - (cos * centre[0] - sin * centre[1], sin * centre[0] + cos * centre[1])
        move = np.array([[cos, -sin, x], [sin, cos, y]])
        texture[t] = cv2.warpAffine(window, move, (SIZE, SIZE), flags=cv2.INTER_CUBIC)

    tint = rng.normal(size=3)
    tint = (tint * math.sqrt(3) / np.linalg.norm(tint)).astype(np.float32)
    colour = np.clip(_object_colour(rng, mean), 60, 195)
    patch = np.zeros((frames, SIZE, SIZE, 4), dtype=np.float32)
    for image, point in zip(patch, place + shift, strict=True):
        paint(image, shape, point, radius, angle, np.ones(3, np.float32))
    mask = patch[..., 3:]
    texture *= rng.uniform(*PATTERN_CONTRAST) / texture[mask[..., 0] > 0.5].std()
    video[..., :3] += mask * (colour + texture[..., None] * tint - video[..., :3])
    video[..., 3:] = mask
    return video


def showing(rng: Generator, frames: int, first: str, second: str) -> np.ndarray:
    """A shape shows up and goes; then, four to five of eight segments later, another one does.

    Each comes as it goes, and as long as the other: but for the two being so far apart, the clip looks the same
    backwards.
    """
    shown, apart = rng.uniform(*SHOWN), rng.uniform(*APART)
    begin = rng.uniform(shown / 2, 1 - apart - shown / 2)
    middles = np.rint(np.array([begin, begin + apart]) * (frames - 1))
    places = rng.uniform(17, SIZE - 17, size=(2, 2))
    video, mean = _stage(rng, np.zeros((frames, 2)), list(places), ("bar", "star"))
    contrast = rng.uniform(*SHOWN_CONTRAST)
    for shape, place, middle in zip((first, second), places, middles, strict=True):
        radius, angle = rng.uniform(*SHOWN_RADIUS), rng.uniform(0, 2 * math.pi)
        colour = _object_colour(rng, mean, contrast)
        for t in range(frames):  # it fades within 3 frames
            opacity = float(np.clip((shown / 2 * frames - abs(t - middle)) / 3 + 0.5, 0, 1))
            paint(video[t], shape, place, radius, angle, colour, opacity)
    return video


def there_and_back(rng: Generator, frames: int, move: str, sign: int) -> np.ndarray:
    """Among still shapes, before a hand-held camera, an object moves, rests and moves back: with `sign` 1 to the right
    ("x"), down ("y"), clockwise ("turn") or to a larger size ("grow"); with -1 the other way first.

    It rests as long at either end: which way it goes first, only its motion before and after the middle rest tells.
    """
    shape, angle = str(rng.choice(["corner", "arrow"])), rng.uniform(0, 2 * math.pi)
    small = large = rng.uniform(7, 11)
    way, turn = np.zeros(2), 0.0
    if move == "turn":
        turn = sign * math.radians(rng.uniform(*TURN_DEGREES))
    elif move == "grow":
        small = rng.uniform(5, 8)
        large = small * rng.uniform(*GROWTH)
    else:
        way = sign * rng.uniform(*TRAVEL) * (np.array([1, 0]) if move == "x" else np.array([0, 1]))
    start = _start(rng, way, margin=large + 3)
    shift = _camera(rng, frames)
    video, mean = _stage(rng, shift, [start, start + way / 2, start + way], _STILL)
    colour = _object_colour(rng, mean)
    for image, point, done in zip(video, shift, _there_and_back(rng, frames), strict=True):
        grown = done if sign > 0 else 1 - done
        paint(image, shape, start + done * way + point, small + grown * (large - small), angle + done * turn, colour)
    return video


def _there_and_back(rng: Generator, frames: int) -> np.ndarray:
    """`(frames,)`: from 0 to 1 and back, at 0 as long as at 1; backwards it is as likely."""
    move = rng.uniform(*MOVE)
    rest = 0.5 - move
    begin = rng.uniform(0.2, 0.8) * rest
    time = np.linspace(0, 1, frames)
    pace = rng.uniform(-PACE, PACE)
    there, back = (np.clip((time - start) / move, 0, 1) for start in (begin, begin + 0.5))
    there, back = (way + pace * np.sin(2 * math.pi * way) / (2 * math.pi) for way in (there, back))
    return there - back
