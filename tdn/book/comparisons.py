"""The state-of-the-art tables (CVPR Tables 2 and 3, Figure 1): what is published, and ours where it was run."""

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tdn.book.intervals import NOT_KNOWN, UNKNOWN, SeedError, accuracy, difference
from tdn.book.lines import Line, full_size_cost, measured, train_missing
from tdn.book.printed_costs import published_costs
from tdn.book.report import MEASURED, judged
from tdn.data.sampling import Views
from tdn.engine.evaluation import Answers
from tdn.experiments import runs as experiment
from tdn.experiments.profiles import Profile
from tdn.experiments.registry import comparison_table
from tdn.experiments.runs import Run, impossible
from tdn.experiments.tables import COMPARISONS, OURS, Comparison, published
from tdn.model.zoo import cost_of
from tdn.utils import NOT_RUN

Network = tuple[str, str]  # backbone and frames as published, such as ("ResNet50", "8+16")
BACKBONES = tuple(dict.fromkeys(backbone for backbone, _ in OURS))
EDITIONS = {"cvpr2021": "CVPR", "leaderboard": "leaderboard", "iclr2021": "ICLR"}


@dataclass(frozen=True)
class Published:
    """A published row."""

    method: str
    backbone: str
    frames: str  # the text of the paper, which may hold clips and crops, too: (8+16)x10x3
    gmacs: str  # of one view; may be a product, 67x30
    views: str | None  # None where `gmacs` is that of all views
    top1: float
    top5: float | None
    note: str

    @property
    def network(self) -> Network:
        return self.backbone, self.frames.split("x")[0].strip("()")


def published_rows(comparison: Comparison) -> dict[Published, list[str]]:
    """The rows of a comparison, each once, with the editions that have it."""
    rows: dict[Published, list[str]] = {}
    for edition, name in EDITIONS.items():
        for line in published(comparison.file, edition).fillna("").to_dict("records"):
            texts = line["method"], line["backbone"], line[comparison.frames], line["gmacs"], line.get("views")
            top1, top5 = float(line["top1"]), float(line["top5"]) if line["top5"] else None
            rows.setdefault(Published(*texts, top1, top5, line.get("note", "")), []).append(name)
    return rows


def comparison(name: str, study: Profile, seed_error: SeedError = NOT_KNOWN) -> pd.DataFrame:
    """One row for each published one, with ours next to TDN's of the final text.

    `published in` names the editions that have the row as it is; published top-1 and top-5 in %, GMACs as published.
    Measured top-1 with its 95 % interval (as in `report.accuracy_table`), top-5, n of N videos; `GMACs` are those of
    the full-size network, times the views; `measured on` names the network, data and views, or is "not run".
    """
    of, other = COMPARISONS[name], shown_with(name, study)
    ours, views = {} if other else our_scores(name, study), _views(name, study)
    rows = []
    for row, editions in published_rows(of).items():
        cells = {"method": row.method, "backbone": row.backbone, of.frames.replace("_x_", " x "): row.frames}
        cells["published in"] = ", ".join(editions) + (f"; {row.note}" if row.note else "")
        cells |= {"published top-1": row.top1, "published top-5": row.top5}
        cells["published GMACs"] = row.gmacs if row.views is None else f"{row.gmacs}x{row.views or 'N/A'}"
        cells |= dict.fromkeys(MEASURED, np.nan)
        if row.method == of.method and EDITIONS["cvpr2021"] in editions:
            backbone, frames = row.network
            gmacs = sum(full_size_cost(OURS[backbone, part]).gmacs for part in frames.split("+"))
            cells |= {"measured top-5": None, "videos": None, "GMACs": gmacs * views.number}
            cells["measured on"] = f"see {other}" if other else NOT_RUN
            if evaluation := ours.get(row.network):
                cells |= _accuracy(evaluation, seed_error) | {"videos": f"{len(evaluation.labels)} of {evaluation.of}"}
                cells["measured on"] = f"{study.name}, ResNet{study.depths[backbone == 'ResNet101']}, {views}"
        rows.append(cells)
    return pd.DataFrame(rows).drop(columns=[] if any(ours.values()) else ["measured top-5", "videos"])


