"""The state-of-the-art tables (CVPR Tables 2 to 4, Figure 1): what is published, ours beside it where it was run."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tdn.book.intervals import Z, wilson
from tdn.book.lines import Line, full_size, measured
from tdn.book.report import CLAIM, CONTRADICTED, OPEN, SUPPORTED
from tdn.data.disk.catalog import DatasetSpec
from tdn.data.sampling import Views
from tdn.engine.evaluation import Evaluation, ensemble
from tdn.experiments import queue as jobs
from tdn.experiments import runs as experiment
from tdn.experiments.profiles import Profile
from tdn.experiments.registry import comparison_table
from tdn.experiments.runs import Run, impossible, stored
from tdn.experiments.tables import COMPARISONS, OURS, published
from tdn.model.cost import measure_cost
from tdn.utils import NOT_RUN

Scores = dict[tuple[str, str], Evaluation | None]  # by backbone and frames as published

EDITIONS = {"cvpr2021": "CVPR", "leaderboard": "leaderboard", "iclr2021": "ICLR"}
INTERVAL = ("measured top-1", "95% low", "95% high")


def comparison(name: str, profile: Profile, seeds: float = 0.0) -> pd.DataFrame:
    """A row for each published one, with ours beside TDN's of the final text.

    `printed in` says which editions have the row as it stands; published top-1 and top-5 in %, GMACs as printed.
    Measured top-1 with its 95 % interval (as in `report.accuracy_table`), top-5, n of N videos; `GMACs` are those of
    the full-size network, times the views; `measured on` says which network, data and views, or "not run".
    """
    of = COMPARISONS[name]
    table = _printed(of.file)
    ours = {} if shown_with(name, profile) else our_scores(name, profile)
    rows = []
    for _, line in table.iterrows():
        views = f"x{line['views'] or 'N/A'}" if "views" in line else ""
        note = f"; {line['note']}" if line.get("note") else ""
        row = {column: line[column] for column in ("method", "backbone", of.frames)}
        row |= {"printed in": line["editions"] + note, "published top-1": line["top1"], "published top-5": line["top5"]}
        row |= {"published GMACs": line["gmacs"] + views}
        if line["method"] == of.method and EDITIONS["cvpr2021"] in line["editions"]:
            row |= _beside(name, profile, (line["backbone"], _frames(line[of.frames])), ours, seeds)
        rows.append(row)
    table = pd.DataFrame(rows)
    for column in ("published top-1", "published top-5", *INTERVAL):
        table[column] = pd.to_numeric(table[column])
    empty = [column for column in ("measured top-5", "videos") if table[column].isna().all()]
    return table.drop(columns=empty).rename(columns={of.frames: of.frames.replace("_x_", " x ")})


def _printed(file: str) -> pd.DataFrame:
    """The lines of a file, each once; `editions` that print it so."""
    lines = published(file, *EDITIONS).fillna("")
    lines = lines.sort_values("edition", key=lambda of: of.map(list(EDITIONS).index), kind="stable")
    values = [column for column in lines if column not in ("edition", "paper_table")]
    editions = lines.groupby(values, sort=False)["edition"].agg(lambda of: ", ".join(map(EDITIONS.get, of)))
    return editions.rename("editions").reset_index()


def _frames(printed: str) -> str:
    """`8+16` of `(8+16)x10x3`."""
    return printed.split("x")[0].strip("()")


def shown_with(name: str, profile: Profile) -> str | None:
    """The comparison before this one that has the same runs under the same views, if there is one: all data sets of
    the small profiles are one benchmark."""
    setting, views = profile.settings[COMPARISONS[name].setting], _views(name, profile)
    for other, comparison in COMPARISONS.items():
        if other == name:
            return None
        if (profile.settings[comparison.setting], _views(other, profile)) == (setting, views):
            return other
    return None


def our_lines(name: str, profile: Profile) -> list[Line]:
    """Our networks of a comparison, each from its first random start. Trains what is missing, where the profile trains
    in notebooks."""
    configs = our_runs(name, profile)
    if profile.trains_in_notebooks:
        jobs.train(list(configs.values()), profile.results)
    table = comparison_table(name)
    lines = [measured(dataclasses.replace(row, max_seeds=1), table, profile) for row in OURS.values()]
    return [dataclasses.replace(line, runs=line.runs[:1]) for line in lines]


def our_runs(name: str, profile: Profile) -> dict[tuple[str, str], Run]:
    """The runs behind `our_scores`: the first random start of each network."""
    return {key: profile.runs(row, comparison_table(name))[0] for key, row in OURS.items()}


def our_scores(name: str, profile: Profile) -> Scores:
    """What was measured, if it was; 8+16 is the mean of both networks' scores. Trains as `our_lines`."""
    our_lines(name, profile)
    views = _views(name, profile)
    scores: Scores = {
        key: _scores(config, profile, views) if stored(config, profile.results).complete else None
        for key, config in our_runs(name, profile).items()
    }
    for backbone in dict.fromkeys(backbone for backbone, _ in list(scores)):
        both = [scores[backbone, frames] for frames in ("8", "16")]
        scores[backbone, "8+16"] = ensemble(both) if None not in both else None
    return scores


