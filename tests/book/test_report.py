"""Tables, claims, and the files of results/."""

import dataclasses
import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from helpers.reference import stored

from tdn.book import figures, report, style
from tdn.book.intervals import Family, SeedError
from tdn.book.lines import Line
from tdn.experiments.profiles import PROFILES
from tdn.experiments.tables import LOCATION, SHORT_VS_LONG, TABLES, TEMPORAL_MODULES, Row
from tdn.utils import CHECKOUT, markdown

SHORT, TSM = TABLES["short_vs_long"], "TSM++ better than TSM"


def line(row, results, table=SHORT):
    return Line(row, results, table=table)


@pytest.fixture
def lines(tmp_path):
    """TSN right on 40 of 100 videos, the convolution on 50, the last on 90."""
    right = {"TSN": 40, "temporal convolution": 50, "TDN (both)": 90}
    rows = {row.name: row for row in SHORT_VS_LONG}
    return [line(rows[name], [stored(tmp_path / str(n), np.arange(100) < n)]) for name, n in right.items()]


def test_accuracy_table(lines):
    table = report.accuracy_table(SHORT, lines).set_index("network")
    assert table["measured top-1"].tolist() == pytest.approx([40, 50, 90])
    assert table["published top-1 (SSv1)"].tolist() == [19.7, 46.6, 52.3]
    assert table["in the ICLR edition"].tolist() == [19.7, 45.2, 51.3]
    assert table["verdict"].tolist() == ["worse", "reference", "better"]
    assert table.loc["TDN (both)", ["vs temporal convolution", "±"]].tolist() == pytest.approx([40, 9.7], rel=0.03)
    assert table["videos"].tolist() == ["100 of 101"] * 3
    assert (table["95% low"] < table["measured top-1"]).all() and (table["measured top-1"] < table["95% high"]).all()
    assert not {"seed spread", "published GMACs"} & set(table), "no column that no row fills"
    three = [line(of.row, [a.results[0] for a in lines]) for of in lines]
    table = report.accuracy_table(SHORT, three)
    assert table["measured top-1"].tolist() == pytest.approx([60] * 3) and table["seeds"].tolist() == [3] * 3
    assert table["seed spread"].tolist() == pytest.approx([np.std([40, 50, 90], ddof=1)] * 3)
    unsure = report.accuracy_table(SHORT, lines, SeedError(50.0))["verdict"]
    assert set(unsure) == {"inconclusive", "reference"}


def test_a_page_shows_once_what_all_rows_share(lines):
    table, accuracy = report.shown(report.accuracy_table(SHORT, lines)), report.accuracy_table(SHORT, lines)
    assert table.endswith("\n\nEach row: seeds 1, videos 100 of 101.") and "videos |" not in table
    low, high = accuracy[["95% low", "95% high"]].iloc[-1]
    assert f"{low:.1f} to {high:.1f}" in table and "| vs reference |" in " ".join(table.split())
    accuracy.loc[0, "videos"] = "99 of 101"
    assert "99 of 101" in report.shown(accuracy).partition("Each row")[0]


def test_a_network_has_one_colour():
    same = [
        ["S-TDM", "S-TDM in stages 1-2"],
        ["TDN", "TDN (both)", "TDN, 16 frames"],
        ["temporal convolution", "T-Conv"],
    ]
    colours = [{style.of_network(name) for name in names} for names in same]
    assert all(len(of) == 1 for of in colours) and len(set.union(*colours)) == 3
    assert style.of_network("TSM") == style.of_network("S-TDM diff, L-TDM avg") not in set.union(*colours)


def test_rows_that_were_not_run_have_the_same_columns(lines):
    absent = line(SHORT_VS_LONG[2], [])
    table = report.accuracy_table(SHORT, [absent, *lines])
    assert set(table) == set(report.accuracy_table(SHORT, lines))
    row = table.iloc[0]
    assert row["verdict"] == "not run" and row["seeds"] == 0 and row["published top-1 (SSv1)"] == 51.3
    assert row[[*report.MEASURED, "short", "videos", "vs temporal convolution", "±"]].isna().all()
    alone = report.accuracy_table(SHORT, [absent, line(SHORT_VS_LONG[1], [])])
    assert set(alone["verdict"]) == {"not run"} and set(report.MEASURED) <= set(alone)
    missing_reference = report.accuracy_table(SHORT, [line(SHORT_VS_LONG[1], []), lines[2]])
    assert missing_reference["verdict"].tolist() == ["not run", ""]


