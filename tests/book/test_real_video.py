"""Real video: the record answers without the clips, and so does the notebook; questions, opposites, both benchmarks."""

import ast
import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers.reference import stored

from tdn.__main__ import main
from tdn.book import real_video, report
from tdn.book.intervals import INCONCLUSIVE, NOT_KNOWN
from tdn.book.lines import Line, measured
from tdn.data.disk.published import GESTURES_VALIDATION
from tdn.data.pocket.render import CLASSES
from tdn.engine.evaluation import Evaluation
from tdn.experiments import runs
from tdn.experiments.profiles import get_profile
from tdn.experiments.record import Recorded, Result, pack
from tdn.experiments.registry import all_runs, named_runs, plan
from tdn.experiments.tables import Row, get_table
from tdn.utils import CHECKOUT, read_record, write_listed, write_record, write_text

STUDY, TABLE, NAMES = get_profile("record/gestures"), get_table("gestures"), list(GESTURES_VALIDATION)
# Of 100 clips; all other rows get 50 of them right.
RIGHT = {"TSN": 12, "temporal convolution": 20, "L-TDM": 20, "S-TDM": 80, "TDN": 90, "single frame": 11}


@pytest.fixture(autouse=True)
def nothing_here(home, tmp_path, monkeypatch):
    """Neither clips nor results, whatever this machine has."""
    monkeypatch.setattr("tdn.experiments.profiles.CHECKOUT", tmp_path)
    monkeypatch.setattr("tdn.experiments.profiles.ROOT", home)
    yield
    plt.close("all")


@pytest.fixture
def record(tmp_path):
    """The record of made-up runs, which are gone; their clips lay in folders of other names."""
    results = []
    for config, name in named_runs(STUDY).items():
        right = np.random.default_rng([len(results)]).random(100) < RIGHT.get(name.split(": ")[1], 50) / 100
        missing = {"train_unreadable": [["/home/me/train/star/testvideo_star_18.mp4", "No such file"]]}
        folder = runs.stored(config, STUDY.results).folder
        stored(folder, right, classes=10, **missing, train_of=121, unreadable=[], of=100)
        write_listed(folder / "history.csv", lambda path: write_text(path, "epoch,loss\n1,2.0\n"))
        about = read_record(folder / "manifest.json", "")
        files = about.pop("files")
        write_record(folder / "manifest.json", about | {"data": "other folders"}, files)
        results.append(Result(folder))
    pack(STUDY.results, results)
    (STUDY.results / "runs").rename(tmp_path / "elsewhere")


def test_without_the_clips_the_record_is_complete(record, place, capsys):
    every, (data,) = all_runs(STUDY), {config.data for config in all_runs(STUDY)}
    for clips in ("absent", "in folders of other names"):
        assert isinstance(runs.stored(every[0], STUDY.results), Recorded)
        assert (data.num_classes, data.class_names, data.groups) == (10, NAMES, None)
        assert {runs.changed_data(config, STUDY.results) for config in every} == {None}
        todo = plan(every, STUDY.results)
        assert todo.done == every and not todo.to_do and not todo.impossible and len(every) == 55
        assert report.how_to_run("gestures", STUDY) == ""
        assert (runs.impossible(every[0]) is None) == (clips != "absent")
        place("gestures")
    assert main(["train", "--profile", "record/gestures"]) in (0, None)
    assert "55 runs, 55 of them done" in capsys.readouterr().out
    assert "/home" not in (STUDY.results / "runs.jsonl").read_text(), "no folder of another machine"
    assert report.class_table([measured(row, TABLE, STUDY) for row in TABLE.rows])["class"].tolist() == NAMES


def executed(name, only=None, **names):
    """What the code cells of a notebook show as text, in one line; with these `names` before, and `only` some cells."""
    cells = json.loads((CHECKOUT / f"notebooks/{name}.ipynb").read_text())["cells"]
    texts = []
    for cell in (cell for cell in cells if cell["cell_type"] == "code" and cell["id"] in (only or cell["id"])):
        body = ast.parse("".join(cell["source"])).body
        last = body.pop().value if isinstance(body[-1], ast.Expr) else ast.Constant(None)
        exec(compile(ast.Module(body, []), name, "exec"), names)
        value = eval(compile(ast.fix_missing_locations(ast.Expression(last)), name, "eval"), names)
        texts.append(getattr(value, "data", None) or "")
    return " ".join(" ".join(texts).split())


def test_the_notebook_reads_the_record_or_says_not_run(request, home, monkeypatch, capsys):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda markdown: shown.append(markdown.data))
    text = executed("14_real_video")
    assert "does S-TDM improve the temporal convolution? not run." in text and text.count("not run") > 30
    assert "55 of 55 runs" in shown[-1] and "git clone --depth 1" in shown[-1] and not (home / "results").exists()
    request.getfixturevalue("record")
    text = executed("14_real_video")
    assert "**yes** (S-TDM vs. temporal convolution: +" in text and "not run." not in text and shown[-1] == ""
    kept = home / "results/lab"
    assert len([*(kept / "tables").glob("gestures*.csv")]) == 4 and (kept / "figures/gestures.png").exists()
    assert json.loads((kept / "tables/gestures.json").read_text())["profile"] == "record/gestures"
    printed = capsys.readouterr().out
    assert "No clips here" in printed and "No map: it needs" in printed and "of 10 pairs: not run: 10" in printed


