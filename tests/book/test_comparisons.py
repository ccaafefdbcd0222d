"""The tables of published results: what is printed, ours beside it, and "not run" where there is nothing."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from helpers import layouts
from helpers.reference import stored

from tdn.book import comparisons, figures, intervals, report
from tdn.book.lines import train_or_load
from tdn.book.transfer import published_transfer, transfer_gains, transfer_lines, transfer_table
from tdn.data.clips import Unreadable
from tdn.data.disk.catalog import PUBLISHED, variable
from tdn.engine.evaluation import Evaluation
from tdn.experiments import registry
from tdn.experiments import runs as experiment
from tdn.experiments.profiles import PROFILES
from tdn.experiments.tables import COMPARISONS, CSV_FOLDER, TABLES, get_table
from tdn.utils import escaped_text, markdown, write_listed

MEASURED = list(report.MEASURED)
CSV = {name: pd.read_csv(CSV_FOLDER / of.file, dtype=str, keep_default_na=False) for name, of in COMPARISONS.items()}


@pytest.fixture(autouse=True)
def nothing_here(tmp_path, monkeypatch):
    """No result and no data set, whatever this machine has."""
    monkeypatch.setattr("tdn.experiments.profiles.ROOT", tmp_path)
    monkeypatch.setenv("TDN_HOME", str(tmp_path))
    for name in PUBLISHED:
        monkeypatch.delenv(variable(name), raising=False)
    yield
    plt.close("all")


def keep(config, profile, correct, weight=1.0, unreadable=0):
    """A result of this run, as `reference.stored`, with scores so many times as large and the last videos left out."""
    result = stored(experiment.stored(config, profile.results).folder, correct)
    whole, n = result.evaluation, len(correct) - unreadable
    left_out = [Unreadable(Path(f"{number}.mp4"), "cut off") for number in range(unreadable)]
    part = Evaluation(weight * whole.scores[:n], whole.labels[:n], whole.videos[:n], left_out)
    write_listed(result.folder / "scores.npz", part.save)
    return part


def not_run(figure):
    (axis,) = figure.axes
    return [text.get_text() for text in axis.texts] == ["Not run"]


@pytest.mark.parametrize("name", COMPARISONS)
def test_every_printed_row_is_there_and_only_printed_numbers_are_in_its_columns(name):
    table = comparisons.comparison(name, PROFILES["paper"])
    for _, line in CSV[name].iterrows():
        same = (table["method"] == line["method"]) & (table["backbone"] == line["backbone"])
        same &= (table.iloc[:, 2] == line[COMPARISONS[name].frames]) & (table["published top-1"] == float(line["top1"]))
        assert table[same]["published in"].str.contains(comparisons.EDITIONS[line["edition"]]).any(), line.to_dict()
    ours = ["edition", "paper_table", "network", "segments", "counted_at", "network_options", "cost_note"]
    once = CSV[name].drop(columns=ours).drop_duplicates()
    assert len(table) == len(once) and table["published top-1"].notna().all()
    assert set(table["published top-5"].dropna()) == set(CSV[name]["top5"][CSV[name]["top5"] != ""].astype(float))
    assert set(table["published GMACs"].str.split("x").str[0]) == set(CSV[name]["gmacs"].str.split("x").str[0])


@pytest.mark.parametrize("name", COMPARISONS)
def test_without_data_ours_are_not_run(name):
    paper = PROFILES["paper"]
    table = comparisons.comparison(name, paper)
    assert table[MEASURED].isna().all(axis=None) and "videos" not in table
    ours = table[table["measured on"].notna()]
    assert set(ours["measured on"]) == {"not run"} and set(ours["method"]) == {"TDN"} and len(ours) == 6
    assert {*ours["backbone"] + ours.iloc[:, 2].str.split("x").str[0].str.strip("()")} == {
        backbone + frames for backbone in ("ResNet50", "ResNet101") for frames in ("8", "16", "8+16")
    }
    assert ours["GMACs"].iloc[0] == pytest.approx(35.61 * (30 if name == "kinetics" else 1), rel=1e-3)
    gains = comparisons.gains(name, paper)
    assert set(gains["verdict"]) == {"not run"} and gains["measured"].isna().all() and (gains["published"] > 0).all()
    assert report.sentences(gains).count("not run") == len(gains) == 7
    text = report.how_to_run(name, paper)
    assert f"tdn train --profile paper --table {name} --list" in text
    assert all(registry.command(config, paper, 8) in text for config in comparisons.our_runs(name, paper).values())
    title = PUBLISHED[paper.settings[COMPARISONS[name].setting].data.name].title
    assert title in text and text.count("is not on this machine") == 1 and "4 of 4 runs" in text
    published, measured = comparisons.accuracy_and_cost(name, paper)
    assert len(published) == len(table) and measured.empty
    assert figures.plot_accuracy_cost(published, measured, name).axes[1].get_title() == "Not run"
    assert figures.plot_claims(gains).axes[0].get_title() == "Not run"
    sweep = comparisons.sweep(comparisons.our_runs(name, paper)["ResNet50", "8"], paper, [(1, 1), (2, 1)])
    assert sweep.empty and markdown(sweep) == "not run" and not_run(figures.plot_views(sweep))


def test_without_data_the_transfer_is_not_run():
    paper, published = PROFILES["paper"], published_transfer()
    assert len(published) == 11 and published.set_index("method").loc["TDN", "published HMDB51"] == 76.3
    table = transfer_table(paper)
    assert table["data"].tolist() == ["ucf101"] * 2 + ["hmdb51"] * 2 and set(table["measured on"]) == {"not run"}
    assert table["published top-1"].tolist()[::2] == [97.4, 76.3] and table["published top-1"][1::2].isna().all()
    assert table[MEASURED].isna().all(axis=None) and transfer_gains(paper)["gain"].isna().all()
    assert figures.plot_transfer(published, table).axes[1].get_title() == "Not run"
    text = report.how_to_run("transfer", paper)
    assert all(PUBLISHED[name].title in text for name in ("k400", "ucf101", "hmdb51")) and "13 of 13 runs" in text
    assert "<class>" not in text, "no tag of HTML"


@pytest.mark.slow
def test_without_data_the_ablations_are_not_run(tmp_path, monkeypatch):
    paper = PROFILES["paper"]
    measured = {name: train_or_load(name, paper) for name in TABLES}
    for name, lines in measured.items():
        accuracy = report.accuracy_table(table := get_table(name), lines)
        assert set(accuracy["verdict"]) == {"not run"} and accuracy[MEASURED].isna().all(axis=None)
        assert report.claims(table, lines).empty and report.class_table(lines).empty
        assert all(escaped_text(line.row.name) in report.findings(table, lines) for line in lines)
        assert figures.plot_accuracy(accuracy).axes[0].get_title() == "Not run"
        assert not_run(figures.plot_training(lines))
        plt.close("all")
    assert len(report.all_rows(measured)) == sum(len(lines) for lines in measured.values())
    claims = report.all_claims(measured)
    assert markdown(claims) == "not run" and not_run(figures.plot_claims(claims))
    assert not_run(figures.plot_order(measured)) and (report.order_table(measured)["networks"] == 0).all()
    both = report.how_to_run(["tdrl_tsm", "temporal_modules"], paper)
    assert "--table tdrl_tsm temporal_modules --list" in both and "torchrun" not in both
    assert both.count("is not on this machine") == 1, "once for all runs"
    monkeypatch.setenv("TDN_SSV1", str(layouts.ssv1(tmp_path)))
    text = report.how_to_run("temporal_modules", paper)
    assert "is not on this machine" not in text and "Res2Net" in text, "what TEA starts from"
    assert "No network has a second seed" in str(intervals.seed_error(paper))


def test_ours_stand_beside_the_published():
    pocket = PROFILES["pocket"]
    runs = comparisons.our_runs("something_v1", pocket)
    # Correct answers, weight (the larger one decides the mean of the two) and unreadable videos.
    of = {"ResNet50 8": (50, 1, 0), "ResNet50 16": (70, 3, 2), "ResNet101 8": (60, 3, 0), "ResNet101 16": (90, 1, 2)}
    for network, (right, *more) in of.items():
        keep(runs[tuple(network.split())], pocket, np.arange(100) < right, *more)
    table = comparisons.comparison("something_v1", pocket)
    ours = table.dropna(subset=["measured top-1"]).set_index(["backbone", "frames"])
    assert len(ours) == 6 and set(ours["method"]) == {"TDN"} and (ours["published in"] == "CVPR").all()
    assert ours.index.tolist() == [(b, f) for b in ("ResNet50", "ResNet101") for f in ("8", "16", "8+16")]
    top1 = [50, 100 * 70 / 98, 100 * 70 / 98, 60, 100 * 90 / 98, 100 * 60 / 98]
    assert ours["measured top-1"].tolist() == pytest.approx(top1)
    assert ours["videos"].tolist() == ["100 of 100", "98 of 100", "98 of 100"] * 2
    assert ours["published top-1"].tolist() == [52.3, 53.9, 55.1, 54.1, 55.3, 56.8], "the published stay where they are"
    assert ours["GMACs"]["ResNet50", "8+16"] == pytest.approx(3 * ours["GMACs"]["ResNet50", "8"])
    assert ours["measured on"].tolist()[::3] == ["pocket, ResNet10, 1x1", "pocket, ResNet18, 1x1"]
    wider = comparisons.comparison("something_v1", pocket, intervals.SeedError(10.0))
    wider = wider.dropna(subset=["measured top-1"])
    assert (wider["95% low"].to_numpy() < ours["95% low"].to_numpy() - 5).all()
    gains = comparisons.gains("something_v1", pocket).set_index("claim")
    assert gains.loc["ResNet50: 16 frames better than 8", "measured"] == pytest.approx(100 * 20 / 98)
    same = gains.loc["ResNet50: 8+16 frames better than 16"]
    assert (same["measured"], same["±"], same["verdict"]) == (0, 0, "smaller than published")
    assert gains.loc["8+16 frames: ResNet101 better than ResNet50", "verdict"] == "contradicted"
    assert "measured +20.4 ± 7.9: supported, on one seed." in report.sentences(gains.reset_index())
    uncertain = comparisons.gains("something_v1", pocket, seed_error=intervals.SeedError(50.0))
    assert set(uncertain["verdict"][uncertain["±"] > 0]) == {"inconclusive"}, "but for networks that answer alike"
    published, measured = comparisons.accuracy_and_cost("something_v1", pocket)
    assert len(published) == len(table) and measured["network"].tolist()[2] == "ResNet50, 8+16 frames"
    params = measured["params (M)"].tolist()
    assert params == pytest.approx([24.38, 24.38, 2 * 24.38, 43.62, 43.62, 2 * 43.62], rel=1e-3), "8+16: two networks"
    counted = published.groupby(["method", "frames"])["params (M)"].first()
    assert counted["I3D", "32x2"] == pytest.approx(27.58, rel=1e-3), "two clips of one network"
    assert counted["TSM", "8+16"] == 2 * counted["TSM", "16"] and counted["GSM"].isna().all()
    assert len(figures.plot_accuracy_cost(published, measured, "V1").axes) == 2
    lines = comparisons.our_lines("something_v1", pocket)
    assert [(len(line.results), line.runs) for line in lines] == [(1, [config]) for config in runs.values()]
    assert {config.seed for config in runs.values()} == {0}
    other = comparisons.comparison("something_v2", pocket)
    assert other[MEASURED].isna().all(axis=None) and set(other["measured on"].dropna()) == {"see something_v1"}
    assert set(comparisons.gains("something_v2", pocket)["verdict"]) == {"see something_v1"}
    assert comparisons.shown_with("kinetics", pocket) is None, "other views"
    assert not any(comparisons.shown_with(name, PROFILES["paper"]) for name in COMPARISONS)


def test_a_sweep_is_paired_with_its_first_views(monkeypatch):
    pocket = PROFILES["pocket"]
    config = comparisons.our_runs("kinetics", pocket)["ResNet50", "8"]
    first, more = (keep(config, pocket, np.arange(100) < right) for right in (50, 60))
    monkeypatch.setattr(comparisons.experiment, "scores", lambda _, __, views: first if views.number == 1 else more)
    sweep = comparisons.sweep(config, pocket, [(1, 1), (2, 3)])
    assert sweep["clips x crops"].tolist() == ["1x1", "2x3"] and sweep["views"].tolist() == [1, 6]
    assert sweep["measured top-1"].tolist() == pytest.approx([50, 60])
    assert sweep.loc[1, ["more than with the first", "other answers (%)"]].tolist() == pytest.approx([10, 10])
    assert sweep.loc[1, "±"] < 10 < (sweep["95% high"] - sweep["95% low"])[1], "paired: more certain"
    assert len(figures.plot_views(sweep).axes) == 2


def keep_transfer(profile, target):
    for transferred, right in ((True, (70, 80, 90)), (False, (60, 60, 60))):
        for config, number in zip(profile.transfer_runs(target, transferred), right, strict=True):
            keep(config, profile, np.arange(100) < number)


def test_transfer_is_the_mean_over_splits():
    pocket, target = PROFILES["pocket"], "pocket, family both"
    keep_transfer(pocket, target)
    table = transfer_table(pocket)
    assert "published top-1" not in table, "no number of another data set"
    columns = ["measured top-1", "split 1", "split 2", "split 3", "std over splits"]
    assert table.loc[0, columns].tolist() == pytest.approx([80, 70, 80, 90, 10])
    assert table.loc[1, columns].tolist() == pytest.approx([60, 60, 60, 60, 0])
    assert table["videos of a split"].tolist() == ["100 of 101"] * 2
    gain = transfer_gains(pocket).iloc[0]
    lines = transfer_lines(pocket)
    half = intervals.difference(lines[target, False].results, lines[target, True].results).half
    assert gain["gain"] == pytest.approx(20) and gain["±"] == pytest.approx(half)
    assert len(figures.plot_transfer(published_transfer(), table).axes) == 2
    paper = PROFILES["paper"]
    keep_transfer(paper, "ucf101")
    gains = transfer_gains(paper).set_index("data")
    pairs = zip(*(transfer_lines(paper)["ucf101", of].results for of in (False, True)), strict=True)
    half = np.mean([intervals.difference(*pair).half for pair in pairs])  # of splits with videos of their own
    assert gains.loc["ucf101", ["gain", "±"]].tolist() == pytest.approx([20, half])
    assert transfer_table(paper)["measured on"].tolist() == ["paper, ResNet50, 10x3"] * 2 + ["not run"] * 2


@pytest.mark.slow
def test_costs():
    assert comparisons.total_gmacs("67x30") == 2010 and np.isnan(comparisons.total_gmacs("108xN/A"))
    assert comparisons.total_gmacs("71.38") == 71.38 and np.isnan(comparisons.total_gmacs(""))
    top1, gmacs = pd.Series([50.0, 40, 60, 60, 70]), pd.Series([10.0, 20, 30, 40, np.nan])
    assert comparisons.front(top1, gmacs).tolist() == [True, False, True, False, False]
    costs = comparisons.cost_of_views("kinetics")
    assert len(costs) == 6 and set(costs["views"]) == {30}
    assert (costs["GMACs at 224"] / costs["published GMACs"]).between(0.98, 1).all()
    assert (costs["GMACs at 256"] / costs["GMACs at 224"]).tolist() == pytest.approx([(256 / 224) ** 2] * 6, rel=1e-3)