def test_claims_compare_every_row_with_every_reference_once(lines):
    claims = report.claims(SHORT, lines)
    conv, tdn = "temporal convolution better than ", "TDN (both) better than "
    assert claims["claim"].tolist() == [f"{conv}TSN", f"{tdn}temporal convolution", f"{tdn}TSN"]
    assert claims["published"].tolist() == pytest.approx([26.9, 5.7, 32.6])
    assert claims["measured"].tolist() == pytest.approx([10, 40, 50])
    assert set(claims["verdict"]) == {"supported"}
    assert report.findings(SHORT, lines).count("supported, on one seed.") == 3
    turned = [line(a.row, b.results) for a, b in zip(lines, lines[::-1], strict=True)]
    assert report.findings(SHORT, turned).count("**contradicted**") == len(report.claims(SHORT, turned)) == 3
    equal = [line(of.row, lines[0].results) for of in lines]
    assert set(report.claims(SHORT, equal)["verdict"]) == {"smaller than published"}


def test_claims_by_family_and_after_holm(lines):
    halves = [Family("low", tuple(range(9))), Family("high", tuple(range(9, 18)), SeedError(50.0))]
    name, error = "temporal convolution better than TSN", SeedError(8.0 / 1.96)
    claims = report.claims(SHORT, lines, error, halves).set_index("claim").loc[name]
    assert claims["measured"] == pytest.approx(10) and claims["±"] == pytest.approx(np.hypot(5.9, 8 * 2**0.5), rel=0.04)
    assert claims["verdict"] == "smaller than published" and claims["low"].startswith("+9.3 ± ")  # 5 of 54
    assert claims["high"].endswith(", inconclusive"), "with its own seed error"
    one = report.claims(SHORT, lines, SeedError(4.0 / 1.96)).set_index("claim").loc[name]
    assert one["verdict"] == "supported" == one["after Holm"]
    close = [line(SHORT_VS_LONG[n], lines[m].results) for n, m in ((1, 0), (4, 1), (3, 1), (5, 1))]
    text = report.findings(SHORT, close, SeedError(5.2 / 1.96))
    assert "supported, on one seed; inconclusive after Holm's correction." in text
    pair = report.claims(SHORT, close)["claim"].tolist()[-1]
    assert pair == "S-TDM in stages 1-2 better than L-TDM in stages 3-5"


def test_a_verdict_that_more_epochs_would_change_is_none(lines, monkeypatch):
    name, error = "temporal convolution better than TSN", SeedError(4.0 / 1.96)
    for gained, verdict in ((-20.0, "not trained to the end"), (-1.0, "supported"), (20.0, "supported")):
        monkeypatch.setattr(report, "still_gain", lambda *_, gained=gained: {"temporal convolution": gained})
        claim = report.claims(SHORT, lines, error).set_index("claim").loc[name]
        assert claim["measured"] == pytest.approx(10), "as measured, whatever more epochs would give"
        assert claim["verdict"] == claim["after Holm"] == verdict


