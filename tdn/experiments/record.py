"""Results of runs: the files that a training leaves, and what the committed record keeps of them."""

import functools
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from tdn.engine.evaluation import Answers, Evaluation
from tdn.utils import check_digest, digest_of, read_record, write_listed, write_record, write_text, write_whole

RECORD_FILES = ("answers.npz", "runs.jsonl", "history.csv")  # of a record, beside record.json, which has their digests
RECORD, SHOWN_DIGITS = "record.json", 4
OF_HISTORY = ["epoch", "loss", "train_top1", "td_loss"]  # the rate follows from the recipe, times are the machine's


@dataclass(frozen=True)
class Result:
    """The files of a run in `folder`: config.json, history.csv (one row per epoch), scores.npz (`Evaluation`),
    metrics.json, manifest.json and weights.pt (for `tdn.load_weights`).

    The manifest has the digest (sha256) of every other file, and of itself; what is read is compared with it. Raises
    ValueError for a file that is not as it was written, with its path and what to do.
    """

    folder: Path
    command: str = "tdn train"  # that trains it

    @property
    def complete(self) -> bool:
        return (self.folder / "metrics.json").exists()  # written last

    @functools.cached_property
    def metrics(self) -> dict[str, Any]:
        return json.loads(self.file("metrics.json").read_text())

    @functools.cached_property
    def manifest(self) -> dict[str, Any]:
        content = read_record(self.folder / "manifest.json", self._remedy)
        return {name: value for name, value in content.items() if name != "files"}

    @functools.cached_property
    def evaluation(self) -> Evaluation:
        return Evaluation.load(self.file("scores.npz"))

    @property
    def history(self) -> pd.DataFrame:
        return pd.read_csv(self.file("history.csv"))

    def file(self, name: str) -> Path:
        """The path of one of its files, which is as it was written. Raises FileNotFoundError, and as the class."""
        if not self.complete:
            raise FileNotFoundError(f"no {self.folder / name} of a complete run: train it first, {self.command}")
        check_digest(self.folder / name, self.folder / "manifest.json", self._remedy)
        return self.folder / name

    def has(self, name: str) -> bool:
        """Whether a file of this name, of results computed later, is there and listed. Raises as the class."""
        path, record = self.folder / name, self.folder / "manifest.json"
        if known := path.exists() and name in read_record(record, self._remedy)["files"]:
            check_digest(path, record, "remove it, and it is computed again")
        return known

    @property
    def others(self) -> Mapping[str, Answers]:
        """All that `other_scores` has computed, by name."""
        names = [path.stem.removeprefix("scores-") for path in sorted(self.folder.glob("scores-*.npz"))]
        return {name: Evaluation.load(self.folder / f"scores-{name}.npz") for name in names}

    def other_scores(self, name: str, compute: Callable[[], Evaluation]) -> Answers:
        """Scores of other views, or together with another network: computed once and kept as scores-<name>.npz. Raises
        as the class."""
        if not self.has(f"scores-{name}.npz"):
            write_listed(self.folder / f"scores-{name}.npz", compute().save)
        return Evaluation.load(self.folder / f"scores-{name}.npz")

    @property
    def _remedy(self) -> str:
        return f"remove {self.folder}, then: {self.command}"


@dataclass(frozen=True)
class Recorded(Result):
    """What a record keeps of a run: its answers, history, metrics and manifest; of some its weights, in float16."""

    kept: Mapping[str, Any] = field(default_factory=dict)  # as `recorded` gives it

    @property
    def complete(self) -> bool:
        return True

    @property
    def metrics(self) -> dict[str, Any]:
        return self.kept["metrics"]

    @property
    def manifest(self) -> dict[str, Any]:
        return self.kept["manifest"]

    @property
    def evaluation(self) -> Answers:
        return self.kept["answers"]

    @property
    def others(self) -> Mapping[str, Answers]:
        return self.kept["others"]

    def other_scores(self, name: str, compute: Callable[[], Evaluation]) -> Answers:
        if name not in self.others:
            raise FileNotFoundError(
                f"the record keeps no scores {name} of {self.folder.name}: train it, {self.command}"
            )
        return self.others[name]

    @property
    def history(self) -> pd.DataFrame:
        return self.kept["history"]

    def file(self, name: str) -> Path:
        """The weights, where the record has them. Raises FileNotFoundError for all else."""
        path = self.folder.parents[1] / "weights" / f"{self.folder.name}.pt"
        if name != "weights.pt" or not path.exists():
            raise FileNotFoundError(f"the record keeps no {name} of {self.folder.name}: train it, {self.command}")
        check_digest(path, path.parents[1] / RECORD, f"restore it: git checkout {path.parent}")
        return path


