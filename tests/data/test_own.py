"""Data sets of one's own: which files are lists, and that nothing is left out in silence."""

import os
import re

import pytest
from helpers import layouts

from tdn.__main__ import main
from tdn.data.disk.catalog import DatasetSpec
from tdn.data.disk.own import own_layout

pytestmark = pytest.mark.usefixtures("home")  # no data set of this machine


def touch(root, *paths):
    """Empty files; v{3}.mp4 is v0.mp4, v1.mp4 and v2.mp4."""
    for path in paths:
        before, count, after = re.split(r"\{(\d+)\}", path) if "{" in path else (path, 0, "")
        for number in range(int(count)) if count else [""]:
            file = root / f"{before}{number}{after}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    return root


def labelled(root):
    layout = own_layout(root)
    return layout.read(root, layout.sources(root, 1))


def slowfast(root, train="train.csv", val="val.csv"):
    """14 videos of 3 classes, in one folder next to the lists, as SlowFast's."""
    touch(root, "videos/v{14}.mp4")
    for name, numbers in ((train, range(10)), (val, range(10, 14))):
        layouts.write(root / name, [f"videos/v{number}.mp4 {number % 3}" for number in numbers])
    return root


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("train.csv", "val.csv"),
        ("train_list.txt", "val_list.txt"),
        ("trainlist01.txt", "testlist01.txt"),
        ("kinetics_train_list_videos.txt", "kinetics_val_list_videos.txt"),
        ("train_videofolder.txt", "val_videofolder.txt"),  # TSM, TDN
        ("Training.tsv", "Validation.tsv"),
        ("annotations/train.csv", "annotations/validation.csv"),
    ],
)
def test_lists_next_to_videos_are_read_as_lists(train, val, tmp_path):
    found = labelled(slowfast(tmp_path, train, val))
    assert found.class_names == ["0", "1", "2"] and not found.notes
    assert [video.label for video in found.train] == [number % 3 for number in range(10)]
    assert [video.path for video in found.val] == [tmp_path / f"videos/v{number}.mp4" for number in range(10, 14)]


def test_lists_may_have_names_of_classes(tmp_path):
    touch(tmp_path, "v{4}.mp4")
    layouts.write(tmp_path / "train.csv", ["video,label", "v0.mp4,walk", "v1.mp4,run", "v2.mp4,walk"])
    layouts.write(tmp_path / "val.csv", ["video,label", "v3.mp4,run"])
    layouts.write(tmp_path / "test.csv", ["v3.mp4"])
    found = labelled(tmp_path)
    assert found.class_names == ["run", "walk"] and found.notes == ["not used: test.csv"]
    assert [video.label for video in (*found.train, *found.val)] == [1, 0, 1, 0]
    layouts.write(tmp_path / "classes.txt", ["walk", "run", "jump"])
    assert [video.label for video in labelled(tmp_path).train] == [0, 1, 0]
    layouts.write(tmp_path / "val.csv", ["video,label", "v3.mp4,Run"])
    with pytest.raises(ValueError, match=r"val.csv, line 2: label Run is not one of those of classes.txt"):
        labelled(tmp_path)


REFUSED = [
    ("labels.csv", None, "one class only .videos., and labels.csv next to it: .* called train.txt and val.txt"),
    ("split.json", None, "one class only .videos., and split.json next to it"),
    ("train.csv", None, "has train.csv, but no val.txt or val.csv"),
    ("train_1.txt", "train_2.txt", "several lists of one set .train_1.txt, train_2.txt."),
]


@pytest.mark.parametrize(("first", "second", "message"), REFUSED)
def test_what_may_be_a_list_is_asked_about(first, second, message, tmp_path):
    touch(tmp_path, "videos/v{14}.mp4", "val.txt" if second else "videos/v1.mp4")
    for name in filter(None, (first, second)):
        layouts.write(tmp_path / name, ["videos/v1.mp4 0"])
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        labelled(tmp_path)


def test_folders_of_sets_are_no_classes(tmp_path):
    with pytest.raises(ValueError, match="videos_train, videos_val have names of sets"):
        labelled(touch(tmp_path, "videos_train/v{9}.mp4", "videos_val/v{9}.mp4"))
    for name in ("valid", "Validation", "testing"):
        root = touch(tmp_path / name, "Train/a/{3}.mp4", f"{name}/a/{{2}}.mp4")
        assert [len(labelled(root).train), len(labelled(root).val)] == [3, 2]


def test_what_is_left_out_is_counted_and_named(tmp_path, home, capsys):
    root = touch(tmp_path / "mine", "walk/{20}.mp4", "run/{20}.mp4", "run/._1.mp4", ".old/walk/{9}.mp4")
    touch(root, "walk/takes/old/{9}.mp4", "run/session/{3}.mp4", "run/session/{3}.jpg", "loose.mp4", "jump/{1}.txt")
    touch(root, "walk/frames/{5}.jpg", "walk/frames/flow/{5}.jpg", "walk/frames/preview.mp4", "run/rgb/clip/{5}.png")
    touch(root, "walk/{2}.txt", "walk/{3}.ZIP", "walk/noise", "README.md")
    layouts.video_file(root / "walk/0.mp4", 1)
    expected = [
        "videos left out, deeper than in the folder of their class: 14 "
        "(walk/takes/old: 9, run/session: 3, run/rgb: 1, walk/frames: 1)",
        "videos left out, in no folder of a class: 1 (loose.mp4)",
        "files left out, by their suffix no videos: 11 (3 .jpg such as run/session/0.jpg, 3 .txt such as jump/0.txt, "
        "3 .zip such as walk/0.ZIP, 1 .md such as README.md, 1 without a suffix such as walk/noise)",
        "folders that are no classes, without videos of their own: 1 (jump)",
    ]
    found = labelled(root)
    assert sorted(found.notes) == sorted(expected := [*expected, found.notes[0]])  # that says how the split was made
    assert found.class_names == ["run", "walk"] and len(found.train) + len(found.val) == 41

    spec = DatasetSpec(str(root))
    spec.videos(home / ".data")
    without_index = capsys.readouterr().out.splitlines()
    assert sorted(without_index) == sorted(f"{root}: {note}" for note in expected)
    assert main(["data", "check", str(root)]) == 1
    shown = capsys.readouterr().out
    assert all(f"\n  {note}\n" in shown for note in expected)
    spec.videos(home / ".data")  # from the index
    assert capsys.readouterr().out.splitlines() == without_index


