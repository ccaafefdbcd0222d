"""The tables of the notebooks, and how they are kept."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from IPython.display import Image, Markdown

from tdn.book import intervals
from tdn.book.intervals import NOT_KNOWN, UNKNOWN, Difference, Family, SeedError, accuracy, difference, verdict
from tdn.book.lengths import TOP1, still_gain
from tdn.book.lines import Line, full_size_cost
from tdn.data.pocket.render import PANNED
from tdn.experiments.manifest import environment
from tdn.experiments.profiles import Profile
from tdn.experiments.registry import all_runs, command, plan
from tdn.experiments.runs import stored
from tdn.experiments.tables import FINAL, Table, get_table
from tdn.utils import NOT_RUN, escaped_text, markdown, write_text

MEASURED = ("measured top-1", "95% low", "95% high")
MOVES, STILL = "pans and sways", "stands still"
CLAIM = ("table", "claim", "edition", "published", "measured", "±", "verdict", "after Holm", "seeds")


def accuracy_table(table: Table, lines: Sequence[Line], seed_error: SeedError = NOT_KNOWN) -> pd.DataFrame:
    """One row per line: published and measured top-1 in %, by family too, and the cost of the full-size network; top-5
    where the paper's table has it.

    Measured columns are means over seeds, `seed spread` their standard deviation. `vs <reference>` is the paired
    difference to the first of the table's references in points, `±` the half width of its 95 % interval. Intervals are
    over the choice of videos and over seeds, of which `seed_error` (`intervals.seed_error`) says what is expected.
    """
    numbers = _accuracy(table, lines, seed_error)
    top5 = [line.published_as("top5") for line in lines]
    if sum(of is not None for of in top5) > 1:  # a single one is of a row that another table has, too
        numbers.insert(numbers.columns.get_loc(MEASURED[0]), "published top-5 (SSv1)", top5)
        own = [np.mean([result.evaluation.top(5) for result in line.results] or np.nan) for line in lines]
        numbers.insert(numbers.columns.get_loc(MEASURED[-1]) + 1, "measured top-5", 100 * np.array(own))
    numbers["published GMACs"] = [line.published_as("gmacs") for line in lines]
    numbers["GMACs"], numbers["params (M)"] = [line.gmacs for line in lines], [line.params for line in lines]
    return numbers.drop(columns=[] if numbers["published GMACs"].notna().any() else "published GMACs")


def shown(accuracy: pd.DataFrame) -> str:
    """`accuracy_table` for a page, as markdown: intervals in one column, and what all rows share once, below."""
    top1, low, high = MEASURED
    table = accuracy.drop(columns=[low, high]).rename(columns=lambda name: re.sub("^vs .+", "vs reference", name))
    interval = [f"{a:.1f} to {b:.1f}" if a == a else None for a, b in zip(accuracy[low], accuracy[high], strict=True)]
    table.insert(table.columns.get_loc(top1) + 1, "95 % interval", interval)
    same = [name for name in ("seeds", "videos") if name in table and table[name].nunique(dropna=False) == 1]
    said = ", ".join(f"{name} {table[name].iloc[0]}" for name in same)
    return markdown(table.drop(columns=same)) + (f"\n\nEach row: {said}." if same else "")


def _accuracy(table: Table, lines: Sequence[Line], seed_error: SeedError) -> pd.DataFrame:
    """`accuracy_table` without the costs."""
    reference = next(line for line in lines if line.row.name == table.references[0])
    numbers = pd.DataFrame([_accuracy_row(line, reference, seed_error) for line in lines])
    numbers = numbers.rename(columns={"points": (versus := f"vs {table.references[0]}")})
    read, of = numbers["videos"], numbers.pop("of")
    numbers["videos"] = [f"{n:.0f} of {m:.0f}" if m else np.nan for n, m in zip(read, of, strict=True)]
    kept = (*MEASURED, versus, "±")
    empty = [column for column in numbers if numbers[column].isna().all() and column not in kept]
    return numbers.drop(columns=empty)


def _accuracy_row(line: Line, reference: Line, seed_error: SeedError) -> dict[str, object]:
    """Numbers; NaN or 0 where nothing was run."""
    metrics = [result.metrics for result in line.results]
    top1 = [100 * of["top1"] for of in metrics]
    groups = metrics[0].get("groups", {}) if metrics else {}
    compared = bool(metrics and reference.results) and line is not reference
    interval = accuracy(line.results, seed_error) if metrics else (np.nan,) * 3
    points, half, _ = difference(reference.results, line.results, seed_error) if compared else UNKNOWN
    answer = "reference" if line is reference else verdict(points, half) if compared else ""
    row = {"network": line.row.name, "published top-1 (SSv1)": line.published}
    row |= {"in the ICLR edition": line.published_as("top1", "iclr2021"), **dict(zip(MEASURED, interval, strict=True))}
    row["seed spread"] = np.std(top1, ddof=1) if len(top1) > 1 else np.nan
    row |= {group: 100 * np.mean([of["groups"][group]["top1"] for of in metrics]) for group in groups}
    row |= {"points": points, "±": half, "verdict": answer if metrics else NOT_RUN}
    row |= {name: metrics[0][name] if metrics else 0 for name in ("videos", "of")}
    return row | {"seeds": len(metrics)}


def claims(
    table: Table, lines: Sequence[Line], seed_error: SeedError = NOT_KNOWN, families: Sequence[Family] = ()
) -> pd.DataFrame:
    """What the paper's table claims and what was measured: one row per pair of a reference and another row, or of
    `table.pairs`.

    `published` and `measured` are how much better the first of the pair is than the second, in points; `edition` is
    the text that has both (the final one, if it does); `±` the half width of the 95 % interval (as in
    `accuracy_table`); `verdict` as `intervals.claim_verdicts`, `after Holm` with all claims of the table taken
    together; both "not trained to the end" where what twice the epochs add (`lengths.still_gain`) would change them;
    `seeds` those of the row that has fewer. One column per family has the difference on its videos with both verdicts,
    where they differ; the published size is that of all classes.
    """
    pairs = _pairs(table, lines)
    texts = [(table.title, f"{more.row.name} better than {less.row.name}", *of) for less, more, *of in pairs]
    measured = [difference(less.results, more.results, seed_error) for less, more, *_ in pairs]
    seeds = [min(len(less.results), len(more.results)) for less, more, *_ in pairs]

    def lasting(measured: Sequence[Difference], column: str) -> pd.DataFrame:
        """`judged`, without the verdicts that more epochs would change."""
        gains, rows = still_gain(lines, column), judged(texts, measured, seeds)
        gained = [gains.get(more.row.name, 0) - gains.get(less.row.name, 0) for less, more, *_ in pairs]
        later = [of._replace(points=of.points + points) for of, points in zip(measured, gained, strict=True)]
        for verdicts in ("verdict", "after Holm"):
            kept = rows[verdicts] == judged(texts, later, seeds)[verdicts]
            rows[verdicts] = np.where(kept, rows[verdicts], intervals.UNTRAINED)
        return rows

    rows = lasting(measured, TOP1)
    for family in families:
        parts = [[family.part(line.results) for line in pair[:2]] for pair in pairs]
        of = lasting([difference(*pair, family.seed_error) for pair in parts], family.name)
        every = [row for _, row in of.iterrows()]
        rows[family.name] = [f"{row.measured:+.1f} ± {row['±']:.1f}, {row.verdict}{_later(row)}" for row in every]
    return rows


def judged(
    claims: Sequence[tuple[str, str, str, float]], measured: Sequence[Difference], seeds: Sequence[int]
) -> pd.DataFrame:
    """Claims (title of the table, text, edition, published points) with what was measured of them, columns `CLAIM`;
    "not run" in place of a verdict where nothing was."""
    rows = pd.DataFrame(claims, columns=CLAIM[:4])
    rows["measured"], rows["±"] = [of.points for of in measured], [of.half for of in measured]
    for column, adjusted in (("verdict", np.asarray), ("after Holm", intervals.holm)):
        verdicts = intervals.claim_verdicts(measured, rows["published"], adjusted)
        rows[column] = np.where(rows["measured"].isna(), NOT_RUN, verdicts)
    return rows.assign(seeds=seeds)


def _later(row: pd.Series) -> str:
    return f"; {row['after Holm']} after Holm's correction" if row["after Holm"] != row.verdict else ""


def all_claims(
    measured: Mapping[str, Sequence[Line]], seed_error: SeedError = NOT_KNOWN, families: Sequence[Family] = ()
) -> pd.DataFrame:
    """The `claims` of all tables (by name), Holm's correction within each; two networks that several tables compare are
    here once."""
    tables, seen = [], set()
    for name, lines in measured.items():
        rows = claims(get_table(name), lines, seed_error, families)
        pairs = _pairs(get_table(name), lines)
        networks = [(worse.results[0].folder, better.results[0].folder) for worse, better, *_ in pairs]
        tables.append(rows[np.array([pair not in seen for pair in networks], bool)])
        seen.update(networks)
    return pd.concat([rows for rows in tables if len(rows)] or [judged([], [], [])], ignore_index=True)


def _pairs(table: Table, lines: Sequence[Line]) -> list[tuple[Line, Line, str, float]]:
    """Each reference with each other row, and the table's own pairs, once: (worse, better, edition, published points).
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
                    pairs.append((one, other, edition, points) if points > 0 else (other, one, edition, -points))
                break
    return pairs


