"""`tdn evaluate`: what a weights file gives on a data set; ensembles of scores."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tdn.book.scoring import accuracy_row, evaluate_weights
from tdn.data.disk.catalog import dataset_named
from tdn.data.sampling import parse_views
from tdn.engine.distributed import process_group, rank
from tdn.engine.evaluation import Evaluation, ensemble
from tdn.engine.trainer import PRECISIONS
from tdn.experiments.runs import ROOT
from tdn.utils import markdown

NEAR_CHANCE = 3  # times the accuracy of guessing: fewer, and the classes are likely in another order


ROW_DIGITS = 1


def parser() -> argparse.ArgumentParser:
    command_line = argparse.ArgumentParser(prog="tdn evaluate", description=__doc__)
    add = command_line.add_argument
    add("--weights", type=Path, help="file of ours or of the authors (.pt, .pth, .pth.tar)")
    add("--dataset", help="its name or folder, as tdn data shows them")
    add("--split", type=int, default=1, help="of the official splits of ucf101 and hmdb51")
    add("--views", nargs="+", default=["1x1"], help="clips x crops, one or more (default: 1x1)")
    add("--size", type=int, help="pixels of a crop (default: 224 for one crop, else 256)")
    add("--segments", type=int, help="frames of the network, where its file does not say: 8 or 16")
    add("--classes", type=Path, help="names in the order of the network's outputs, a line each")
    add("--precision", default="fp32", choices=PRECISIONS, help="default: %(default)s")
    add("--batch", type=int, default=16, help="views on the device at once (default: %(default)s)")
    add("--ensemble", nargs="+", type=Path, metavar="SCORES", help="folders of kept scores to average")
    return command_line


def main(argv: Sequence[str] | None = None) -> None:
    command_line = parser()
    args = command_line.parse_args(argv)
    try:
        if args.ensemble:
            together = ensemble([Evaluation.load(folder / "scores.npz") for folder in args.ensemble])
            print(markdown(pd.DataFrame([accuracy_row(together)]), ROW_DIGITS))
            return
        if not args.weights or not args.dataset:
            raise ValueError("--weights and --dataset are needed, or --ensemble")
        names = args.classes.read_text().splitlines() if args.classes else None
        views = [parse_views(text, args.size) for text in args.views]
        with process_group():
            table = evaluate_weights(
                args.weights,
                dataset_named(args.dataset, args.split),
                views,
                ROOT / "results" / "paper" / "runs",
                args.segments,
                names,
                args.precision,
                args.batch,
            )
            if rank() == 0:
                print(markdown(table, ROW_DIGITS))
                if (table["top-1"] < NEAR_CHANCE * table["by chance"]).any():
                    print("That is next to chance: are the network's classes in another order? See --classes FILE.")
    except (ValueError, OSError) as error:
        command_line.error(str(error))