def _scores(config: Run, profile: Profile, views: Views) -> Evaluation:
    """`experiment.scores`, with rendered videos decoded only once for all networks and views, if there is room."""
    if views != config.views and not isinstance(config.data, DatasetSpec):
        experiment.videos(config.data)[1].keep_in_memory()
    return experiment.scores(config, profile.results, views)


def _views(name: str, profile: Profile) -> Views:
    setting = profile.settings[COMPARISONS[name].setting]
    return profile.many_views if COMPARISONS[name].setting == "k400" else setting.views


def _beside(name: str, profile: Profile, key: tuple[str, str], ours: Scores, seeds: float) -> dict[str, object]:
    backbone, frames = key
    views, table = _views(name, profile), comparison_table(name)
    gmacs = sum(measured(OURS[backbone, part], table, profile).gmacs for part in frames.split("+"))
    row: dict[str, object] = dict.fromkeys((*INTERVAL, "measured top-5", "videos")) | {"GMACs": gmacs * views.number}
    if not ours:
        return row | {"measured on": f"see {shown_with(name, profile)}"}
    evaluation = ours[key]
    if evaluation is None:
        return row | {"measured on": NOT_RUN}
    depth = profile.depths[backbone == "ResNet101"]
    return row | {
        **dict(zip(INTERVAL, _interval(evaluation, seeds), strict=True)),
        "measured top-5": 100 * evaluation.top(5),
        "videos": f"{len(evaluation.labels)} of {evaluation.of}",
        "measured on": f"{profile.name}, ResNet{depth}, {views}",
    }


def _interval(evaluation: Evaluation, seeds: float) -> tuple[float, float, float]:
    """As `statistics.accuracy`, of scores that are no run's own."""
    share = evaluation.top(1)
    top1, (low, high) = 100 * share, (100 * end for end in wilson(share, len(evaluation.labels)))
    return top1, max(top1 - np.hypot(top1 - low, seeds), 0), min(top1 + np.hypot(high - top1, seeds), 100)


def _difference(first: Evaluation, second: Evaluation, seeds: float = 0.0) -> tuple[float, float]:
    """As `statistics.difference`, of scores that are no run's own. The mean of two networks' scores counts as one run,
    though it depends less on the random start."""
    right = (pd.Series(of.correct, of.videos, dtype=float) for of in (second, first))
    change = next(right).sub(next(right)).dropna()  # videos that both could read
    videos = 100 * Z * change.std(ddof=1) / np.sqrt(len(change))
    return float(100 * change.mean()), float(np.hypot(videos, seeds * np.sqrt(2)))


def gains(name: str, profile: Profile, seeds: float = 0.0) -> pd.DataFrame:
    """What more frames, the mean of two networks' scores and more layers give, as `report.claims`, paired over the
    videos; where nothing was run `verdict` says so. Networks are named as published."""
    lines = published(COMPARISONS[name].file, "cvpr2021", method=COMPARISONS[name].method)
    keys = zip(lines["backbone"], lines[COMPARISONS[name].frames].map(_frames), strict=True)
    top1 = dict(zip(keys, lines["top1"].astype(float), strict=True))
    ours = {} if shown_with(name, profile) else our_scores(name, profile)
    rows = []
    for claim, better, worse in _pairs():
        row = {"table": COMPARISONS[name].title, "claim": claim, "edition": "cvpr2021"}
        row |= {"published": top1[better] - top1[worse], "measured": np.nan, "±": np.nan}
        if ours.get(better) and ours.get(worse):
            points, half = _difference(ours[worse], ours[better], seeds)
            verdict = OPEN if abs(points) <= half else SUPPORTED if points > 0 else CONTRADICTED
            row |= {"measured": points, "±": half, "verdict": verdict, "seeds": 1}
        else:
            row |= {"verdict": NOT_RUN if ours else f"see {shown_with(name, profile)}", "seeds": 0}
        rows.append(row)
    return pd.DataFrame(rows, columns=CLAIM)


