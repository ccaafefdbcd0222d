"""Which networks are trained to the end."""

import pandas as pd
import pytest

from tdn.book import lengths
from tdn.book.lines import Line
from tdn.experiments.profiles import POCKET, SMOKE
from tdn.experiments.tables import get_table

EPOCHS = POCKET.settings["ssv1"].recipe.epochs


def rows(machine="a", *epochs):
    for network, gain in (("TSN", 0.4), ("T-Conv++", 9.0), ("TDN", -1.4)):
        for number in epochs:
            top1 = 50 + gain * (number > EPOCHS)
            of = {"machine": machine, "network": network, "epochs": number}
            yield of | {"top-1 (%)": top1, "training top-1 (%)": 60}


@pytest.fixture
def measured(monkeypatch):
    def measure(*of):
        monkeypatch.setattr(lengths, "bench_table", lambda kind: pd.DataFrame(of))

    return measure


def test_networks_that_the_last_doubling_moves_are_not_trained_to_the_end(measured):
    measured(*rows("old", 3, 6), *rows("new", EPOCHS // 2, EPOCHS, 2 * EPOCHS))
    assert set(lengths.measured_lengths()["machine"]) == {"new"}, "the other is of another number of epochs"
    table = lengths.flatness(lengths.measured_lengths()).set_index("network")
    assert table["twice the epochs"].tolist() == pytest.approx([0.4, 9.0, -1.4])
    assert table["trained to the end"].tolist() == ["yes", "no", "yes"]
    assert (table["training above validation"] == 10).all()
    modules = get_table("temporal_modules")
    lines = [Line(row, [], POCKET.runs(row, modules), modules) for row in modules.rows]
    assert lengths.still_gain(lines) == {"T-Conv++": pytest.approx(9.0)}
    lines = [Line(row, [], SMOKE.runs(row, modules), modules) for row in modules.rows]
    assert not lengths.still_gain(lines), "of other epochs nothing is known"
    assert len(lengths.plot_lengths(lengths.measured_lengths()).axes) == 2


def test_nothing_is_claimed_where_nothing_was_measured(measured):
    measured(*rows("old", 3, 6))
    nothing = lengths.measured_lengths()
    assert nothing.empty and lengths.flatness(nothing).empty and not lengths.still_gain([])
    assert lengths.plot_lengths(nothing).get_suptitle() == "Not measured"
