"""Data sets on disk: the labels of each layout, and the messages for mistakes."""

import re
from pathlib import Path

import pytest
import torch
from helpers import layouts
from torchvision.io import decode_image

from tdn.data.clips import Video
from tdn.data.disk import catalog
from tdn.data.disk.catalog import DatasetSpec
from tdn.data.video import VideoError

pytestmark = pytest.mark.usefixtures("home")  # no data set of this machine
L, H, R = layouts.TO_THE_LEFT, layouts.HOLDING, layouts.TO_THE_RIGHT


def first_and_last(videos, index):
    with videos.open(index) as video:
        return video.read([0, video.num_frames - 1])


def content(videos, root):
    """Class names of the videos of a set: short path to name."""
    return {str(path.relative_to(root)): videos.class_names[label] for path, label, _ in videos.videos}


PATHS = {"ssv1": "20bn-something-something-v1/{2}", "ssv2": "20bn-something-something-v2/{2}.webm"}
PATHS |= {"k400": "{0}/{3}/{2}.mp4", "ucf101": "UCF-101/{1}/v_{1}_g0{2[0]}_c0{2[1]}.avi"}  # part, class and the rest
PATHS |= {"hmdb51": "hmdb51_org/{1}/{2[0]}_{1}_u_nm_np1_ba_med_{2[1]}.avi", "lists": "{2}", "folder": "{1}/{2}"}
PET, DRUM = "petting animal (not cat)", "playing drums"
ORDER = {"ssv2": [H, L, R], "lists": ["waving", "clapping hands", "nodding"]}  # of classes; else that of names
TRAIN = {
    "ssv1": f"{L}: 101, {H}: 102, {R}: 103, {H}: 104, {L}: 105",
    "ssv2": f"{L}: 201, {H}: 202, {R}: 203, {H}: 204, {L}: 205",
    "k400": f"{DRUM}: aaaaaaaaaaa_000010_000020, abseiling: bbbbbbbbbbb_000000_000010, {PET}: -cc_ccccccc_000127_000137"
    f", abseiling: ddddddddddd_000033_000043, {DRUM}: _e-eeeeeeee_000008_000018, {PET}: fffffffffff_000001_000011",
    "ucf101": "ApplyEyeMakeup: 21, ApplyEyeMakeup: 31, Basketball: 21, Archery: 21, Archery: 31",
    "hmdb51": "brush_hair: B1, climb: B1, climb_stairs: B1, climb_stairs: C2",
    "lists": "nodding: my videos/take 1.mp4, waving: my videos/take 2.mp4, clapping hands: frames/a 3, "
    "clapping hands: frames/b, waving: c.mp4",
    "folder": "clapping hands: a.mp4, nodding: d.mp4, nodding: f.mp4, waving: a.mp4, waving: c",
}
VAL = {
    "ssv1": f"{H}: 106, {L}: 107, {R}: 108",
    "ssv2": f"{H}: 206, {L}: 207, {R}: 208",
    "k400": f"{DRUM}: ggggggggggg_000020_000030, abseiling: hhhhhhhhhhh_000005_000015",
    "ucf101": "ApplyEyeMakeup: 11, Basketball: 11, Archery: 12",
    "hmdb51": "brush_hair: A0, climb: A0, climb_stairs: A0",
    "lists": "waving: my videos/take 3.mp4, nodding: frames/d, clapping hands: frames/e 7",
    "folder": "clapping hands: c, nodding: 3.mp4, waving: b.MP4",
}


def expected(name, part, text):
    pairs = (pair.split(": ") for pair in text.split(", "))
    return {PATHS[name].format(part, label, rest, label.replace(" ", "_")): label for label, rest in pairs}


EXPECTED = {name: [expected(name, "train", TRAIN[name]), expected(name, "val", VAL[name])] for name in PATHS}


