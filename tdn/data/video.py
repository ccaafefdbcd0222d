"""Frames of videos: open, choose, read.

`frames.py` has what every open video can do; here are `open_video` and the reader through PyAV. Shown is what FFmpeg's
decoder gives for all packets one after the other, as `ffmpeg -i` does: without frames that an edit list cuts off,
invisible ones (VP8's and VP9's alternate references), and those that refer to others before the start of the file.
"""

import errno
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from tdn.data.decord_reader import DecordReader
from tdn.data.folder_reader import IMAGE_SUFFIXES, FolderReader
from tdn.data.frames import CLIP, CLIP_GB, CropSlices, TensorVideo, VideoError, VideoReader, check_memory, in_time
from tdn.utils import kind_of, unknown_name

__all__ = ["IMAGE_SUFFIXES", "CropSlices", "TensorVideo", "VideoError", "VideoReader", "open_video"]

KEPT, FAR = 64 << 20, 500  # bytes: packets of smaller files stay in memory; frames to skip, for a jump in these, too
ONE_EACH = ("h264", "hevc", "av1", "vp9", "mpeg4")  # one packet is one frame, but for the exceptions below
PACKED = re.compile(rb"DivX\d+(b|Build)\d+p")  # how an encoder of MPEG-4 says that it puts two frames in a packet
BROADCAST = ("mpegts", "mpeg")  # recordings begin and end anywhere, and promise nothing


