"""`tdn predict`: the likeliest classes of videos, or of a long video over time."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from tqdm import tqdm

from tdn.data.streaming import length
from tdn.data.video import VideoError, VideoReader, open_video
from tdn.engine.inference import load_network, predict, top_classes
from tdn.engine.sliding import ScoredStretch, slide
from tdn.maps.subtitles import save_subtitled
from tdn.maps.timeline import save_timeline
from tdn.utils import markdown, one_line, write_text


def run(options: argparse.Namespace) -> int | None:
    """A video that can't be read does not keep the others from their answers; the status is then 1."""
    if options.sliding is not None:
        return _slide(options)
    if options.stride is not None or options.output is not None:
        raise ValueError(f"{'-o' if options.stride is None else '--stride'} needs --sliding SECONDS")
    loaded = load_network(options.weights, options.segments, options.classes, options.size, options.views)
    answers, unreadable = [], []
    for video in tqdm(options.videos, "predicting", unit="video", disable=len(options.videos) == 1):
        try:
            scores = predict(loaded.model, video, loaded.views, options.reader)
        except VideoError as error:
            unreadable.append(error)
            continue
        answers.append((video, top_classes(scores, loaded.class_names, options.top), scores))
    if options.json:
        named = ((video, [answer._asdict() for answer in top], scores.tolist()) for video, top, scores in answers)
        print(json.dumps([dict(zip(("video", "top", "scores"), answer, strict=True)) for answer in named], indent=1))
    elif answers:
        rows = [
            {"video": video if place == 1 else "", "": place, "class": name, "%": 100 * probability}
            for video, top, _ in answers
            for place, (name, probability) in enumerate(top, start=1)
        ]
        print(markdown(pd.DataFrame(rows), 1, one_line))
    for error in unreadable:
        print(f"tdn predict: {error}", file=sys.stderr)
    return int(bool(unreadable))


def _slide(options: argparse.Namespace) -> None:
    """One row per stretch; with -o files, too."""
    if len(options.videos) > 1:
        raise ValueError(f"--sliding takes one video, not {len(options.videos)}")
    if options.output and options.output.exists() and not options.output.is_dir():
        raise NotADirectoryError(f"{options.output} is no folder")
    with open_video(options.videos[0], options.reader) as video:
        seconds = length(video)
        loaded = load_network(options.weights, options.segments, options.classes, options.size, options.views)
        in_order, stretches = slide(loaded.model, video, options.sliding, options.stride, loaded.views), []
        with tqdm(desc="sliding", total=seconds and round(seconds, 2), unit="s", leave=False) as bar:
            for stretch in in_order:
                stretches.append(stretch)
                bar.update(round(stretch.end - bar.n, 2))
        if options.json:
            print(json.dumps([_as_json(stretch, loaded.class_names, options.top) for stretch in stretches], indent=1))
        else:
            table = _table(stretches, loaded.class_names)
            table["probability"] *= 100
            print(markdown(table.set_axis(["start (s)", "end (s)", "class", "%"], axis=1), 2, one_line))
        if options.output:
            files = _save(options.output, video, stretches, loaded.class_names)
            print(f"written: {', '.join(map(str, files))}", file=sys.stderr if options.json else sys.stdout)


def _as_json(stretch: ScoredStretch, names: Sequence[str], number: int) -> dict[str, Any]:
    top = [answer._asdict() for answer in top_classes(stretch.scores, names, number)]
    return {"start": stretch.start, "end": stretch.end, "top": top, "scores": stretch.scores.tolist()}


def _table(stretches: Sequence[ScoredStretch], names: Sequence[str]) -> pd.DataFrame:
    """Start, end, likeliest class and its probability, 0 to 1, of each stretch."""
    rows = [(stretch.start, stretch.end, *top_classes(stretch.scores, names, 1)[0]) for stretch in stretches]
    return pd.DataFrame(rows, columns=["start", "end", "class", "probability"])


def _save(folder: Path, video: VideoReader, stretches: Sequence[ScoredStretch], names: Sequence[str]) -> list[Path]:
    """`<stem of the video>_sliding` as csv, png and mp4."""
    matplotlib.use("Agg")  # no window
    stem = os.fsdecode(os.fsencode(video.path.stem)[:200])  # file systems take 255 bytes
    table, timeline, subtitled = (folder / f"{stem}_sliding{ending}" for ending in (".csv", ".png", ".mp4"))
    write_text(table, _table(stretches, names).round(6).to_csv(index=False))
    title = video.path.name.encode(errors="backslashreplace").decode()  # it need not be UTF-8
    save_timeline(stretches, names, timeline, title)
    save_subtitled(video, stretches, names, subtitled)
    return [table, timeline, subtitled]
