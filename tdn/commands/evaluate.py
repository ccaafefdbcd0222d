"""`tdn evaluate`: the accuracy of a weights file on a data set, or of an ensemble of scores."""

import argparse

import pandas as pd

from tdn.book.scoring import accuracy_row, contents_of, evaluate_weights
from tdn.data.disk.catalog import dataset_named
from tdn.data.sampling import parse_views
from tdn.engine.distributed import process_group, rank
from tdn.engine.evaluation import Evaluation, ensemble
from tdn.engine.inference import weights_file
from tdn.utils import home, markdown

NEAR_CHANCE = 3  # times the accuracy of guessing: below that the classes are likely in another order


def run(options: argparse.Namespace) -> None:
    if options.ensemble:
        known = {of for folder in options.ensemble if (of := contents_of(folder))}
        if len(known) > 1:
            raise ValueError(f"the scores are of different data: {'; '.join(sorted(known))}")
        together = ensemble([Evaluation.load(folder / "scores.npz") for folder in options.ensemble])
        print(markdown(pd.DataFrame([accuracy_row(together)]), 1))
        return
    if not options.weights or not options.dataset:
        raise ValueError("--weights and --dataset are needed, or --ensemble")
    list(map(parse_views, options.views))  # raises before anything is loaded
    with process_group():
        videos, runs = dataset_named(options.dataset, options.split), home() / "results/paper/runs"
        network = options.segments, options.classes, options.size
        computed = options.precision, options.batch, options.reader
        table = evaluate_weights(weights_file(options.weights), videos, options.views, runs, *network, *computed)
        if rank() == 0:
            print(markdown(table, 1))
            if (table["top-1"] < NEAR_CHANCE * table["by chance"]).any():
                print("That is next to chance: are the network's classes in another order? See --classes FILE.")
