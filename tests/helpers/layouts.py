"""Small data sets on disk, one function per layout: 3 classes, 8 videos of 12 frames, 56 x 56 pixels."""

import functools
import io
import json
from pathlib import Path

import av
import numpy as np

from helpers.videos import write_folder
from tdn.data.pocket import render as pocket

FRAMES = 12
TO_THE_RIGHT, TO_THE_LEFT = "Pushing something from left to right", "Pushing something from right to left"
HOLDING = "Holding something"
SOMETHING = {"train": {1: TO_THE_LEFT, 2: HOLDING, 3: TO_THE_RIGHT, 4: HOLDING, 5: TO_THE_LEFT}}
SOMETHING |= {"validation": {6: HOLDING, 7: TO_THE_LEFT, 8: TO_THE_RIGHT}}


def ssv1(root: Path, annotations: str = ".") -> Path:
    """Five training and three validation videos, folders of frames; the lists may lie in a subfolder."""
    for video in range(101, 109):
        frame_folder(root / f"20bn-something-something-v1/{video}", video)
    write(root / annotations / "something-something-v1-labels.csv", (TO_THE_RIGHT, HOLDING, TO_THE_LEFT))
    for part, labels in SOMETHING.items():
        lines = [f"{100 + number};{label}" for number, label in labels.items()]
        write(root / annotations / f"something-something-v1-{part}.csv", lines)
    return root


def ssv2(root: Path, names: str = "labels/{}.json") -> Path:
    """Five training and three validation videos, webm; `names` are those of the lists."""
    for video in range(201, 209):
        video_file(root / f"20bn-something-something-v2/{video}.webm", video)
    ids = {HOLDING: "0", TO_THE_LEFT: "1", TO_THE_RIGHT: "2"}
    write(root / names.format("labels"), [json.dumps(ids)])
    for part, labels in SOMETHING.items():
        entries = []
        for number, label in labels.items():
            shown, template = label.replace("something", "a cup").lower(), label.replace("something", "[something]")
            entries.append({"id": str(200 + number), "label": shown, "template": template, "placeholders": ["a cup"]})
        write(root / names.format(part), [json.dumps(entries, indent=1)])
    return root


def k400(root: Path, flat: bool = False, blank: str = "_", val: str = "val") -> Path:
    """Six training and two validation videos, mp4, in class folders with `blank` for a blank, or in none."""
    drums, abseiling, petting = "playing drums", "abseiling", "petting animal (not cat)"
    train = [(drums, "aaaaaaaaaaa", 10), (abseiling, "bbbbbbbbbbb", 0), (petting, "-cc_ccccccc", 127)]
    train += [(abseiling, "ddddddddddd", 33), (drums, "_e-eeeeeeee", 8), (petting, "fffffffffff", 1)]
    number = 300
    for part, videos in (("train", train), (val, [(drums, "ggggggggggg", 20), (abseiling, "hhhhhhhhhhh", 5)])):
        lines = ["label,youtube_id,time_start,time_end,split,is_cc"]
        for label, video, start in videos:
            folder = root / part if flat else root / part / label.replace(" ", blank)
            video_file(folder / f"{video}_{start:06d}_{start + 10:06d}.mp4", number := number + 1)
            lines.append(f"{label},{video},{start},{start + 10},{part},0")
        write(root / f"{part}.csv", lines)
    return root


def ucf101(root: Path) -> Path:
    """Eight videos, avi, in three splits; videos of group n are the test videos of split n."""
    three = ("g01_c01", "g02_c01", "g03_c01")
    videos = {"ApplyEyeMakeup": three, "Basketball": three[:2], "Archery": ("g01_c02", *three[1:])}
    numbers = {name: number for number, name in enumerate(sorted(videos), 1)}
    paths = {f"{name}/v_{name}_{take}.avi": numbers[name] for name, takes in videos.items() for take in takes}
    for number, path in enumerate(paths, 400):
        video_file(root / "UCF-101" / path, number)
    lists = root / "ucfTrainTestlist"
    write(lists / "classInd.txt", [f"{number} {name}" for name, number in numbers.items()], "\r\n")
    for split in (1, 2, 3):
        test = [path for path in paths if f"_g{split:02d}_" in path]
        train = [f"{path} {number}" for path, number in paths.items() if path not in test]
        write(lists / f"testlist{split:02d}.txt", test, "\r\n")
        write(lists / f"trainlist{split:02d}.txt", train, "\r\n")
    return root


