"""Which videos of a folder are held out for validation."""

from collections import Counter

import pytest

from tdn.data.clips import Video
from tdn.data.disk.own import own_layout
from tdn.data.disk.split import held_out


def videos(root, *names):
    return [Video(root / name, int(name[0] == "b")) for name in names]


def test_one_in_five_of_each_class_and_never_the_only_one(tmp_path):
    names = [f"a/{number}.mp4" for number in range(50)] + [f"b/{number}.mp4" for number in range(3)] + ["c/1.mp4"]
    of = [Video(tmp_path / name, "abc".index(name[0])) for name in names]
    chosen, notes = held_out(of, tmp_path)
    assert Counter(names[index][0] for index in chosen) == {"a": 10, "b": 1} and not notes
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
    assert held_out(videos(tmp_path, *names), tmp_path)[1] == []


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
