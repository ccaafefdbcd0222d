"""What `tdn predict` and `tdn cam` have in common: a weights file, and what is said of it."""

import argparse
from pathlib import Path

from tdn.engine.inference import Network, load_network


def network_options() -> argparse.ArgumentParser:
    """To be a parent of the command's own parser."""
    options = argparse.ArgumentParser(add_help=False)
    add = options.add_argument
    add("--weights", type=Path, required=True, metavar="FILE", help="weights of ours or of the authors")
    add("--segments", type=int, metavar="T", help="frames of the network, where its file does not say: 8 or 16")
    add("--classes", type=Path, metavar="FILE", help="names in the order of the network's outputs, a line each")
    add("--size", type=int, metavar="PIXELS", help="of the crop that the network sees (default: as the file says, 224)")
    return options


def from_options(options: argparse.Namespace, views: str | None = None) -> Network:
    """As `load_network`, from the command's options; OSError where the file of names can't be read."""
    names = options.classes.read_text().splitlines() if options.classes else None
    return load_network(options.weights, options.segments, names, options.size, views)
