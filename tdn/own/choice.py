"""What a training on one's own videos does: a few choices, each with a default that a rule of a line gives."""

import dataclasses
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tdn.data.sampling import Views
from tdn.engine.inference import weights_file
from tdn.engine.recipes import SOMETHING, Recipe
from tdn.experiments.profiles import GESTURES, PAPER, REAL, RECORD, weights_of
from tdn.experiments.runs import IMAGENET, IMAGENET_RESNETS, Run, stored
from tdn.model.weights import LARGEST
from tdn.model.zoo import SYSTEMS, resolve_options
from tdn.own.videos import OwnVideos
from tdn.utils import unknown_name, write_text

SCRATCH, OF_RECORD = "scratch", "record"  # what a network may be initialised from, beside IMAGENET and a file
CLIPS_SEEN = 14_400  # in a training, where 10 to 60 epochs have as many
LARGE = 1_000  # training videos from which on a CPU, too, trains a ResNet-18
WIDTH = 64  # of the ResNets of torchvision
SMALLEST = 48  # pixels that the pooling of all stages leaves something of
MARGIN = 0.875  # side of the test's crop, as a fraction of a frame's shorter side


@dataclass(frozen=True)
class Choice:
    """The choices of a training; with the videos they are its result. `recipe.toml` has one per line."""

    model: str  # a system of `zoo.SYSTEMS`: tdn, tsn, tsm, ...
    depth: int  # layers of the ResNet
    width: int  # channels of its stem
    size: int  # pixels of the network's input
    segments: int  # T
    window_stride: int  # frames between those of a window
    epochs: int
    lr: float  # at its highest, for the whole batch
    batch: int
    seed: int
    initialised_from: str  # scratch, record, imagenet or a file
    patience: int  # epochs without a better validation top-1 after which training ends; 0: never
    mirror: tuple[str, ...] | None  # None: no clip is mirrored; else pairs A=B of classes that mirroring exchanges

    @property
    def side(self) -> int:
        """Pixels of the shorter side at which frames are kept: a test's crop is then not resized."""
        return round(self.size / MARGIN)

    @property
    def recipe(self) -> Recipe:
        """From ImageNet with the optimiser of the papers; else with that of small networks on real video."""
        of = SOMETHING if self.initialised_from == IMAGENET else REAL
        shared = {"epochs": self.epochs, "lr": self.lr, "batch": self.batch, "schedule": "cosine", "micro_batch": None}
        warmup = min(2, self.epochs / 4)
        return dataclasses.replace(of, **shared, warmup_epochs=warmup, sampling="even")

    def run(self, videos: OwnVideos) -> Run:
        """The run of this choice on `videos`. Raises ValueError for a network that does not exist."""
        dropout = {"dropout": GESTURES.options["dropout"]} if self.initialised_from != IMAGENET else {}
        width = {"width": self.width} if self.width != WIDTH else {}
        name = f"{self.model}_resnet{self.depth}"
        views = Views(size=self.size, scale=self.size / self.side, stride=self.window_stride)
        return Run(
            name,
            tuple(resolve_options(name, {**width, **dropout}).items()),
            self.segments,
            videos,
            self.size,
            PAPER.scales if self.initialised_from == IMAGENET else GESTURES.scales,
            views,
            self.recipe,
            self.seed,
            IMAGENET if self.initialised_from == IMAGENET else None,
        )

    def weights(self) -> Path | None:
        """The file to initialise from, where it is one. Raises FileNotFoundError, and ValueError where the record has
        no such network."""
        if self.initialised_from in (SCRATCH, IMAGENET):
            return None
        if self.initialised_from != OF_RECORD:
            file = weights_file(self.initialised_from)
            if not file.is_file():
                raise FileNotFoundError(f"no weights file at {file}; or --from scratch, record or imagenet")
            return file
        name = f"{self.model}_resnet{self.depth}"
        wanted = resolve_options(name, {"width": self.width, "dropout": 0.0})
        of_record = weights_of(RECORD)
        if config := next((of for of in of_record if (of.model, dict(of.options)) == (name, wanted)), None):
            return stored(config, RECORD.results).file("weights.pt")
        known = ", ".join(f"{of.model} of width {dict(of.options)['width']}" for of in of_record)
        raise ValueError(f"the record has weights of {known}; not of {name} of width {self.width}")

    def save(self, file: Path) -> None:
        """Writes recipe.toml."""
        values = vars(self) | ({"mirror": False} if self.mirror is None else {})
        lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}{_why(name)}" for name, value in values.items()]
        write_text(file, "\n".join(lines) + "\n")  # texts, numbers and lists are written alike in json and toml


