"""What FFmpeg finds in a video file before anything is decoded: whether it is whole, and which frames it shows.

Shown is what FFmpeg's decoder gives for all packets one after the other, as `ffmpeg -i` does: without frames that an
edit list cuts off, invisible ones (VP8's and VP9's alternate references), and those that refer to others before the
start of the file.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np

from tdn.data.frames import VideoError

KEPT = 64 << 20  # bytes: the packets of smaller files stay in memory, those of others are read once more
ONE_EACH = ("h264", "hevc", "av1", "vp9", "mpeg4")  # one packet is one frame, but for the exceptions below
BROADCAST = ("mpegts", "mpeg")  # recordings begin and end anywhere, and promise nothing


def open_stream(path: Path, file: BinaryIO) -> tuple[av.container.InputContainer, av.VideoStream]:
    """The file from its start. FFmpeg gets no name: it would take some for a protocol, or for a pattern of names.
    (And text in the file that names other places, such as a playlist, opens none of them.)"""
    file.seek(0)
    container = av.open(file, buffer_size=1 << 16, options={"protocol_whitelist": "none"})
    try:
        stream = container.streams.best("video")
        if stream is None or stream.disposition & av.stream.Disposition.attached_pic:  # the cover of a piece of music
            raise VideoError(path, "no video in the file")
        if container.format.name.endswith("_pipe") or container.format.name in ("image2", "tty"):  # FFmpeg's names
            raise VideoError(path, "a picture or text, no video")
        stream.codec_context.thread_count = 1  # one worker has one core
    except BaseException:
        container.close()
        raise
    return container, stream


@dataclass
class Packets:
    """The packets of a video, as they come in the file; those that are to be shown have `pts`, when each is shown."""

    kept: list[av.Packet] | None  # None: too many
    pts: np.ndarray  # in order; None is the smallest integer
    plain: bool = True  # each packet is one frame that is shown, as far as can be told without decoding
    open_groups: bool = False  # some frames after a key frame in the file need frames before it
    key_places: list[int] = field(default_factory=list)  # of key frames among the packets, and when each is shown
    key_pts: list[int] = field(default_factory=list)


def survey(path: Path, file: BinaryIO, container: av.container.InputContainer, stream: av.VideoStream) -> Packets:
    """Demuxes the whole file. VideoError where it holds less than it promises, or nothing."""
    kind, codec = container.format.name.partition(",")[0], stream.codec_context.codec
    name, size = codec.canonical_name, os.fstat(file.fileno()).st_size
    keep, timed = size <= KEPT, kind in ("matroska", "flv")  # these say when the last of their streams ends
    mpeg4, nothing = name == "mpeg4", np.iinfo(np.int64).min
    found = Packets([] if keep else None, np.zeros(0, np.int64))
    pts, count, end, corrupt, odd, last = [], 0, 0.0, False, False, 0
    for packet in container.demux(() if timed else (stream,)):
        if timed and packet.pts is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream_index != stream.index:
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
            if packet.is_corrupt:
                corrupt = True
            if packet.is_discard:
                odd = True
            else:
                pts.append(nothing if shown is None else shown)
                found.open_groups |= bool(found.key_pts) and pts[-1] < found.key_pts[-1]
            if mpeg4 and not odd:
                odd = packet.size <= 16 or bytes(packet).count(b"\0\0\1\xb6") != 1  # none is coded in it, or two are
            if packet.dts is not None:
                last = packet.dts
        count += 1
    count -= 1  # the last one only marks the end
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
    promised, size = _promised_bytes(file), os.fstat(file.fileno()).st_size
    seconds = (container.duration or 0) / av.time_base
    if kind in BROADCAST or count <= 0:
        return
    if kind == "mov":  # its index, after an edit list; of parts that are downloaded one by one, that of the last too
        expected, count = len(stream.index_entries), count - corrupt
    elif kind == "gif":
        expected, count = _gif_images(file)
    elif kind == "avi":  # in ticks, as some show no new frame
        ticks = last + max(last / max(count - 1, 1), 1)
        expected = round(count * stream.frames / ticks) if stream.frames > ticks else count
    elif stream.frames:  # ivf and others
        expected = stream.frames
    elif end and seconds - end > (end / count / 2 if promised > size else 0.2 + 2 * end / count) and promised != size:
        expected, about = round(count * seconds / end), "about "
    elif promised > size and not seconds:
        expected, about = round(count * promised / size), "about "
    if corrupt and expected <= count:
        count -= 1
    if count < expected:
        raise VideoError(path, f"breaks off: holds {count} of {about or 'its '}{expected} frames")


def _promised_bytes(file: BinaryIO) -> int:
    """The size of the file as its header has it; 0 where it does not."""
    file.seek(0)
    head = file.read(4096)
    if (place := head.find(b"\x18\x53\x80\x67")) > 0 and head.startswith(b"\x1a\x45\xdf\xa3"):  # Matroska's segment
        length = 9 - head[place + 4].bit_length()  # of its size, with a bit for each byte
        start = place + 4 + length
        size = int.from_bytes(head[place + 4 : start]) & (1 << 7 * length) - 1
        return start + size if size != (1 << 7 * length) - 1 else 0
    if (place := head.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))) > 0:  # ASF's properties of the file
        return int.from_bytes(head[place + 40 : place + 48], "little")
    return 0


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
