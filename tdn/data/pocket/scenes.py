"""What is drawn in the clips of the pocket benchmark.

Every scene is a function `scene(rng, frames)` that draws one clip as float32 `(frames, SIZE, SIZE, 4)`: RGB, about 0 to
255, and the mask of the objects, 0 to 1. `photograph` takes it at `PIXELS` x `PIXELS`, in uneven light and with a noisy
sensor. Coordinates are `(x, y)` in pixels, the origin in the upper left corner. Angles are in radians, clockwise. A
scene knows nothing of labels: the second class of a pair is the same scene played backwards.
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

# Difficulty. Each pair is the range from which a clip draws uniformly.
NOISE_SIGMA = (1.0, 5.0)  # sensor noise, grey levels of 255
BACKGROUND_LEVEL = (50.0, 110.0)  # mean of the background in each colour, grey levels
OBJECT_CONTRAST = (80.0, 140.0)  # what an object is lighter than the mean background, a channel
DISTRACTOR_CONTRAST = (15.0, 40.0)  # what a still shape is darker than the mean background, a channel
BACKGROUND_CONTRAST = (4.0, 10.0)  # standard deviation of the background texture, grey levels
LIGHT_GRADIENT = 0.15  # the light falls off across the frame by at most this fraction
FLICKER = 0.04  # the light changes over time by at most about this fraction
DISTRACTORS = (1, 3)  # still shapes in "long" and "both" clips, both ends included
PATTERN_CONTRAST = (12.0, 36.0)  # standard deviation of the running pattern, grey levels
PATTERN_SPEED = (2.5, 4.5)  # pixels per frame
PATTERN_GRAIN = (2.0, 2.5)  # blur of the pattern, pixels; it correlates over about twice that
PATTERN_MEMORY = 1.5  # frames; the pattern keeps exp(-(d / 2 memory)^2) of itself after d frames
PATTERN_PATCH = (22.0, 34.0)  # width and height of the patch, pixels
EVENT_SHARE = (0.65, 0.95)  # fraction of the clip that an event covers
PACE = 0.5  # how unevenly an event runs: 0 even, below 1 never backwards
TRAVEL = (26.0, 38.0)  # pixels that a moving object covers
GAP = (16.0, 28.0)  # pixels between two objects before they approach each other
GROWTH = (2.0, 3.0)  # size after growing, relative to the size before
TURN_DEGREES = (5.0, 11.0)  # a frame
PAN = (4.0, 10.0)  # pixels that the camera pans over the whole clip, in any direction
# End of the difficulty.

_PAN_MARGIN = math.ceil(PAN[1] / 2) + 1
_ANY = ("circle", "square", "triangle", "bar", "star", "cross")
_ROUNDISH = ("circle", "square", "triangle", "star", "cross")
_NEITHER_SQUARE_NOR_CIRCLE = ("triangle", "bar", "star", "cross")


def _object_colour(rng: Generator, background: np.ndarray) -> np.ndarray:
    """A colour lighter than the mean background, at most 250."""
    return np.minimum(background + rng.uniform(*OBJECT_CONTRAST, size=3), 250).astype(np.float32)


def _object(rng: Generator, background: np.ndarray, shapes: tuple[str, ...] = _ANY) -> tuple[str, float, np.ndarray]:
    """How an object looks: its shape, angle and colour."""
    return str(rng.choice(shapes)), rng.uniform(0, 2 * math.pi), _object_colour(rng, background)


def _stage(
    rng: Generator, frames: int, keep_clear: list[np.ndarray], distractors: Sequence[str] = _ANY, panning: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The background with its still shapes, away from the points `keep_clear`: the clip `(frames, SIZE, SIZE, 4)`, the
    camera's shift `(frames, 2)` in pixels, to be added to whatever stands still, and the mean colour `(3,)`."""
    side = SIZE + 2 * _PAN_MARGIN
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
        shape, angle, _ = _object(rng, mean, distractors)
        colour = np.maximum(mean - rng.uniform(*DISTRACTOR_CONTRAST, size=3), 5).astype(np.float32)
        paint(scene, shape, place + _PAN_MARGIN, rng.uniform(4, 8), angle, colour)
    video = np.zeros((frames, SIZE, SIZE, 4), dtype=np.float32)
    if not panning:
        inner = slice(_PAN_MARGIN, _PAN_MARGIN + SIZE)
        video[..., :3] = scene[inner, inner]
        return video, np.zeros((frames, 2)), mean
    shift = np.linspace(-0.5, 0.5, frames)[:, None] * _vector(rng, rng.uniform(*PAN))
    for image, (x, y) in zip(video, shift, strict=True):
        move = np.array([[1, 0, x - _PAN_MARGIN], [0, 1, y - _PAN_MARGIN]])
        image[..., :3] = cv2.warpAffine(scene, move, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
    return video, shift, mean


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


def _event_time(rng: Generator, frames: int) -> np.ndarray:
    """`(frames,)`: 0 before the event, rising evenly to 1 at its end, 1 after it."""
    share = rng.uniform(*EVENT_SHARE)
    begin = rng.uniform(0, 1 - share)
    return np.clip((np.linspace(0, 1, frames) - begin) / share, 0, 1)


def _pace(rng: Generator, time: np.ndarray) -> np.ndarray:
    """The same `time`, 0 to 1, running a little faster or slower in its middle."""
    return time + rng.uniform(-PACE, PACE) * np.sin(2 * math.pi * time) / (2 * math.pi)


def pattern_runs_right(rng: Generator, frames: int) -> np.ndarray:
    """A texture scrolls to the right inside a still square or circle."""
    width, height = rng.uniform(*PATTERN_PATCH, size=2)
    shape = str(rng.choice(["square", "circle"]))
    if shape == "circle":
        height = width
    box = math.ceil(PATTERN_PATCH[1]) + 2
    half = np.array([width, height]) / 2
    centre = rng.uniform(half + 2, SIZE - half - 2)
    video, _, mean = _stage(rng, frames, [centre], distractors=())

    # The texture slowly turns into another one on its way: nothing of it is left to match a segment (5 frames) later.
    speed, grain = rng.uniform(*PATTERN_SPEED), rng.uniform(*PATTERN_GRAIN)
    margin = math.ceil(3 * grain) + 1  # the blur and the sub-pixel shift reach beyond the box
    side = box + 2 * margin
    way = math.ceil(speed * frames) + 1
    noise = rng.standard_normal((frames, side, side + way), dtype=np.float32)
    over_time = noise.reshape(frames, -1)  # one column a pixel: blurred from frame to frame only
    noise = cv2.GaussianBlur(over_time, (1, 13), sigmaX=1, sigmaY=PATTERN_MEMORY).reshape(noise.shape)
    phase_x, phase_y = rng.uniform(0, 1, size=2)
    inside = slice(margin, margin + box)
    texture = np.empty((frames, box, box), dtype=np.float32)
    for t in range(frames):
        offset = way - 1 + phase_x - speed * t  # falls: what is seen moves to the right
        left = math.floor(offset)
        window = np.ascontiguousarray(noise[t, :, left : left + side])
        window = cv2.GaussianBlur(window, (0, 0), grain)
        move = np.array([[1, 0, left - offset], [0, 1, -phase_y]])
        window = cv2.warpAffine(window, move, (side, side), flags=cv2.INTER_CUBIC)
        texture[t] = window[inside, inside]
    texture *= rng.uniform(*PATTERN_CONTRAST) / texture.std()

    tint = rng.normal(size=3)
    tint = (tint * math.sqrt(3) / np.linalg.norm(tint)).astype(np.float32)
    colour = np.clip(_object_colour(rng, mean), 60, 195)
    # The box is laid on whole pixels, the patch inside it is cut out with soft edges.
    left, top = np.clip(np.rint(centre - box / 2), 0, SIZE - box).astype(int)
    mask = np.zeros((SIZE, SIZE, 4), dtype=np.float32)
    if shape == "circle":
        paint(mask, shape, centre, width / 2, 0.0, np.ones(3, np.float32))
    else:
        x0, y0 = np.rint(centre - half).astype(int)
        mask[y0 : y0 + round(height), x0 : x0 + round(width)] = 1
    mask = mask[top : top + box, left : left + box]
    part = video[:, top : top + box, left : left + box]
    part[..., :3] += mask[..., :3] * (colour + texture[..., None] * tint - part[..., :3])
    part[..., 3] = mask[..., 3]
    return video


def pattern_runs_down(rng: Generator, frames: int) -> np.ndarray:
    """The same downwards: x and y exchanged, so that single frames tell nothing."""
    return pattern_runs_right(rng, frames).transpose(0, 2, 1, 3)


def square_then_circle(rng: Generator, frames: int) -> np.ndarray:
    """A square shows up and goes; then a circle does."""
    places = rng.uniform(14, SIZE - 14, size=(2, 2))
    video, _, mean = _stage(rng, frames, list(places), _NEITHER_SQUARE_NOR_CIRCLE)
    # Begin and end of both, evenly long on average, with a pause between them.
    rest, first, pause, second, end = np.cumsum(rng.uniform((0.0, 0.7, 0.05, 0.7, 0.0), (0.3, 1.1, 0.25, 1.1, 0.3)))
    begins, ends = np.array([rest, pause]) / end * frames, np.array([first, second]) / end * frames
    for shape, place, begin, stop in zip(("square", "circle"), places, begins, ends, strict=True):
        radius, angle = rng.uniform(8, 14), rng.uniform(0, math.pi / 2)
        colour = _object_colour(rng, mean)
        for t in range(frames):
            opacity = float(np.clip(min(t - begin, stop - t) / 3, 0, 1))  # fades within 3 frames
            paint(video[t], shape, place, radius, angle, colour, opacity)
    return video


def covering(rng: Generator, frames: int) -> np.ndarray:
    """A larger shape slides over a smaller one until it hides it."""
    radius = rng.uniform(5, 8)
    way = _vector(rng, rng.uniform(*TRAVEL))
    start = _start(rng, way, margin=10)
    target = start + way
    video, _, mean = _stage(rng, frames, [start, start + way / 2, target])
    shape, angle, colour = _object(rng, mean, _ROUNDISH)
    cover, cover_angle, cover_colour = _object(rng, mean, ("square", "circle"))
    cover_radius = radius * rng.uniform(1.45, 1.8)
    for image, done in zip(video, _pace(rng, _event_time(rng, frames)), strict=True):
        paint(image, shape, target, radius, angle, colour)
        paint(image, cover, start + done * way, cover_radius, cover_angle, cover_colour)
    return video


def growing(rng: Generator, frames: int) -> np.ndarray:
    """A shape grows in its place."""
    small, factor = rng.uniform(5, 9), rng.uniform(*GROWTH)
    place = rng.uniform(18, SIZE - 18, size=2)
    video, _, mean = _stage(rng, frames, [place])
    shape, angle, colour = _object(rng, mean)
    for image, done in zip(video, _pace(rng, _event_time(rng, frames)), strict=True):
        paint(image, shape, place, small * factor**done, angle, colour)
    return video


def moving_to_a_place(rng: Generator, frames: int, back: bool = False) -> np.ndarray:
    """A shape moves from one place to another, and back again with `back`."""
    # Never nearly level, or it would be "Moving [something] left" or right with a still camera.
    slope = math.radians(rng.uniform(35, 145)) * rng.choice([-1, 1])
    way = _vector(rng, rng.uniform(*TRAVEL), slope)
    radius = rng.uniform(6, 10)
    start = _start(rng, way, margin=8)
    video, _, mean = _stage(rng, frames, [start, start + way / 2, start + way])
    shape, angle, colour = _object(rng, mean)
    time = _event_time(rng, frames)
    if back:  # each place on the way is seen just as often as when only moving there
        time = 1 - np.abs(2 * time - 1)
    for image, done in zip(video, _pace(rng, time), strict=True):
        paint(image, shape, start + done * way, radius, angle, colour)
    return video


def moving_right(rng: Generator, frames: int) -> np.ndarray:
    """A shape moves to the right against the background."""
    way = _vector(rng, rng.uniform(*TRAVEL), math.radians(rng.uniform(-15, 15)))
    start, radius = _start(rng, way, margin=9), rng.uniform(6, 10)
    video, shift, mean = _stage(rng, frames, [start, start + way / 2, start + way], panning=True)
    shape, angle, colour = _object(rng, mean)
    progress = _pace(rng, _event_time(rng, frames))
    for image, pan, done in zip(video, shift, progress, strict=True):
        paint(image, shape, start + done * way + pan, radius, angle, colour)
    return video


def approaching(rng: Generator, frames: int) -> np.ndarray:
    """Two shapes come closer until they touch."""
    radii, gap = rng.uniform(5, 9, size=2), rng.uniform(*GAP)
    axis = _vector(rng, 1.0)
    way = axis * (gap + radii.sum())
    first = _start(rng, way, margin=8)
    share = rng.uniform(0, 1)  # of the gap is closed by the first one, the rest by the second
    video, shift, mean = _stage(rng, frames, [first, first + way / 2, first + way], panning=True)
    looks = [_object(rng, mean, _ROUNDISH) for _ in radii]
    touching = 0.88 * radii.sum()  # the outlines are not all round: a small overlap
    gap += radii.sum() - touching
    progress = _pace(rng, _event_time(rng, frames))
    for image, pan, done in zip(video, shift, progress, strict=True):
        places = (first + axis * share * gap * done, first + way - axis * (1 - share) * gap * done)
        for (shape, angle, colour), place, radius in zip(looks, places, radii, strict=True):
            paint(image, shape, place + pan, radius, angle, colour)
    return video


def turning_clockwise(rng: Generator, frames: int) -> np.ndarray:
    """A shape without symmetry turns in its place."""
    place, radius = rng.uniform(16, SIZE - 16, size=2), rng.uniform(9, 14)
    video, shift, mean = _stage(rng, frames, [place], panning=True)
    shape, angle, colour = _object(rng, mean, ("corner", "arrow"))
    step = math.radians(rng.uniform(*TURN_DEGREES))
    for t in range(frames):
        paint(video[t], shape, place + shift[t], radius, angle + step * t, colour)
    return video