@pytest.mark.parametrize("name", EXPECTED)
def test_videos_and_labels_are_those_of_the_annotation(name, place, home):
    root = place(name)
    spec = DatasetSpec(name)
    sets = spec.videos(home)
    assert [content(videos, root) for videos in sets] == EXPECTED[name]
    assert spec.num_classes == 3 and spec.missing() is None
    for videos in sets:
        assert videos.class_names == ORDER.get(name, sorted(set(EXPECTED[name][0].values())))
        for number in range(len(videos)):
            assert first_and_last(videos, number).shape == (2, 3, 56, 56)
        assert not videos.known_unreadable
    if name == "ssv1":
        frames = [decode_image(str(sets[0].videos[0].path / f"{number:05d}.jpg")) for number in (1, 12)]
        assert torch.equal(first_and_last(sets[0], 0), torch.stack(frames)), "the first is 1"


def test_splits(place, home):
    ucf, hmdb = place("ucf101"), place("hmdb51", folder=".")
    for split, (groups, climb) in {2: ({"g02"}, "C"), 3: ({"g03"}, "B")}.items():
        train, test = DatasetSpec("ucf101", split).videos(home)
        assert {path[-11:-8] for path in content(test, ucf)} == groups
        assert len(train) + len(test) == 8 and not groups & {path[-11:-8] for path in content(train, ucf)}
        train, test = DatasetSpec("hmdb51", split).videos(home)
        assert f"climb/{climb}_climb_u_nm_np1_ba_med_{'ABC'.index(climb)}.avi" in content(test, hmdb)
        assert len(train) + len(test) == 7, "one is in neither set"
        first_and_last(train, 0)
    for name, split, valid in (("ucf101", 4, "1 to 3"), ("hmdb51", 0, "1 to 3"), ("ssv1", 2, "only 1")):
        with pytest.raises(ValueError, match=f"{name} has no split {split}; valid: {valid}"):
            DatasetSpec(name, split)


OTHERS = [("k400", {"flat": True}), ("k400", {"blank": " "}), ("k400", {"val": "validate"})]
OTHERS += [("ssv1", {"annotations": "annotations"}), ("ssv2", {"names": "something-something-v2-{}.json"})]


@pytest.mark.parametrize(("name", "arguments"), OTHERS)
def test_other_names_of_folders_and_lists(name, arguments, place, home):
    root = place(name, **arguments)
    for videos, expected in zip(DatasetSpec(name).videos(home), EXPECTED[name], strict=True):
        found, wanted = ({Path(path).name: c for path, c in each.items()} for each in (content(videos, root), expected))
        assert found == wanted and all(path.exists() for path, _, _ in videos.videos)


@pytest.mark.parametrize("blank", [" ", "_"])
def test_a_missing_video_stays_and_is_reported_where_it_would_be(blank, place, home):
    root = place("k400", blank=blank)
    lost = root / f"train/playing{blank}drums/_e-eeeeeeee_000008_000018.mp4"
    lost.unlink()
    (root / "train/petting_animal (not cat)").mkdir()  # next to the other folder of this class
    pet = next(root.glob("train/petting*/-cc*"))
    moved = pet.rename(root / "train/petting_animal (not cat)" / pet.name)
    moved.with_suffix(".gif").touch()
    train, _ = DatasetSpec("k400").videos(home)
    assert len(train) == 6 and train.videos[4] == Video(lost, 2) and train.videos[2] == Video(moved, 1)
    with pytest.raises(VideoError, match=r"_e-eeeeeeee_000008_000018.mp4: No such file"):
        first_and_last(train, 4)


def test_lists_count_frames_or_not_and_need_no_names(place, home, tmp_path):
    root = place("lists", counts=True, names=False)
    for videos, expected in zip(sets := DatasetSpec("lists").videos(home), EXPECTED["lists"], strict=True):
        assert content(videos, root) == {path: str(ORDER["lists"].index(name)) for path, name in expected.items()}
    assert first_and_last(sets[0], 2).shape == (2, 3, 56, 56), "the number of frames in the list is wrong"

    (root / "classes.txt").write_bytes("\ufeffja\r\nnein\r\nvielleicht\r\n".encode())  # as some editors write
    assert DatasetSpec("lists").videos(home)[0].class_names == ["ja", "nein", "vielleicht"]

    elsewhere = tmp_path / "elsewhere 5.mp4"
    with (root / "val.txt").open("a") as file:
        file.write(f"{elsewhere} 0\n")  # now one line has no number of frames, and none is taken for one
    _, val = DatasetSpec("lists").videos(home)
    assert val.videos[-1] == Video(elsewhere, 0)
    assert val.videos[0].path == root / f"my videos/take 3.mp4 {layouts.FRAMES + 300}"

    (root / "classes.txt").unlink()
    edited(root / "train.txt", f"take 1.mp4 {layouts.FRAMES + 300} 2", "take 1.mp4 3")
    with pytest.raises(ValueError, match=r"train.txt: .* no video has the label 2, .*classes.txt"):
        DatasetSpec("lists").videos(home)


