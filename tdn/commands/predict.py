"""`tdn predict`: the likeliest classes of videos."""

import argparse
import json
import sys

import pandas as pd
from tqdm import tqdm

from tdn.data.video import VideoError
from tdn.engine.inference import load_network, predict, top_classes
from tdn.utils import markdown, one_line


def run(options: argparse.Namespace) -> int:
    """A video that can't be read does not keep the others from their answers; the status is then 1."""
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
