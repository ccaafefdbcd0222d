"""What several commands have in common."""

import argparse
from pathlib import Path

from tdn.engine.inference import Network, load_network


def positive(text: str) -> int:
    """The type of an option that is a number, 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number, 1 or more, is needed; got {text}")
    return int(text)


def add_reader(options: argparse._ActionsContainer) -> None:
    options.add_argument(
        "--reader", default="pyav", choices=("pyav", "decord"), help="what decodes video files (default: %(default)s)"
    )


def add_network(parser: argparse.ArgumentParser, required: bool = True) -> argparse._ArgumentGroup:
    """The options of a trained network, of which `predict` and `cam` make a `network`."""
    options = parser.add_argument_group("the network")
    add = options.add_argument
    add("--weights", type=Path, required=required, metavar="FILE", help="weights of ours or of the authors")
    add("--segments", type=positive, metavar="T", help="segments, where the file does not tell: 8 or 16")
    add("--classes", type=Path, metavar="FILE", help="names of the classes, one per line, in the order of the outputs")
    add("--size", type=positive, metavar="PIXELS", help="side of the crop that the network sees")
    return options


def class_names(options: argparse.Namespace) -> list[str] | None:
    """The lines of `--classes`. Raises OSError where the file can't be read."""
    return options.classes.read_text().splitlines() if options.classes else None


def network(options: argparse.Namespace, views: str | None = None) -> Network:
    """As `load_network`, from the options of `add_network`."""
    return load_network(options.weights, options.segments, class_names(options), options.size, views)
