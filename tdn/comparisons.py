"""The state-of-the-art tables (CVPR Tables 2 to 4, Figure 1): what is published, ours beside it where it was run."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tdn import experiment, jobs
from tdn.data.views import Views
from tdn.evaluate import Evaluation, ensemble
from tdn.experiment import Run, impossible, stored
from tdn.profiles import Profile
from tdn.statistics import wilson
from tdn.study import command, comparison_table, measured
from tdn.tables import COMPARISONS, OURS, published

NOT_RUN = "not run"


def comparison(name: str, profile: Profile) -> pd.DataFrame:
    """A row for each published one, with ours beside those of TDN.

    Published top-1 and top-5 in %, GMACs as printed; measured top-1 with its 95 % interval (for the choice of videos
    alone: one random start), top-5, n of N videos, and `GMACs`: views times those of the full-size network.
    `measured on` says which network, data and views, or what runs it.
    """
    of = COMPARISONS[name]
    table = published(of.file, "cvpr2021", "leaderboard")
    ours = our_scores(name, profile)
    rows = []
    for _, line in table.iterrows():
        row = {column: line[column] for column in ("method", "backbone", of.frames)}
        row |= {"published top-1": line["top1"], "published top-5": line["top5"], "published GMACs": line["gmacs"]}
        frames = line[of.frames].split("x")[0].strip("()")
        if line["method"] == of.method and line["edition"] != "leaderboard":
            row |= _measured(name, profile, (line["backbone"], frames), ours)
        rows.append(row)
    table = pd.DataFrame(rows)
    for column in ("published top-1", "published top-5"):
        table[column] = pd.to_numeric(table[column])
    return table.rename(columns={of.frames: "frames" if of.frames == "frames" else "frames x clips x crops"})


def our_scores(name: str, profile: Profile) -> dict[tuple[str, str], Evaluation | None]:
    """By backbone and frames as published (8+16 is the mean of both networks' scores): what was measured, if it was.
    Trains what is missing, where the profile trains in notebooks."""
    configs = our_runs(name, profile)
    if profile.trains_in_notebooks:
        jobs.train(list(configs.values()), profile.results)
    views = _views(name, profile)
    scores: dict[tuple[str, str], Evaluation | None] = {
        key: experiment.scores(config, profile.results, views) if stored(config, profile.results).complete else None
        for key, config in configs.items()
    }
    for backbone in dict.fromkeys(backbone for backbone, _ in configs):
        both = [scores[backbone, frames] for frames in ("8", "16")]
        scores[backbone, "8+16"] = ensemble(both) if None not in both else None
    return scores


def our_runs(name: str, profile: Profile) -> dict[tuple[str, str], Run]:
    """The runs behind `our_scores`: the first random start of each network."""
    return {key: profile.runs(row, comparison_table(name))[0] for key, row in OURS.items()}


def _views(name: str, profile: Profile) -> Views:
    setting = profile.settings[COMPARISONS[name].setting]
    return profile.many_views if COMPARISONS[name].setting == "k400" else setting.views


def _measured(
    name: str, profile: Profile, key: tuple[str, str], ours: dict[tuple[str, str], Evaluation | None]
) -> dict[str, object]:
    backbone, frames = key
    parts = [(backbone, part) for part in frames.split("+")]
    views = _views(name, profile)
    table = comparison_table(name)
    gmacs = sum(measured(OURS[part], table, profile).gmacs for part in parts)
    row: dict[str, object] = {"GMACs": gmacs * views.number}
    evaluation = ours[key]
    if evaluation is None:
        configs = [config for part, config in our_runs(name, profile).items() if part in parts]
        missing = [config for config in configs if not stored(config, profile.results).complete]
        reason = "the data set is not here" if impossible(missing[0]) else "to be trained"
        commands = "; ".join(command(config, profile, 8) for config in missing)
        return row | {"measured on": f"{NOT_RUN} ({reason}): {commands}"}
    low, high = wilson(evaluation.top(1), len(evaluation.labels))
    depth = profile.depths[backbone == "ResNet101"]
    return row | {
        "measured top-1": 100 * evaluation.top(1),
        "95% low": 100 * low,
        "95% high": 100 * high,
        "measured top-5": 100 * evaluation.top(5),
        "videos": f"{len(evaluation.labels)} of {evaluation.of}",
        "measured on": f"{profile.name}, ResNet{depth}, {views} views of {views.size} px",
    }


def sweep(config: Run, profile: Profile, views: Sequence[tuple[int, int]]) -> pd.DataFrame:
    """What more views give one network: a row for each (clips, crops), with top-1 and top-5 in %, and how many of the
    answers differ from those of the first row."""
    rows, first = [], None
    for clips, crops in views:
        of = dataclasses.replace(config.views, clips=clips, crops=crops)
        evaluation = experiment.scores(config, profile.results, of)
        first = evaluation if first is None else first
        low, high = wilson(evaluation.top(1), len(evaluation.labels))
        changed = np.mean(evaluation.scores.argmax(1) != first.scores.argmax(1))
        row = {"views": str(of), "number": of.number, "top-1": 100 * evaluation.top(1)}
        rows.append(
            row
            | {"95% low": 100 * low, "95% high": 100 * high, "top-5": 100 * evaluation.top(5)}
            | {"answers that change (%)": 100 * changed}
        )
    return pd.DataFrame(rows)


def transfer_table(profile: Profile) -> pd.DataFrame:
    """Fine-tuning on each target, from the larger data set's network and from the 2D network: top-1 in % on each split,
    their mean and standard deviation; `measured on`, or what runs it. Trains as `our_scores`."""
    rows = []
    for target in profile.transfer.targets:
        for transferred in (True, False):
            configs = profile.transfer_runs(target, transferred)
            if profile.trains_in_notebooks:
                jobs.train(configs, profile.results)
            results = [stored(config, profile.results) for config in configs]
            row: dict[str, object] = {"data": target, "starts from": _start_of(profile, transferred)}
            if all(result.complete for result in results):
                top1 = [100 * result.metrics["top1"] for result in results]
                row |= {f"split {number}": value for number, value in enumerate(top1, start=1)}
                row |= {"mean": np.mean(top1), "std": np.std(top1, ddof=1)}
                row |= {"videos": ", ".join(f"{r.metrics['videos']} of {r.metrics['of']}" for r in results)}
            else:
                missing = [c for c, r in zip(configs, results, strict=True) if not r.complete]
                row["measured on"] = f"{NOT_RUN}: " + "; ".join(command(config, profile, 8) for config in missing)
            rows.append(row)
    return pd.DataFrame(rows)


def _start_of(profile: Profile, transferred: bool) -> str:
    if not transferred:
        return "the 2D network" if profile.trains_in_notebooks else "ImageNet"
    return "TDN on the other families" if profile.trains_in_notebooks else "TDN on Kinetics-400"


def accuracy_and_cost(name: str, profile: Profile) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Figure 1: published top-1 against GMACs over all views, a row a method (`GMACs` empty where none is printed);
    and ours where it was run, with the cost of the full-size network."""
    table = comparison(name, profile)
    frames = table.columns[2]
    shown = pd.DataFrame({"method": table["method"], "backbone": table["backbone"], "frames": table[frames]})
    shown["top-1"] = table["published top-1"]
    shown["GMACs"] = table["published GMACs"].map(total_gmacs)
    if "measured top-1" not in table:
        return shown, pd.DataFrame(columns=["network", "top-1", "95% low", "95% high", "GMACs"])
    own = table.dropna(subset=["measured top-1"])
    names = own["backbone"] + ", " + own[frames] + " frames"
    columns = {"measured top-1": "top-1"}
    return shown, own.assign(network=names).rename(columns=columns)[
        ["network", "top-1", "95% low", "95% high", "GMACs"]
    ]


def total_gmacs(printed: object) -> float:
    """`67x30` is 67 GMACs for each of 30 views; NaN where nothing is printed."""
    return float(np.prod([float(part) for part in str(printed).split("x")]))
