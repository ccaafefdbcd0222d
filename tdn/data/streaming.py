"""All frames of a video file in order, with their times: one decoding, one frame in memory."""

from collections.abc import Iterator

import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from tdn.data.frames import VideoError, VideoReader, in_time
from tdn.data.video import PyAVReader, quarter_turns

TimedFrame = tuple[float, np.ndarray]
MICROSECOND = 6  # decimals of times: of sums such as 0.1 + 0.2, too


def timed_frames(video: VideoReader, height: int, width: int) -> Iterator[TimedFrame]:
    """Each frame, uint8 RGB `(height, width, 3)`, upright, and when it is shown, in seconds after the first frame.

    Frames of another size are resized, bilinear with antialiasing. Times rise: a frame without a time, or with an
    earlier one than the frame before, follows that by the average interval of the file. `video` is open, of PyAV.

    Raises ValueError for a folder and for another reader, VideoError where the video breaks off, a frame takes too long
    to decode, or has another size than the first.
    """
    require_times(video)
    frames = _decoded(video, height, width)

    def next_frame() -> TimedFrame | None:
        try:
            return next(frames, None)
        finally:
            video._busy = False

    while True:
        video._busy = True  # a decoder that hangs keeps the file open
        if (frame := in_time(video.path, next_frame)) is None:
            return
        yield frame


def length(video: VideoReader) -> float | None:
    """Seconds that an open video is shown, the last frame as long as the others on average; None where it has no times.
    Raises ValueError as `timed_frames`."""
    times = _times_of_packets(require_times(video))
    return None if len(times) < 2 else float(times[-1] - times[0]) * len(times) / (len(times) - 1)


def times_of_frames(video: VideoReader) -> np.ndarray:
    """When each frame is shown, in seconds after the first, `(num_frames,)`, in order. Of a file without times, or of
    which packets are no frames, they are evenly spread. Raises VideoError as `require_times`, and where nothing is
    known of times at all."""
    try:
        times, seconds = _times_of_packets(require_times(video)), length(video)
    except ValueError as error:
        raise VideoError(video.path, str(error).removeprefix(f"{video.path} ")) from error
    if len(times) == video.num_frames:
        return (times - times[0]).round(MICROSECOND)
    if seconds is None:
        raise VideoError(video.path, "its frames have no times")
    return (np.arange(video.num_frames) * seconds / video.num_frames).round(MICROSECOND)


def require_times(video: VideoReader) -> PyAVReader:
    """The reader itself; raises ValueError where it knows no times."""
    if not isinstance(video, PyAVReader):
        kind = "is a folder of frames, which have no times" if video.path.is_dir() else "has times only for PyAV"
        raise ValueError(f"{video.path} {kind}: a video file, read by pyav, is needed")
    return video


def _times_of_packets(video: PyAVReader) -> np.ndarray:
    """In seconds, in order; none where the file does not have them."""
    pts = video._packets.pts
    return pts[:0] if pts[0] == np.iinfo(pts.dtype).min else pts * float(video._stream.time_base)


def _decoded(video: PyAVReader, height: int, width: int) -> Iterator[TimedFrame]:
    interval = (length(video) or video.num_frames / 25) / video.num_frames
    times = _times_of_packets(video)
    known = len(times) == video.num_frames  # then better than those of frames, which AVI has in the order of decoding
    to_rgb, first, before = VideoReformatter(), None, -interval
    for index, frame in enumerate(video._from_the_start(np.arange(video.num_frames))):
        time = float(times[index]) if known else frame.time
        first = (time or 0) if first is None else first
        time = None if time is None else round(time - first, MICROSECOND)
        before = round(before + interval, MICROSECOND) if time is None or time <= before else time
        image = np.rot90(to_rgb.reformat(frame, format="rgb24", threads=1).to_ndarray(), quarter_turns(frame))
        if image.shape[:2] != (video.height, video.width):
            raise VideoError(video.path, "its frames are not all of one size")
        if image.shape[:2] != (height, width):
            image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        yield before, image
