"""TDRL's Tables 1 and 2: every published row as it is in the csv file, ours next to those that were measured."""

import numpy as np
import pandas as pd
import pytest
from helpers.reference import stored

from tdn.book.lines import train_or_load
from tdn.book.tdrl_tables import ABLATED, FILES, OURS, tdrl_lines, tdrl_table
from tdn.experiments import runs as experiment
from tdn.experiments.profiles import PROFILES
from tdn.experiments.tables import CSV_FOLDER, TDRL_TIM, get_table
from tdn.utils import write_listed

ACCURACIES = {1: ["val_v1", "test_v1", "val_v2", "test_v2"], 2: ["top1", "top5"]}
POCKET, PAPER = PROFILES["pocket"], PROFILES["paper"]


@pytest.fixture(autouse=True)
def nothing_here(tmp_path, monkeypatch):
    """No result, whatever this machine has, and nothing is trained."""
    monkeypatch.setattr("tdn.experiments.profiles.ROOT", tmp_path)
    monkeypatch.setenv("TDN_HOME", str(tmp_path))
    monkeypatch.setattr("tdn.book.tdrl_tables.train_missing", lambda runs, study: None)


@pytest.mark.parametrize("number", FILES)
def test_published_columns_are_those_of_the_csv_file(number):
    csv = pd.read_csv(CSV_FOLDER / FILES[number][0], dtype=str, keep_default_na=False)
    table = tdrl_table(number, PAPER)
    assert table[["method", "backbone", "frames"]].equals(csv[["method", "backbone", "frames"]])
    published = [column for column in table if column.startswith("published ")]
    numbers = csv[ACCURACIES[number]].apply(pd.to_numeric)
    assert np.array_equal(table[published[1:]], numbers, equal_nan=True) and published[0] == "published GMACs"
    assert table["published GMACs"].str.split("x").str[0].tolist() == csv["gmacs"].replace("", "N/A").tolist()


@pytest.mark.parametrize("number", FILES)
def test_what_was_not_run_is_said(number):
    table = tdrl_table(number, PAPER)
    assert table[[column for column in table if column in OURS and column != "GMACs"]].isna().all(axis=None)
    waiting = table.index[table["measured on"] == "not run"]
    eight = table["method"].isin(ABLATED) & (table["frames"] == "8") & (number == 1)  # no ablation is on Kinetics
    assert waiting.tolist() == table.index[(table["method"] == "TDRL") | eight].tolist()
    assert table.drop(waiting)["measured on"].isna().all()


def test_ours_are_next_to_the_rows_with_8_frames():
    for number, (method, line) in enumerate(tdrl_lines(POCKET).items()):
        (config,) = line.runs
        result = stored(experiment.stored(config, POCKET.results).folder, np.arange(100) < 50 + number)
        write_listed(result.folder / "scores.npz", result.evaluation.save)
        assert line.table is get_table(ABLATED[method][0]) and line.row.name == ABLATED[method][1]
    lines = [train_or_load(name, PROFILES["paper"]) for name in ("tdrl_tsm", "tdrl_tim")]
    published = {(line.row.name, line.published) for of in lines for line in of}
    table = tdrl_table(1, POCKET)
    ours = table.dropna(subset=["measured top-1"]).set_index("method")
    assert ours["measured top-1"].to_dict() == {"TSM": 50, "TEINet": 51, "TDRL": 52} and set(ours["frames"]) == {"8"}
    assert {(ABLATED[name][1], of) for name, of in ours["published val V1"].items()} <= published, "the same networks"
    assert set(ours["videos"]) == {"100 of 101"} and set(ours["seeds"]) == {1} and "measured top-5" not in ours
    assert set(ours["measured on"]) == {"pocket, ResNet10, 1x1"} and ours["GMACs"].between(32, 33).all()
    others = table[table["measured top-1"].isna()]
    assert others[[*table.columns.intersection(OURS)]].isna().all(axis=None)
    assert set(others[others["method"] == "TDRL"]["measured on"]) == {"not run"} and len(others) == len(table) - 3
    kinetics = tdrl_table(2, POCKET).dropna(subset=["measured top-1"]).set_index("method")
    assert kinetics.index.tolist() == ["TEINet", "TDRL"] and kinetics["measured top-5"].between(50, 100).all()
    assert TDRL_TIM[-1].name == ABLATED["TDRL"][1], "the whole system"
