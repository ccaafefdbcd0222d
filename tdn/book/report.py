"""The tables of the notebooks, and how they are kept."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tdn.book.intervals import accuracy, difference, rank_correlation, right_share, verdict
from tdn.book.lines import Line, full_size
from tdn.experiments.profiles import Profile
from tdn.experiments.registry import all_runs, command, with_starts
from tdn.experiments.runs import environment, impossible, stored, videos
from tdn.experiments.tables import FINAL, TABLES, Table, get_table
from tdn.model.cost import norms_and_biases
from tdn.utils import NOT_RUN, _escaped, markdown, write_text

SUPPORTED, CONTRADICTED, OPEN = "supported", "contradicted", "cannot tell"
MEASURED = ("measured top-1", "95% low", "95% high")
CLAIM = ("table", "claim", "edition", "published", "measured", "±", "verdict", "seeds")


def accuracy_table(table: Table, lines: Sequence[Line], seeds: float = 0.0) -> pd.DataFrame:
    """One row a line: published and measured top-1 in %, by family too, and cost of the full-size network.

    Measured columns are means over seeds; `seed spread` is their standard deviation, where there is more than one.
    `vs <reference>` is the paired difference to the first row that the paper compares with. All intervals are for
    the choice of videos and for the random start (`seeds`, from `statistics.seed_error`).
    """
    reference = next(line.results for line in lines if line.row.name == table.references[0])
    rows = []
    for line in lines:
        if not line.results:
            rows.append(_not_run(line))
            continue
        metrics = [result.metrics for result in line.results]
        top1, low, high = accuracy(line.results, seeds)
        is_reference = line.row.name == table.references[0]
        points, half = difference(reference, line.results, seeds) if reference else (np.nan, np.nan)
        row = {
            "network": line.row.name,
            "published top-1 (SSv1)": line.published,
            "in the ICLR edition": line.row.published_as("top1", "iclr2021"),
            "measured top-1": top1,
            "95% low": low,
            "95% high": high,
            "seed spread": 100 * np.std([m["top1"] for m in metrics], ddof=1) if len(metrics) > 1 else None,
        }
        for group in metrics[0].get("groups", {}):
            row[group] = 100 * np.mean([m["groups"][group]["top1"] for m in metrics])
        rows.append(
            row
            | {
                f"vs {table.references[0]}": "" if is_reference or not reference else f"{points:+.1f} ± {half:.1f}",
                "verdict": "reference" if is_reference else verdict(points, half) if reference else "",
                "videos": f"{metrics[0]['videos']} of {metrics[0]['of']}",
                "seeds": len(line.results),
                "published GMACs": line.row.published_as("gmacs"),
                "GMACs": line.gmacs,
                "params (M)": line.params,
            }
        )
    table = pd.DataFrame(rows)
    empty = [column for column in table if table[column].isna().all() and column not in MEASURED]
    return table.drop(columns=empty)  # a column that no row fills says nothing


def _not_run(line: Line) -> dict[str, object]:
    return {
        "network": line.row.name,
        "published top-1 (SSv1)": line.published,
        "in the ICLR edition": line.row.published_as("top1", "iclr2021"),
        **dict.fromkeys(MEASURED),
        "verdict": NOT_RUN,
        "seeds": 0,
        "published GMACs": line.row.published_as("gmacs"),
        "GMACs": line.gmacs,
        "params (M)": line.params,
    }


def claims(table: Table, lines: Sequence[Line], seeds: float = 0.0) -> pd.DataFrame:
    """What the paper's table says, pair by pair, and what was measured: a row a pair of a reference and another row,
    or one of `table.pairs`.

    `published` and `measured` are how much better the first of the pair is than the second, in points; `edition` is
    the text that has both (the final one, if it does); `±` the half width of the 95 % interval (as in
    `accuracy_table`), `verdict` supported, contradicted or cannot tell; `seeds` how many the lesser of the two has.
    """
    return pd.DataFrame([_claim(table, *pair, seeds) for pair in _pairs(table, lines)], columns=CLAIM)


def all_claims(measured: Mapping[str, Sequence[Line]], seeds: float = 0.0) -> pd.DataFrame:
    """The `claims` of all tables (by name); two networks that two tables compare stand here once."""
    rows = {}
    for name, lines in measured.items():
        for worse, better, *published in _pairs(get_table(name), lines):
            networks = worse.results[0].folder, better.results[0].folder
            rows.setdefault(networks, _claim(get_table(name), worse, better, *published, seeds))
    return pd.DataFrame(list(rows.values()), columns=CLAIM)


def _pairs(table: Table, lines: Sequence[Line]) -> list[tuple[Line, Line, float, str]]:
    """Each reference with each other row, and the table's own pairs, once: (worse, better, published points, edition);
    without pairs that no edition has both of, or that it has as equal."""
    by_name = {line.row.name: line for line in lines if line.results}
    compared = [(reference, name) for reference in table.references for name in by_name if name != reference]
    pairs = []
    for pair in dict.fromkeys(frozenset(names) for names in [*compared, *table.pairs]):
        if not pair <= by_name.keys():
            continue
        one, other = (line for name, line in by_name.items() if name in pair)
        for edition in (*FINAL, "iclr2021"):
            values = one.row.published_as("top1", edition), other.row.published_as("top1", edition)
            if None not in values:
                points = values[1] - values[0]
                if points:
                    pairs.append((one, other, points, edition) if points > 0 else (other, one, -points, edition))
                break
    return pairs


def _claim(table: Table, worse: Line, better: Line, published: float, edition: str, seeds: float) -> dict[str, object]:
    points, half = difference(worse.results, better.results, seeds)
    return {
        "table": table.title,
        "claim": f"{better.row.name} better than {worse.row.name}",
        "edition": edition,
        "published": published,
        "measured": points,
        "±": half,
        "verdict": OPEN if abs(points) <= half else SUPPORTED if points > 0 else CONTRADICTED,
        "seeds": min(len(worse.results), len(better.results)),
    }


def findings(table: Table, lines: Sequence[Line], seeds: float = 0.0) -> str:
    """`claims` as sentences, markdown; and which rows were not run."""
    absent = [_escaped(line.row.name) for line in lines if not line.results]
    said = [sentences(claims(table, lines, seeds)), f"- {NOT_RUN}: {', '.join(absent)}." if absent else ""]
    return "\n".join(filter(None, said))


def sentences(claims: pd.DataFrame) -> str:
    """A sentence a claim (columns `CLAIM`), markdown; without measured points it says that nothing was run."""
    marks = {SUPPORTED: "supported", CONTRADICTED: "**contradicted here**", OPEN: "cannot be told here"}
    said = []
    for _, row in claims.iterrows():
        edition = " (ICLR)" if row.edition == "iclr2021" else ""
        start = f"- {_escaped(row.claim)}: published {row.published:+.1f}{edition}"
        if row.verdict not in marks:
            said.append(f"{start}; {row.verdict}.")
            continue
        note = ", on one seed" if row.seeds == 1 and row.verdict != OPEN else ""
        said.append(f"{start}, measured {row.measured:+.1f} ± {row['±']:.1f}: {marks[row.verdict]}{note}.")
    return "\n".join(said)


def describe_seed_error(seeds: float) -> str:
    """What `statistics.seed_error` found, as a sentence."""
    if not seeds:
        return "no network has a second random start: intervals are for the choice of videos alone"
    return f"another random start alone moves a single run by up to {seeds:.1f} points (95 %)"


def how_to_run(names: str | Sequence[str], profile: Profile) -> str:
    """How many runs of a table, or of several (names as `--table` takes them), are missing, what trains them, and what
    this machine lacks for it, markdown; "" where nothing is missing."""
    names = [names] if isinstance(names, str) else list(names)
    runs = with_starts(all_runs(profile, names))
    missing = [config for config in runs if not stored(config, profile.results).complete]
    if not missing:
        return ""
    commands = [f"tdn train --profile {profile.name} --table {' '.join(names)} --list"]
    if not set(names) <= set(TABLES):  # few, and long to train
        commands += [command(config, profile, 8) for config in missing]
    reasons = dict.fromkeys(filter(None, map(impossible, missing)))
    lacking = "\n".join(f"- {_escaped(reason).replace('<', '&lt;')}" for reason in reasons)
    said = f"**{NOT_RUN.capitalize()}:** {len(missing)} of {len(runs)} runs. "
    said += "To list them and their commands:" if len(commands) == 1 else "To list them, and to train each:"
    return "\n\n".join(["", said, "\n".join(["```", *commands, "```"]), lacking])


def all_rows(measured: Mapping[str, Sequence[Line]], seeds: float = 0.0) -> pd.DataFrame:
    """The rows of all tables (by name) below each other, with the columns that they share."""
    tables = []
    for name, lines in measured.items():
        table = get_table(name)
        rows = accuracy_table(table, lines, seeds).rename(columns={f"vs {table.references[0]}": "vs reference"})
        rows.insert(0, "table", table.title)
        tables.append(rows.drop(columns=["published GMACs", "in the ICLR edition"], errors="ignore"))
    return pd.concat(tables)


def cost_table(lines: Sequence[Line]) -> pd.DataFrame:
    """Printed GMACs against ours, and against the sum of ours and `cost.norms_and_biases`, which is what the printed
    ones seem to hold."""
    rows = []
    for line in lines:
        beside = norms_and_biases(full_size(line.row))
        cells = {"network": line.row.name, "GMACs": line.gmacs, "norms and biases": beside, "sum": line.gmacs + beside}
        rows.append(cells | {"published GMACs": line.row.published_as("gmacs")})
    return pd.DataFrame(rows)


def order_table(measured: Mapping[str, Sequence[Line]], seeds: float = 0.0) -> pd.DataFrame:
    """How well published and measured order agree, a row a table (by name) and one for all networks: Spearman's
    rank correlation with its interval (`statistics.rank_correlation`). A network that stands in several tables
    counts once among all."""
    published = [line for lines in measured.values() for line in lines if line.results and line.published is not None]
    once = {line.results[0].folder: line for line in published}
    groups = {get_table(name).title: lines for name, lines in measured.items()} | {"all networks": once.values()}
    rows = []
    for title, lines in groups.items():
        known = [line for line in lines if line.results and line.published is not None]
        if len(known) < 2:
            rows.append({"table": title, "networks": len(known)})
            continue
        correlation, low, high = rank_correlation(known, seeds)
        cells = {"networks": len(known), "rank correlation": correlation, "95% low": low, "95% high": high}
        rows.append({"table": title} | cells | {"seeds": min(len(line.results) for line in known)})
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
        table[line.row.name] = 100 * right_share(line.results).groupby(labels).mean().reindex(table.index)
    return table


def save_table(table: pd.DataFrame, name: str, profile: Profile, lines: Sequence[Line] = (), digits: int = 1) -> None:
    """Writes tables/<name>.csv, .md (so many decimals) and the manifest .json with the runs, versions and device
    behind it."""
    folder = profile.results / "tables"
    write_text(folder / f"{name}.csv", table.to_csv(index=False, float_format="%.4f"))
    write_text(folder / f"{name}.md", markdown(table, digits) + "\n")
    runs = {line.row.name: [result.manifest for result in line.results] for line in lines}
    manifest = {"table": name, "profile": profile.name, "runs": runs} if runs else {
        "table": name, "profile": profile.name, **environment()
    }  # fmt: skip
    write_text(folder / f"{name}.json", json.dumps(manifest, indent=1) + "\n")
