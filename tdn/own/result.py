"""The folder of a result: weights, tables, pictures, and a page that shows them all."""

import html
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from tdn.book.intervals import wilson
from tdn.data.clips import Unreadable
from tdn.data.video import VideoError
from tdn.engine.evaluation import Answers, Evaluation
from tdn.engine.inference import load_network
from tdn.experiments.runs import videos
from tdn.maps.activation import cam
from tdn.maps.pictures import save_png, save_strip
from tdn.own.pictures import plot_confusion, plot_history, plot_per_class
from tdn.own.training import BEST, COMPARISON, Job
from tdn.utils import one_line, write_text, write_whole

MISTAKES = 6  # that are shown, the most confident ones
PAGE = "index.html"
COPIED = ("weights.pt", "history.csv", "manifest.json")  # of the run


def write_result(job: Job) -> Path:
    """Writes what a finished training gave into its folder, and gives the path of its page, which also shows the
    comparison where there is one. Raises as `Result`."""
    result, folder, names = job.result, job.folder, job.found.labelled.class_names
    for name in COPIED:
        _copy(result.file(name) if name != "manifest.json" else result.folder / name, folder / name)
    if (result.folder / BEST).exists():
        _copy(result.folder / BEST, folder / BEST)
    evaluation, history = result.evaluation, result.history
    classes = class_table(evaluation, names)
    write_text(folder / "classes.csv", classes.to_csv(index=False))
    confusion = pd.DataFrame(evaluation.confusion, names, names)
    write_text(folder / "confusion.csv", confusion.to_csv(index_label="class \\ taken for"))
    save_png(plot_history(history), folder / "curves.png")
    save_png(plot_confusion(evaluation.confusion, names), folder / "confusion.png")
    save_png(plot_per_class(classes, 100 / len(names)), folder / "classes.png")
    mistakes = _mistakes(job, evaluation)
    comparison = pd.read_csv(folder / COMPARISON) if (folder / COMPARISON).exists() else None
    write_text(folder / PAGE, _page(job, classes, history, mistakes, comparison))
    return folder / PAGE


def class_table(evaluation: Answers, names: Sequence[str]) -> pd.DataFrame:
    """One row per class: its validation videos, top-1 in % with its 95 % interval (Wilson), and what it is most often
    taken for instead."""
    rows = []
    for label, name in enumerate(names):
        counts = evaluation.confusion[label]
        row = {"class": name, "videos": int(counts.sum()), "top-1": np.nan, "95% low": np.nan, "95% high": np.nan}
        if counts.sum():
            right = counts[label] / counts.sum()
            row["top-1"] = 100 * right
            row["95% low"], row["95% high"] = (100 * end for end in wilson(right, int(counts.sum())))
        others = np.where(np.arange(len(names)) == label, 0, counts)
        row["taken for"] = f"{names[others.argmax()]} ({others.max()})" if others.any() else ""
        rows.append(row)
    return pd.DataFrame(rows)


def _mistakes(job: Job, evaluation: Evaluation) -> list[tuple[str, str]]:
    """The files of pictures, below the folder, and what each shows: frames and maps of the class that was wrong, the
    most confident mistakes first."""
    folder, names = job.folder / "mistakes", job.found.labelled.class_names
    shutil.rmtree(folder, ignore_errors=True)
    confidence = softmax(evaluation.scores, axis=1).max(1)
    wrong = np.flatnonzero(~evaluation.correct)
    shown = wrong[np.argsort(-confidence[wrong])][:MISTAKES]
    loaded = load_network(job.folder / "weights.pt") if len(shown) else None
    found, (_, val) = [], videos(job.config.data, job.data)
    for number, index in enumerate(shown.tolist(), start=1):
        path, _, stretch = val.videos[evaluation.videos[index]]
        taken, label = names[evaluation.answers[index]], names[evaluation.labels[index]]
        shown_as = f"{path.name}, {stretch}" if stretch else path.name
        text = f"{shown_as}: taken for {taken} ({confidence[index]:.0%}), is {label}"
        try:
            with val.open(evaluation.videos[index]) as video:
                frames = video.read(np.arange(video.num_frames), side=job.choice.side)
        except VideoError as error:  # it was read when it was decoded, and is gone
            found.append(("", f"{text}; {error.reason}"))
            continue
        maps = cam(loaded.model, frames, "all", int(evaluation.answers[index]), views=loaded.views)
        save_strip(maps, folder / f"{number}.png", text)
        found.append((f"mistakes/{number}.png", text))
    return found