def open_video(path: str | PathLike, reader: str = "pyav") -> VideoReader:
    """Opens a video file, or a folder that holds frames as JPEG or PNG files in the order of their numbers.

    The frames are those that FFmpeg shows (see above). `reader`, for files, is "pyav" or "decord" (else ValueError;
    ImportError where decord is not installed). A decoder that hangs is given up after `frames.SECONDS`, with its
    thread, its open file and its memory: nothing can stop it but the end of the process, which it does not delay.

    Raises VideoError where the file can't be opened in time, is no whole video, its first frame can't be decoded, or 40
    of its frames would take more than 4 GB (or, if set, than `TDN_VIDEO_GB` in the environment says).
    """
    readers = {"pyav": PyAVReader, "decord": _through_decord}
    if reader not in readers:
        raise ValueError(unknown_name("reader", reader, readers))
    path = Path(path)
    if "\0" in str(path):
        raise VideoError(path, "no file has a NUL character in its name")
    size = 0

    def opened() -> VideoReader:
        nonlocal size
        if path.is_dir():
            return FolderReader(path)
        if not (size := path.stat().st_size):
            raise VideoError(path, "empty file")
        return readers[reader](path)

    return in_time(path, opened, at_least=lambda: size // 60_000_000 * 60)  # some are decoded to count their frames


def _through_decord(path: Path) -> VideoReader:
    with PyAVReader(path) as opened:
        return DecordReader(path, opened.num_frames, opened.height, opened.width, opened.fit_for_decord)


def quarter_turns(frame: av.VideoFrame) -> int:
    """How often to turn a frame by 90 degrees, counterclockwise, to have it upright."""
    return 0 if frame.rotation % 90 else frame.rotation // 90


def _upright_size(frame: av.VideoFrame) -> tuple[int, int]:
    """Height and width. OSError where a player would mirror it, too."""
    # Asked once: after a look at its side_data a frame stays in memory until Python collects it.
    matrix = frame.side_data.get("DISPLAYMATRIX") if frame.side_data else None
    if matrix is not None:
        a, b, _, c, d = struct.unpack_from("<5i", bytes(matrix))  # (x, y) is shown at (a x + c y, b x + d y)
        if a * d < b * c:
            raise OSError(errno.EINVAL, "a player shows it mirrored (display matrix): write it anew, as it is shown")
    return (frame.width, frame.height) if quarter_turns(frame) % 2 else (frame.height, frame.width)


@dataclass
class _Packets:
    """The packets of a video, as they come in the file; those that are to be shown have `pts`, when each is shown."""

    kept: list[av.Packet] | None  # None: too many
    pts: np.ndarray  # in order; None is the smallest integer
    plain: bool = True  # as many frames are shown as there are packets, as far as can be told without decoding
    jumps: bool = False  # and each has the time of its packet, so that it is known after a jump to a key frame
    open_groups: bool = False  # some frames after a key frame in the file need frames before it
    key_places: list[int] = field(default_factory=list)  # of key frames among the packets, and when each is shown
    key_pts: list[int] = field(default_factory=list)


class PyAVReader(VideoReader):
    """Decodes frame by frame from the start; in large files, and far into others, where packets can be trusted, from
    the key frame before. There are as many frames as packets where each is known to be shown; else all are decoded."""

    def __init__(self, path: Path):
        """Demuxes all packets, and decodes the first frame, as only it has the rotation; reading continues from it."""
        self.path, self.plain, self._container, self._busy = path, True, None, False
        self._file = self.path.open("rb")
        try:
            self._container, self._stream = _open_stream(self.path, self._file)
            context = self._stream.codec_context
            check_memory(self.path, CLIP, context.height, context.width, CLIP_GB)
            self._packets = _survey(self.path, self._file, self._container, self._stream)
            others = self._decode()
            first = next(others, None)
            self.num_frames = len(self._packets.pts)
            self.plain = self._packets.plain and first is not None and first.pts == self._packets.pts[0]
            if first is None:
                raise VideoError(self.path, f"no frame can be decoded of its {self.num_frames} packets")
            self.height, self.width = _upright_size(first)
            self.fit_for_decord = self.plain and not (self._packets.open_groups or first.interlaced_frame)
            self._undecoded = chain([first], others)
            if not self.plain:
                self.num_frames, self._undecoded = 1 + sum(1 for _ in others), None
        except BaseException as error:
            unknown = isinstance(error, VideoError | av.InvalidDataError)
            start = os.pread(self._file.fileno(), 512, 0) if unknown else b""
            self._close()
            if start and (kind := kind_of(start)):
                raise VideoError(self.path, f"no video but {kind}") from error
            raise

    def __exit__(self, *error: object) -> None:
        if not self._busy:  # a thread that hangs still uses it
            self._close()

    def _close(self) -> None:
        if self._container is not None:
            self._container.close()
        self._file.close()

    def _demuxed(self) -> Iterator[av.Packet]:
        """The packets from the first on, for a decoder that knows nothing yet: it forgets all at a key frame, else only
        a new one does."""
        if self._packets.kept is not None and self._packets.plain:
            self._stream.codec_context.flush_buffers()
            return iter(self._packets.kept)
        self._container.close()
        self._container, self._stream = _open_stream(self.path, self._file)
        return self._container.demux(self._stream)

    def _decode(self) -> Iterator[av.VideoFrame]:
        return (frame for packet in self._demuxed() for frame in packet.decode())

    def _fill(self, frames: np.ndarray, needed: np.ndarray, place: np.ndarray, crop: CropSlices) -> None:
        self._busy = True
        in_time(self.path, self._fill_now, frames, needed, place, crop, at_least=lambda: self.num_frames // 3000 * 60)

    def _fill_now(self, *arguments: np.ndarray) -> None:
        try:
            super()._fill(*arguments)
        finally:
            self._busy = False

    def _frames(self, needed: np.ndarray) -> Iterator[np.ndarray]:
        jumps = self.plain and self._packets.jumps and (self._packets.kept is None or needed[0] > FAR)
        in_order = self._from_key_frames if jumps else self._from_the_start
        to_rgb = VideoReformatter()  # each frame would make one of its own
        for frame in in_order(needed):
            yield np.rot90(to_rgb.reformat(frame, format="rgb24", threads=1).to_ndarray(), quarter_turns(frame))

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


def _open_stream(path: Path, file: BinaryIO) -> tuple[av.container.InputContainer, av.VideoStream]:
    """The file from its start. FFmpeg gets it open: it would take some names for a protocol, and open what they name.
    (Text in a file that names other places, such as a playlist, opens none of them either.)"""
    file.seek(0)
    container = av.open(file, buffer_size=1 << 16, options={"protocol_whitelist": "none"})
    try:
        stream = container.streams.best("video")
        if stream is None or stream.disposition & av.stream.Disposition.attached_pic:  # the cover of a piece of music
            raise VideoError(path, "no video in the file")
        if container.format.name.endswith("_pipe") or container.format.name in ("image2", "tty"):  # FFmpeg's names
            raise VideoError(path, "a picture or text, no video")
        if stream.codec_context is None:
            raise VideoError(path, "encoded in a way that FFmpeg does not know")
        stream.codec_context.thread_count = 1  # one worker has one core
    except BaseException:
        container.close()
        raise
    return container, stream


def _survey(path: Path, file: BinaryIO, container: av.container.InputContainer, stream: av.VideoStream) -> _Packets:
    """Demuxes the whole file. VideoError where it holds less than it promises, or nothing."""
    kind, codec = container.format.name.partition(",")[0], stream.codec_context.codec
    name, size = codec.canonical_name, os.fstat(file.fileno()).st_size
    keep, timed = size <= KEPT, kind in ("matroska", "flv", "asf")  # say when the last of their streams ends
    mpeg4, nothing = name == "mpeg4", np.iinfo(np.int64).min
    found = _Packets([] if keep else None, np.zeros(0, np.int64))
    pts, ends, count, corrupt, odd, last, packed, waiting = [], {}, 0, False, False, 0, False, 0
    for packet in container.demux(() if timed else (stream,)):
        if timed:
            end = (packet.pts or 0) + (packet.duration or 0)
            ends[packet.stream.index] = max(ends.get(packet.stream.index, 0), end)
            if packet.stream.index != stream.index:  # packet.stream_index is 0 of the one that marks the end
                continue
        if keep:
            found.kept.append(packet)
        if packet.size:
            shown = packet.pts
            if packet.is_keyframe and (name != "h264" or _is_idr(bytes(packet))):
                found.key_places.append(count)
                found.key_pts.append(nothing if shown is None else shown)
            elif packet.is_keyframe:
                found.open_groups = True
            corrupt |= packet.is_corrupt
            if packet.is_discard:
                odd = True
            else:
                pts.append(nothing if shown is None else shown)
                found.open_groups |= bool(found.key_pts) and pts[-1] < found.key_pts[-1]
            if mpeg4 and count == 0:
                packed = bool(PACKED.search((stream.codec_context.extradata or b"") + bytes(packet)))
            if packed:  # two frames in a packet, made up for by a later one of seven bytes with none
                waiting += bytes(packet).count(b"\0\0\1\xb6") - (packet.size <= 7) - 1
                odd |= waiting not in (0, 1)
            elif mpeg4:
                odd |= packet.size <= 16  # nothing but headers
            elif name == "vp9" and not odd:
                data = memoryview(packet)
                odd = data[-1] & 0xE0 != 0xC0 and not data[0] & 0x0A  # neither several in one, nor marked as shown
            if packet.dts is not None:
                last = packet.dts
        count += 1
    count -= 1  # the last one only marks the end
    end = max((float(ticks * container.streams[index].time_base) for index, ticks in ends.items()), default=0.0)
    _check_whole(path, file, container, stream, count, corrupt, end, last)
    if not pts:
        raise VideoError(path, "no frames")
    found.pts = np.sort(np.array(pts, np.int64))
    found.plain = (
        not (odd or corrupt)
        and (codec.intra_only or name in ONE_EACH)
        and (kind in ("mov", "matroska") or (kind == "avi" and (codec.intra_only or mpeg4)))
        and found.key_places[:1] == [0]
        and found.pts[0] == found.key_pts[0] != nothing
        and bool((np.diff(found.pts) > 0).all())
    )
    found.jumps = found.plain and (codec.intra_only or (kind != "avi" and not packed))
    return found


def _is_idr(packet: bytes) -> bool:
    """Whether a packet of H.264, as in mp4 and Matroska, is a key frame that no later frame looks behind."""
    place = 0
    while place + 4 < len(packet):  # units: four bytes of size, then one with the kind
        if packet[place + 4] & 31 == 5:
            return True
        place += 4 + int.from_bytes(packet[place : place + 4])
    return False


def _check_whole(path, file, container, stream, count: int, corrupt: bool, end: float, last: int) -> None:
    """VideoError, with the numbers of frames, where a header promises more than the `count` packets of the video, whose
    last one is decoded at the tick `last`; those of all streams end after `end` seconds."""
    kind, expected, about = container.format.name.partition(",")[0], count, ""
    (promised, seconds), size = _promised(file), os.fstat(file.fileno()).st_size
    seconds = seconds or (container.duration or 0) / av.time_base
    if kind in BROADCAST or count <= 0:
        return
    if kind == "mov":  # its index, after an edit list; of parts that are downloaded one by one, that of the last too
        expected, count = len(stream.index_entries), count - corrupt
    elif kind == "gif" and size <= KEPT:
        expected, count = _gif_images(file)
    elif kind == "avi":  # in ticks, as some show no new frame
        ticks = last + max(last / max(count - 1, 1), 1)
        expected = round(count * stream.frames / ticks) if stream.frames > ticks else count
    elif stream.frames or kind == "mxf":  # ivf and others; MXF has a length, about in frames
        expected = stream.frames or (stream.duration if count < 0.95 * (stream.duration or 0) else count)
    elif end and seconds - end > (end / count / 2 if promised > size else 0.2 + 2 * end / count) and promised != size:
        expected, about = round(count * seconds / end), "about "
    count -= corrupt and expected <= count
    if count < expected:
        raise VideoError(path, f"breaks off: holds {count} of {about or 'its '}{expected} frames")


def _promised(file: BinaryIO) -> tuple[int, float]:
    """The size of the file in bytes and its length in seconds, as its header has them; 0 where it does not."""
    file.seek(0)
    head = file.read(4096)
    if (place := head.find(b"\x18\x53\x80\x67")) > 0 and head.startswith(b"\x1a\x45\xdf\xa3"):  # Matroska's segment
        length = 9 - head[place + 4].bit_length()  # of its size, with a bit for each byte
        start = place + 4 + length
        size = int.from_bytes(head[place + 4 : start]) & (1 << 7 * length) - 1
        return (start + size if size != (1 << 7 * length) - 1 else 0), 0
    if (place := head.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))) > 0:  # ASF's properties of the file
        size, _, _, play, _, preroll = struct.unpack_from("<6Q", head, place + 40)  # in 100 ns and ms
        return size, max(play / 1e7 - preroll / 1e3, 0)
    return 0, 0


def _gif_images(file: BinaryIO) -> tuple[int, int]:
    """How many images of a GIF begin, and how many are whole."""
    file.seek(0)
    data = file.read()

    def colours(flags: int) -> int:  # bytes of a table of colours
        return 3 << (flags & 7) + 1 if flags & 128 else 0

    begun = whole = 0
    try:
        place = 13 + colours(data[10])
        while data[place] in (0x21, 0x2C):  # an extension, an image
            image = data[place] == 0x2C
            begun += image
            place += 11 + colours(data[place + 9]) if image else 2
            while data[place]:  # blocks, the last one empty
                place += data[place] + 1
            place += 1
            whole += image
    except IndexError:
        pass
    return begun, whole
