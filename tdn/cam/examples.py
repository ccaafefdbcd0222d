"""Which clips the notebooks show maps of, and the tables of how right maps are."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tdn import experiment
from tdn.cam import Maps, cam
from tdn.cam.localisation import FRACTIONS, measure_curves, measure_places
from tdn.experiment import DATA, Run, stored
from tdn.statistics import Z, verdict

ONE_VIEW = {"clips": 1, "crops": 1}
NO_NETWORK = {
    "each place alike": ("energy alike", "energy alike"),
    "middle of the frame": ("energy middle", "pointing middle"),
}


def right_in_all(configs: Sequence[Run], results: Path) -> pd.Series:
    """The labels of the validation videos that all these runs get right, by number; of all, where there is none."""
    evaluations = [stored(config, results).evaluation for config in configs]
    answers = pd.concat([pd.Series(e.correct, e.videos) for e in evaluations], axis=1, join="inner").sort_index()
    labels = pd.Series(evaluations[0].labels, evaluations[0].videos)[answers.index]
    return labels[answers.all(axis=1)] if answers.all(axis=1).any() else labels


def one_a_class(labels: pd.Series, number: int) -> list[int]:
    """The first video of a class each, of `number` classes that are spread evenly over those of `labels`."""
    first = labels.drop_duplicates().sort_values()
    return first.index[np.linspace(0, len(first) - 1, min(number, len(first))).round().astype(int)].tolist()


def video_maps(config: Run, results: Path, video: int, frames: str, layer: str, data: Path = DATA) -> Maps:
    """The maps of a complete run for the true class of a validation video, as `cam`."""
    _, val = experiment.videos(config.data, data)
    network, of = experiment.trained(config, results), val.videos[video]
    return cam(network, of.path, frames, of.label, layer, views=dataclasses.replace(config.views, **ONE_VIEW))


def places_table(
    networks: Mapping[str, Sequence[Run]], results: Path, videos: Sequence[int], layer: str, data: Path = DATA
) -> pd.DataFrame:
    """How much of the heat lies on the things, and how often the hottest place does, in %: a row a network, mean over
    clips and seeds (a sequence of runs), the first one the reference; then maps that know nothing.

    `±` are half widths of 95 % intervals for the choice of clips; differences are paired. Clips whose map is zero in
    any of the runs are left out of all.
    """
    measured = {
        name: [measure_places(config, results, videos, layer, data) for config in configs]
        for name, configs in networks.items()
    }
    every = [table for tables in measured.values() for table in tables]
    whole = np.all([table["energy"].notna() for table in every], axis=0)
    columns = {
        name: [sum(t[c] for t in tables) / len(tables) for c in ("energy", "pointing")]
        for name, tables in measured.items()
    }
    columns |= {name: [every[0][column] for column in pair] for name, pair in NO_NETWORK.items()}
    reference = next(iter(columns))
    rows = []
    for name, (energy, pointing) in columns.items():
        row = {"maps of": name}
        for what, values, base in (
            ("energy inside", energy, columns[reference][0]),
            ("hottest place inside", pointing, columns[reference][1]),
        ):
            more, half = _mean(values[whole] - base[whole])
            row[f"{what} (%)"] = 100 * values[whole].mean()
            row[f"{what}, vs {reference}"] = "" if name == reference else f"{more:+.1f} ± {half:.1f}"
            row[f"{what}: verdict"] = "reference" if name == reference else verdict(more, half)
        rows.append(row | {"clips": int(whole.sum()), "maps of zero": int((~whole).sum())})
    return pd.DataFrame(rows)


def curves_table(
    networks: Mapping[str, Run], results: Path, videos: Sequence[int], layer: str, data: Path = DATA
) -> pd.DataFrame:
    """Mean probability of the true class, in %, when a share of the pixels is taken away or given, hottest first: a
    row a network and kind of curve, a column a share; the area under the curve, and its interval over clips."""
    rows = []
    for name, config in networks.items():
        table = measure_curves(config, results, videos, layer, data)
        for kind in ("deletion", "insertion"):
            of_kind = table[[f"{kind} {fraction}" for fraction in FRACTIONS]].to_numpy()
            area, half = _mean(np.trapezoid(of_kind, FRACTIONS, axis=1))
            shares = {
                f"{100 * fraction:.0f} %": 100 * mean for fraction, mean in zip(FRACTIONS, of_kind.mean(0), strict=True)
            }
            rows.append({"maps of": name, "curve": kind, "area": area, "±": half, **shares, "clips": len(table)})
    return pd.DataFrame(rows)


def findings(places: pd.DataFrame, curves: pd.DataFrame) -> str:
    """What the two tables say, as sentences in markdown."""
    names = places["maps of"]
    reference = places.iloc[0]["maps of"]
    said = []
    for what in ("energy inside", "hottest place inside"):
        values = places.set_index("maps of")[f"{what} (%)"].drop(list(NO_NETWORK))
        nothing = places.set_index("maps of")[f"{what} (%)"][list(NO_NETWORK)].max()
        said.append(
            f"{what.capitalize()}: most with {values.idxmax()} ({values.max():.1f} %), least with {values.idxmin()} "
            f"({values.min():.1f} %); the better of the maps that know nothing has {nothing:.1f} %."
        )
        for name in names[1:].drop(names[names.isin(NO_NETWORK)].index):
            row = places[names == name].iloc[0]
            word = row[f"{what}: verdict"].replace("better", "more").replace("worse", "less")
            said.append(f"{name}: {word} than {reference} ({row[f'{what}, vs {reference}']} points).")
    for kind, best in (("deletion", "idxmin"), ("insertion", "idxmax")):
        areas = curves[curves["curve"] == kind].set_index("maps of")
        first = getattr(areas["area"], best)()
        said.append(
            f"{kind.capitalize()} is best for {first}: area {areas['area'][first]:.1f} ± {areas['±'][first]:.1f}."
        )
    return "\n".join(f"- {sentence.replace('indistinguishable than', 'indistinguishable from')}" for sentence in said)


def _mean(values: np.ndarray | pd.Series) -> tuple[float, float]:
    """In %, and the half width of its 95 % interval."""
    return 100 * float(np.mean(values)), 100 * Z * float(np.std(values, ddof=1)) / len(values) ** 0.5
