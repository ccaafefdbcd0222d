"""Which videos of a folder are held out for validation."""

from collections import Counter

import pytest

from tdn.data.clips import Video
from tdn.data.disk.check import notes
from tdn.data.disk.own import own_layout
from tdn.data.disk.split import held_out


def videos(root, *names):
    return [Video(root / name, int(name[0] == "b")) for name in names]


def test_one_in_five_of_each_class_and_never_the_only_one(tmp_path):
    names = [f"a/{number}.mp4" for number in range(50)] + [f"b/{number}.mp4" for number in range(3)] + ["c/1.mp4"]
    of = [Video(tmp_path / name, "abc".index(name[0])) for name in names]
    chosen, notes = held_out(of, tmp_path)
    assert Counter(names[index][0] for index in chosen) == {"a": 10, "b": 1}
    how = "validation has one in 5 videos of each class, whoever is seen: no names of files tell who"
    assert notes == [f"{how} (groups.csv, with path,group, could)"]
    reordered, _ = held_out(of[::-1], tmp_path)
    assert {of[::-1][index] for index in reordered} == {of[index] for index in chosen}, "names decide, not their order"


@pytest.mark.parametrize(
    "name", ["{1}/subject{0:02d}_take{2}", "{1}/{2}-P{0}", "{1}/v_x_g{0:02d}_c{2}", "{1}/cam {0} {2}"]
)
def test_whole_groups_are_held_out_where_the_names_tell(name, tmp_path):
    names = [name.format(who, of, take) + ".mp4" for who in range(1, 11) for of in "ab" for take in (1, 2)]
    chosen, (note,) = held_out(videos(tmp_path, *names), tmp_path)
    groups = [index // 4 for index in sorted(chosen)]
    assert len(chosen) == 8 and set(Counter(groups).values()) == {4}, "two whole groups of ten"
    assert note.startswith("validation has whole groups, by the names of the files: 2 of 10")


def test_numbers_of_takes_are_no_groups(tmp_path):
    names = [f"{of}/p{take}.mp4" for of in "ab" for take in range(10)]
    assert "no names of files tell who" in held_out(videos(tmp_path, *names), tmp_path)[1][0]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([80, *[2] * 10], 20), ([30, 30, 10, 10, 10, 10], 20), ([50, 50], 50), ([40, 35, 26], 26), ([34, 22, 22, 22], 22)],
)
def test_groups_of_any_size_come_as_near_to_a_fifth_as_they_can(sizes, expected, tmp_path):
    names = [f"{'ab'[take % 2]}/{who}-{take}.mp4" for who, size in enumerate(sizes) for take in range(size)]
    rows = "".join(f"{name},{name[2:].split('-')[0]}\n" for name in names)
    (tmp_path / "groups.csv").write_text(f"path,group\n{rows}")
    assert len(held_out(videos(tmp_path, *names), tmp_path)[0]) == expected


def test_persons_count_before_cameras_and_their_numbers_are_numbers(tmp_path):
    spelt = ("subject{}", "Subject0{}", "subject_{}", "subject-00{}")
    names = [f"{of}/cam{at}_{spelt[at].format(who)}.mp4" for who in range(10) for of in "ab" for at in range(4)]
    chosen, (note,) = held_out(videos(tmp_path, *names), tmp_path)
    assert set(Counter(index // 8 for index in chosen).values()) == {8}, "whole persons"
    assert "by the names of the files: 2 of 10 (subject" in note


def test_names_that_tell_only_partly_are_named(tmp_path):
    names = [f"{of}/subject{who}_{take}.mp4" for who in range(10) for of in "ab" for take in (1, 2)]
    chosen, (note,) = held_out(videos(tmp_path, *names, "a/forgotten.mp4"), tmp_path)
    groups = Counter(index // 4 for index in chosen)
    assert groups.pop(10, 1) == 1 and set(groups.values()) == {4}, "persons stay together"
    assert "by the names of the files, of which 1 do not tell and count alone (forgotten): " in note
    two = [f"{of}/subject{who}_{take}.mp4" for who in (1, 2) for of in "ab" for take in range(10)]
    _, (note,) = held_out(videos(tmp_path, *two), tmp_path)
    assert "of each class, whoever is seen: the names tell of two only (subject1, subject2) (groups.csv, with" in note
    few = [*names[:10], *(f"{of}/{take}.mp4" for take in range(10) for of in "ab")]
    assert (
        "seen: only 10 of 30 names tell who (subject0, subject1, s" in held_out(videos(tmp_path, *few), tmp_path)[1][0]
    )


def test_a_group_with_all_videos_of_a_class_stays_in_training(tmp_path):
    names = [f"a/s{who}_{take}.mp4" for who in range(1, 7) for take in range(3)] + [
        f"b/s1_{take}.mp4" for take in range(9)
    ]
    of = videos(tmp_path, *names)
    chosen, _ = held_out(of, tmp_path)
    assert chosen and {of[index].label for index in chosen} == {0}


def test_groups_csv(tmp_path):
    names = [f"{of}/{take}.mp4" for of in "ab" for take in range(10)]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "groups.csv").write_text("path,group\n" + "".join(f"{name},day {name[2]}\n" for name in names))
    layout = own_layout(tmp_path)
    labelled = layout.read(tmp_path, layout.sources(tmp_path, 1))
    days = {video.path.stem for video in labelled.val}
    assert len(labelled.val) == 2 * len(days) == 4 and not days & {video.path.stem for video in labelled.train}
    assert tmp_path / "groups.csv" in layout.sources(tmp_path, 1), "another groups.csv is another data set"
    (tmp_path / "groups.csv").write_text("path,group\na/1.mp4,1\n")
    with pytest.raises(ValueError, match=r"no group of 19 videos \(a/0.mp4"):
        held_out(labelled.train + labelled.val, tmp_path)
    (tmp_path / "groups.csv").write_text("file,who\n")
    with pytest.raises(ValueError, match="columns must be path and group; found: file, who"):
        held_out(labelled.train, tmp_path)


def test_stretches_of_one_file_that_overlap_are_named(tmp_path):
    train = ["v.mp4,0,2,up", "v.mp4,2,4,down", "w.mp4,0,3,up", "w.mp4,1,3,up", "x.mp4,,,up", "y.mp4,0,1,up"]
    sets = {"train": [*train, "y.mp4,,1,down"], "val": ["v.mp4,3,,up", "w.mp4,3,9,up", "x.mp4,5,6,up"]}
    for name, rows in sets.items():
        (tmp_path / f"{name}.csv").write_text("path,start,end,class\n" + "\n".join(rows))
    layout, (v, x, y) = own_layout(tmp_path), (tmp_path / f"{name}.mp4" for name in "vxy")
    labels, both, _ = notes(layout.read(tmp_path, layout.sources(tmp_path, 1)))
    mixed = f"{v} (2 to 4 s) and {v} (3 to the end s)"
    assert labels == f"videos with two labels or more: 2 ({mixed}, {y} (0 to 1 s))"
    assert both == f"videos in training and in validation: 2 ({mixed}, {x} and {x} (5 to 6 s))"