def _why(name: str) -> str:
    notes = {
        "width": "channels of the stem; 64 is a usual ResNet",
        "size": "pixels of the network's input",
        "window_stride": "frames between those of a window",
        "lr": "at its highest, for the whole batch; it falls to 0 along a cosine",
        "initialised_from": "scratch, record, imagenet or a file",
        "patience": "epochs without a better validation top-1 that end the training; 0: none does",
        "mirror": 'false: no clip is mirrored; else pairs that mirroring exchanges, ["a=b"], beside left/right',
    }
    return f"  # {notes[name]}" if name in notes else ""


def read_recipe(file: Path) -> dict[str, Any]:
    """The choices in a recipe.toml, for `choose`: all or some of them. Raises OSError; ValueError for what is none."""
    try:
        values = tomllib.loads(file.read_text("utf-8"))
    except ValueError as error:  # no TOML, or not UTF-8
        raise ValueError(f"{file} is no recipe: {error}") from error
    kinds = {field.name: field.type for field in dataclasses.fields(Choice)}
    for name, value in values.items():
        if name not in kinds:
            raise ValueError(f"{file}: {unknown_name('choice', name, kinds)}")
        if name == "mirror":
            values[name] = None if value is False else tuple(value) if isinstance(value, list) else value
            fits = values[name] is None or (isinstance(values[name], tuple) and all(isinstance(v, str) for v in value))
        else:
            fits = type(value) is kinds[name] or (kinds[name] is float and type(value) is int)
        if not fits:
            raise ValueError(f"{file}: {name} = {value!r} is of another kind than a recipe's")
    return values


def choose(given: dict[str, Any], videos: int, gpu: bool) -> Choice:
    """The choice for so many training videos: what is `given`, and by rule what is not.

    - On a CPU with fewer than 1,000 videos a ResNet-10 of width 24 at 96 pixels, from random weights. On a GPU, or with
      more videos, a ResNet-18 at 224 pixels (112 on a CPU), and on a GPU from 10,000 on a ResNet-50, from ImageNet.
    - As many epochs as show the network 14,400 clips, 10 to 60 of them; from ImageNet 10 to 30.
    - TDN, 8 segments, windows of adjacent frames, batch 16; the rate is that of the batch: 2e-3 of AdamW for 16 clips,
      half of it from other weights, 0.0025 of SGD for 16 clips from ImageNet.

    Raises ValueError for a value that cannot be.
    """
    large = gpu or videos >= LARGE
    start = given.get("initialised_from") or (IMAGENET if large and _imagenet_fits(given) else SCRATCH)
    from_imagenet = start == IMAGENET
    width = WIDTH if from_imagenet else 16 if start == OF_RECORD else GESTURES.options["width"]
    depth = (50 if gpu and videos >= 10 * LARGE else 18) if from_imagenet else 10
    size = (224 if gpu else 112) if from_imagenet else GESTURES.size
    batch = given.get("batch") or 16
    rate = (SOMETHING.lr / SOMETHING.batch if from_imagenet else REAL.lr / REAL.batch) * batch
    rate = rate if start in (SCRATCH, IMAGENET) else rate / 2
    epochs = min(max(round(CLIPS_SEEN / max(videos, 1)), 10), 30 if from_imagenet else 60)
    usual = {"model": "tdn", "depth": depth, "width": width, "size": size, "segments": 8, "window_stride": 1}
    usual |= {"epochs": epochs, "lr": rate, "batch": batch, "seed": 0, "initialised_from": start, "patience": 0}
    choice = Choice(**{**usual, "mirror": None, **{name: value for name, value in given.items() if value is not None}})
    if choice.model not in SYSTEMS:
        raise ValueError(unknown_name("model", choice.model, SYSTEMS))
    if min(choice.seed, choice.patience) < 0:
        raise ValueError("seed and patience are not negative")
    if not SMALLEST <= choice.size <= LARGEST["size"]:
        raise ValueError(f"the size is {SMALLEST} to {LARGEST['size']} pixels, not {choice.size}")
    if min(choice.width, choice.segments, choice.window_stride, choice.epochs, choice.batch) < 1:
        raise ValueError("width, segments, window stride, epochs and batch are 1 or more")
    if not 0 < choice.lr < 10:
        raise ValueError(f"the learning rate is a number above 0, such as {rate:g}; got {choice.lr:g}")
    if choice.initialised_from == IMAGENET and not _imagenet_fits(vars(choice)):
        raise ValueError(
            f"there are ImageNet weights of {', '.join(IMAGENET_RESNETS)} of width {WIDTH}, not of depth {choice.depth}"
            f" and width {choice.width}: choose --depth 18 --width {WIDTH}, or --from scratch"
        )
    return choice


def _imagenet_fits(given: dict[str, Any]) -> bool:
    depth, width = given.get("depth") or 18, given.get("width") or WIDTH
    return f"resnet{depth}" in IMAGENET_RESNETS and width == WIDTH
