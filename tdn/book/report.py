"""The tables of the notebooks, and how they are kept."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tdn.book import intervals
from tdn.book.intervals import accuracy, claim_verdict, difference, fraction_correct, verdict
from tdn.book.lines import Line, full_size
from tdn.experiments.manifest import environment
from tdn.experiments.profiles import Profile
from tdn.experiments.registry import all_runs, command, plan
from tdn.experiments.runs import videos
from tdn.experiments.tables import FINAL, TABLES, Table, get_table
from tdn.model.cost import norms_and_biases
from tdn.utils import NOT_RUN, escaped_text, markdown, write_text

MEASURED = ("measured top-1", "95% low", "95% high")
CLAIM = ("table", "claim", "edition", "published", "measured", "±", "verdict", "seeds")


def accuracy_table(table: Table, lines: Sequence[Line], seed_error: float = 0.0) -> pd.DataFrame:
    """One row per line: published and measured top-1 in %, by family too, and the cost of the full-size network.

    Measured columns are means over seeds, `seed spread` their standard deviation. `vs <reference>` is the paired
    difference to the first of the table's references. Intervals are over the choice of videos and over seeds
    (`seed_error`, from `intervals.seed_error`).
    """
    reference = next(line for line in lines if line.row.name == table.references[0])
    numbers = pd.DataFrame([_accuracy_row(line, reference, seed_error) for line in lines])
    points, half = numbers.pop("points"), numbers.pop("half")
    versus = [f"{p:+.1f} ± {h:.1f}" if pd.notna(p) else np.nan for p, h in zip(points, half, strict=True)]
    numbers.insert(numbers.columns.get_loc("verdict"), f"vs {table.references[0]}", versus)
    read, of = numbers["videos"], numbers.pop("of")
    numbers["videos"] = [f"{n:.0f} of {m:.0f}" if m else np.nan for n, m in zip(read, of, strict=True)]
    empty = [column for column in numbers if numbers[column].isna().all() and column not in MEASURED]
    return numbers.drop(columns=empty)


def _accuracy_row(line: Line, reference: Line, seed_error: float) -> dict[str, object]:
    """Numbers; NaN or 0 where nothing was run."""
    metrics = [result.metrics for result in line.results]
    top1 = [100 * of["top1"] for of in metrics]
    groups = metrics[0].get("groups", {}) if metrics else {}
    compared = bool(metrics and reference.results) and line is not reference
    interval = accuracy(line.results, seed_error) if metrics else (np.nan,) * 3
    points, half = difference(reference.results, line.results, seed_error) if compared else (np.nan, np.nan)
    answer = "reference" if line is reference else verdict(points, half) if compared else ""
    row = {"network": line.row.name, "published top-1 (SSv1)": line.published}
    row |= {"in the ICLR edition": line.published_as("top1", "iclr2021"), **dict(zip(MEASURED, interval, strict=True))}
    row["seed spread"] = np.std(top1, ddof=1) if len(top1) > 1 else np.nan
    row |= {group: 100 * np.mean([of["groups"][group]["top1"] for of in metrics]) for group in groups}
    row |= {"points": points, "half": half, "verdict": answer if metrics else NOT_RUN}
    row |= {name: metrics[0][name] if metrics else 0 for name in ("videos", "of")}
    row |= {"seeds": len(metrics), "published GMACs": line.published_as("gmacs")}
    return row | {"GMACs": line.gmacs, "params (M)": line.params}


def claims(table: Table, lines: Sequence[Line], seed_error: float = 0.0) -> pd.DataFrame:
    """What the paper's table claims and what was measured: one row per pair of a reference and another row, or of
    `table.pairs`.

    `published` and `measured` are how much better the first of the pair is than the second, in points; `edition` is
    the text that has both (the final one, if it does); `±` the half width of the 95 % interval (as in
    `accuracy_table`), `verdict` supported, contradicted or inconclusive; `seeds` those of the row that has fewer.
    """
    return pd.DataFrame([_claim(table, *pair, seed_error) for pair in _pairs(table, lines)], columns=CLAIM)


def all_claims(measured: Mapping[str, Sequence[Line]], seed_error: float = 0.0) -> pd.DataFrame:
    """The `claims` of all tables (by name); two networks that several tables compare are here once."""
    rows = {}
    for table, lines in ((get_table(name), lines) for name, lines in measured.items()):
        for worse, better, *published in _pairs(table, lines):
            networks = worse.results[0].folder, better.results[0].folder
            rows.setdefault(networks, _claim(table, worse, better, *published, seed_error))
    return pd.DataFrame(list(rows.values()), columns=CLAIM)


def _pairs(table: Table, lines: Sequence[Line]) -> list[tuple[Line, Line, float, str]]:
    """Each reference with each other row, and the table's own pairs, once: (worse, better, published points, edition).
    Pairs that no edition has both of, or that it has as equal, are left out."""
    by_name = {line.row.name: line for line in lines if line.results}
    compared = [(reference, name) for reference in table.references for name in by_name if name != reference]
    pairs = []
    for pair in dict.fromkeys(frozenset(names) for names in [*compared, *table.pairs]):
        if not pair <= by_name.keys():
            continue
        one, other = (line for name, line in by_name.items() if name in pair)
        for edition in (*FINAL, "iclr2021"):
            values = one.published_as("top1", edition), other.published_as("top1", edition)
            if None not in values:
                points = values[1] - values[0]
                if points:
                    pairs.append((one, other, points, edition) if points > 0 else (other, one, -points, edition))
                break
    return pairs


def _claim(table: Table, worse: Line, better: Line, published: float, edition: str, seed_error: float) -> tuple:
    points, half = difference(worse.results, better.results, seed_error)
    text, num_seeds = f"{better.row.name} better than {worse.row.name}", min(len(worse.results), len(better.results))
    return table.title, text, edition, published, points, half, claim_verdict(points, half), num_seeds


def findings(table: Table, lines: Sequence[Line], seed_error: float = 0.0) -> str:
    """`claims` as sentences, markdown, and which rows were not run."""
    absent = [escaped_text(line.row.name) for line in lines if not line.results]
    not_run = f"- {NOT_RUN}: {', '.join(absent)}." if absent else ""
    return "\n".join(filter(None, [sentences(claims(table, lines, seed_error)), not_run]))


def sentences(claims: pd.DataFrame) -> str:
    """One sentence per claim (columns `CLAIM`), markdown; without measured points it says that nothing was run."""
    lines = []
    for _, row in claims.iterrows():
        text = f"- {escaped_text(row.claim)}: published {row.published:+.1f}{' (ICLR)' * (row.edition == 'iclr2021')}"
        if np.isnan(row.measured):
            lines.append(f"{text}; {row.verdict}.")
            continue
        answer = f"**{row.verdict}**" if row.verdict == intervals.CONTRADICTED else row.verdict
        note = ", on one seed" if row.seeds == 1 and row.verdict != intervals.INCONCLUSIVE else ""
        lines.append(f"{text}, measured {row.measured:+.1f} ± {row['±']:.1f}: {answer}{note}.")
    return "\n".join(lines)


def describe_seed_error(seed_error: float) -> str:
    """What `intervals.seed_error` found, as a sentence."""
    if not seed_error:
        return "no network has a second seed: intervals are for the choice of videos alone"
    return f"another seed alone moves a single run by up to {seed_error:.1f} points (95 %)"


def how_to_run(names: str | Sequence[str], study: Profile) -> str:
    """How many runs of a table, or of several (names as `--table` takes them), are missing, what trains them, and what
    this machine lacks for it, markdown; "" where nothing is missing."""
    names = [names] if isinstance(names, str) else list(names)
    todo = plan(all_runs(study, names), study.results)
    missing = [*todo.to_do, *todo.impossible]
    if not missing:
        return ""
    commands, what = [f"tdn train --profile {study.name} --table {' '.join(names)} --list"], "them and their commands"
    if not set(names) <= set(TABLES):  # few, and long to train
        commands, what = [*commands, *(command(config, study, 8) for config in missing)], "them, and to train each"
    reasons = dict.fromkeys(todo.impossible.values())
    lacking = "\n".join(f"- {escaped_text(reason)}" for reason in reasons)
    text = f"**{NOT_RUN.capitalize()}:** {len(missing)} of {len(missing) + len(todo.done)} runs. To list {what}:"
    return "\n\n".join(["", text, "\n".join(["```", *commands, "```"]), lacking])


def all_rows(measured: Mapping[str, Sequence[Line]], seed_error: float = 0.0) -> pd.DataFrame:
    """The rows of all tables (by name) below each other, with the columns that they share."""
    tables = []
    for name, lines in measured.items():
        table = get_table(name)
        rows = accuracy_table(table, lines, seed_error).rename(columns={f"vs {table.references[0]}": "vs reference"})
        rows.insert(0, "table", table.title)
        tables.append(rows.drop(columns=["published GMACs", "in the ICLR edition"], errors="ignore"))
    return pd.concat(tables)


def cost_table(lines: Sequence[Line]) -> pd.DataFrame:
    """Published GMACs against ours, and against the sum of ours and `cost.norms_and_biases`, which the published ones
    seem to include."""
    rows = []
    for line in lines:
        more = norms_and_biases(full_size(line.row))
        cells = {"network": line.row.name, "GMACs": line.gmacs, "norms and biases": more, "sum": line.gmacs + more}
        rows.append(cells | {"published GMACs": line.published_as("gmacs")})
    return pd.DataFrame(rows)


def order_table(measured: Mapping[str, Sequence[Line]], seed_error: float = 0.0) -> pd.DataFrame:
    """How well published and measured order agree, one row per table (by name) and one for all networks: Spearman's
    rank correlation with its interval (`intervals.rank_correlation`). Among all, a network of several tables counts
    once."""
    groups = {}
    for name, lines in measured.items():
        groups[get_table(name).title] = [line for line in lines if line.results and line.published is not None]
    once = {line.results[0].folder: line for lines in groups.values() for line in lines}
    rows = []
    for title, lines in (groups | {"all networks": list(once.values())}).items():
        rows.append({"table": title, "networks": len(lines)})
        if len(lines) > 1:
            names = ("rank correlation", "95% low", "95% high")
            rows[-1] |= dict(zip(names, intervals.rank_correlation(lines, seed_error), strict=True))
            rows[-1] |= {"seeds": min(len(line.results) for line in lines)}
    return pd.DataFrame(rows)


def class_table(lines: Sequence[Line]) -> pd.DataFrame:
    """Top-1 in % of every class (rows) for every line that was run (columns), means over seeds."""
    lines = [line for line in lines if line.results]
    if not lines:
        return pd.DataFrame({"class": []})
    _, val = videos(lines[0].runs[0].data)
    table = pd.DataFrame({"class": val.class_names} | ({"family": val.groups} if val.groups else {}))
    for line in lines:
        labels = pd.Series(line.results[0].evaluation.labels, line.results[0].evaluation.videos)
        table[line.row.name] = 100 * fraction_correct(line.results).groupby(labels).mean().reindex(table.index)
    return table


def save_table(table: pd.DataFrame, name: str, study: Profile, lines: Sequence[Line] = (), digits: int = 1) -> None:
    """Writes tables/<name>.csv, .md (with so many decimals) and .json: the manifests of the runs, or the environment
    where there is none."""
    folder = study.results / "tables"
    write_text(folder / f"{name}.csv", table.to_csv(index=False, float_format="%.4f"))
    write_text(folder / f"{name}.md", markdown(table, digits) + "\n")
    runs = {line.row.name: [result.manifest for result in line.results] for line in lines}
    manifest = {"table": name, "profile": study.name} | ({"runs": runs} if runs else environment())
    write_text(folder / f"{name}.json", json.dumps(manifest, indent=1) + "\n")
