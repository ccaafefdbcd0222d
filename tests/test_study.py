"""The tables' lists of runs, and the command line over them."""

import dataclasses

import pytest

from tdn import study
from tdn.cost import measure_cost
from tdn.study import PROFILES, SHORT_VS_LONG, TABLES, Row


def test_published_numbers_are_those_of_the_papers_table():
    published = {name: [row.published_as("top1") for row in table.rows] for name, table in TABLES.items()}
    assert published == {
        "difference_operator": [41.5, 51.4, 51.6, 52.3],
        "s_tdm_fusion": [43.7, 47.6, 52.3, 47.3, 47.9],
        "l_tdm_design": [44.1, 50.9, 50.0, 49.7, 52.3],
        "location": [46.6, 50.6, 52.3, 51.7],
        "short_vs_long": [19.7, 46.6, 51.3, 51.5, 49.9, 52.3],
    }
    iclr = {name: [row.published_as("top1", "iclr2021") for row in table.rows] for name, table in TABLES.items()}
    assert iclr["difference_operator"] == [None] * 4 and iclr["location"] == [45.2, 49.9, 51.3, 50.8]
    assert [row.printed("gmacs") for row in TABLES["location"].rows] == ["33", "35", "36", "38"]
    assert TABLES["s_tdm_fusion"].rows[0].printed("gmacs") is None
    assert Row("ours alone", "tdn").published_as("top1") is None


def gmacs(name):
    return [measure_cost(study.full_size(row)).gmacs for row in TABLES[name].rows]


def test_costs_are_those_of_the_papers():
    concat_avg, concat_diff, diff_avg, tdn = gmacs("difference_operator")
    assert concat_avg == pytest.approx(concat_diff) and diff_avg == pytest.approx(tdn)
    # three more input channels of a 7x7 convolution to 64 at 56 x 56, in 8 segments
    assert concat_diff - tdn == pytest.approx(8 * 3 * 49 * 64 * 56 * 56 / 1e9)
    assert gmacs("location") == pytest.approx([32.70, 34.50, 35.61, 37.46], abs=0.01)
    assert max(gmacs("s_tdm_fusion")) < 35.62 and max(gmacs("l_tdm_design")) < 35.62


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_every_run_can_be_built_and_differs_only_in_its_network(profile):
    runs = study.all_runs(profile)
    assert len({run.name for run in runs}) == len(runs) == 19 * len(profile.seeds)  # shared rows once
    assert {run.start for run in runs} == {profile.start} and profile.start.start is None
    assert len({(run.recipe, run.data, run.size, run.scales, run.num_segments) for run in runs}) == 1
    for run in runs:
        model = run.create_model()
        assert model.num_segments == profile.num_segments
    again = run.create_model()
    assert all((a == b).all() for a, b in zip(model.parameters(), again.parameters(), strict=True))
    other = dataclasses.replace(run, seed=run.seed + 1).create_model()
    assert (other.fc.weight != again.fc.weight).any()


def test_rows_are_the_networks_they_are_named_after():
    expected = {
        "TSN": ([], [], []),
        "temporal convolution": ([], [], [3, 4, 5]),
        "S-TDM in stage 1": ([1], [], [3, 4, 5]),
        "S-TDM in stages 1-2": ([1, 2], [], [3, 4, 5]),
        "L-TDM in stages 3-5": ([], [3, 4, 5], [3, 4, 5]),
        "TDN (both)": ([1, 2], [3, 4, 5], [3, 4, 5]),
    }
    for row in SHORT_VS_LONG:
        run = PROFILES["pocket"].runs(row)[0]
        model = run.create_model()
        modules = [
            [number for number in range(2, 6) if hasattr(model.stages[number - 1][0].temporal, name)]
            for name in ("l_tdm", "conv")
        ]
        assert ([int(stage) for stage in model.s_tdm], *modules) == expected[row.name]
        assert model.fc.in_features == 128 and model.dropout.p == 0


def test_a_new_row_is_one_line_and_shared_rows_run_once(monkeypatch):
    profile = PROFILES["smoke"]
    before = study.all_runs(profile)
    rows = [*SHORT_VS_LONG, Row("under another name", "tdn"), Row("L-TDM in stage 5", "tdn", {"l_tdm_stages": (5,)})]
    monkeypatch.setitem(TABLES, "short_vs_long", dataclasses.replace(TABLES["short_vs_long"], rows=rows))
    assert len(study.all_runs(profile)) == len(before) + 1


def test_every_reference_is_a_row():
    for table in TABLES.values():
        assert set(table.references) <= {row.name for row in table.rows}
        assert len({row.name for row in table.rows}) == len(table.rows)


def test_typos_are_answered_with_the_nearest_names(capsys):
    with pytest.raises(ValueError, match="did you mean pocket"):
        study.get_profile("poket")
    with pytest.raises(ValueError, match="short_vs_long"):
        study.get_table("short_vs_lang")
    for arguments, answer in (
        (["--profile", "smokey"], "smoke"),
        (["--table", "1e"], "short_vs_long"),
        (["--jobs", "0"], "1 or more"),
    ):
        with pytest.raises(SystemExit) as error:
            study.main(arguments)
        assert error.value.code == 2
        assert answer in capsys.readouterr().err


def test_list_trains_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "ROOT", tmp_path)
    study.main(["--profile", "smoke", "--list"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("profile smoke: 19 runs, 0 of them done")
    assert len(printed) == 20 and all("to do" in line for line in printed[1:])
    assert list(tmp_path.iterdir()) == []


def test_two_ways_to_ask_for_one_network_are_one_run():
    spelled_out = Row("TDN, spelled out", "tdn", {"s_tdm_stages": (1, 2), "dropout": 0.0})
    pocket = PROFILES["pocket"]
    assert pocket.runs(spelled_out) == pocket.runs(Row("TDN", "tdn"))
    assert pocket.runs(Row("other", "tdn", {"s_tdm_stages": (1,)})) != pocket.runs(Row("TDN", "tdn"))