def findings(table: Table, lines: Sequence[Line], seed_error: SeedError = NOT_KNOWN) -> str:
    """`claims` as sentences, markdown, and which rows were not run."""
    absent = [escaped_text(line.row.name) for line in lines if not line.results]
    not_run = f"- {NOT_RUN}: {', '.join(absent)}." if absent else ""
    return "\n".join(filter(None, [sentences(claims(table, lines, seed_error)), not_run]))


def sentences(claims: pd.DataFrame) -> str:
    """One sentence per claim (columns `CLAIM`), markdown; without measured points it has the verdict alone."""
    lines = []
    for _, row in claims.iterrows():
        text = f"- {escaped_text(row.claim)}: published {row.published:+.1f}{' (ICLR)' * (row.edition == 'iclr2021')}"
        if np.isnan(row.measured):
            lines.append(f"{text}; {row.verdict}.")
            continue
        answer = f"**{row.verdict}**" if row.verdict == intervals.CONTRADICTED else row.verdict
        note = ", on one seed" if row.seeds == 1 and row.verdict != intervals.INCONCLUSIVE else ""
        lines.append(f"{text}, measured {row.measured:+.1f} ± {row['±']:.1f}: {answer}{note}{_later(row)}.")
    return "\n".join(lines)


def describe_training(study: Profile) -> str:
    """How many runs were computed in which precision, initialised from how many weights files."""
    made = [result.manifest for config in all_runs(study) if (result := stored(config, study.results)).complete]
    files = {of["pretrained"] for of in made if of.get("pretrained")}
    counts = ", ".join(f"{n} runs in {of}" for of, n in Counter(one["precision"] for one in made).items())
    return f"{counts or 'no runs'}, initialised from {len(files)} weights files"


