"""`tdn evaluate`: the accuracy of a weights file, ours or the authors', on a data set."""

import hashlib
import json
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tdn.data.clips import TestClips, VideoSet
from tdn.data.disk.catalog import DatasetSpec
from tdn.data.sampling import Views, parse_views
from tdn.engine.distributed import device, rank, to_device
from tdn.engine.evaluation import Evaluation, evaluate
from tdn.engine.trainer import PRECISIONS
from tdn.experiments.manifest import environment
from tdn.experiments.runs import DATA
from tdn.experiments.tables import COMPARISONS, published
from tdn.model.cost import measure_cost
from tdn.model.weights import load_model
from tdn.utils import digest_of, read_record, write_record, write_text


def evaluate_weights(
    weights: Path,
    spec: DatasetSpec,
    views: Sequence[str],
    results: Path,
    num_segments: int | None = None,
    class_names: Sequence[str] | None = None,
    size: int | None = None,
    precision: str = "fp32",
    batch: int = 16,
    reader: str = "pyav",
) -> pd.DataFrame:
    """Scores the validation videos of a data set under each of `views`; of a folder without a split that the network
    was not trained on, all. Gives one row per views, and keeps scores, accuracy per class, unreadable videos and a
    manifest in a folder of `results` for each.

    `views` as "10x3", of the file's `size` unless it is given, as `parse_views`.
    `class_names` are in the order of the network's outputs, where it is not the data set's and not in the file; `batch`
    is of views on the device at once; `reader` as in `open_video`. Raises as `load_model` and `DatasetSpec.videos`;
    ValueError where the data set has other classes than the network; RuntimeError where no video can be read.
    """
    model, name, names, of_file = load_model(weights, num_segments)
    chosen = [parse_views(text, size, of_file) for text in views]
    scored, every = _scored(spec, weights.parent)
    scored.reader, names = reader, class_names or names
    order = output_order(scored, model.fc.out_features, names)
    shown = scored.class_names if len(order) == model.fc.out_features else names  # else some classes have no video
    if rank() == 0:
        which = "all" if every else "the validation's"
        print(f"scored: {which} {len(scored)} videos, {len(order)} of the network's {len(shown)} classes", flush=True)
    to_device(model, device())
    contents, rows = spec.contents() + (", all" if every else ""), []
    for of in chosen:
        clips = TestClips(scored, model.num_segments, model.window, of)
        evaluation = evaluate(model, clips, device(), batch, PRECISIONS[precision])
        if not len(evaluation.labels):
            first = evaluation.unreadable[0]
            raise RuntimeError(f"none of the {evaluation.of} videos can be read, such as {first.path}: {first.reason}")
        of_set, labels = (evaluation.videos, evaluation.unreadable), evaluation.labels
        if shown is scored.class_names:
            evaluation = Evaluation(evaluation.scores[:, order], labels, *of_set)
        else:
            evaluation = Evaluation(evaluation.scores, np.array(order)[labels], *of_set)
        gmacs = measure_cost(model, of.size).gmacs
        row = {"network": name, "segments": model.num_segments, "data": spec.name, "views": str(of), "size": of.size}
        row |= {"GMACs a view": gmacs, "GMACs": gmacs * of.number}
        row |= accuracy_row(evaluation) | published_row(spec.name, name, model.num_segments, of)
        rows.append(row)
        if rank() == 0:
            digits = hashlib.sha256(weights.read_bytes()).hexdigest()
            data = spec.index_file(Path()).stem  # its name, split, or a hash of its folder
            folder = results / f"{data}-{name}-{model.num_segments}-{of}-{of.size}-{precision}-{digits[:10]}"
            about = row | {"split": spec.split, "contents": contents, "precision": precision}
            about |= {"weights": f"{weights.name}, sha256 {digits}"}
            again = ["tdn", "evaluate", "--weights", str(weights), "--dataset", spec.name, "--views", str(of)]
            _keep(folder, evaluation, shown, about | environment() | {"command": shlex.join(again)})
    return pd.DataFrame(rows)


