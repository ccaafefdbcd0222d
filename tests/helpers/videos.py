"""Video files and folders of frames for the tests, whole and damaged."""

from fractions import Fraction

import av
import cv2
import numpy as np
import torch
from av.bitstream import BitStreamFilterContext

from tdn.data.video import open_video


def numbered(frames, height, width):
    """Frames that differ: noise, a red top left corner, and the brighter the later."""
    noise = np.random.default_rng(0).integers(0, 40, (height // 8 + 1, width // 8 + 1)).repeat(8, 0).repeat(8, 1)
    grey = noise[:height, :width] + np.linspace(0, 200, frames)[:, None, None]
    clip = np.repeat(grey[..., None], 3, -1).astype(np.uint8)
    clip[:, : height // 3, : width // 3] = 250, 20, 20
    return clip


def write_video(path, clip, codec="libx264", pixels="yuv420p", ticks=None, options=None):
    """`ticks`: when each frame is shown, in hundredths of a second; else 25 frames a second."""
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *clip.shape[1:3], pixels
        stream.options = options or {}
        stream.codec_context.time_base = Fraction(1, 100)
        for image, tick in zip(clip, range(0, 4 * len(clip), 4) if ticks is None else ticks, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = int(tick), Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def remux(source, path, cut="whole"):
    """The packets in another file, without encoding anew. Cuts: "open" begins with the second key frame (of an open
    group of pictures, some of those that follow need the one before), "lost" a little after the first one, "edit" five
    frames after the second one, by an edit list in front of all packets that these need. "hidden" has three frames of
    VP8 a second time, marked as not to be shown, as alternate references are. "packed" has each B-frame of MPEG-4 in
    the packet before it, and in its own place a packet without a frame, as DivX and Xvid write."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = old.streams.video[0]
        out, name = new.add_stream_from_template(stream, opaque=True), stream.codec_context.name
        annexb = BitStreamFilterContext(f"{name}_mp4toannexb", stream) if name == "h264" else None
        packets = [packet for packet in old.demux(stream) if packet.size]
        keys = [place for place, packet in enumerate(packets) if packet.is_keyframe]
        packets = packets[{"whole": 0, "hidden": 0, "packed": 0, "lost": 3}.get(cut, keys[min(1, len(keys) - 1)]) :]
        origin = packets[0].dts
        if cut == "edit":
            origin = sorted(packet.pts for packet in packets if packet.pts >= packets[0].pts)[5]
        for number in (25, 15, 5) if cut == "hidden" else ():
            hidden = av.Packet(bytes([bytes(packets[number])[0] & ~16]) + bytes(packets[number])[1:])
            hidden.pts, hidden.dts, hidden.time_base = packets[number].pts, packets[number].dts, stream.time_base
            packets.insert(number, hidden)
        if cut == "packed":
            data = [bytes(packet) for packet in packets] + [b""]
            is_b = [bool(each) and each[each.index(b"\0\0\1\xb6") + 4] >> 6 == 2 for each in data]
            data[0] = b"\0\0\1\xb2DivX503b1393p" + data[0]
            for place, packet in enumerate(packets):
                if is_b[place] and not is_b[place + 1]:
                    content = b"\0\0\1\xb6\x50\x7f"
                elif is_b[place]:
                    content = data[place + 1]
                else:
                    content = data[place] + (data[place + 1] if is_b[place + 1] else b"")
                times = packet.pts, packet.dts, packet.is_keyframe
                packets[place] = packet = av.Packet(content)
                packet.pts, packet.dts, packet.is_keyframe = times
                packet.time_base = stream.time_base
        for packet in packets:
            packet.pts, packet.dts = packet.pts - origin, packet.dts - origin
            for ready in annexb.filter(packet) if annexb and str(path).endswith("avi") else [packet]:
                ready.stream = out
                new.mux(ready)
    return path


def damage(path, number):
    """Zeros in place of what the file holds of this frame, as left by a bad sector of a disk."""
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    start, size = places[number]
    content[start : start + size] = bytes(size)
    path.write_bytes(content)
    return path


def assert_shows(frames, clip, off=8):
    assert frames.dtype == torch.uint8 and frames.shape == (len(clip), 3, *clip.shape[1:3])
    shown = torch.from_numpy(np.ascontiguousarray(clip)).permute(0, 3, 1, 2).float()
    assert (frames.float() - shown).abs().mean((1, 2, 3)).max() < off


def write_folder(folder, frames, name="{:05d}.jpg"):
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames, start=1):
        cv2.imwrite(str(folder / name.format(number)), frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
    return folder


def read(path, indices=None, reader="pyav"):
    """Frames of a video, all unless told which."""
    with open_video(path, reader) as video:
        return video.read(np.arange(video.num_frames) if indices is None else indices)
