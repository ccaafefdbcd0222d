"""Intervals, verdicts, and the files of results/."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from tdn import report
from tdn.evaluate import Evaluation
from tdn.experiment import Result
from tdn.files import write_text
from tdn.study import PROFILES, SHORT_VS_LONG, Line

RESULTS = Path(__file__).parents[1] / "results"


def stored(folder, correct, order=None):
    """A result whose i-th video is answered right where `correct[i]`; stored in another `order` if told."""
    correct = np.array(correct)
    videos = np.arange(len(correct)) if order is None else np.array(order)
    labels = videos % 18
    scores = np.zeros((len(correct), 18), np.float32)
    scores[np.arange(len(videos)), np.where(correct[videos], labels, (labels + 1) % 18)] = 1
    Evaluation(scores, labels, videos).save(folder / "scores.npz")
    groups = {"short": {"top1": float(correct.mean()), "videos": len(correct)}}
    metrics = {"top1": float(correct.mean()), "videos": len(correct), "of": len(correct) + 1, "groups": groups}
    write_text(folder / "metrics.json", json.dumps(metrics))
    write_text(folder / "manifest.json", json.dumps({"run": folder.name}))
    return Result(folder)


@pytest.fixture
def lines(tmp_path):
    """TSN right on 40 of 100 videos, the convolution on 50, the last on 90."""
    right = {"TSN": 40, "temporal convolution": 50, "TDN (both)": 90}
    rows = {row.name: row for row in SHORT_VS_LONG}
    return [Line(rows[name], [stored(tmp_path / str(n), np.arange(100) < n)], 33.0, 24.0) for name, n in right.items()]


def test_wilson_interval():
    assert report.interval(0.8, 10) == pytest.approx((0.490, 0.943), abs=1e-3)
    assert report.interval(0.0, 50)[0] == 0
    low, high = report.interval(0.5, 10_000)
    assert high - low == pytest.approx(2 * 1.96 * 0.005, rel=1e-2)


def test_difference_is_paired_by_video(tmp_path):
    first = stored(tmp_path / "a", [1, 1, 0, 0, 1, 0, 0, 0, 1, 0] * 10)
    second = stored(tmp_path / "b", [1, 1, 1, 0, 0, 1, 0, 1, 1, 0] * 10, order=np.arange(100)[::-1])
    points, half = report.difference([first], [second])
    assert points == pytest.approx(20)  # 30 videos gained, 10 lost
    assert half == pytest.approx(100 * 1.96 * np.sqrt((0.4 - 0.04) / 99), rel=1e-3)
    assert report.difference([first], [first]) == (0, 0)
    points, _ = report.difference([first, second], [second, second])
    assert points == pytest.approx(10), "over seeds, the mean"


def test_verdicts():
    assert report.verdict(3.0, 2.9) == "better"
    assert report.verdict(-3.0, 2.9) == "worse"
    assert report.verdict(2.9, 3.0) == report.verdict(0, 0) == "indistinguishable"


def test_accuracy_table(lines):
    table = report.accuracy_table(lines, baseline="temporal convolution").set_index("network")
    assert table["measured top-1"].tolist() == pytest.approx([40, 50, 90])
    assert table["published top-1 (SSv1)"].tolist() == [19.7, 46.6, 52.3]
    assert table["verdict"].tolist() == ["worse", "baseline", "better"]
    assert table.loc["TDN (both)", "vs baseline"] == "+40.0 ± 9.7"
    assert table["videos"].tolist() == ["100 of 101"] * 3
    assert (table["95% low"] < table["measured top-1"]).all() and (table["measured top-1"] < table["95% high"]).all()
    assert "seed spread" not in table, "one seed has no spread"

    three = [Line(line.row, [a.results[0] for a in lines], 33.0, 24.0) for line in lines]
    table = report.accuracy_table(three, baseline="temporal convolution")
    assert table["measured top-1"].tolist() == pytest.approx([60] * 3) and table["seeds"].tolist() == [3] * 3
    assert table["seed spread"].tolist() == pytest.approx([np.std([40, 50, 90], ddof=1)] * 3)


def test_findings_say_when_the_paper_is_contradicted(lines):
    agreeing = report.findings(lines, "temporal convolution").splitlines()
    assert len(agreeing) == 3 and all(line.endswith("agrees, on one seed.") for line in agreeing)
    turned = [Line(a.row, b.results, 33.0, 24.0) for a, b in zip(lines, lines[::-1], strict=True)]
    text = report.findings(turned, "temporal convolution")
    assert text.count("contradicts the paper here") == 3
    equal = [Line(line.row, lines[0].results, 33.0, 24.0) for line in lines]
    assert report.findings(equal, "temporal convolution").count("cannot be told here") == 3


def test_tables_and_figures_become_files(lines, tmp_path, monkeypatch):
    profile = PROFILES["smoke"]
    monkeypatch.setattr("tdn.study.ROOT", tmp_path)
    table = report.accuracy_table(lines, baseline="temporal convolution")
    report.save_table(table, "t", profile, lines)
    folder = tmp_path / "results" / "smoke" / "tables"
    again = pd.read_csv(folder / "t.csv")
    assert again["measured top-1"].tolist() == pytest.approx([40, 50, 90])
    assert (folder / "t.md").read_text().count("\n") == 5
    assert "nan" not in (folder / "t.md").read_text(), "nothing where nothing is known"
    assert json.loads((folder / "t.json").read_text())["runs"]["TSN"] == [{"run": "40"}]

    noise, axis = plt.subplots()
    axis.imshow(np.random.default_rng(0).random((500, 500, 3)), interpolation="nearest")
    for figure in (report.plot_accuracy(table), noise):
        path = report.save_figure(figure, "f", profile)
        assert path.stat().st_size < 200_000
        assert min(plt.imread(path).shape[:2]) > 150


def test_committed_results_are_complete_and_small():
    tables = list(RESULTS.glob("pocket/tables/*.csv"))
    assert {path.stem for path in tables} >= {"short_vs_long", "anatomy_costs", "pocket_classes"}
    for path in tables:
        assert not pd.read_csv(path).empty
        assert path.with_suffix(".md").exists() and json.loads(path.with_suffix(".json").read_text())
    figures = list(RESULTS.glob("pocket/figures/*.png"))
    assert figures and all(path.stat().st_size < 200_000 for path in figures)


def test_the_readme_quotes_the_committed_table():
    readme = (RESULTS.parent / "README.md").read_text()
    table = pd.read_csv(RESULTS / "pocket/tables/short_vs_long.csv")
    for _, row in table.iterrows():
        low, high = f"{row['95% low']:.1f}", f"{row['95% high']:.1f}"
        families = " | ".join(f"{row[family]:.1f}" for family in ("short", "long", "both"))
        assert f"| {row['network']} | {row['measured top-1']:.1f} | {low} to {high} | {families} |" in readme
