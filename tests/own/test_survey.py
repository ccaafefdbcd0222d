"""What is said of a folder of videos before it is trained on."""

import numpy as np
import pytest
from helpers.own import folder_of, without_processes  # noqa: F401

from tdn.data.disk.catalog import dataset_named
from tdn.data.pocket import render
from tdn.own.survey import look_at


def broken(folder, each):
    folder.mkdir()
    for number in range(each):
        (folder / f"{number}.mp4").write_bytes(b"no video\n" * 100)


def test_videos_that_cannot_be_read_count_for_no_class(tmp_path, home):
    root = folder_of(tmp_path / "mine", each=10, names=["left", "right"])
    broken(root / "up", 10)
    text = "\n".join(look_at(dataset_named(str(root)), home).lines(span=5))
    assert "3 classes: 16 videos to train on, 0 to 8 per class; 4 for validation" in text
    assert "classes with fewer than 5 training videos: 1 (up)" in text
    assert "classes without a validation video: 1 (up)" in text and "classes are unbalanced" in text
    alone = folder_of(tmp_path / "alone", each=10, names=["left"])
    broken(alone / "right", 10)
    with pytest.raises(ValueError, match=r"training videos of one class only \(left\): there is nothing to tell apart"):
        look_at(dataset_named(str(alone)), home)


def test_a_stretch_has_its_own_length(tmp_path, home):
    rate = render.FRAMES_PER_SECOND
    render.encode(tmp_path / "v.mp4", np.concatenate([render.render_clip(label, 0) for label in range(10)]))
    rows = [f"v.mp4,0,{4 / rate},up", f"v.mp4,{100 / rate},{130 / rate},down"]
    for name in ("train", "val"):
        (tmp_path / f"{name}.csv").write_text("path,start,end,class\n" + "\n".join(rows))
    found = look_at(dataset_named(str(tmp_path)), home)
    text = "\n".join(found.lines(span=5))
    assert "4 to 30 frames, median 17; " in text and "shorter than a window of 5 frames: 2 videos" in text
    assert found.kept_bytes(56) == 68 * 56 * 56 * 3