def _scored(spec: DatasetSpec, of_network: Path) -> tuple[VideoSet, bool]:
    """The videos, and whether they are all; `of_network` is the folder of the weights, which may say of what."""
    train, val = spec.videos(DATA, to_train=False)
    about = {}
    with suppress(OSError, ValueError):  # it may be anybody's
        about = json.loads((of_network / "manifest.json").read_bytes())
    if spec.has_split or about.get("dataset") == spec.name or about.get("data") == spec.contents():
        return val, False
    unreadable = {len(val) + index: reason for index, reason in train.known_unreadable.items()}
    every = VideoSet([*val.videos, *train.videos], val.class_names, known_unreadable=val.known_unreadable | unreadable)
    return every, True


def contents_of(folder: Path) -> str | None:
    """What the scores in a folder of a run or an evaluation are of, as `DatasetSpec.contents`; None where it does not
    say."""
    for record, key in (("manifest.json", "data"), ("about.json", "contents")):
        if (folder / record).is_file():
            return read_record(folder / record, f"remove {folder} and make it again").get(key)
    return None


def output_order(val_set: VideoSet, outputs: int, class_names: Sequence[str] | None) -> list[int]:
    """For each class of the data set, which of the network's outputs is its score: by the names, or where there are
    none all in order. Raises ValueError where the network does not have a class."""
    wanted = val_set.class_names
    if class_names and len(class_names) != outputs:
        raise ValueError(f"{len(class_names)} names of classes, but the network has {outputs} classes")
    if not class_names:
        if outputs != len(wanted):
            raise ValueError(
                f"the network has {outputs} classes, the data set {len(wanted)}: name them, --classes FILE"
            )
        return list(range(outputs))
    outputs_of = {name: output for output, name in enumerate(class_names)}
    if missing := [name for name in wanted if name not in outputs_of]:
        shown = ", ".join(map(repr, missing[:3]))
        raise ValueError(f"{len(missing)} of the data set's classes are none of the network's, such as {shown}")
    return [outputs_of[name] for name in wanted]


def accuracy_row(evaluation: Evaluation) -> dict[str, Any]:
    """Top-1, top-5 and the mean over classes, in %, and the number of videos."""
    row = {"top-1": 100 * evaluation.top(1), "top-5": 100 * evaluation.top(5)}
    row |= {"mean of classes": 100 * float(np.nanmean(evaluation.per_class))}
    row |= {"by chance": 100 / evaluation.classes}
    return row | {"videos": f"{len(evaluation.labels)} of {evaluation.of}"}


def published_row(dataset: str, name: str, num_segments: int, views: Views) -> dict[str, float]:
    """The published top-1 of TDN with this backbone, number of frames and views, where the paper has it."""
    comparison = next((c for c in COMPARISONS.values() if c.setting == dataset), None)
    system, _, backbone = name.partition("_resnet")
    if comparison is None or system != "tdn":
        return {}
    frames = f"{num_segments}x{views}"
    if "clips" not in comparison.frames:  # published with one view
        frames = frames.removesuffix("x1x1")
    of = {"method": comparison.method, "backbone": f"ResNet{backbone}", comparison.frames: frames}
    row = published(comparison.file, **of)
    return {"published top-1": float(row["top1"].iloc[0])} if len(row) else {}


def _keep(folder: Path, evaluation: Evaluation, class_names: Sequence[str], about: dict[str, Any]) -> None:
    evaluation.save(folder / "scores.npz")
    classes = pd.DataFrame({"class": class_names, "videos": evaluation.confusion.sum(1)})
    classes["top-1"] = 100 * evaluation.per_class
    write_text(folder / "classes.csv", classes.to_csv(index=False, float_format="%.2f"))
    label, answer = np.nonzero(evaluation.confusion)
    names = np.array(class_names)
    confusion = pd.DataFrame({"class": names[label], "answer": names[answer]})
    confusion["videos"] = evaluation.confusion[label, answer]
    wrong = confusion[label != answer].sort_values("videos", ascending=False, kind="stable")
    write_text(folder / "confusion.csv", wrong.to_csv(index=False))
    about["unreadable"] = {str(video.path): video.reason for video in evaluation.unreadable}
    files = {name: digest_of(folder / name) for name in ("scores.npz", "classes.csv", "confusion.csv")}
    write_record(folder / "about.json", about, files)
    for video in evaluation.unreadable[:5]:  # about.json has all
        print(f"not readable: {video.path}: {video.reason}")
    print(f"scores, accuracy per class, confusions and manifest: {folder}")