def _pairs() -> list[tuple[str, tuple[str, str], tuple[str, str]]]:
    """A claim, what should be better, what worse."""
    shallow, deep = dict.fromkeys(backbone for backbone, _ in OURS)
    more = [
        (f"{backbone}: {many} frames better than {few}", (backbone, many), (backbone, few))
        for backbone in (shallow, deep)
        for few, many in (("8", "16"), ("16", "8+16"))
    ]
    deeper = [
        (f"{frames} frames: {deep} better than {shallow}", (deep, frames), (shallow, frames))
        for frames in ("8", "16", "8+16")
    ]
    return more + deeper


def sweep(config: Run, profile: Profile, views: Sequence[tuple[int, int]]) -> pd.DataFrame:
    """What more views give one network: a row for each (clips, crops), with top-1 and top-5 in %, the paired difference
    to the first row, and how many of the answers are other ones than there. All intervals are for the choice of videos.
    No row where the network was not trained, or the data set is not here."""
    possible = stored(config, profile.results).complete and not impossible(config)
    rows, first = [], None
    for clips, crops in views if possible else ():
        of = dataclasses.replace(config.views, clips=clips, crops=crops)
        evaluation = _scores(config, profile, of)
        first = first or evaluation
        row: dict[str, object] = {"clips x crops": str(of), "views": of.number}
        row |= dict(zip(INTERVAL, _interval(evaluation, 0), strict=True)) | {"measured top-5": 100 * evaluation.top(5)}
        if evaluation is not first:
            points, half = _difference(first, evaluation)
            both = pd.concat([pd.Series(of.scores.argmax(1), of.videos) for of in (first, evaluation)], axis=1).dropna()
            changed = (both[0] != both[1]).mean()
            row |= {"more than with the first": points, "±": half, "other answers (%)": 100 * changed}
        rows.append(row | {"videos": f"{len(evaluation.labels)} of {evaluation.of}"})
    return pd.DataFrame(rows)


def cost_of_views(name: str) -> pd.DataFrame:
    """What the published test of our networks costs: GMACs of one view, as printed and counted at 224 pixels and at the
    test's 256, and of all views (TMACs)."""
    of = COMPARISONS[name]
    lines = published(of.file, "cvpr2021", method=of.method)
    rows = []
    for _, line in lines.iterrows():
        parts = [full_size(OURS[line["backbone"], frames]) for frames in _frames(line[of.frames]).split("+")]
        at224, at256 = (sum(measure_cost(network, size).gmacs for network in parts) for size in (224, 256))
        gmacs, views = float(line["gmacs"]), int(line["views"])
        row = {"backbone": line["backbone"], "frames x clips x crops": line[of.frames], "published GMACs": gmacs}
        row |= {"GMACs at 224": at224, "GMACs at 256": at256, "views": views}
        rows.append(row | {"published TMACs": gmacs * views / 1000, "TMACs at 256": at256 * views / 1000})
    return pd.DataFrame(rows)


# Fine-tuning (CVPR Table 4) ----------------------------------------------------------------------------------------


# Figure 1 ------------------------------------------------------------------------------------------------------------


def accuracy_and_cost(name: str, profile: Profile, seeds: float = 0.0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Figure 1: published top-1 against GMACs over all views, a row a method (`GMACs` empty where none is printed);
    and ours where it was run, with the cost of the full-size network."""
    table = comparison(name, profile, seeds)
    shown = table.iloc[:, :4].rename(columns={table.columns[2]: "frames"})
    shown["top-1"] = table["published top-1"]
    shown["GMACs"] = table["published GMACs"].map(total_gmacs)
    own = table.dropna(subset=["measured top-1"])
    return shown, pd.DataFrame(
        {
            "network": own["backbone"] + ", " + own.iloc[:, 2].map(_frames) + " frames",
            "top-1": own["measured top-1"],
            "95% low": own["95% low"],
            "95% high": own["95% high"],
            "GMACs": own["GMACs"],
        }
    )


def front(top1: pd.Series, gmacs: pd.Series) -> pd.Series:
    """Whether no other is as good or better for as much or less; False where the cost is not known."""
    better = [
        ((top1 >= of) & (gmacs <= cost) & ((top1 > of) | (gmacs < cost))).any()
        for of, cost in zip(top1, gmacs, strict=True)
    ]
    return gmacs.notna() & ~pd.Series(better, top1.index)


def total_gmacs(printed: str) -> float:
    """`67x30` is 67 GMACs for each of 30 views; NaN where that is not known."""
    parts = pd.to_numeric(pd.Series(printed.split("x")), errors="coerce")
    return float(parts.prod(skipna=False))