def how_to_run(names: str | Sequence[str], study: Profile) -> str:
    """How many runs of a table, or of several (names as `--table` takes them), are missing, what trains them, and what
    this machine lacks for it, markdown; "" where nothing is missing."""
    names = [names] if isinstance(names, str) else list(names)
    todo = plan(all_runs(study, names), study.results)
    missing = [*todo.to_do, *todo.impossible]
    if not missing:
        return ""
    listed = f"tdn train --profile {study.argument} --table {' '.join(names)} --list"
    commands, what = [listed], "them and their commands"
    if not set(names) <= set(study.tables):  # few, and long to train
        gpus, what = 8 if study.name == "paper" else 1, "them, and to train each"
        commands += [command(config, study, gpus) for config in missing]
    lacking = "\n".join(f"- {escaped_text(reason)}" for reason in dict.fromkeys(todo.impossible.values()))
    text = f"**{NOT_RUN.capitalize()}:** {len(missing)} of {len(missing) + len(todo.done)} runs. To list {what}:"
    return "\n\n".join(["", text, "\n".join(["```", *commands, "```"]), lacking])


def all_rows(measured: Mapping[str, Sequence[Line]], seed_error: SeedError = NOT_KNOWN) -> pd.DataFrame:
    """The rows of all tables (by name) below each other, with the columns that they share, without the costs."""
    tables = []
    for name, lines in measured.items():
        table = get_table(name)
        rows = _accuracy(table, lines, seed_error).rename(columns={f"vs {table.references[0]}": "vs reference"})
        rows.insert(0, "table", table.title)
        tables.append(rows.drop(columns="in the ICLR edition", errors="ignore"))
    return pd.concat(tables)