def test_folders_of_training_and_validation_or_of_both(place, home, tmp_path):
    root = place("folder", split=True)
    for stray in ("train/.hidden/a.mp4", "train/waving/notes.txt", "train/.DS_Store"):
        layouts.write(root / stray, ["a stray file"])
    (root / "train/no videos").mkdir()
    sets = zip(("train", "validation"), DatasetSpec("folder").videos(home), EXPECTED["folder"], strict=True)
    for part, videos, expected in sets:
        assert content(videos, root) == {f"{part}/{path}": name for path, name in expected.items()}

    root = layouts.folder(tmp_path / "both")
    spec = DatasetSpec(str(root))
    before, fingerprint = [set(content(videos, root)) for videos in spec.videos(home)], spec.fingerprint()
    layouts.write(root / "waving/.hidden", ["x"])
    assert spec.fingerprint() == fingerprint
    for number in range(200):
        (root / f"nodding/{number:03d} more.mp4").touch()
    assert spec.fingerprint() != fingerprint
    after = [set(content(videos, root)) for videos in DatasetSpec(str(root)).videos(home)]
    per_class = [sum("nodding" in path for path in paths) for paths in after]
    assert abs(per_class[1] - sum(per_class) / 5) < 1 and len(before[0] & after[1]) <= 1


def edited(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


SPLITS = "testTrainMulti_7030_splits/climb_test_split1.txt"


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "message"),
    [
        ("ssv1", "something-something-v1-train.csv", "102;Hold", "102;Hodl", "line 2: 'Hodling something' is no label"),
        ("ssv1", "something-something-v1-validation.csv", "107;", "107,", "line 2: not of the form id;label"),
        ("ssv1", "something-something-v1-labels.csv", H, R, "line 2: .* twice"),
        ("ssv2", "labels/train.json", "Holding [so", "Hodling [so", r"video 2 \(id 202\): 'Hodling something' is no"),
        ("ssv2", "labels/validation.json", '"template"', '"tmplate"', "video 1: has no id or no template"),
        ("ssv2", "labels/train.json", '"id": "203",', '"id": "203"', r"line \d+: Expecting ',' delimiter"),
        ("ssv2", "labels/labels.json", '"2"', '"3"', "the labels must be 0 to 2, each once"),
        ("k400", "val.csv", "\nplaying drums", "\nplaying a drum", "line 2: 'playing a drum' is no class of train.csv"),
        ("k400", "train.csv", "bbbbbbbbbbb,0", "bbbbbbbbbbb,zero", "line 3: not of the form label,youtube_id,time"),
        ("k400", "train.csv", "time_start", "start", "line 1: the columns must be"),
        ("ucf101", "ucfTrainTestlist/trainlist01.txt", "ery_g02_c01.avi 2", "ery_g02_c01.avi 3", "line 4: Archery"),
        ("ucf101", "ucfTrainTestlist/testlist01.txt", "Basketball/", "Basket/", "line 2: no class of classInd.txt"),
        ("ucf101", "ucfTrainTestlist/classInd.txt", "2 Archery", "1 Archery", "line 2: expected 2"),
        ("hmdb51", SPLITS, "avi 2", "avi 3", "line 1: .* 0, 1 or 2"),
        ("lists", "train.txt", "take 2.mp4 0", "take 2.mp4 3", "line 2: label 3 is not one of 0 to 2"),
        ("lists", "val.txt", "frames/d 2", "frames/d", "line 2: neither"),
        ("lists", "classes.txt", "waving\n", "waving\n\n", "line 3: a blank line"),
    ],
)
def test_a_mistake_in_an_annotation_is_reported_with_its_place(name, file, old, new, message, place, home):
    edited(place(name) / file, old, new)
    with pytest.raises(ValueError, match=f"{re.escape(file)}.*{message}"):
        DatasetSpec(name).videos(home)


