"""Which clips the notebooks show maps of, and the tables of how right maps are."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tdn.book.intervals import Z, pooled, verdict
from tdn.book.map_quality import FRACTIONS, measure_curves, measure_places
from tdn.engine.distributed import device
from tdn.engine.inference import to_device
from tdn.experiments import runs as experiment
from tdn.experiments.runs import DATA, Run, stored
from tdn.maps.activation import Maps, cam

MEASURES = {"energy inside": "energy", "hottest place inside": "pointing"}
KNOW_NOTHING = ("each place alike", "middle of the frame")  # maps that no network made
ALIKE, MIDDLE = KNOW_NOTHING
OF_NOTHING = {  # columns of `measure_places`
    ALIKE: {"energy": "energy alike", "pointing": "energy alike"},
    MIDDLE: {"energy": "energy middle", "pointing": "pointing middle"},
}


def right_in_all(configs: Sequence[Run], results: Path) -> pd.Series:
    """The labels of the validation videos that all these runs get right, by number. Where there is none, which is
    printed, of all videos."""
    evaluations = [stored(config, results).evaluation for config in configs]
    answers = pd.concat([pd.Series(e.correct, e.videos) for e in evaluations], axis=1, join="inner").sort_index()
    labels = pd.Series(evaluations[0].labels, evaluations[0].videos)[answers.index]
    if not answers.all(axis=1).any():
        print("no video is answered right by all networks: what follows is of all videos")
        return labels
    return labels[answers.all(axis=1)]


def one_a_class(labels: pd.Series, number: int) -> list[int]:
    """The first video of a class each, of `number` classes that are spread evenly over those of `labels`."""
    first = labels.drop_duplicates().sort_values()
    return first.index[np.linspace(0, len(first) - 1, min(number, len(first))).round().astype(int)].tolist()


def by_group(labels: pd.Series, config: Run, data: Path = DATA) -> str:
    """How many videos of each group (the pocket benchmark's families) `labels` has, as a sentence."""
    _, val = experiment.videos(config.data, data)
    counts = pd.Series([val.groups[label] for label in labels]).value_counts()
    return f"{len(labels)} videos: " + ", ".join(f"{counts.get(g, 0)} of {g}" for g in dict.fromkeys(val.groups))


def video_maps(
    config: Run, results: Path, videos: Sequence[int], frames: str, layer: str | None = None, data: Path = DATA
) -> list[Maps]:
    """The maps of a complete run for the true classes of validation videos, as `cam`."""
    _, val = experiment.videos(config.data, data)
    network = to_device(experiment.trained(config, results), device())
    views = dataclasses.replace(config.views, clips=1, crops=1)
    of = [val.videos[video] for video in videos]
    return [cam(network, video.path, frames, video.label, layer, views=views) for video in of]


def places_table(
    networks: Mapping[str, Sequence[Run]], results: Path, videos: Sequence[int], layer: str, data: Path = DATA
) -> pd.DataFrame:
    """How much of the heat lies on the things, and how often the hottest place does, in %: a row a network, mean over
    clips and seeds (a sequence of runs), the first one the reference; then maps that know nothing.

    `±` are half widths of 95 % intervals for the choice of clips (differences are paired) and for the random start
    (pooled over the networks). Clips whose map is zero in any of the runs are left out of all.
    """
    measured = {
        name: [measure_places(config, results, videos, layer, data) for config in configs]
        for name, configs in networks.items()
    }
    every = [table for tables in measured.values() for table in tables]
    whole = np.all([table["energy"].notna() for table in every], axis=0)
    reference = next(iter(networks))
    rows = {name: {"maps of": name} for name in (*networks, *OF_NOTHING)}
    for what, column in MEASURES.items():
        of_runs = {name: [table[column][whole] for table in tables] for name, tables in measured.items()}
        one_start = pooled([[100 * run.mean() for run in runs] for runs in of_runs.values()])
        of_nothing = {name: [every[0][columns[column]][whole]] for name, columns in OF_NOTHING.items()}
        base = of_runs[reference]
        for name, runs in (of_runs | of_nothing).items():
            mean = sum(runs) / len(runs)
            more, clips = _mean(mean - sum(base) / len(base))
            starts = one_start * np.sqrt((1 / len(runs) if name in of_runs else 0) + 1 / len(base))
            half = float(np.hypot(clips, starts))
            rows[name][f"{what} (%)"] = 100 * mean.mean()
            rows[name][f"{what}, vs {reference}"] = "" if name == reference else f"{more:+.1f} ± {half:.1f}"
            rows[name][f"{what}: verdict"] = "reference" if name == reference else verdict(more, half)
    seeds = {name: len(configs) for name, configs in networks.items()}
    for name, row in rows.items():
        row |= {"seeds": seeds.get(name), "clips": int(whole.sum()), "maps of zero": int((~whole).sum())}
    return pd.DataFrame(list(rows.values())).astype({"seeds": "Int64"})


def curves_table(
    networks: Mapping[str, Run], results: Path, videos: Sequence[int], layer: str, data: Path = DATA
) -> pd.DataFrame:
    """Mean probability of the true class, in %, when a share of the pixels is taken away or given, hottest first: a
    row a network and kind of curve, a column a share.

    `area` is that under the curve. Networks can't be compared by it: some need less of a clip than others, whatever
    the map. So beside it stands how much larger it is than that of a map that is hot in the middle of every frame, for
    the same network (paired, 95 % interval for the choice of clips), and whether that is better: a smaller area of
    deletion, a larger one of insertion.
    """
    rows = []
    for name, config in networks.items():
        table = measure_curves(config, results, videos, layer, data)
        for kind, better in (("deletion", -1), ("insertion", 1)):
            of_map, of_middle = (
                table[[f"{which}{kind} {fraction}" for fraction in FRACTIONS]].to_numpy() for which in ("", "middle ")
            )
            areas, middle = (np.trapezoid(curve, FRACTIONS, axis=1) for curve in (of_map, of_middle))
            more, half = _mean(areas - middle)
            shares = {f"{100 * f:.0f} %": 100 * mean for f, mean in zip(FRACTIONS, of_map.mean(0), strict=True)}
            row = {"maps of": name, "curve": kind, "area": 100 * areas.mean()}
            row |= {"vs middle of the frame": f"{more:+.1f} ± {half:.1f}", "verdict": verdict(better * more, half)}
            rows.append(row | shares | {"clips": len(table)})
    return pd.DataFrame(rows)


def findings(places: pd.DataFrame, stages: pd.DataFrame, curves: pd.DataFrame) -> str:
    """What the tables say (`stages` are `places_table`s with a column `layer`), as sentences in markdown."""
    reference = places.iloc[0]["maps of"]
    networks = places[~places["maps of"].isin(OF_NOTHING)]
    said = []
    for what in MEASURES:
        nothing = places[places["maps of"].isin(OF_NOTHING)][f"{what} (%)"].max()
        values = ", ".join(f"{row['maps of']} {row[f'{what} (%)']:.1f} %" for _, row in networks.iterrows())
        said.append(f"{what.capitalize()}: {values}; the better of the maps that know nothing {nothing:.1f} %.")
        said += [_compared(row, what, reference, row["maps of"]) for _, row in networks.iloc[1:].iterrows()]
    for layer, of_layer in stages.groupby("layer"):
        last = of_layer[~of_layer["maps of"].isin(OF_NOTHING)].iloc[-1]
        said.append(_compared(last, "energy inside", reference, f"In {layer}, energy inside of {last['maps of']}"))
        alike = of_layer[of_layer["maps of"] == ALIKE].iloc[0]["energy inside (%)"]
        if last["energy inside (%)"] < 1.2 * alike:
            said[-1] += f" Both are next to {alike:.1f} %, what a map has that is the same everywhere."
    for _, row in curves.iterrows():
        said.append(
            f"{row['curve'].capitalize()} by the maps of {row['maps of']} is {_word(row['verdict'])} that by a map "
            f"that is hot in the middle (area {row['vs middle of the frame']})."
        )
    return "\n".join(f"- {sentence}" for sentence in said)


def _compared(row: pd.Series, what: str, reference: str, subject: str) -> str:
    word = _word(row[f"{what}: verdict"]).replace("better", "more").replace("worse", "less")
    return f"{subject}: {word} {reference} ({row[f'{what}, vs {reference}']} points)."


def _word(of_verdict: str) -> str:
    return "indistinguishable from" if of_verdict == "indistinguishable" else f"{of_verdict} than"


def _mean(values: np.ndarray | pd.Series) -> tuple[float, float]:
    """In %, and the half width of its 95 % interval."""
    return 100 * float(np.mean(values)), 100 * Z * float(np.std(values, ddof=1)) / len(values) ** 0.5


def plot_places(table: pd.DataFrame) -> Figure:
    """Of `examples.places_table`: energy inside and the hottest place, a bar a row; maps that know nothing are grey."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 0.45 * len(table) + 1.2), sharey=True)
    for axis, what in zip(axes, ("energy inside (%)", "hottest place inside (%)"), strict=True):
        colours = ["tab:gray" if name in KNOW_NOTHING else "tab:blue" for name in table["maps of"]]
        axis.barh(table["maps of"], table[what], color=colours, height=0.6)
        axis.set(xlabel=what, xlim=(0, max(60, table[what].max() + 5)))
    axes[0].invert_yaxis()
    figure.tight_layout()
    return figure


def plot_curves(table: pd.DataFrame) -> Figure:
    """Of `examples.curves_table`: deletion on the left, insertion on the right."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), sharey=True)
    shares = [column for column in table if column.endswith(" %")]
    for axis, kind in zip(axes, ("deletion", "insertion"), strict=True):
        for _, row in table[table["curve"] == kind].iterrows():
            axis.plot(range(len(shares)), row[shares].astype(float), label=f"{row['maps of']}: {row['area']:.0f}")
        axis.set_xticks(range(len(shares)), shares)
        axis.set(title=f"{kind}: area under the curve", xlabel="of the pixels, hottest first", ylim=(0, 100))
        axis.legend(fontsize=8)
    axes[0].set_ylabel("probability of the true class (%)")
    figure.tight_layout()
    return figure
