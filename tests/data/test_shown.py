"""Frame n asked for is frame n shown: files of many codecs, containers and cuts against a decoding from end to end."""

import av
import numpy as np
import pytest
from helpers.videos import assert_shows, numbered, read, remux, write_video

from tdn.data import video as video_room
from tdn.data.clips import TestClips, TrainingClips, Unreadable, Video, VideoSet
from tdn.data.disk.check import check_videos
from tdn.data.disk.published import Labelled
from tdn.data.sampling import parse_views
from tdn.data.video import VideoError, open_video
from tdn.engine.inference import network_input
from tdn.model.zoo import create_model

X265 = "keyint=10:open-gop=1:bframes=3:pools=none:frame-threads=1:log-level=none"
ALT_REF = {"auto-alt-ref": "1", "lag-in-frames": "16", "b": "60k", "g": "30", "deadline": "good", "cpu-used": "4"}
SOURCES = {  # encoder, its pixels and options, suffix of the file it is encoded to
    "h264": ("libx264", "yuv420p", {"g": "10", "bf": "2", "x264-params": "open-gop=1:scenecut=0"}, "mp4"),
    "closed": ("libx264", "yuv420p", {"g": "10", "bf": "2"}, "mp4"),
    "intra-refresh": ("libx264", "yuv420p", {"g": "10", "bf": "0", "x264-params": "intra-refresh=1"}, "mp4"),
    "interlaced": ("libx264", "yuv420p", {"g": "10", "x264-params": "interlaced=1:scenecut=0"}, "mp4"),
    "hevc": ("libx265", "yuv420p", {"x265-params": X265}, "mp4"),
    "mpeg4": ("mpeg4", "yuv420p", {"g": "10", "bf": "2"}, "mp4"),
    "mpeg2": ("mpeg2video", "yuv420p", {"g": "10", "bf": "2"}, "ts"),
    "vp8": ("libvpx", "yuv420p", ALT_REF, "webm"),
    "vp9": ("libvpx-vp9", "yuv420p", ALT_REF, "webm"),
    "av1": ("libsvtav1", "yuv420p", {"preset": "12", "g": "10", "svtav1-params": "lp=1"}, "mkv"),
    "mjpeg": ("mjpeg", "yuvj420p", {}, "avi"),
    "ffv1": ("ffv1", "yuv420p", {"g": "10"}, "mkv"),
    "gif": ("gif", "rgb8", {}, "gif"),
    "flv1": ("flv", "yuv420p", {"g": "10"}, "flv"),
    "wmv2": ("wmv2", "yuv420p", {"g": "10"}, "wmv"),
}
EVERY = "mp4 mov mkv ts flv avi"
FILES = [("h264", EVERY, "whole open lost"), ("hevc", EVERY[:-4], "whole open lost"), ("vp9", "webm mp4 mkv", "whole")]
FILES += [("h264", "mp4 mov", "edit"), ("hevc", "mp4 mov", "edit"), ("mpeg4", "mp4", "edit"), ("vp9", "mp4", "edit")]
FILES += [("mpeg4", "mp4 mkv avi", "whole open lost packed"), ("mpeg2", "ts mkv mpg", "whole open lost")]
FILES += [("intra-refresh", "mp4 mkv", "whole open"), ("interlaced", "mp4 mkv ts", "whole")]
FILES += [
    ("closed", EVERY, "whole open"),
    ("vp8", "webm mkv", "whole hidden"),
    ("av1", "mp4 mkv webm", "whole"),
    ("mjpeg", "avi mov mkv", "whole"),
]
FILES += [("ffv1", "mkv avi", "whole"), ("gif", "gif", "whole"), ("flv1", "flv", "whole"), ("wmv2", "wmv", "whole")]
CLIP = numbered(40, 64, 96)


def shown(path):
    """All that FFmpeg's decoder gives, in its order; None where it fails."""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            return [frame.to_ndarray(format="rgb24") for packet in container.demux(stream) for frame in packet.decode()]
    except av.FFmpegError:
        return None


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("sources"), {}
    for name, (encoder, pixels, options, suffix) in SOURCES.items():
        try:
            av.Codec(encoder, "w")
        except av.codec.codec.UnknownCodecError:
            continue  # as FFmpeg was built
        made[name] = write_video(folder / f"{name}.{suffix}", CLIP, encoder, pixels, options=options)
    return made


@pytest.mark.parametrize("reader", ["pyav", "decord"])
def test_frame_n_is_frame_n_shown_or_the_file_is_refused(reader, sources, tmp_path, monkeypatch):
    """Every frame, all at once and in twos; read from the start, and from key frames, as large files are."""
    rng, right, wrong, refused, files = np.random.default_rng(0), 0, [], [], 0
    for name, containers, cuts in FILES:
        for suffix, cut in ((s, c) for s in containers.split() for c in cuts.split() if name in sources):
            path = remux(sources[name], tmp_path / f"{name}-{cut}.{suffix}", cut)
            frames, files = shown(path), files + 1
            for kept in (video_room.KEPT, 0) if reader == "pyav" else (video_room.KEPT,):
                monkeypatch.setattr(video_room, "KEPT", kept)
                try:
                    with open_video(path, reader) as opened:
                        order = rng.permutation(opened.num_frames)
                        found = np.concatenate(
                            [opened.read(order), *map(opened.read, np.array_split(order, len(order) // 2 or 1))]
                        )
                except VideoError as error:
                    refused.append(f"{path.name}: {error.reason}")
                    assert reader == "decord" or not frames, refused[-1]
                    continue
                monkeypatch.undo()
                limit, expected = 4 if reader == "decord" else 0, np.stack(frames)[np.tile(order, 2)]
                same = np.abs(found.transpose(0, 2, 3, 1) - expected.astype(float)).mean((1, 2, 3)) <= limit
                right += sum(same)
                if not same.all() or len(order) != len(frames):
                    wrong.append(f"{path.name}: {opened.num_frames} of {len(frames)}, {sum(same)} right")
    print(f"{reader}: {files} files, {right} frames right, {len(wrong)} files wrong, refused:", *refused, sep="\n  ")
    assert files >= 40 and not wrong
    at_most = 4 if reader == "pyav" else 0.9 * files  # FFmpeg can't decode two of ts, cut before their headers
    assert len(refused) <= at_most


@pytest.mark.parametrize(("name", "cut", "number"), [("vp8.webm", "hidden", 40), ("h264.mp4", "edit", 25)])
def test_check_training_and_prediction_see_the_same_frames(name, cut, number, sources, tmp_path):
    """Of a file with invisible frames, and of one cut five frames behind its second key frame, with any views."""
    path = remux(sources[name.partition(".")[0]], tmp_path / name, cut)
    with av.open(str(path)) as container:
        assert sum(1 for packet in container.demux(video=0) if packet.size) > number, "more packets than frames"
    assert_shows(read(path), CLIP[-number:], off=20 if cut == "hidden" else 8)
    video = Video(path, 0)
    checked = check_videos(Labelled(["a"], [video], []), tmp_path / "index.csv", tmp_path, "", workers=1)
    assert checked[path].frames == number and not checked[path].problem
    videos, views = VideoSet([video], ["a"]), parse_views("10x3", 48)
    clips = [TrainingClips(videos, 8, 5)[0], *TestClips(videos, 8, 5, views)]
    assert not any(isinstance(clip, Unreadable) for clip in clips) and len(clips[1].clip) == 10
    model = create_model("tdn_resnet10", 2, 8, width=8)
    assert network_input(model, path, views).shape[:3] == (30, 8, 5)