NO_SET = [(["waving/notes.txt"], "found: .*waving/notes.txt"), ([], "found: nothing"), (["train.txt"], "no val.txt")]
NO_SET += [
    (["a/b/c.mp4"], r"found: videos .* deeper than .*: 1 \(a/b: 1\)"),
    (["a/b.mp4"], "none of 1 videos is for validation; no class has so many videos"),
]
NO_SET += [(["train/a/b.mp4", "val/c/b.mp4"], "val/c: .*/train has no videos of this class")]


@pytest.mark.parametrize(("files", "message"), NO_SET)
def test_a_folder_that_is_no_data_set_is_explained(files, message, home, tmp_path):
    (tmp_path / "mine").mkdir()
    for file in files:
        layouts.write(tmp_path / "mine" / file, ["a.mp4 0"])
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        DatasetSpec(str(tmp_path / "mine")).videos(home)


def test_the_environment_goes_before_the_configuration(home, tmp_path, monkeypatch):
    for name in ("first", "second"):
        layouts.folder(tmp_path / name)
    (home / ".datasets.toml").write_text(f'my-set = "{tmp_path}/first"\nssv1 = "../gone"\n')
    assert catalog.location("my-set") == tmp_path / "first"
    for name, folder in {"MY_SET": "second", "NUMBER_2": "first"}.items():
        monkeypatch.setenv(f"TDN_{name}", str(tmp_path / folder))
        assert catalog.location(name.lower().replace("_", "-")) == tmp_path / folder
    train, _ = DatasetSpec("my-set").videos(home)
    assert train.videos[0].path.is_relative_to(tmp_path / "second")
    with pytest.raises(FileNotFoundError, match=r"ssv1: there is no folder .*gone\. .*from .*\.datasets\.toml"):
        catalog.location("ssv1")


def test_a_missing_set_is_reported_with_what_to_do(home, monkeypatch):
    for name, classes in {"ssv1": 174, "ssv2": 174, "k400": 400, "ucf101": 101, "hmdb51": 51}.items():
        text = DatasetSpec(name).missing()
        assert "https://" in text and f"TDN_{name.upper()}=" in text and str(home / ".datasets.toml") in text
        assert "\n" not in text and DatasetSpec(name).num_classes == classes
        with pytest.raises(FileNotFoundError, match="is not on this machine"):
            DatasetSpec(name).videos(home)
    with pytest.raises(ValueError, match="unknown data set 'home'"):
        DatasetSpec("home").videos(home)  # TDN_HOME is none

    monkeypatch.setenv("TDN_UCF101", "/nowhere")
    assert "no folder /nowhere. The path is from the environment variable TDN_UCF101" in DatasetSpec("ucf101").missing()
    assert DatasetSpec("ucf101").num_classes == 101
    with pytest.raises(ValueError, match="unknown data set 'UCF101'; did you mean ucf101"):
        DatasetSpec("UCF101").missing()  # not a set of one's own, in a layout of one's own
    for broken in ("ssv1 = /data", "ssv1 = 3"):
        (home / ".datasets.toml").write_text(broken)
        assert re.search(r'\.datasets\.toml is not valid: .* = "/path', DatasetSpec("ssv1").missing())


def test_a_folder_needs_no_dot_and_counts_before_a_data_set_of_its_name(home, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "ssv2"):
        (tmp_path / name).mkdir()
    assert catalog.dataset_named("mine") == catalog.dataset_named("./mine") == DatasetSpec(str(tmp_path / "mine"))
    assert capsys.readouterr().out == "" and catalog.dataset_named("ssv1") == DatasetSpec("ssv1")
    assert catalog.dataset_named("ssv2") == DatasetSpec(str(tmp_path / "ssv2")) == catalog.dataset_named("./ssv2")
    assert f"ssv2: the folder {tmp_path}/ssv2, not the data set of this name" in capsys.readouterr().out
    monkeypatch.setenv("TDN_SSV2", str(tmp_path / "ssv2"))
    assert catalog.dataset_named("ssv2") == DatasetSpec("ssv2") and capsys.readouterr().out == ""