def hmdb51(root: Path, folder: str = "hmdb51_org") -> Path:
    """Eight videos, avi, in three splits; in each one video of `climb` is in neither set."""
    videos = {"climb_stairs": 3, "climb": 3, "brush_hair": 2}
    number = 500
    for name, count in videos.items():
        takes = [f"{'ABC'[take]}_{name}_u_nm_np1_ba_med_{take}.avi" for take in range(count)]
        for take in takes:
            video_file(root / folder / name / take, number := number + 1)
        for split in (1, 2, 3):
            parts = {0: "2", 1: "1", 2: "0" if name == "climb" else "1"}
            lines = [f"{take} {parts[(place + split - 1) % count]} " for place, take in enumerate(takes)]
            write(root / f"testTrainMulti_7030_splits/{name}_test_split{split}.txt", lines)
    return root


GESTURES = [
    f"testvideo_{end}.mp4" for end in ("up_2", "up_3", "up_1", "left_2", "left_22", "left_7", "star_3", "star_9")
]


def gestures(root: Path) -> Path:
    """Five training and three validation videos of three of ten classes, and one that is of none."""
    for number, name in enumerate((*GESTURES, "testvideo_unclassified_2.mp4"), 800):
        video_file(root / "testvideo" / name, number)
    return root


def lists(root: Path, counts: bool = False, names: bool = True) -> Path:
    """Five training and three validation videos: mp4 files and folders of frames, with blanks in their paths."""
    train = {"my videos/take 1.mp4": 2, "my videos/take 2.mp4": 0, "frames/a 3": 1, "frames/b": 1, "c.mp4": 0}
    val = {"my videos/take 3.mp4": 0, "frames/d": 2, "frames/e 7": 1}
    for number, path in enumerate((*train, *val), 600):
        (video_file if path.endswith(".mp4") else frame_folder)(root / path, number)
    for part, videos in (("train", train), ("val", val)):
        count = f" {FRAMES + 300}" if counts else ""  # a wrong one: it is not to be trusted
        write(root / f"{part}.txt", [f"{path}{count} {label}" for path, label in videos.items()])
    if names:
        write(root / "classes.txt", ("waving", "clapping hands", "nodding"))
    return root


def folder(root: Path, split: bool = False) -> Path:
    """Five training and three validation videos in folders of classes; with `split` in train/ and validation/."""
    train = ["waving/a.mp4", "waving/c", "clapping hands/a.mp4", "nodding/d.mp4", "nodding/f.mp4"]
    val = ["waving/b.MP4", "clapping hands/c", "nodding/3.mp4"]  # also by their hash
    for number, path in enumerate((*train, *val), 700):
        part = ("train" if path in train else "validation") if split else "."
        (video_file if path.lower().endswith(".mp4") else frame_folder)(root / part / path, number)
    return root


def video_file(path: Path, number: int) -> None:
    """The rendered clip `number`, as what the suffix says: mp4, webm or avi."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_encoded(path.suffix.lower(), number % 4))


def frame_folder(path: Path, number: int) -> None:
    """The rendered clip `number` as 00001.jpg, 00002.jpg, ..."""
    write_folder(path, clip(number % 4))


def write(path: Path, lines, end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}{end}" for line in lines).encode())


@functools.cache
def clip(number: int) -> np.ndarray:
    return pocket.render_clip(number, number)[:FRAMES]


@functools.cache
def _encoded(suffix: str, number: int) -> bytes:
    file = io.BytesIO()
    if suffix == ".mp4":
        pocket.encode(file, clip(number))
        return file.getvalue()
    container_format, codec = {".webm": ("webm", "libvpx"), ".avi": ("avi", "mpeg4")}[suffix]
    with av.open(file, "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=12)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 56, 56, "yuv420p", 500_000
        for image in clip(number):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()
