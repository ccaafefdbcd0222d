"""Frames through PyAV."""

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import av
import numpy as np

from tdn.data.frames import CLIP, CLIP_GB, CropSlices, VideoError, VideoReader, check_memory, in_time
from tdn.data.packets import open_stream, survey


def quarter_turns(frame: av.VideoFrame) -> int:
    """How often to turn a frame by 90 degrees, counterclockwise, to have it upright."""
    return 0 if frame.rotation % 90 else frame.rotation // 90


def upright_size(frame: av.VideoFrame) -> tuple[int, int]:
    return (frame.width, frame.height) if quarter_turns(frame) % 2 else (frame.height, frame.width)


class PyAVReader(VideoReader):
    """Decodes frame by frame from the start; in large files, where packets can be trusted, from the key frame before.

    There are as many frames as packets where each is known to be a frame that is shown; else all are decoded once to
    count them.
    """

    def __init__(self, path: Path):
        self.path, self.plain, self._container, self._busy = path, True, None, False
        in_time(path, self._open)

    def __exit__(self, *error: object) -> None:
        if not self._busy:  # a thread that hangs still uses it
            self._close()

    def _close(self) -> None:
        if self._container is not None:
            self._container.close()
        self._file.close()

    def _open(self) -> None:
        """Demuxes all packets, and decodes the first frame, as only it has the rotation; reading continues from it."""
        self._file = self.path.open("rb")
        try:
            self._container, self._stream = open_stream(self.path, self._file)
            context = self._stream.codec_context
            check_memory(self.path, CLIP, context.height, context.width, CLIP_GB)
            self._packets = survey(self.path, self._file, self._container, self._stream)
            others = self._decode()
            first = next(others, None)
            self.num_frames = len(self._packets.pts)
            self.plain = self._packets.plain and first is not None and first.pts == self._packets.pts[0]
            if first is None:
                raise VideoError(self.path, f"no frame can be decoded of its {self.num_frames} packets")
            self.height, self.width = upright_size(first)
            self.fit_for_decord = self.plain and not (self._packets.open_groups or first.interlaced_frame)
            self._undecoded = chain([first], others)
            if not self.plain:
                self.num_frames = 1 + sum(1 for _ in others)
                self._undecoded = None
        except BaseException:
            self._close()
            raise

    def _demuxed(self) -> Iterator[av.Packet]:
        """The packets from the first on, for a decoder that knows nothing yet: it forgets all at a key frame, else only
        a new one does."""
        if self._packets.kept is not None and self._packets.plain:
            self._stream.codec_context.flush_buffers()
            return iter(self._packets.kept)
        self._container.close()
        self._container, self._stream = open_stream(self.path, self._file)
        return self._container.demux(self._stream)

    def _decode(self) -> Iterator[av.VideoFrame]:
        return (frame for packet in self._demuxed() for frame in packet.decode())

    def _fill(self, frames: np.ndarray, needed: np.ndarray, place: np.ndarray, crop: CropSlices) -> None:
        self._busy = True
        in_time(self.path, self._fill_now, frames, needed, place, crop)

    def _fill_now(self, *arguments: np.ndarray) -> None:
        try:
            super()._fill(*arguments)
        finally:
            self._busy = False

    def _frames(self, needed: np.ndarray) -> Iterator[np.ndarray]:
        jumps = self.plain and self._packets.kept is None
        for frame in self._from_key_frames(needed) if jumps else self._from_the_start(needed):
            yield np.rot90(frame.to_ndarray(format="rgb24", threads=1), quarter_turns(frame))

    def _from_the_start(self, needed: np.ndarray) -> Iterator[av.VideoFrame]:
        frames, self._undecoded = self._undecoded or self._decode(), None
        start = 0
        for index in needed:
            frame = next(islice(frames, index - start, None), None)
            if frame is None:
                raise VideoError(self.path, f"breaks off before frame {index + 1} of {self.num_frames}")
            yield frame
            start = index + 1

    def _from_key_frames(self, needed: np.ndarray) -> Iterator[av.VideoFrame]:
        """Frames by when they are shown, as a decoder that starts at a key frame need not show all that follow."""
        self._undecoded = None
        known = np.searchsorted(np.maximum.accumulate(self._packets.key_pts), self._packets.pts[needed], "right") - 1
        packets, fed, frames = self._demuxed(), 0, iter(())
        for number, (pts, start) in enumerate(zip(self._packets.pts[needed], known, strict=True)):
            if (place := self._packets.key_places[start]) > fed:
                self._stream.codec_context.flush_buffers()
                next(islice(packets, place - fed, place - fed), None)
                fed, frames = place, iter(())
            while (frame := next((frame for frame in frames if frame.pts >= pts), None)) is None:
                if (packet := next(packets, None)) is None:
                    break
                frames, fed = iter(packet.decode()), fed + 1
            if frame is None or frame.pts != pts:  # no key frame after all
                yield from self._from_the_start(needed[number:])
                return
            yield frame