def recorded(results: Path) -> Mapping[str, Mapping[str, Any]]:
    """By the name of each run in the record that the folder `results` holds: answers (`Answers`), history, metrics and
    manifest; nothing where it holds none. Raises ValueError for a file that is not as it was written."""
    path = results / RECORD
    return _recorded(results, path.stat().st_mtime_ns) if path.exists() else {}


@functools.lru_cache(maxsize=2)
def _recorded(results: Path, time: int) -> Mapping[str, Mapping[str, Any]]:
    for name in RECORD_FILES:
        check_digest(results / name, results / RECORD, f"restore it: git checkout {results}")
    history = dict(list(pd.read_csv(results / "history.csv").groupby("run")))
    rows = [json.loads(line) for line in (results / "runs.jsonl").read_text().splitlines()]
    with np.load(results / "answers.npz") as arrays:
        for row in rows:

            def answers(name: str, classes: int = row["classes"]) -> Answers:
                given, ranks, labels = arrays[name].astype(int)
                return Answers(given, ranks, labels, np.arange(len(labels)), classes)

            row["answers"] = answers(row["run"])
            row["others"] = {name: answers(f"{row['run']} {name}") for name in row["others"]}
            row["history"] = history[row["run"]].drop(columns="run").dropna(axis=1, how="all").reset_index(drop=True)
    return {row["run"]: row for row in rows}


def pack(results: Path, of_runs: Iterable[Result], with_weights: Iterable[Result] = ()) -> None:
    """Writes the record of complete runs, none of which left a video out, into the folder `results`; with the float16
    weights of some. Runs that it had before and that are not given are dropped; of training videos that could not be
    read it keeps the names, without the folders of this machine. Raises ValueError for a run with unreadable validation
    videos, whose answers it could not place."""
    arrays, rows, histories = {}, [], []
    for result in of_runs:
        name, evaluation = result.folder.name, result.evaluation
        if evaluation.unreadable:
            raise ValueError(f"{name} left {len(evaluation.unreadable)} videos out: a record is of whole sets")
        others = {f"{name} {what}": of for what, of in result.others.items()}
        for key, of in ({name: evaluation} | others).items():
            arrays[key] = np.stack([of.answers, of.ranks, of.labels]).astype(np.uint8)
        of = {"run": name, "classes": evaluation.classes, "others": [*result.others]}
        bad = [[Path(video).name, reason] for video, reason in result.metrics.get("train_unreadable", ())]
        of |= {"metrics": result.metrics | {"train_unreadable": bad}, "manifest": result.manifest}
        rows.append(json.dumps(of))
        histories.append(result.history.filter(OF_HISTORY).assign(run=name))
    write_whole(results / "answers.npz", lambda file: np.savez_compressed(file, **arrays))
    write_text(results / "runs.jsonl", "".join(f"{row}\n" for row in rows))
    text = io.StringIO()
    pd.concat(histories).to_csv(text, index=False, float_format=f"%.{SHOWN_DIGITS}g")
    write_text(results / "history.csv", text.getvalue())
    files = list(RECORD_FILES)
    for result in with_weights:
        content = torch.load(result.file("weights.pt"), weights_only=True)
        half = {key: value.half() if value.is_floating_point() else value for key, value in content["model"].items()}
        files.append(f"weights/{result.folder.name}.pt")
        write_whole(results / files[-1], lambda file, of=content | {"model": half}: torch.save(of, file))
    write_record(results / RECORD, {"runs": len(rows)}, {Path(name).name: digest_of(results / name) for name in files})