def lines_of(folder, classes, right):
    """Lines whose networks get the first so many of 100 clips right; of None nothing was run."""
    of = {name: folder / f"{classes} {name}" for name in right}
    results = {name: [stored(of[name], np.arange(100) < n, None, classes)] if n else [] for name, n in right.items()}
    return [Line(Row(name, "tsn"), results[name]) for name in right]


def test_answers_are_those_of_the_intervals(tmp_path):
    of = dict.fromkeys((name for _, *pair in real_video.QUESTIONS for name in pair), 50)
    text = real_video.findings(lines_of(tmp_path, 10, of | {"temporal convolution": 45}), 10)
    assert text.count("points; inconclusive after Holm's correction).") == 3, "three of nine, at p = 0.02"
    of |= {"temporal convolution": 40, "S-TDM": 80, "TDN": 72, real_video.FUSED: 79, real_video.FUSED_2D: None}
    text = real_video.findings(lines_of(tmp_path, 10, of | {"single frame": 2, real_video.SHUFFLED: 66}), 10)
    for answer in (
        "does S-TDM improve the temporal convolution? **yes** (S-TDM vs. temporal convolution: +40.0 ± 9.",
        "- Does L-TDM improve a network that has S-TDM? **no, the other way round** (TDN vs. S-TDM: -8.0 ± 5.",
        "- Is it only more input: do stacked differences improve the 2D network? not run.\n",
        "- Is S-TDM better than the same differences, stacked? **inconclusive** (S-TDM vs. temporal convolution on",
        "- Is the row *single frame* above chance, 10.0 %? **no, below it** (top-1 2.0 %, 0.6 to 7.0).\n",
        "*TDN, segments shuffled* above chance, 10.0 %? **yes** (top-1 66.0 %, ",
    ):
        assert answer in text, (answer, text)


def test_opposites_are_counted_over_seeds():
    told = [("up", "up", "down"), ("down", "up", "down"), ("left", "star", "right"), ("right", "right", "left")]
    labels, *seeds = np.array([[NAMES.index(name) for name in names] for names in told]).T
    of = [Evaluation(np.eye(10)[answers], labels, np.arange(4)) for answers in seeds]
    results = [type("R", (), {"evaluation": evaluation}) for evaluation in of]
    lines = [Line(Row("TDN", ""), results), Line(Row("TSN", ""), [])]
    (row,) = real_video.opposites_table(lines, NAMES).to_dict("records")
    assert row.pop("network") == "TDN" and 0 <= row.pop("95% low") < 50 < row.pop("95% high") <= 100
    shares = {"correct": 37.5, "opposite, up and down": 50, "opposite, left and right": 50, "opposite, all four": 50}
    assert row == pytest.approx(shares | {"another gesture": 12.5})


def test_both_benchmarks_in_one_table_and_one_figure(tmp_path, home, capsys):
    rendered = lines_of(tmp_path, 24, dict(zip(real_video.WITNESSES, (10, 50, 55, 80, 52), strict=True)))
    real = lines_of(tmp_path, 10, dict(zip(real_video.WITNESSES.values(), (10, 50, 52, 30, 95), strict=True)))
    order = real_video.order_on_both(rendered, real).set_index("pair")
    assert len(order) == 10 and order.loc["TDN vs. TSN", "real video"].startswith("+85.0 ± 7")
    pairs = {"TDN vs. TSN": "yes", "S-TDM vs. temporal convolution": "no", "TDN vs. L-TDM": INCONCLUSIVE}
    assert order["same order"][list(pairs)].to_dict() == pairs
    cells, of_rendered = ("29-01", "29-02", "29-11"), get_table("short_vs_long")
    every = report.accuracy_table(of_rendered, rendered).assign(table=of_rendered.title)
    names = {"every": every, "real": real, "of_real": NOT_KNOWN}
    executed("29_conclusions", cells, **names, families=[1])
    (png,) = (home / "results/lab/figures").iterdir()
    assert png.name == "witnesses.png" and png.stat().st_size < 150_000 and 950 < plt.imread(png).shape[1] < 1100
    axes = plt.gcf().axes
    assert [text.get_text() for text in axes[0].texts] == ["10", "50", "55", "80", "52"]
    chances = [100 / len(CLASSES), 100 / len(NAMES)]
    assert [axis.lines[-1].get_xdata()[0] for axis in axes] == pytest.approx(chances)
    executed("29_conclusions", cells, **names, families=[])
    assert "left out: not measured, rendered clips, 24 classes: TSN, temporal" in capsys.readouterr().out
    real[0].results.clear()
    assert real_video.order_on_both(rendered, real)["same order"].tolist()[:4] == ["not run"] * 4
    executed("29_conclusions", cells, **names, families=[1])
    assert "left out: not measured, real video, ten gestures: TSN\n" in capsys.readouterr().out
