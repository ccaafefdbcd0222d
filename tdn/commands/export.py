"""`tdn export`: a trained network for other programs."""

import argparse
from pathlib import Path

from tdn.engine.export import export_network
from tdn.engine.inference import load_network


def run(options: argparse.Namespace) -> None:
    network = load_network(options.weights, options.segments, options.classes, options.size)
    folder = options.output or (options.weights if options.weights.is_dir() else Path("out"))
    files, difference = export_network(network, folder, options.format)
    print(f"{', '.join(map(str, files))}: scores differ from the network's by at most {difference:.0e} of the largest")
