"""Fine-tuning (CVPR Table 4)."""

import numpy as np
import pandas as pd

from tdn.book.comparisons import INTERVAL
from tdn.book.intervals import accuracy, difference
from tdn.book.lines import Line
from tdn.data.pocket.render import PocketPart
from tdn.experiments import queue as jobs
from tdn.experiments.profiles import Profile
from tdn.experiments.runs import stored
from tdn.experiments.tables import PAPER, Row
from tdn.utils import NOT_RUN


def published_transfer() -> pd.DataFrame:
    """Table 4: top-1 in %, mean over three splits."""
    lines = pd.read_csv(PAPER / "tdn_ucf101_hmdb51.csv")
    names = {"ucf101_top1": "published UCF101", "hmdb51_top1": "published HMDB51"}
    return lines.drop(columns=["edition", "paper_table"]).rename(columns=names)


def transfer_lines(profile: Profile) -> dict[tuple[str, bool], Line]:
    """By target, and whether it starts from the larger data set's network (else from the 2D one): a result a split.
    Trains as `our_lines`; a line of which a split is missing has no results."""
    lines = {}
    for target in profile.transfer.targets:
        for transferred in (True, False):
            configs = profile.transfer_runs(target, transferred)
            if profile.trains_in_notebooks:
                jobs.train(configs, profile.results)
            results = [stored(config, profile.results) for config in configs]
            done = all(result.complete for result in results)
            row = Row(f"{target}, from {_start_of(profile, transferred)}", profile.transfer.row.system)
            lines[target, transferred] = Line(row, results if done else [], np.nan, np.nan, configs)
    return lines


def transfer_table(profile: Profile, seeds: float = 0.0) -> pd.DataFrame:
    """Fine-tuning on each target, from the larger data set's network and from the 2D one: published top-1 in % where it
    is of this target; measured top-1, mean over splits, with its interval (`statistics.accuracy`, for the videos of one
    split), of each split, and the splits' standard deviation."""
    tdn = published_transfer().set_index("method").loc["TDN"]
    rows = []
    for (target, transferred), line in transfer_lines(profile).items():
        row: dict[str, object] = {"data": target, "starts from": _start_of(profile, transferred)}
        row["published top-1"] = tdn.get(f"published {target.upper()}") if transferred else None
        row |= dict.fromkeys(INTERVAL)
        if line.results:
            metrics = [result.metrics for result in line.results]
            top1 = [100 * of["top1"] for of in metrics]
            row |= dict(zip(INTERVAL, accuracy(line.results, seeds), strict=True))
            row |= {f"split {number}": value for number, value in enumerate(top1, start=1)}
            row |= {"std over splits": np.std(top1, ddof=1)}
            row |= {"videos of a split": ", ".join(dict.fromkeys(f"{of['videos']} of {of['of']}" for of in metrics))}
        rows.append(row | {"measured on": _trained_as(line, profile) if line.results else NOT_RUN})
    table = pd.DataFrame(rows)
    table[list(INTERVAL)] = table[list(INTERVAL)].apply(pd.to_numeric)
    return table if table["published top-1"].notna().any() else table.drop(columns="published top-1")


def _trained_as(line: Line, profile: Profile) -> str:
    config = line.runs[0]
    return f"{profile.name}, {config.model.split('_')[1].replace('resnet', 'ResNet')}, {config.views}"


def transfer_gains(profile: Profile, seeds: float = 0.0) -> pd.DataFrame:
    """What the larger data set's network gives each target, in points of top-1 with the half width of the 95 %
    interval: paired over the videos, mean over splits. (Where splits have videos of their own, the mean of their half
    widths, which is rather too wide.)"""
    lines, rows = transfer_lines(profile), []
    for target in profile.transfer.targets:
        without, transferred = lines[target, False], lines[target, True]
        if not (without.results and transferred.results):
            rows.append({"data": target, "gain": np.nan, "±": np.nan})
            continue
        if all(isinstance(config.data, PocketPart) for config in transferred.runs):  # the same videos
            points, half = difference(without.results, transferred.results, seeds)
        else:
            pairs = zip(without.results, transferred.results, strict=True)
            points, half = np.mean([difference([a], [b], seeds) for a, b in pairs], axis=0)
        rows.append({"data": target, "gain": points, "±": half})
    return pd.DataFrame(rows)


def _start_of(profile: Profile, transferred: bool) -> str:
    if not transferred:
        return "the 2D network" if profile.trains_in_notebooks else "ImageNet"
    return "TDN on the other families" if profile.trains_in_notebooks else "TDN on Kinetics-400"
