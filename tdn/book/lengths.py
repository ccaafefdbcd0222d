"""Are the networks trained to the end? What more epochs would change, measured on the tuning rendering."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tdn.book.files import bench_table
from tdn.book.lines import Line
from tdn.book.style import of_network
from tdn.experiments.profiles import POCKET
from tdn.experiments.tables import Row
from tdn.experiments.tuning import FLAT, LONGEST

NETWORK, EPOCHS, TOP1, TRAINING = "network", "epochs", "top-1 (%)", "training top-1 (%)"


def measured_lengths() -> pd.DataFrame:
    """The committed `tuning.measure_epochs`, one row per network and number of epochs: of the machine that has them for
    the epochs of today's recipe. Empty where none has."""
    epochs = POCKET.settings["ssv1"].recipe.epochs
    table = bench_table("epochs")
    if table.empty:
        return pd.DataFrame(columns=["machine", NETWORK, EPOCHS, TOP1, TRAINING])
    whole = table.groupby("machine")[EPOCHS].transform(lambda of: {epochs, 2 * epochs} <= set(of))
    return table[whole & (table["machine"] == table[whole]["machine"].min())]


def flatness(table: pd.DataFrame) -> pd.DataFrame:
    """One row per network of `measured_lengths`: top-1 after each number of epochs, what the last doubling changes
    (points), and whether that is at most `FLAT`; how far training top-1 is above validation before it."""
    if table.empty:
        return pd.DataFrame(columns=[NETWORK, "twice the epochs", "trained to the end"])
    top1 = table.pivot_table(TOP1, NETWORK, EPOCHS, sort=False)
    last, twice = top1.columns[-2:]
    rows = top1.rename(columns="after {} epochs".format)
    rows["twice the epochs"] = top1[twice] - top1[last]
    rows["trained to the end"] = np.where(rows["twice the epochs"].abs() <= FLAT, "yes", "no")
    training = table.pivot_table(TRAINING, NETWORK, EPOCHS, sort=False)
    return rows.assign(**{"training above validation": training[last] - top1[last]}).reset_index()


def still_gain(lines: Sequence[Line], column: str = TOP1) -> dict[str, float]:
    """What twice the epochs add, in points, of those rows whose network was measured, has today's number of epochs, and
    is not trained to the end. `column` is that of the accuracy, or a family; of one that was not measured, nothing."""
    table, epochs = measured_lengths(), POCKET.settings["ssv1"].recipe.epochs
    flat, gains = flatness(table), {}
    short = {*flat[flat["trained to the end"] == "no"][NETWORK]}
    for row in (row for row in LONGEST if row.name in short and column in table):
        after = table[table[NETWORK] == row.name].set_index(EPOCHS)[column]
        same = [line for line in lines if line.runs and _network(line.row) == _network(row)]
        gained = float(after[2 * epochs] - after[epochs])
        gains |= {line.row.name: gained for line in same if line.runs[0].recipe.epochs == epochs}
    return gains


def _network(row: Row) -> tuple:
    return row.system, row.options, row.times, row.deep


def plot_lengths(table: pd.DataFrame) -> Figure:
    """Of `measured_lengths`: top-1 against epochs, of validation on the left, of the last training epoch on the
    right."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True)
    for axis, column, title in zip(axes, (TOP1, TRAINING), ("Validation", "Training, last epoch"), strict=True):
        for marker, (network, rows) in zip("os^vD*", table.groupby(NETWORK, sort=False), strict=False):
            axis.plot(rows[EPOCHS], rows[column], marker=marker, color=of_network(network), label=network)
        axis.set(title=title, xlabel="epochs", xscale="log", ylim=(0, 100))
        axis.set_xticks(sorted(table[EPOCHS].unique()), sorted(table[EPOCHS].unique()))
        axis.minorticks_off()
        axis.grid(color="0.9")
    axes[0].set_ylabel("top-1 (%)")
    if len(table):
        axes[1].legend(fontsize=8, loc="lower right")
    else:
        figure.suptitle("Not measured")
    figure.tight_layout()
    return figure