def test_claims_are_taken_from_the_edition_that_has_both_rows(tmp_path):
    right = {"TSN": 10, "TSM": 30, "TEA": 40, "TANet": 50, "TSM++": 20, "TDN": 60}
    rows = [row for row in TEMPORAL_MODULES if row.name in right]
    table = dataclasses.replace(TABLES["temporal_modules"], pairs=(("TSM", "TSM++"),))
    lines = [line(row, [stored(tmp_path / row.name, np.arange(100) < right[row.name])], table) for row in rows]
    claims = report.claims(table, lines).set_index("claim")
    assert claims.index.tolist() == [*(f"TDN better than {n}" for n in ("TSN", "TSM", "TEA", "TSM++")), TSM]
    published = [51.3 - 19.7, 52.3 - 47.1, 51.3 - 48.9, 52.3 - 47.6, 47.6 - 47.1]  # only ICLR's edition has TSN
    assert claims["published"].tolist() == pytest.approx(published)
    assert claims["edition"].tolist() == ["iclr2021", "cvpr2021", "iclr2021", "cvpr2021", "cvpr2021"]
    assert claims.loc[TSM, "measured"] == pytest.approx(-10)
    assert "published +31.6 (ICLR), measured +50.0" in report.findings(table, lines)
    shown = report.accuracy_table(table, lines).set_index("network")["published top-1 (SSv1)"]
    assert shown.drop(["TSN", "TEA", "TANet"]).tolist() == [47.1, 47.6, 52.3]
    assert shown[["TSN", "TEA", "TANet"]].isna().all(), "no number of another edition in the column"


def test_top5_where_the_paper_has_it(lines):
    assert not {"published top-5 (SSv1)", "measured top-5"} & set(report.accuracy_table(SHORT, lines)), "Table 1e"
    table = TABLES["temporal_modules"]
    measured = {row.name: [lines[2].results[0]] for row in table.rows if row.name in ("TEA", "TDN")}
    rows = report.accuracy_table(table, [line(row, measured.get(row.name, []), table) for row in table.rows])
    shown = rows.set_index("network")[["published top-5 (SSv1)", "measured top-5"]].dropna(how="all")
    assert shown.index.tolist() == ["T-Conv", "TSM", "TEINet", "TEA", "T-Conv++", "TSM++", "TEINet++", "TDN"]
    assert shown["published top-5 (SSv1)"].dropna().tolist() == [77.5, 76.2, 77.2, 79.1, 77.9, 79.0, 80.6]
    top5 = 100 * lines[2].results[0].evaluation.top(5)
    assert shown["measured top-5"].dropna().tolist() == [top5, top5] and top5 >= 90, "where there is a result"
    tdrl = {name: report.accuracy_table(of, [line(row, [], of) for row in of.rows]) for name, of in TABLES.items()}
    found = {name for name, of in tdrl.items() if "published top-5 (SSv1)" in of}
    assert found == {"temporal_modules", "tdrl_tsm", "tdrl_tim"}, "no column for the one row of another table"


def test_rows_without_a_published_number_have_a_table_and_no_claim(lines):
    beyond = TABLES["beyond"]
    unpublished = [line(row, lines[0].results, beyond) for row in beyond.rows]
    table = report.accuracy_table(beyond, unpublished)
    assert "published top-1 (SSv1)" not in table and len(figures.plot_accuracy(table).axes) == 2
    assert report.claims(beyond, unpublished).empty and report.findings(beyond, unpublished) == ""
    own = [*lines, line(Row("ours", "tdn"), lines[0].results)]
    assert len(report.claims(SHORT, own)) == 3 and len(report.accuracy_table(SHORT, own)) == 4


def test_overview(lines):
    none, tdn = (line(LOCATION[i], lines[j].results, TABLES["location"]) for i, j in ((0, 1), (2, 2)))
    measured = {"short_vs_long": lines, "location": [none, tdn]}
    rows = report.all_rows(measured)
    versus = rows["vs reference"]
    assert versus.iloc[-2] == pytest.approx(-40) and pd.isna(versus.iloc[-1]) and len(rows) == 5
    every = report.order_table(measured).set_index("table")["networks"]
    assert every["all networks"] == 3, "a network of two tables counts once"
    tsn = line(TEMPORAL_MODULES[0], lines[0].results, TABLES["temporal_modules"])  # not in the final text's table
    both = report.order_table({"short_vs_long": lines, "temporal_modules": [tsn, *lines[1:]]}).set_index("table")
    assert both.loc["all networks", "networks"] == 3, "published in one of its tables is published"
    low = [Family("low", tuple(range(18)))]
    every = report.order_table({"short_vs_long": lines}, families=low).set_index("table")
    assert every["rank correlation"].tolist() == pytest.approx([1, 1]) and every["networks"].tolist() == [3, 3]
    assert (every["95% low"] > 0.4).all() and every["low"].str.startswith("1.00 (").all()
    claims = report.all_claims(measured)
    assert (
        claims["claim"].tolist() == [*report.claims(SHORT, lines)["claim"], "S-TDM 1-2, L-TDM 3-5 better than none"][:3]
    )


