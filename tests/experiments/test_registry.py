"""The tables' lists of runs."""

import dataclasses
import re

import pytest
import torch
from helpers import layouts

from tdn.book.lines import full_size_cost
from tdn.experiments import registry, tables
from tdn.experiments.profiles import PROFILES
from tdn.experiments.runs import IMAGENET, Run, impossible, stored
from tdn.experiments.tables import SHORT_VS_LONG, TABLES, TDRL_LAMBDA, TDRL_TIM, TEMPORAL_MODULES, Row
from tdn.model.tdrl import TemporalDiversity
from tdn.utils import write_text


def test_published_numbers_are_those_of_the_papers_table():
    published = {name: [table.published(row, "top1") for row in table.rows] for name, table in TABLES.items()}
    assert published == {
        "difference_operator": [41.5, 51.4, 51.6, 52.3],
        "s_tdm_fusion": [43.7, 47.6, 52.3, 47.3, 47.9],
        "l_tdm_design": [44.1, 50.9, 50.0, 49.7, 52.3],
        "location": [46.6, 50.6, 52.3, 51.7],
        "short_vs_long": [19.7, 46.6, 51.3, 51.5, 49.9, 52.3],
        "temporal_modules": [None, 47.5, 47.1, 48.4, None, None, 47.5, None, 48.2, 47.6, 49.0, 52.3],
        "tdrl_tsm": [45.6, 48.1, 47.5, 48.4],
        "tdrl_tim": [46.1, 47.4, 48.7, 48.4, 49.8],
        "tdrl_share": [46.1, 47.7, 48.4, 47.8, 47.3],
        "tdrl_position": [46.1, 48.7, 49.0, 46.9, 48.4],
        "tdrl_lambda": [46.1, 47.9, 48.4, 47.8, 48.0],
        "beyond": [None] * 3,
        "controls": [None] * 14,
        "reach": [None] * 9,
    }
    iclr = {name: [t.published(row, "top1", "iclr2021") for row in t.rows] for name, t in TABLES.items()}
    assert iclr["difference_operator"] == [None] * 4 and iclr["location"] == [45.2, 49.9, 51.3, 50.8]
    assert iclr["temporal_modules"][:7] == [19.7, 46.2, 45.6, 47.4, 48.9, 46.1, 47.5]
    location, fusion = TABLES["location"], TABLES["s_tdm_fusion"]
    assert [location.published(row, "gmacs") for row in location.rows] == [33, 35, 36, 38]
    assert fusion.published(fusion.rows[0], "gmacs") is fusion.published(Row("ours alone", "tdn"), "top1") is None


def test_names_of_rows_in_csv_files_and_references_are_those_of_rows():
    rows = {}
    for table in TABLES.values():
        names = {row.name for row in table.rows}
        assert len(names) == len(table.rows) and names >= set(table.references).union(*table.pairs)
        rows.setdefault(table.files[:1], set()).update(names)
    for files, names in rows.items():
        assert set().union(*(tables._csv(file)["row"].dropna() for file in files)) <= names, files


@pytest.mark.slow
def test_costs_are_those_of_the_papers():
    names = "difference_operator", "location", "s_tdm_fusion", "l_tdm_design"
    operators, location, *others = ([full_size_cost(row).gmacs for row in TABLES[name].rows] for name in names)
    concat_avg, concat_diff, diff_avg, tdn = operators
    assert concat_avg == pytest.approx(concat_diff) and diff_avg == pytest.approx(tdn)
    # three more input channels of a 7x7 convolution to 64 at 56 x 56, in 8 segments
    assert concat_diff - tdn == pytest.approx(8 * 3 * 49 * 64 * 56 * 56 / 1e9)
    assert location == pytest.approx([32.70, 34.50, 35.61, 37.46], abs=0.01) and max(map(max, others)) < 35.62


