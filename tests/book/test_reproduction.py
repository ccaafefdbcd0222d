"""The comparison of a study with the record, against its definition; and how many seeds a study has."""

import re
import subprocess

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from helpers.reference import stored
from scipy import stats

from tdn.__main__ import main
from tdn.book import report, reproduction
from tdn.book.reproduction import INSIDE, OPPOSITE, OUTSIDE, SAME
from tdn.experiments import registry, runs
from tdn.experiments.profiles import PROFILES, get_profile
from tdn.experiments.tables import TABLES
from tdn.utils import CHECKOUT

SHORT = TABLES["short_vs_long"]
# Right answers of 200, by seed. TSN and the convolution are in other tables, too.
RECORD = {"TSN": (60, 64, 68), "temporal convolution": (118, 120, 122), "L-TDM in stages 3-5": (100, 110)}
FREEDOM, SPREAD = 2 + 2 + 1, np.sqrt((2 * 2**2 + 2 * 1**2 + 2 * 2.5**2) / 5)  # in points: halves of these numbers


@pytest.fixture(autouse=True)
def nothing_here(tmp_path, monkeypatch):
    """Neither results nor a record, whatever this machine has; of two tables, for speed."""
    monkeypatch.setattr("tdn.experiments.profiles.ROOT", tmp_path)
    monkeypatch.setattr("tdn.experiments.profiles.CHECKOUT", tmp_path)
    monkeypatch.setattr(
        "tdn.experiments.profiles.TABLES", {name: TABLES[name] for name in ("location", "short_vs_long")}
    )
    monkeypatch.setattr(runs, "_train", lambda *_: pytest.fail("trained"))
    yield
    plt.close("all")


def keep(profile, right):
    """Results of these rows, by the number of right answers of each seed: of the first videos."""
    for row in SHORT.rows:
        for config, number in zip(profile.runs(row, SHORT), right.get(row.name, ()), strict=False):
            stored(runs.stored(config, profile.results).folder, np.arange(200) < number)


def compared(right, seeds=1, record=RECORD):
    study = get_profile(f"pocket:{seeds}")
    keep(PROFILES["record"], record)
    keep(study, right)
    return reproduction.compare(study, PROFILES["record"])


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_interval_is_that_of_the_mean_of_new_seeds(seeds, tmp_path):
    rows, _ = compared({"TSN": (70,) * seeds, "temporal convolution": (120,) * seeds, "TDN (both)": (150,)}, seeds)
    assert rows["network"].tolist() == ["none", "TSN"], "once, in its first table; TDN is not in the record"
    assert rows["table"].tolist() == [TABLES["location"].title, SHORT.title]
    assert rows["top-1"].tolist() == [60, 35] and rows["record top-1"].tolist() == [60, 32]
    assert set(rows["seeds"]) == {seeds} and set(rows["seeds of the record"]) == {3}
    half = stats.t(FREEDOM).ppf(0.995) * SPREAD * np.sqrt(1 / 3 + 1 / seeds)
    assert (rows["99% high"] - rows["record top-1"]).tolist() == pytest.approx([half] * 2)
    assert (rows["record top-1"] - rows["99% low"]).tolist() == pytest.approx([half] * 2)
    assert set(rows["top-1 is"]) == {INSIDE}
    files = pd.read_csv(tmp_path / "results/pocket/tables/reproduction.csv")
    pd.testing.assert_frame_equal(files, rows, atol=1e-4, check_dtype=False)
    path = tmp_path / "results/pocket/figures/reproduction.png"
    assert path.stat().st_size < 400_000 and min(plt.imread(path).shape[:2]) > 150


def test_an_interval_of_99_percent_holds_99_in_100():
    """Of a network whose seeds spread as those of all do."""
    rng, half = np.random.default_rng(0), stats.t(200).ppf(0.995) * np.sqrt(1 / 5 + 1)
    spread = np.sqrt(rng.chisquare(200, 20_000) / 200)
    off = rng.normal(size=20_000) - rng.normal(size=(20_000, 5)).mean(1)
    assert (abs(off) > half * spread).mean() == pytest.approx(0.01, abs=0.003)


def test_a_row_outside_is_named_and_the_status_is_1(capsys):
    half = stats.t(FREEDOM).ppf(0.995) * SPREAD * np.sqrt(1 / 3 + 1)
    number = 64 + 2 * np.ceil(half)  # right answers: the first beyond it
    rows, _ = compared({"TSN": (number - 2,)})
    assert rows["top-1 is"].tolist() == [INSIDE] and main(["book", "compare"]) == 0
    out = capsys.readouterr().out
    assert "record: 1 of 8 networks of all tables; seeds: 1, of the record 3" in out
    assert "outside the record's 99 % interval: 0 of 1 (0 %)" in out
    rows, _ = compared({"TSN": (number,), "temporal convolution": (120,)})
    assert rows.set_index("network")["top-1 is"].to_dict() == {"none": INSIDE, "TSN": OUTSIDE}
    assert main(["book", "compare"]) == 1
    out, expected = capsys.readouterr().out, f"{32 - half:.1f} to {32 + half:.1f} expected (the record has 32.0)"
    assert f"  {SHORT.title}, TSN: top-1 {number / 2:.1f} %, {expected}\n" in out
    assert "not reproduced: more than 5 % of the networks are outside" in out
    (crosses,) = [of for of in plt.gcf().axes[0].collections if of.get_label() == "own, outside"]
    assert crosses.get_offsets()[:, 0].tolist() == [number / 2]


