"""Fine-tuning on small data sets (CVPR Table 4)."""

import numpy as np
import pandas as pd

from tdn.book.intervals import NOT_KNOWN, SeedError, accuracy, difference
from tdn.book.lines import Line, train_missing
from tdn.book.report import MEASURED
from tdn.data.pocket.render import PocketPart
from tdn.experiments.profiles import Profile
from tdn.experiments.runs import stored
from tdn.experiments.tables import Row, published
from tdn.utils import NOT_RUN


def published_transfer() -> pd.DataFrame:
    """Table 4: top-1 in %, mean over three splits."""
    table = published("tdn_ucf101_hmdb51.csv", "both").drop(columns=["edition", "paper_table"])
    names = {"ucf101_top1": "published UCF101", "hmdb51_top1": "published HMDB51"}
    return table.astype(dict.fromkeys(names, float)).rename(columns=names)


def transfer_lines(study: Profile) -> dict[tuple[str, bool], Line]:
    """By target, and whether it is initialised from the network of the larger data set (else from the 2D network): one
    result per split, none where a split is missing. Trains as `train_or_load`."""
    lines = {}
    for target in study.transfer.targets:
        for transferred in (True, False):
            configs = study.transfer_runs(target, transferred)
            train_missing(configs, study)
            results = [stored(config, study.results) for config in configs]
            done = all(result.complete for result in results)
            row = Row(f"{target}, from {_initialised_from(study, transferred)}", study.transfer.row.system)
            lines[target, transferred] = Line(row, results if done else [], configs)
    return lines


def transfer_table(study: Profile, seed_error: SeedError = NOT_KNOWN) -> pd.DataFrame:
    """Fine-tuning on each target, from the network of the larger data set and from the 2D network: published top-1 in
    %, where it is of this target; measured top-1, mean over splits, with its interval (`intervals.accuracy`, for the
    videos of one split), of each split, and the standard deviation over splits."""
    tdn = published_transfer().set_index("method").loc["TDN"]
    rows = []
    for (target, transferred), line in transfer_lines(study).items():
        row: dict[str, object] = {"data": target, "initialised from": _initialised_from(study, transferred)}
        row["published top-1"] = tdn.get(f"published {target.upper()}") if transferred else None
        row |= dict.fromkeys(MEASURED, np.nan)
        if line.results:
            metrics = [result.metrics for result in line.results]
            top1 = [100 * of["top1"] for of in metrics]
            row |= dict(zip(MEASURED, accuracy(line.results, seed_error), strict=True))
            row |= {f"split {number}": value for number, value in enumerate(top1, start=1)}
            row |= {"std over splits": np.std(top1, ddof=1)}
            row |= {"videos of a split": ", ".join(dict.fromkeys(f"{of['videos']} of {of['of']}" for of in metrics))}
        config = line.runs[0]
        on = f"{study.name}, {config.model.split('_')[1].replace('resnet', 'ResNet')}, {config.views}"
        rows.append(row | {"measured on": on if line.results else NOT_RUN})
    table = pd.DataFrame(rows)
    return table if table["published top-1"].notna().any() else table.drop(columns="published top-1")


def transfer_gains(study: Profile, seed_error: SeedError = NOT_KNOWN) -> pd.DataFrame:
    """What the network of the larger data set gives each target, in points of top-1 with the half width of the 95 %
    interval: paired over the videos, mean over splits. Where splits have videos of their own, the half width is the
    mean over splits, which is rather too wide."""
    lines, rows = transfer_lines(study), []
    for target in study.transfer.targets:
        without, transferred = lines[target, False], lines[target, True]
        if not (without.results and transferred.results):
            points, half = np.nan, np.nan
        elif all(isinstance(config.data, PocketPart) for config in transferred.runs):  # the same videos
            points, half, _ = difference(without.results, transferred.results, seed_error)
        else:
            pairs = zip(without.results, transferred.results, strict=True)
            points, half = np.mean([difference(*pair, seed_error)[:2] for pair in pairs], axis=0)
        rows.append({"data": target, "gain": points, "±": half})
    return pd.DataFrame(rows)


def _initialised_from(study: Profile, transferred: bool) -> str:
    if isinstance(study.transfer.source.data, PocketPart):
        return "TDN on the other families" if transferred else "the 2D network"
    return "TDN on Kinetics-400" if transferred else "ImageNet"