def _copy(source: Path, target: Path) -> None:
    write_whole(target, lambda file: file.write(source.read_bytes()))


def _page(
    job: Job,
    classes: pd.DataFrame,
    history: pd.DataFrame,
    mistakes: Sequence[tuple[str, str]],
    comparison: pd.DataFrame | None,
) -> str:
    metrics, choice, spec = job.result.metrics, job.choice, job.found.spec
    low, high = (100 * end for end in wilson(metrics["top1"], metrics["videos"]))
    best = history.loc[history["val_top1"].idxmax()]
    name = html.escape(one_line(Path(spec.name).name))
    left_out: list[Unreadable] = [*metrics["unreadable"], *metrics["train_unreadable"]]
    parts = [
        f"<h1>{name}</h1>",
        f"<p class=big>{100 * metrics['top1']:.1f} % top-1</p><p>of {metrics['videos']} validation videos (95 % "
        f"interval {low:.0f} to {high:.0f}; chance {100 / len(classes):.1f} %), {100 * metrics['train_top1']:.1f} % of "
        f"the training videos; {choice.model} on a ResNet-{choice.depth}, after {len(history)} of {choice.epochs} "
        f"epochs. weights.pt is that of the last epoch; {BEST} of the one that was best on these validation videos "
        f"(epoch {best['epoch']:.0f}, {100 * best['val_top1']:.1f} %), which is a choice that flatters it.</p>",
        _section("Training", "curves.png", ""),
        _section("Classes", "classes.png", _table(classes)),
        _section("What is taken for what", "confusion.png", ""),
    ]
    if comparison is not None:
        parts.append(_section("Is it motion that tells?", "compare.png", _table(comparison)))
    pictures = [
        f"<figure>{_image(file)}<figcaption>{html.escape(text)}</figcaption></figure>" for file, text in mistakes
    ]
    parts.append("<h2>The most confident mistakes</h2>" + ("".join(pictures) or "<p>There are none.</p>"))
    if left_out:
        items = "".join(f"<li>{html.escape(f'{path}: {reason}')}</li>" for path, reason in left_out)
        parts.append(f"<h2>Left out, as they can't be read</h2><ul>{items}</ul>")
    recipe = html.escape((job.folder / "recipe.toml").read_text("utf-8"))
    parts.append(f"<h2>Recipe</h2><pre>{recipe}</pre><p>More in manifest.json.</p>")
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    return f"<!doctype html><html lang=en><head>{head}<title>{name}</title><style>{STYLE}</style></head><body>" + (
        "\n".join(parts) + "</body></html>\n"
    )


STYLE = """
body { font: 16px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222 }
img { max-width: 100%; height: auto } figure { margin: 1.5em 0 } .big { font-size: 2em; margin: 0 }
table { border-collapse: collapse; font-size: 14px; display: block; overflow-x: auto }
td, th { padding: 2px 10px; border-bottom: 1px solid #ddd; text-align: right }
td:first-child, th:first-child { text-align: left } pre { background: #f5f5f5; padding: 1em; overflow-x: auto }
"""


def _section(title: str, picture: str, more: str) -> str:
    return f"<h2>{title}</h2>{_image(picture)}{more}"


def _image(file: str) -> str:
    return f'<img src="{file}" alt="">' if file else ""


def _table(table: pd.DataFrame) -> str:
    return table.to_html(index=False, border=0, float_format="%.1f", na_rep="")
