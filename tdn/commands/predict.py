"""`tdn predict VIDEO... --weights FILE`: what a network takes videos for."""

import argparse
import json
import sys
from collections.abc import Sequence

import pandas as pd
from tqdm import tqdm

from tdn.commands.options import from_options, network_options
from tdn.data.video import VideoError
from tdn.engine.inference import best, predict
from tdn.utils import markdown


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0; 1 where a video could not be read (the others are still answered), 2 where nothing could be
    done, 130 for Ctrl-C."""
    parser = argparse.ArgumentParser("tdn predict", description=__doc__, parents=[network_options()])
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="video files, or folders of JPEG or PNG frames")
    parser.add_argument("--views", help="clips x crops (default: 1x1)")
    parser.add_argument("--top", type=int, default=5, help="how many classes (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print json, with all scores, in place of a table")
    options = parser.parse_args(arguments)
    sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    answers, unreadable = [], []
    try:
        if options.top < 1:
            raise ValueError(f"--top is a number of classes, 1 or more; got {options.top}")
        network = from_options(options, options.views)
        for video in tqdm(options.videos, "predicting", unit="video", disable=len(options.videos) == 1):
            try:
                scores = predict(network.model, video, network.views)
            except VideoError as error:
                unreadable.append(error)
                continue
            answers.append((video, best(scores, network.class_names, options.top), scores))
    except (ValueError, OSError, FloatingPointError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print(f"interrupted; {len(answers)} of {len(options.videos)} videos were answered", file=sys.stderr)
        _print(answers, options.json)
        return 130
    _print(answers, options.json)
    for error in unreadable:
        print(error, file=sys.stderr)
    return int(bool(unreadable))


def _print(answers: list, as_json: bool) -> None:
    if as_json:
        described = [
            {"video": video, "top": [answer._asdict() for answer in top], "scores": scores.tolist()}
            for video, top, scores in answers
        ]
        print(json.dumps(described, indent=1))
    elif answers:
        rows = [
            {"video": video if place == 1 else "", "": place, "class": name, "%": 100 * probability}
            for video, top, _ in answers
            for place, (name, probability) in enumerate(top, start=1)
        ]
        print(markdown(pd.DataFrame(rows), 1))