@pytest.mark.parametrize("profile", [PROFILES["smoke"], pytest.param(PROFILES["pocket"], marks=pytest.mark.slow)])
def test_every_run_can_be_built_and_differs_only_in_its_network(profile):
    runs = registry.all_runs(profile, list(TABLES))
    assert len({run.name for run in registry.all_runs(profile)}) == len(registry.all_runs(profile))  # shared rows once
    flat = [profile.pretrained(*of) for of in (("tsn",), ("tsn", True), ("res2net",))]  # of two depths
    assert {run.pretrained for run in runs} == set(flat)
    assert {run.model for run in runs if run.pretrained == profile.pretrained("res2net")} == {"tea_resnet10"}
    assert profile.pretrained().pretrained is None
    same_recipe = {dataclasses.replace(run.recipe, td_lambda=0) for run in runs}
    assert len({(run.data, run.size, run.scales, run.views) for run in runs}) == len(same_recipe) == 1
    assert {run.num_segments for run in runs} == {1, *(times * profile.num_segments for times in (1, 2, 3, 5))}
    for run in runs:
        assert (model := run.create_model()).num_segments == run.num_segments
        assert bool(run.recipe.td_lambda) == any(isinstance(module, TemporalDiversity) for module in model.modules())
    again = run.create_model()
    assert all((a == b).all() for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert (dataclasses.replace(run, seed=run.seed + 1).create_model().fc.weight != again.fc.weight).any()


def test_a_row_has_at_most_its_own_number_of_seeds_and_one_network_under_two_names_runs_once(monkeypatch):
    rows, table = {row.name: row for row in TEMPORAL_MODULES}, TABLES["temporal_modules"]
    for profile, name, seeds in (
        ("record", "TSM", [0, 1, 2, 3, 4]),
        ("record", "TSM++", [0, 1, 2]),
        ("pocket", "TSM", [0]),
    ):
        assert [run.seed for run in PROFILES[profile].runs(rows[name], table)] == seeds
    before = registry.all_runs(PROFILES["smoke"])
    spelled_out = Row("TDN, spelled out", "tdn", {"s_tdm_stages": (1, 2), "dropout": 0.0})
    rows = [*SHORT_VS_LONG, spelled_out, Row("L-TDM in stage 5", "tdn", {"l_tdm_stages": (5,)})]
    monkeypatch.setitem(TABLES, "short_vs_long", dataclasses.replace(TABLES["short_vs_long"], rows=rows))
    assert len(registry.all_runs(PROFILES["smoke"])) == len(before) + 1


def test_the_td_loss_weighs_what_it_weighs_at_full_size():
    """Largest possible value of lambda times the loss: every similarity 1 in every block that has it."""
    rows = {row.name: row for row in (*TDRL_TIM, *TDRL_LAMBDA, *tables.BEYOND)}
    for name, full in (("TIM + TD loss", 2e-4), ("lambda 4e-4", 4e-4), ("TDN + TD loss", 2e-4), ("TIM", 0)):
        run = PROFILES["pocket"].runs(rows[name], TABLES["tdrl_tim"])[0]
        places = [m for m in run.create_model().modules() if isinstance(m, TemporalDiversity)]
        assert run.recipe.td_lambda * sum(p.channels for p in places) == pytest.approx(full * (512 + 1024 + 2048))


def test_rows_are_the_networks_they_are_named_after():
    late = [3, 4, 5]
    stages = [([], [], []), ([], [], late), ([1], [], late), ([1, 2], [], late), ([], late, late), ([1, 2], late, late)]
    for row, expected in zip(SHORT_VS_LONG, stages, strict=True):
        model = PROFILES["pocket"].runs(row, TABLES["short_vs_long"])[0].create_model()
        first = {number: model.stages[number - 1][0].temporal for number in range(2, 6)}
        l_tdm, conv = ([number for number in first if hasattr(first[number], name)] for name in ("l_tdm", "conv"))
        assert ([int(stage) for stage in model.s_tdm], l_tdm, conv) == expected, row.name
        assert model.fc.in_features == 128 and isinstance(model.dropout, torch.nn.Identity)


def test_shards_are_all_runs_once_and_transfers_go_from_other_classes_to_three_splits():
    profile = PROFILES["pocket"]
    runs = registry.with_pretrained(registry.all_runs(profile))
    shards = [registry.shard(runs, f"{i}/3") for i in (1, 2, 3)]
    assert sorted(run.name for shard in shards for run in shard) == sorted(run.name for run in runs)
    tuned, without = (profile.transfer_runs("pocket, family both", which) for which in (True, False))
    assert [run.data.split for run in tuned] == [1, 2, 3]
    (source,) = {run.pretrained for run in tuned}
    assert not set(source.data.classes) & set(tuned[0].data.classes)
    assert [dataclasses.replace(run, pretrained=profile.pretrained()) for run in tuned] == without
    assert registry.select(runs, [tuned[1].name]) == [tuned[1]]
    assert registry.with_pretrained([tuned[1]]) == [source.pretrained, source, tuned[1]]


def test_the_paper_profile_is_the_papers_protocol(home):
    runs = registry.all_runs(PROFILES["paper"])
    assert len({run.name for run in runs}) == len(runs)
    by_data = {}
    for run in runs:
        assert run.size == 224 and run.scales == (1.0, 0.875, 0.75, 0.66)
        recipe = run.recipe
        protocol = (recipe.epochs, recipe.batch, recipe.lr, recipe.weight_decay, recipe.steps, str(run.views))
        by_data.setdefault(run.data.name, set()).add((*protocol, run.views.size, dict(run.options).get("dropout", 0.5)))
    tdrl = (50, 64, 0.01, 1e-4, (30, 40, 45), "1x1", 224, 0.5)
    something = (60, 64, 0.01, 5e-4, (30, 45, 55), "1x1", 224, 0.5)
    tuned = (25, 64, 0.002, 5e-4, (12, 19, 22), "10x3", 256, 0.8)
    kinetics = (100, 128, 0.02, 1e-4, (50, 75, 90), "10x3", 256, 0.5)
    something_something = {"ssv1": {something, tdrl}, "ssv2": {something}}
    assert by_data == something_something | {"k400": {kinetics}, "ucf101": {tuned}, "hmdb51": {tuned}}
    from_kinetics = [run.pretrained for run in runs if isinstance(run.pretrained, Run)]
    assert len(from_kinetics) == 6 and len(set(from_kinetics)) == 1 and from_kinetics[0] in runs
    assert from_kinetics[0].num_segments == 16, "the paper transfers the 16-frame network"
    assert {run.pretrained for run in runs if not isinstance(run.pretrained, Run)} == {IMAGENET}
    with torch.device("meta"):
        assert runs[0].create_model().fc.out_features == 174


def test_a_plan_has_each_run_once_and_what_it_is_initialised_from_only_where_needed(monkeypatch, tmp_path):
    pocket = PROFILES["pocket"]
    tuned = pocket.transfer_runs("pocket, family both")
    source = tuned[0].pretrained
    todo = registry.plan([*tuned, tuned[0]], tmp_path)
    assert todo == registry.Plan([], [source.pretrained, source, *tuned], {})
    assert registry.plan(tuned, tmp_path, has_weights=True).to_do == tuned
    for config in (source, tuned[0]):
        write_text(stored(config, tmp_path).folder / "metrics.json", "{}")
    todo = registry.plan(tuned, tmp_path)
    assert (todo.done, todo.to_do) == ([source, tuned[0]], tuned[1:]), "the 2D network is needed no more"
    monkeypatch.setattr(registry, "impossible", lambda config, _: "why" if config == tuned[1] else None)
    todo = registry.plan(tuned, tmp_path)
    assert (todo.to_do, todo.impossible) == ([tuned[2]], {tuned[1]: "why"})


def test_networks_without_imagenet_weights_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("TDN_SSV1", str(layouts.ssv1(tmp_path)))
    tea = next(run for run in registry.all_runs(PROFILES["paper"], ["temporal_modules"]) if run.model == "tea_resnet50")
    assert "Res2Net" in impossible(tea) and impossible(tea, has_weights=True) is None
    for model in ("tdn_resnet10", "slowfast_resnet50"):
        small = dataclasses.replace(tea, model=model, options=())
        assert re.search(f"no ImageNet weights for {model}.*--pretrained FILE", impossible(small))
        assert impossible(small, has_weights=True) is None
        assert impossible(dataclasses.replace(small, pretrained=None)) is None
    assert impossible(dataclasses.replace(tea, model="tdn_resnet18", options=())) is None