def cost_table(lines: Sequence[Line]) -> pd.DataFrame:
    """Published GMACs against ours, and against the sum of ours, norms and biases (`Cost`), which the published ones
    seem to include."""
    rows = []
    for line in lines:
        more = (cost := full_size_cost(line.row)).norms + cost.biases
        cells = {"network": line.row.name, "GMACs": cost.gmacs, "norms and biases": more, "sum": cost.gmacs + more}
        rows.append(cells | {"published GMACs": line.published_as("gmacs")})
    return pd.DataFrame(rows)


def order_table(
    measured: Mapping[str, Sequence[Line]], seed_error: SeedError = NOT_KNOWN, families: Sequence[Family] = ()
) -> pd.DataFrame:
    """How well published and measured order agree, one row per table (by name) and one for all networks: Spearman's
    rank correlation with its interval (`intervals.rank_correlation`), and one column for that of top-1 in each family.
    Among all, a network of several tables counts once."""
    groups = {}
    for name, lines in measured.items():
        groups[get_table(name).title] = [line for line in lines if line.results and line.published is not None]
    once = {line.results[0].folder: line for lines in groups.values() for line in lines}
    rows = []
    for title, lines in (groups | {"all networks": list(once.values())}).items():
        rows.append({"table": title, "networks": len(lines)})
        if len(lines) > 1:
            names, published = ("rank correlation", "95% low", "95% high"), [line.published for line in lines]
            found = intervals.rank_correlation(published, [line.results for line in lines], seed_error)
            rows[-1] |= dict(zip(names, found, strict=True)) | {"seeds": min(len(line.results) for line in lines)}
            for family in families:
                parts = [family.part(line.results) for line in lines]
                found = intervals.rank_correlation(published, parts, family.seed_error)
                rows[-1][family.name] = "{:.2f} ({:.2f} to {:.2f})".format(*found)
    return pd.DataFrame(rows)


def class_table(lines: Sequence[Line]) -> pd.DataFrame:
    """Top-1 in % of every class (rows) for every line that was run (columns), means over seeds."""
    lines = [line for line in lines if line.results]
    if not lines:
        return pd.DataFrame({"class": []})
    data = lines[0].runs[0].data
    table = pd.DataFrame({"class": data.class_names} | ({"family": data.groups} if data.groups else {}))
    for line in lines:
        table[line.row.name] = 100 * np.mean([result.evaluation.per_class for result in line.results], axis=0)
    return table


