"""The papers' running-time table, and its figure."""

import pandas as pd

from tdn.book import running_time
from tdn.utils import CHECKOUT


def test_published_table_and_the_editions_that_its_accuracies_are_of():
    table = running_time.published_times().set_index("network")
    assert len(table) == 7 and table["times TSN"]["TSN"] == 1 and round(table["times TSN"]["TDN"], 1) == 2.8
    of = table.loc[["S-TDM", "L-TDM", "TDN"]]
    assert of["top-1"].tolist() == [49.5, 48.9, 52.3]
    assert of["ablation, CVPR 1e"].tolist() == [51.5, 49.9, 52.3]
    assert of["ablation, ICLR 1c"].tolist() == [49.5, 48.9, 51.3]
    assert of["same as"].tolist() == ["ICLR 1c", "ICLR 1c", "CVPR 1e"], "one table, two editions"
    others = table.drop(of.index)
    assert others[["ablation, CVPR 1e", "ablation, ICLR 1c"]].isna().all(axis=None) and set(others["same as"]) == {""}


def test_bars_are_times_tsn_published_and_measured():
    cpu = pd.read_csv(CHECKOUT / "results/record/tables/running_time.csv")
    gpu = cpu.assign(device="a GPU", **{"times TSN": 2 * cpu["times TSN"]})
    for table, kinds in ((cpu, 3), (pd.concat([cpu, gpu]), 4)):
        (axis,) = running_time.plot_running_times(table).axes
        assert [text.get_text() for text in axis.get_yticklabels()] == cpu["network"].tolist()
        bars = [[bar.get_width() for bar in container] for container in axis.containers]
        assert len(bars) == kinds == len(axis.get_legend().get_texts())
        assert bars[1] == cpu["published, times TSN"].tolist()
        assert cpu["times TSN"].tolist() in bars[2:]
        assert axis.get_xscale() == "log" and axis.get_xlim()[0] == 1 < axis.get_xlim()[1] / max(map(max, bars))
