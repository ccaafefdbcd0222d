"""The tables' lists of runs, and the command line over them."""

import pytest

from tdn import study
from tdn.study import PROFILES, SHORT_VS_LONG, TABLES, Row


def test_published_numbers_are_those_of_the_papers_table():
    published = {row.name: row.published_top1() for row in SHORT_VS_LONG}
    assert list(published.values()) == [19.7, 46.6, 51.3, 51.5, 49.9, 52.3]
    assert Row("ours alone", "tdn").published_top1() is None


def test_costs_are_those_of_the_full_size_network():
    by_name = {row.name: study.full_size_cost(row) for row in SHORT_VS_LONG}
    assert by_name["TSN"][0] == pytest.approx(32.7, rel=0.01)
    assert by_name["TDN (both)"][0] == pytest.approx(35.6, rel=0.01)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_every_run_can_be_built_and_differs_only_in_its_network(profile):
    runs = study.all_runs(profile)
    assert len({run.name for run in runs}) == len(runs) == len(SHORT_VS_LONG) * len(profile.seeds)
    assert len({(run.recipe, run.data, run.size, run.scales, run.num_segments) for run in runs}) == 1
    for run in runs:
        model = run.create_model()
        assert model.num_segments == profile.num_segments
        again = run.create_model()
        assert all((a == b).all() for a, b in zip(model.parameters(), again.parameters(), strict=True))


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
        (run,) = PROFILES["pocket"].runs(row)
        model = run.create_model()
        modules = [
            [number for number in range(2, 6) if hasattr(model.stages[number - 1][0].temporal, name)]
            for name in ("l_tdm", "conv")
        ]
        assert ([int(stage) for stage in model.s_tdm], *modules) == expected[row.name]
        assert model.fc.in_features == 128 and model.dropout.p == 0


def test_shared_rows_run_once(monkeypatch):
    monkeypatch.setitem(
        TABLES, "another", [Row("under another name", "tdn"), Row("new", "tdn", {"l_tdm_stages": (5,)})]
    )
    profile = PROFILES["smoke"]
    assert len(study.all_runs(profile)) == len(study.all_runs(profile, ["short_vs_long"])) + 1


def test_typos_are_answered_with_the_nearest_names(capsys):
    with pytest.raises(ValueError, match="did you mean pocket"):
        study.get_profile("poket")
    with pytest.raises(ValueError, match="short_vs_long"):
        study.get_table("short_vs_lang")
    for arguments, answer in ((["--profile", "smokey"], "smoke"), (["--table", "1e"], "short_vs_long")):
        with pytest.raises(SystemExit) as error:
            study.main(arguments)
        assert error.value.code == 2
        assert answer in capsys.readouterr().err


def test_list_trains_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "ROOT", tmp_path)
    study.main(["--profile", "smoke", "--list"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("profile smoke: 6 runs, 0 of them done")
    assert len(printed) == 7 and all("to do" in line for line in printed[1:])
    assert list(tmp_path.iterdir()) == []


def test_two_ways_to_ask_for_one_network_are_one_run():
    spelled_out = Row("TDN, spelled out", "tdn", {"s_tdm_stages": (1, 2), "dropout": 0.0})
    pocket = PROFILES["pocket"]
    assert pocket.runs(spelled_out) == pocket.runs(Row("TDN", "tdn"))
    assert pocket.runs(Row("other", "tdn", {"s_tdm_stages": (1,)})) != pocket.runs(Row("TDN", "tdn"))