def test_next_to_training_and_validation(tmp_path):
    root = touch(
        tmp_path / "mine", "train/a/{3}.mp4", "val/a/{2}.mp4", "test/a/{2}.mp4", "train/loose.avi", "labels.json"
    )
    touch(root, "train/b/{3}.mp4")
    assert sorted(labelled(root).notes) == [
        "files left out, by their suffix no videos: 1 (1 .json such as labels.json)",
        "not used, next to training and validation: 1 (test)",
        "videos left out, in no folder of a class: 1 (train/loose.avi)",
    ]


SUFFIXES = "ts gif vob m2ts mts mpg mpeg flv wmv 3gp ogv mxf mov m4v qt asf f4v divx m2t dv y4m h264 TS AVI rmvb"


def test_every_usual_suffix_is_a_video(tmp_path):
    root = touch(
        tmp_path / "mine", *(f"{c}/{n}.{suffix}" for c in "ab" for n in range(3) for suffix in SUFFIXES.split())
    )
    found = labelled(root)
    assert len(found.train) + len(found.val) == 6 * len(SUFFIXES.split()) and not found.notes[1:]


def test_labels_that_cannot_be_right_are_reported(tmp_path, home, capsys):
    root = touch(tmp_path / "mine", "v{6}.mp4")
    layouts.write(root / "train.csv", ["v0.mp4 0", "v1.mp4 1", "./v1.mp4 0", "v2.mp4 0", "v2.mp4 0", "v3.mp4 1"])
    layouts.write(root / "val.csv", ["v4.mp4 0", "v3.mp4 1", "v0.mp4 1"])
    assert main(["data", "check", str(root)]) == 1
    checked = capsys.readouterr().out
    DatasetSpec(str(root)).videos(home)
    for text in (checked, capsys.readouterr().out):
        assert f"videos with two labels or more: 2 ({root}/v0.mp4, {root}/v1.mp4)" in text
        assert f"videos in training and in validation: 2 ({root}/v0.mp4, {root}/v3.mp4)" in text
        assert f"videos twice in the same set: 2 ({root}/v1.mp4, {root}/v2.mp4)" in text
    linked = touch(tmp_path / "linked", "run/{20}.mp4")
    (linked / "walk").symlink_to("run")
    main(["data", "check", str(linked)])
    assert f"videos with two labels or more: 20 ({linked}/run/0.mp4 = {linked}/walk/0.mp4, " in capsys.readouterr().out
    only = touch(tmp_path / "one", "videos/v{20}.mp4")
    main(["data", "check", str(only)])
    assert "only one class has training videos (videos)" in capsys.readouterr().out


def test_no_name_ends_a_check(tmp_path, home, capsys):
    """Names with NUL, control characters and no UTF-8, too long for a file, and not to be encoded at all."""
    odd = ["a\0b.mp4", "x" * 300 + ".mp4", "e\x1b[31m\x07.mp4", "\u202e4pm.mp4"]
    root = tmp_path / ("long" * 60)
    touch(root, "good.mp4", "other.mp4")
    layouts.video_file(root / "good.mp4", 1)
    layouts.video_file(root / "other.mp4", 2)
    layouts.write(root / "train.txt", [f"{path} {label}" for label, path in enumerate((*odd, "good.mp4"))])
    layouts.write(root / "val.txt", ["other.mp4 4"])
    layouts.write(root / "classes.txt", ["\x1b[2J", "c" * 200_000, "<b>", "é", "good"])
    for _ in range(2):  # the second has an index
        assert main(["data", "check", str(root)]) == 1
        shown = capsys.readouterr().out
        assert r"a\x00b.mp4: embedded null byte" in shown and "File name too long" in shown
        assert r"e\x1b[31m\x07.mp4: missing" in shown and r"\u202e4pm.mp4: missing" in shown
        assert len(shown) < 5_000 and "\x1b" not in shown and "missing: 2, unreadable: 2" in shown
    train, val = DatasetSpec(str(root)).videos(home)  # without its index
    with pytest.raises(Exception, match="no file can have this name"):
        train.open(0)
    assert train.open(4).num_frames == val.open(0).num_frames == layouts.FRAMES


def test_classes_without_utf8_names_are_kept(tmp_path, home, capsys):
    names = [os.fsdecode(name) for name in (b"\xff\xfe", b"wa\nlk\x1b", b"r" * 255)]
    touch(tmp_path / "mine", *(f"{name}/{{9}}.mp4" for name in names))
    main(["data", "check", str(tmp_path / "mine")])
    assert "\x1b" not in capsys.readouterr().out
    train, _ = DatasetSpec(str(tmp_path / "mine")).videos(home / ".data")
    assert len(train.known_unreadable) == len(train), "from the index"
    assert sorted(train.class_names) == sorted(names)
