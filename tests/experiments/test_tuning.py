"""The table of recipes, on the smallest scale."""

import pandas as pd
import pytest

from tdn.experiments.profiles import MUON, SMOKE
from tdn.experiments.runs import Result
from tdn.experiments.tables import Row
from tdn.experiments.tuning import TDN, TSN, measure

T_CONV = Row("T-Conv", "tconv")


@pytest.mark.slow
def test_recipes_are_compared_on_the_tuning_rendering_with_three_seeds(tmp_path, data_root):
    table = pd.DataFrame(measure(SMOKE, (TSN, T_CONV, TDN), {"Muon": (MUON, (1,))}, (0, 1, 2), tmp_path, data_root))
    assert table["network"].tolist() == ["TSN", "T-Conv", "TDN"]
    assert (table["clips seen"] == 64).all() and (table["seeds"] == 3).all(), "of 72, in batches of 32"
    trained = [Result(folder) for folder in (tmp_path / "runs").iterdir()]
    assert len(trained) == 10, "and the network that they are initialised from"
    top1 = [100 * result.metrics["top1"] for result in trained if result.folder.name.startswith("tconv")]
    shown = table.iloc[1][["top-1 (%)", "lowest", "highest"]]
    assert shown.tolist() == pytest.approx([sum(top1) / 3, min(top1), max(top1)])