@pytest.mark.slow
def test_published_costs_of_tdn_are_ours_with_norms_and_biases():
    tables = [TABLES["difference_operator"], TABLES["location"]]
    measured = [Line(row, [], table=table) for table in tables for row in table.rows]
    table = report.cost_table(measured).set_index("network")
    assert table["published GMACs"].tolist() == [36.2, 36.2, 35.9, 35.9, 33, 35, 36, 38]
    off = (table["sum"] - table["published GMACs"]).abs()
    assert (off.iloc[:4] < 0.0505).all() and (off.iloc[4:] < 0.5).all(), "published with one digit, and with none"
    # 11.1 million values a frame of ResNet-50, 8 frames: scale, shift and bias
    assert table.loc["none", "norms and biases"] == pytest.approx(3 * 8 * 0.01111, rel=1e-3)


def test_tables_and_figures_become_files(lines, tmp_path, monkeypatch):
    profile = PROFILES["smoke"]
    monkeypatch.setattr("tdn.experiments.profiles.ROOT", tmp_path)
    table = report.accuracy_table(SHORT, lines)
    report.save_table(table, "t", profile, lines)
    folder = tmp_path / "results" / "smoke" / "tables"
    assert pd.read_csv(folder / "t.csv")["measured top-1"].tolist() == pytest.approx([40, 50, 90])
    assert (folder / "t.md").read_text().count("\n") == 5
    assert "nan" not in (folder / "t.md").read_text(), "nothing where nothing is known"
    text = markdown(pd.DataFrame({"vs F*H": ["F*H better than F + F*H", None], "points": [1.25, None]}))
    assert r"| vs F\*H " in text and r"| F\*H better than F + F\*H |" in text and "1.2" in text and "nan" not in text
    assert json.loads((folder / "t.json").read_text())["runs"]["TSN"] == [{"run": "40"}]
    noise, axis = plt.subplots()
    axis.imshow(np.random.default_rng(0).random((500, 500, 3)), interpolation="nearest")
    claims, order = figures.plot_claims(report.claims(SHORT, lines)), figures.plot_order({"short_vs_long": lines})
    classes = figures.plot_classes(pd.DataFrame({"class": ["a", "b"], "family": ["f", "g"], "TDN": [10.0, 90.0]}))
    forest = figures.plot_accuracy(table)
    (points,) = [drawn for drawn in forest.axes[0].collections if drawn.get_label() == "published, SSv1"]
    differences = np.ma.compressed(points.get_offsets()[:, 0]).tolist()
    assert differences == pytest.approx([19.7 - 46.6, 52.3 - 46.6]), "to the reference"
    assert classes.axes[0].images[0].get_array().tolist() == [[10, 90]]
    for figure in (forest, classes, claims, order, noise):
        path = figures.save_figure(figure, "f", profile)
        assert path.stat().st_size < 400_000 and min(plt.imread(path).shape[:2]) > 150


def test_committed_results_are_complete_and_small():
    tables = list(CHECKOUT.glob("results/record/tables/*.csv"))
    expected = {*TABLES} | {"overview", "overview_claims", "overview_claims_tdrl", "overview_order", "models", "costs"}
    assert {path.stem for path in tables} >= expected
    for path in tables:
        runs = json.loads(path.with_suffix(".json").read_text())
        assert len(pd.read_csv(path)) and path.with_suffix(".md").exists() and runs
    figures = list(CHECKOUT.glob("results/record/figures/*.png"))
    assert figures and all(path.stat().st_size < 400_000 for path in figures)
