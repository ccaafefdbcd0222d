"""TDRL's comparisons (ECCV Tables 1 and 2): every published row, and ours next to those that the ablations have."""

import numpy as np
import pandas as pd

from tdn.book.intervals import NOT_KNOWN, SeedError, accuracy
from tdn.book.lines import Line, measured, train_missing
from tdn.book.report import MEASURED
from tdn.experiments.profiles import Profile
from tdn.experiments.tables import get_table, published
from tdn.utils import NOT_RUN

FILES = {1: ("tdrl_something.csv", "ssv1"), 2: ("tdrl_kinetics400.csv", "k400")}  # and the setting of its data
# With 8 frames these are rows of Tables 3 and 4, too: by method, our table and its row.
ABLATED = {"TSM": ("tdrl_tsm", "TSM"), "TEINet": ("tdrl_tim", "TIM + MEM"), "TDRL": ("tdrl_tim", "TIM + PEM + TD loss")}
ACCURACIES = {"val_v1": "val V1", "test_v1": "test V1", "val_v2": "val V2", "test_v2": "test V2"}
ACCURACIES |= {"top1": "top-1", "top5": "top-5"}
OURS = (*MEASURED, "measured top-5", "videos", "seeds", "GMACs")


def tdrl_lines(study: Profile) -> dict[str, Line]:
    """What was measured of `ABLATED`, by method. Trains as `train_or_load`."""
    tables = {method: (get_table(table), name) for method, (table, name) in ABLATED.items()}
    rows = {method: next(row for row in table.rows if row.name == name) for method, (table, name) in tables.items()}
    train_missing([config for method, row in rows.items() for config in study.runs(row, tables[method][0])], study)
    return {method: measured(row, tables[method][0], study) for method, row in rows.items()}


def tdrl_table(number: int, study: Profile, seed_error: SeedError = NOT_KNOWN) -> pd.DataFrame:
    """Table 1 or 2, one row for each published one: accuracies in %, GMACs (times views) as published.

    Next to the rows with 8 frames of `ABLATED` is what was measured of them, if their data is that of this table (in
    the small profiles all data is one benchmark): means over seeds, top-1 with its 95 % interval (as in
    `report.accuracy_table`), top-5 where the paper has it, n of N videos, and `GMACs` of one view of the full-size
    network. `measured on` names the network, data and views, or is "not run", as for all other rows of TDRL.
    """
    file, setting = FILES[number]
    table, lines = published(file), tdrl_lines(study)
    rows = []
    for line in table.fillna("").to_dict("records"):
        row: dict[str, object] = {name: line[name] for name in ("method", "backbone", "frames")}
        row["published GMACs"] = "x".join(line[part] or "N/A" for part in ("gmacs", "views") if part in line)
        for column, name in ACCURACIES.items():
            if column in line:
                row[f"published {name}"] = float(line[column] or "nan")
        row |= dict.fromkeys(OURS) | dict.fromkeys(MEASURED, np.nan)
        row["measured on"] = NOT_RUN if line["method"] == "TDRL" else None
        ours = lines.get(line["method"]) if line["frames"] == "8" else None
        if ours and study.settings[ours.table.setting].data == study.settings[setting].data:
            row |= _measured(ours, study, seed_error)
        rows.append(row)
    numbers = pd.DataFrame(rows).astype({"seeds": "Int64"})
    unused = [name for name in OURS if name not in MEASURED and numbers[name].isna().all()]
    return numbers.drop(columns={*unused, *(() if "top5" in table else ["measured top-5"])})


def _measured(line: Line, study: Profile, seed_error: SeedError) -> dict[str, object]:
    row: dict[str, object] = {"GMACs": line.gmacs, "measured on": NOT_RUN}
    if line.results:
        of, config = line.results[0].metrics, line.runs[0]
        row |= dict(zip(MEASURED, accuracy(line.results, seed_error), strict=True))
        row["measured top-5"] = 100 * np.mean([result.evaluation.top(5) for result in line.results])
        row |= {"videos": f"{of['videos']} of {of['of']}", "seeds": len(line.results)}
        row["measured on"] = f"{study.name}, {config.model.split('_')[-1].replace('resnet', 'ResNet')}, {config.views}"
    return row