def _accuracy(evaluation: Answers, seed_error: SeedError = NOT_KNOWN) -> dict[str, object]:
    interval = dict(zip(MEASURED, accuracy(evaluation, seed_error), strict=True))
    return interval | {"measured top-5": 100 * evaluation.top(5)}


def shown_with(name: str, study: Profile) -> str | None:
    """The comparison before this one that has the same runs under the same views, if there is one: all data sets of
    the small profiles are one benchmark."""
    setting, views = study.settings[COMPARISONS[name].setting], _views(name, study)
    before = list(COMPARISONS)[: list(COMPARISONS).index(name)]
    same = (o for o in before if (study.settings[COMPARISONS[o].setting], _views(o, study)) == (setting, views))
    return next(same, None)


def our_lines(name: str, study: Profile) -> list[Line]:
    """Our networks of a comparison, each with its first seed. Trains as `train_or_load`."""
    train_missing(list(our_runs(name, study).values()), study)
    return [measured(dataclasses.replace(row, max_seeds=1), comparison_table(name), study) for row in OURS.values()]


def our_runs(name: str, study: Profile) -> dict[Network, Run]:
    """The runs behind `our_scores`: the first seed of each network."""
    return {network: study.runs(row, comparison_table(name))[0] for network, row in OURS.items()}


def our_scores(name: str, study: Profile) -> dict[Network, Answers | None]:
    """What was measured, if it was; 8+16 is the mean of both networks' scores. Trains as `train_or_load`."""
    configs, views = our_runs(name, study), _views(name, study)
    train_missing(list(configs.values()), study)
    done = {network: of for network, of in configs.items() if experiment.can_score(of, study.results, views)}
    scores = {network: experiment.scores(config, study.results, views) for network, config in done.items()}
    for backbone in BACKBONES:
        both = [done.get((backbone, frames)) for frames in ("8", "16")]
        if None not in both and experiment.can_score(both[0], study.results, views, both[1]):
            scores[backbone, "8+16"] = experiment.scores_of_both(*both, study.results, views)
    return dict.fromkeys(configs) | scores


def _views(name: str, study: Profile) -> Views:
    setting = COMPARISONS[name].setting
    return study.many_views if setting == "k400" else study.settings[setting].views


def gains(name: str, study: Profile, seed_error: SeedError = NOT_KNOWN) -> pd.DataFrame:
    """What more frames, the mean of two networks' scores and more layers give, as `report.claims`, paired over the
    videos; where nothing was run `verdict` says so. Networks are named as published."""
    of, other = COMPARISONS[name], shown_with(name, study)
    final = {row: editions for row, editions in published_rows(of).items() if EDITIONS["cvpr2021"] in editions}
    top1 = {row.network: row.top1 for row in final if row.method == of.method}
    ours = {} if other else our_scores(name, study)
    shallow, deep = BACKBONES
    claims = []
    for backbone, (few, many) in itertools.product(BACKBONES, (("8", "16"), ("16", "8+16"))):
        claims.append((f"{backbone}: {many} frames better than {few}", (backbone, many), (backbone, few)))
    for frames in ("8", "16", "8+16"):
        claims.append((f"{frames} frames: {deep} better than {shallow}", (deep, frames), (shallow, frames)))
    texts = [(of.title, claim, "cvpr2021", top1[better] - top1[worse]) for claim, better, worse in claims]
    pairs = [(ours.get(worse), ours.get(better)) for _, better, worse in claims]
    measured = [difference(*pair, seed_error) if all(pair) else UNKNOWN for pair in pairs]
    rows = judged(texts, measured, [int(all(pair)) for pair in pairs])
    return rows.replace(NOT_RUN, f"see {other}") if other else rows


