"""Print the likeliest classes of videos."""

import argparse
import json
import sys

import pandas as pd
from tqdm import tqdm

from tdn.commands.options import add_network, add_reader, network, positive
from tdn.data.video import VideoError
from tdn.engine.inference import predict, top_classes
from tdn.utils import markdown

EXAMPLES = """\
examples:
  tdn predict clip.mp4 --weights weights.pt
  tdn predict *.mp4 --weights weights.pt --views 10x3 --json
  tdn predict clip.mp4 --weights released.pth.tar --segments 8 --classes names.txt"""


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("videos", nargs="+", metavar="VIDEO", help="video files, or folders of JPEG or PNG frames")
    add("--top", type=positive, default=5, help="number of classes to print (default: %(default)s)")
    add("--json", action="store_true", help="print json with the scores of all classes")
    add_reader(parser)
    add_network(parser).add_argument("--views", help="clips x crops of a video (default: 1x1)")
    parser.set_defaults(run=run, interrupted="nothing was printed")


def run(options: argparse.Namespace) -> int:
    """A video that can't be read does not keep the others from their answers; the status is then 1."""
    loaded = network(options, options.views)
    answers, unreadable = [], []
    for video in tqdm(options.videos, "predicting", unit="video", disable=len(options.videos) == 1):
        try:
            scores = predict(loaded.model, video, loaded.views, options.reader)
        except VideoError as error:
            unreadable.append(error)
            continue
        answers.append((video, top_classes(scores, loaded.class_names, options.top), scores))
    if options.json:
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
    for error in unreadable:
        print(f"tdn predict: {error}", file=sys.stderr)
    return int(bool(unreadable))
