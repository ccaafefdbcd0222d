"""What `python -m tdn.predict` and `python -m tdn.cam` have in common: a weights file, and what is said of it."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from tdn.data.views import Views, parse_views
from tdn.distributed import device
from tdn.evaluate import to_device
from tdn.model.weights import load_model


class Network(NamedTuple):
    """A network on this machine's device, its name, the names of its classes (their numbers, where nothing has them),
    and the views to look at a video with."""

    model: nn.Module
    name: str
    class_names: list[str]
    views: Views


class Answer(NamedTuple):
    """A class that a video may show: its name, and the softmax of its score, 0 to 1."""

    class_name: str
    probability: float


def network_options() -> argparse.ArgumentParser:
    """To be a parent of the command's own parser."""
    options = argparse.ArgumentParser(add_help=False)
    add = options.add_argument
    add("--weights", type=Path, required=True, metavar="FILE", help="weights of ours or of the authors")
    add("--segments", type=int, metavar="T", help="frames of the network, where its file does not say: 8 or 16")
    add("--classes", type=Path, metavar="FILE", help="names in the order of the network's outputs, a line each")
    add("--size", type=int, metavar="PIXELS", help="of the crop that the network sees (default: as the file says, 224)")
    return options


def load_network(
    weights: Path,
    segments: int | None = None,
    class_names: Sequence[str] | None = None,
    size: int | None = None,
    views: str | None = None,
) -> Network:
    """The network of a weights file. `views` as "10x3"; None takes one. Their size and scale are those that the file
    says, if it does.

    Raises as `load_model` and `parse_views`; ValueError where the names are not as many as the classes.
    """
    model, name, names, of_file = load_model(weights, segments)
    classes = model.fc.out_features
    names = class_names or names or [f"class {number}" for number in range(classes)]
    if len(names) != classes:
        raise ValueError(f"{len(names)} names of classes for the {classes} of the network")
    chosen = parse_views(views or "1x1", size)
    if of_file:
        chosen = Views(**(of_file | {"clips": chosen.clips, "crops": chosen.crops, "size": size or of_file["size"]}))
    return Network(to_device(model, device()).eval(), name, list(names), chosen)


def from_options(options: argparse.Namespace, views: str | None = None) -> Network:
    """As `load_network`, from the command's options; OSError where the file of names can't be read."""
    names = options.classes.read_text().splitlines() if options.classes else None
    return load_network(options.weights, options.segments, names, options.size, views)


def best(scores: Tensor, class_names: Sequence[str], number: int = 5) -> list[Answer]:
    """The `number` likeliest classes by their scores `(classes,)`, the likeliest first."""
    probabilities, classes = scores.softmax(0).topk(min(number, len(scores)))
    return [Answer(class_names[c], p) for c, p in zip(classes.tolist(), probabilities.tolist(), strict=True)]