def sweep(config: Run, study: Profile, views: Sequence[tuple[int, int]]) -> pd.DataFrame:
    """What more views give one network: one row for each (clips, crops), with top-1 and top-5 in %, the paired
    difference to the first row, and how many answers differ from the first row's. All intervals are for the choice of
    videos. No row where the network was not trained, or the data set is not here."""
    every = [dataclasses.replace(config.views, clips=clips, crops=crops) for clips, crops in views]
    possible = all(experiment.can_score(config, study.results, of) for of in every) and not impossible(config)
    rows, first = [], None
    for of in every if possible else ():
        evaluation = experiment.scores(config, study.results, of)
        first = first or evaluation
        row = {"clips x crops": str(of), "views": of.number} | _accuracy(evaluation)
        if evaluation is not first:
            points, half, _ = difference(first, evaluation)
            both = pd.concat([pd.Series(of.answers, of.videos) for of in (first, evaluation)], axis=1).dropna()
            changed = (both[0] != both[1]).mean()
            row |= {"more than with the first": points, "±": half, "other answers (%)": 100 * changed}
        rows.append(row | {"videos": f"{len(evaluation.labels)} of {evaluation.of}"})
    return pd.DataFrame(rows)


def cost_of_views(name: str) -> pd.DataFrame:
    """What the published test of our networks costs: GMACs of one view, as published and counted at 224 pixels and at
    the test's 256, and of all views (TMACs)."""
    of = COMPARISONS[name]
    rows = []
    for line in published(of.file, "cvpr2021", method=of.method).to_dict("records"):
        frames = line[of.frames].split("x")[0].strip("()")
        networks = [OURS[line["backbone"], part] for part in frames.split("+")]
        at224, at256 = (sum(full_size_cost(network, size).gmacs for network in networks) for size in (224, 256))
        gmacs, views = float(line["gmacs"]), int(line["views"])
        row = {"backbone": line["backbone"], "frames x clips x crops": line[of.frames], "published GMACs": gmacs}
        row |= {"GMACs at 224": at224, "GMACs at 256": at256, "views": views}
        rows.append(row | {"published TMACs": gmacs * views / 1000, "TMACs at 256": at256 * views / 1000})
    return pd.DataFrame(rows)


def accuracy_and_cost(
    name: str, study: Profile, seed_error: SeedError = NOT_KNOWN
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Figure 1: published top-1 against GMACs over all views, one row per method (`GMACs` empty where none is
    published); and ours where it was run, with the cost of the full-size network. `params (M)` are counted here (the
    papers have none), of all networks whose scores are averaged; empty for networks that this book does not have."""
    table = comparison(name, study, seed_error).rename(columns={"frames x clips x crops": "frames"})
    shown = table[["method", "backbone", "frames", "published in"]].assign(**{"top-1": table["published top-1"]})
    shown["GMACs"], counted = table["published GMACs"].map(total_gmacs), _params()
    of_a_view = zip(table["method"], table["frames"], table["published GMACs"].str.split("x").str[0], strict=True)
    shown["params (M)"] = [counted.get(of, np.nan) for of in of_a_view]
    own = table.dropna(subset=["measured top-1"])
    segments = own["frames"].str.split("x").str[0].str.strip("()")
    networks = own[["95% low", "95% high", "GMACs"]].copy()
    networks.insert(0, "network", own["backbone"] + ", " + segments + " frames")
    networks.insert(1, "top-1", own["measured top-1"])
    return shown, networks.assign(**{"params (M)": shown["params (M)"][networks.index]})


def _params() -> dict[tuple[str, str, str], float]:
    """Parameters (millions) of the published rows that name a network, by method, frames and GMACs of a view: those of
    8+16 are of two networks, those of two clips of one."""
    rows = {(of.method, of.frames, of.gmacs): of for of in published_costs()}
    return {
        key: sum(cost_of(of.network, of.options, segments, of.size).params for segments in set(of.segments))
        for key, of in rows.items()
    }


def front(top1: pd.Series, gmacs: pd.Series) -> pd.Series:
    """Whether no other is as good or better for as much or less; False where the cost is not known."""
    rows = zip(top1, gmacs, strict=True)
    better = [((top1 >= of) & (gmacs <= cost) & ((top1 > of) | (gmacs < cost))).any() for of, cost in rows]
    return gmacs.notna() & ~pd.Series(better, top1.index)


def total_gmacs(published: str) -> float:
    """`67x30` is 67 GMACs for each of 30 views; NaN where that is not known."""
    return float(pd.to_numeric(pd.Series(published.split("x")), errors="coerce").prod(skipna=False))