def test_one_row_in_twenty_may_be_outside():
    rows = pd.DataFrame({"top-1 is": [OUTSIDE] + [INSIDE] * 19})
    assert reproduction.reproduced(rows) and not reproduction.reproduced(rows[:19])


def test_verdicts_are_compared_claim_by_claim(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(report, "still_gain", lambda *_: {})
    right = {"TSN": (160,), "temporal convolution": (80,), "L-TDM in stages 3-5": (5,)}
    _, verdicts = compared(right, record=RECORD | {"L-TDM in stages 3-5": (20, 22)})
    pair, same = "temporal convolution better than TSN", "L-TDM in stages 3-5 better than temporal convolution"
    verdicts = verdicts.set_index("claim")
    assert verdicts["agreement"].to_dict() == {pair: OPPOSITE, same: SAME} and set(verdicts["paper"]) == {"TDN"}
    of = ["measured", "verdict", "measured in the record", "verdict in the record"]
    assert verdicts.loc[pair, of].tolist() == pytest.approx([-40, "contradicted", 28, "supported"])
    assert verdicts.loc[same, of].tolist() == pytest.approx([-37.5, "contradicted", -49.5, "contradicted"])
    main(["book", "compare"])
    out = capsys.readouterr().out
    assert "verdicts of TDN's tables: 1 of 2 (50 %) are the record's, 1 opposite" in out
    assert f"  {pair}: contradicted, supported in the record\n" in out
    assert len(pd.read_csv(tmp_path / "results/pocket/tables/reproduction_verdicts.csv")) == 2


def test_a_study_of_one_seed_takes_the_records_seed_error():
    """Or what a seed does by chance would be decided."""
    one, two = {"TSN": (60,), "temporal convolution": (72,)}, {"TSN": (60, 60), "temporal convolution": (72, 72)}
    _, verdicts = compared(one)
    assert verdicts["±"].item() > reproduction.seed_error(PROFILES["record"]).half
    assert verdicts["±"].item() > compared(two, 2)[1]["±"].item(), "which has its own"


def test_a_record_of_one_seed_has_no_interval(capsys):
    rows, _ = compared({"TSN": (10,)}, record={"TSN": (64,), "temporal convolution": (120,)})
    assert rows[["99% low", "99% high"]].isna().all(axis=None) and main(["book", "compare"]) == 0
    out = capsys.readouterr().out
    assert "the record has one seed: no interval" in out and "reproduced" not in out.partition("tables and")[0]


def test_what_is_missing_is_said(capsys):
    assert main(["book", "compare"]) == 2
    assert re.search(r"no complete run in the record, .*git checkout .*results/record", capsys.readouterr().err)
    keep(PROFILES["record"], RECORD)
    assert main(["book", "compare", "--profile", "pocket:3"]) == 2
    assert "train them first, tdn train --profile pocket:3" in capsys.readouterr().err
    keep(PROFILES["pocket"], {"TDN (both)": (150,)})
    assert main(["book", "compare"]) == 2, "a network that the record has not"


def test_a_profile_has_as_many_seeds_as_asked_for():
    pocket, five = get_profile("pocket"), get_profile("pocket:5")
    assert (pocket.argument, five.argument, get_profile("pocket:1").argument) == ("pocket", "pocket:5", "pocket")
    assert five.results == pocket.results and five.seeds == PROFILES["record"].seeds
    assert set(registry.all_runs(five)) == set(registry.all_runs(PROFILES["record"])) > set(registry.all_runs(pocket))
    last = registry.all_runs(five)[-1]
    assert last.seed == 4 and registry.command(last, five) == runs.stored(last, five.results).command
    assert registry.command(last, five) == f"tdn train --profile pocket:5 --runs {last.name}"
    for wrong in ("pocket:", "pocket:0", "pocket:many", "pocket:1.5"):
        with pytest.raises(ValueError, match="the number of seeds of each row, as in pocket:5"):
            get_profile(wrong)


@pytest.mark.parametrize(("variables", "study"), [("", "pocket"), ("SEEDS=5", "pocket:5"), ("PROFILE=smoke", None)])
def test_make_reproduce_ends_with_the_comparison_of_pocket(variables, study):
    words = ["make", "--dry-run", "reproduce", *variables.split()]
    done = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    commands = [line.partition("tdn ")[2] for line in done.stdout.splitlines() if " -m tdn " in line]
    profile = study or "smoke"
    expected = [f"train --profile {profile}", f"book execute --profile {profile}", f"book compare --profile {profile}"]
    assert commands == (expected if study else expected[:2])
