"""Published costs: each is counted at the size at which it must have been counted."""

import pandas as pd
import pytest

from tdn.book import printed_costs
from tdn.book.printed_costs import published_costs
from tdn.model import zoo
from tdn.model.zoo import model_names
from tdn.utils import CHECKOUT


def test_every_published_cost_names_a_network_of_this_book_and_what_is_not_explained_is_named():
    """Of all only torchvision's S3D differs from the papers'; results/ has the whole table."""
    costs = published_costs()
    assert len(costs) == len(set(costs)) == 45 and {cost.network for cost in costs} <= set(model_names())
    for cost in costs:
        assert float(cost.gmacs) > 10 and str(cost.segments[0]) in cost.frames
    table = pd.read_csv(CHECKOUT / "results/record/tables/costs.csv")
    not_explained = table["comes from"].str.startswith("not explained")
    assert len(table) == len(costs) and table["method"][not_explained].tolist() == ["S3D-G"]


def test_the_costs_that_are_kept_are_of_these_networks_and_those_of_others_are_counted(monkeypatch):
    """Where this fails after a change of tdn/model: `tdn book costs`."""
    kept, asked = zoo._kept_costs(), printed_costs.all_asked()
    assert {str(of) for of in asked} == set(kept)
    for some in asked[::40]:
        assert zoo._counted(*some) == kept[str(some)] == zoo.cost_of(*some)
    monkeypatch.setattr(zoo, "_sources", lambda: "of other networks")
    assert not zoo._kept_costs.__wrapped__()


@pytest.mark.slow
def test_figures_are_counted_at_their_own_size_and_like_for_like(monkeypatch):
    wanted = {"T-Conv", "TSM++", "TEA", "TANet", "SlowFast", "S3D-G", "R(2+1)D"}
    some = [cost for cost in published_costs() if cost.method in wanted]
    monkeypatch.setattr(printed_costs, "published_costs", lambda: some)
    costs = printed_costs.compare_costs().set_index(["method", "frames"])
    slowfast = costs.loc[("SlowFast", "(8+32)x10x3")]
    assert slowfast["size"] == 256 and slowfast["comes from"] == "convolutions and linear layers"
    assert slowfast["GMACs"] == slowfast["GMACs at 256"] == pytest.approx(65.7, abs=0.05)
    assert slowfast["GMACs at 224"] == pytest.approx(50.3, abs=0.05)
    assert costs.loc[("TANet", "16x4x3"), ["published GMACs", "size"]].tolist() == [86, 256]
    assert costs.loc[("TEA", "8"), "comes from"] == "with sums over neighbours"
    assert costs.loc[("TSM++", "40"), "comes from"] == "33 for 8 frames, 5 times"
    assert costs.loc[("S3D-G", "64x10x3"), "comes from"].startswith("not explained: +0.7 %")
    assert costs.loc[("R(2+1)D", "32x10x1"), "comes from"] == "convolutions and linear layers"  # 152.36 for 152
    assert "depthwise" in costs.loc[("T-Conv", "8"), "comes from"]
    assert costs.loc[("TANet", "8+16"), "GMACs"] == pytest.approx(3 * 32.71, abs=0.02), "the sum of two clips"
    assert len(printed_costs.plot_published_costs(costs.reset_index()).axes) == 1