def confusion_table(lines: Sequence[Line], class_names: Sequence[str]) -> pd.DataFrame:
    """For every class (rows) and every line that was run (columns): top-1 in % over all seeds, and, where some answers
    are wrong, the most frequent wrong class with its share in %: "80, left 15". No videos are needed."""
    lines = [line for line in lines if line.results]
    table = pd.DataFrame({"class": list(class_names) if lines else []})
    for line in lines:
        counts = np.sum([result.evaluation.confusion for result in line.results], axis=0)
        shares = 100 * counts / counts.sum(1, keepdims=True).clip(1)
        correct = shares.diagonal().copy()
        np.fill_diagonal(shares, 0)
        wrong = [f", {class_names[of.argmax()]} {of.max():.0f}" if of.any() else "" for of in shares]
        table[line.row.name] = [f"{top1:.0f}{more}" for top1, more in zip(correct, wrong, strict=True)]
    return table


def family_table(pairs: Sequence[tuple[Line, Line]], families: Sequence[Family]) -> pd.DataFrame:
    """How much better the second line of each pair is than the first on the videos of each family, in points with the
    half width of the 95 % interval (as in `accuracy_table`), and how the family is filmed; one row per pair that was
    run and family. `seeds` are those of the line that has fewer."""
    rows = []
    for first, second in (pair for pair in pairs if all(line.results for line in pair)):
        for family in families:
            points, half, _ = difference(*(family.part(of.results) for of in (first, second)), family.seed_error)
            row = {"comparison": f"{second.row.name} vs. {first.row.name}", "family": family.name}
            row |= {"camera": MOVES if family.name in PANNED else STILL, "points": points, "±": half}
            seeds = min(len(line.results) for line in (first, second))
            rows.append(row | {"verdict": verdict(points, half), "seeds": seeds})
    return pd.DataFrame(rows)


def family_findings(differences: pd.DataFrame) -> str:
    """Of a `family_table`: one sentence for the families with a moving camera and one for the others, markdown."""
    sentences = []
    for camera, rows in differences.groupby("camera") if len(differences) else ():
        found = []
        for answer in ("better", "worse", intervals.INCONCLUSIVE):
            of = rows[rows["verdict"] == answer]
            names = ", ".join(of["comparison"] + " in *" + of["family"] + "*")
            found.append(f"{answer} in {len(of)} of {len(rows)} differences{f' ({names})' * bool(names)}")
        sentences.append(f"- Where the camera {camera}: {'; '.join(found)}.")
    return "\n".join(sentences)


def kept_table(name: str, study: Profile) -> pd.DataFrame:
    """A table that was saved before, of a study whose networks may not be here; empty where none was."""
    path = study.results / "tables" / f"{name}.csv"
    return pd.read_csv(path) if path.exists() else pd.DataFrame()


def kept(name: str, study: Profile) -> list[Markdown | Image]:
    """What was saved before under this name, the table and the figure, for `display`; where there is neither, a
    sentence that says so."""
    table, figure = study.results / "tables" / f"{name}.md", study.results / "figures" / f"{name}.png"
    found = [Markdown(table.read_text())] if table.exists() else []
    found += [Image(filename=figure)] if figure.exists() else []
    where = f"results/{study.name} has no `{name}`"
    return found or [Markdown(f"{where}: in the profiles `smoke` and `pocket` this notebook computes it.")]


def save_table(table: pd.DataFrame, name: str, study: Profile, lines: Sequence[Line] = (), digits: int = 1) -> None:
    """Writes tables/<name>.csv, .md (with so many decimals) and .json: the manifests of the runs, or the environment
    where there is none."""
    folder = study.output / "tables"
    write_text(folder / f"{name}.csv", table.to_csv(index=False, float_format="%.4f"))
    write_text(folder / f"{name}.md", markdown(table, digits) + "\n")
    runs = {line.row.name: [result.manifest for result in line.results] for line in lines}
    manifest = {"table": name, "profile": study.name} | ({"runs": runs} if runs else environment())
    write_text(folder / f"{name}.json", json.dumps(manifest, indent=1) + "\n")
