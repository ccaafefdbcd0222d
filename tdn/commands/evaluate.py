"""Report the accuracy of a weights file, ours or the authors', on the validation videos of a data set."""

import argparse
from pathlib import Path

import pandas as pd

from tdn.book.scoring import accuracy_row, evaluate_weights
from tdn.commands.options import add_network, add_reader, class_names, positive
from tdn.data.disk.catalog import dataset_named
from tdn.data.sampling import parse_views
from tdn.engine.distributed import process_group, rank
from tdn.engine.evaluation import Evaluation, ensemble
from tdn.engine.trainer import PRECISIONS
from tdn.utils import home, markdown

EXAMPLES = """\
examples:
  tdn evaluate --weights weights.pt --dataset ssv1
  tdn evaluate --weights released.pth.tar --segments 8 --dataset k400 --views 1x1 10x3
  tdn evaluate --ensemble results/paper/runs/ssv1-...-8-... results/paper/runs/ssv1-...-16-...
  torchrun --nproc-per-node 8 -m tdn evaluate --weights weights.pt --dataset ssv1"""
NEAR_CHANCE = 3  # times the accuracy of guessing: below that the classes are likely in another order


def add_options(parser: argparse.ArgumentParser) -> None:
    add_network(parser, required=False)
    add = parser.add_argument_group("the videos").add_argument
    add("--dataset", help="its name or folder, as tdn data lists them")
    add("--split", type=positive, default=1, help="of the official splits of ucf101 and hmdb51")
    add("--views", nargs="+", default=["1x1"], help="clips x crops, one or more (default: 1x1)")
    options = parser.add_argument_group("how it is computed")
    add_reader(options)
    options.add_argument("--precision", default="fp32", choices=PRECISIONS, help="default: %(default)s")
    options.add_argument("--batch", type=positive, default=16, help="views on a device at once (default: %(default)s)")
    options = parser.add_argument_group("in place of all this")
    options.add_argument("--ensemble", nargs="+", type=Path, metavar="SCORES", help="folders of kept scores to average")
    parser.set_defaults(run=run, interrupted="views that were finished are kept")


def run(options: argparse.Namespace) -> None:
    if options.ensemble:
        together = ensemble([Evaluation.load(folder / "scores.npz") for folder in options.ensemble])
        print(markdown(pd.DataFrame([accuracy_row(together)]), 1))
        return
    if not options.weights or not options.dataset:
        raise ValueError("--weights and --dataset are needed, or --ensemble")
    views = [parse_views(text, options.size) for text in options.views]
    with process_group():
        table = evaluate_weights(
            options.weights,
            dataset_named(options.dataset, options.split),
            views,
            home() / "results/paper/runs",
            options.segments,
            class_names(options),
            options.precision,
            options.batch,
            options.reader,
        )
        if rank() == 0:
            print(markdown(table, 1))
            if (table["top-1"] < NEAR_CHANCE * table["by chance"]).any():
                print("That is next to chance: are the network's classes in another order? See --classes FILE.")
