"""The same study at three scales: data, networks' size and recipes of smoke, pocket (and its record) and paper; and of
gestures, real video that a laptop trains on."""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tdn.data.disk.catalog import DatasetSpec
from tdn.data.pocket.render import PocketPart, PocketSpec
from tdn.data.sampling import Views
from tdn.engine.recipes import KINETICS, SOMETHING, TDRL, UCF_HMDB, UCF_HMDB_DROPOUT, Recipe
from tdn.experiments.runs import IMAGENET, ROOT, Data, Run
from tdn.experiments.tables import COMPARISONS, MORE_TABLES, OURS, TABLES, Row, Table
from tdn.model.tdrl import TemporalDiversity
from tdn.model.zoo import create_model, resolve_options
from tdn.utils import CHECKOUT, unknown_name

TD_CHANNELS = 512 + 1024 + 2048  # of the blocks with the TD loss in ResNet-50, for which lambda is published
OFFICIAL_SPLITS = (1, 2, 3)  # of UCF101 and HMDB51


@dataclass(frozen=True)
class Setting:
    """What a table of the papers is measured on: a data set, the recipe of its networks, and their views."""

    data: Data
    recipe: Recipe
    views: Views


@dataclass(frozen=True)
class Transfer:
    """Fine-tuning on small data sets (CVPR Table 4): the `row`'s network, from `source` to each split of `targets`."""

    source: Setting
    targets: Mapping[str, tuple[Setting, ...]]
    row: Row
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """The study at one scale. `depths` stand for the papers' 50 and 101 layers; notebooks show frames of `pictures`."""

    name: str
    settings: Mapping[str, Setting]  # by the name of a table's setting
    transfer: Transfer | None
    depths: tuple[int, int]
    num_segments: int
    size: int  # pixels of a training crop
    scales: tuple[float, ...]  # as `Run.scales`
    seeds: tuple[int, ...]
    many_views: Views | None  # for Kinetics
    pictures: PocketSpec
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of every network
    # Of the 2D networks to initialise from; or IMAGENET, or None: from scratch.
    pretraining: tuple[PocketSpec, Recipe] | str | None = None
    trains_in_notebooks: bool = False  # what is missing: where that takes minutes
    notebooks: tuple[str, ...] = ()  # numbers of those that it executes; none for all

    @property
    def argument(self) -> str:
        """What `get_profile` takes for it: its name, and the number of seeds where that is not the usual one."""
        return self.name if self.seeds == PROFILES[self.name].seeds else f"{self.name}:{len(self.seeds)}"

    @property
    def is_record(self) -> bool:
        """Whether its results are committed."""
        return self.name.split("/")[0] == "record"

    @property
    def results(self) -> Path:
        return (CHECKOUT if self.is_record else ROOT) / "results" / self.name

    @property
    def read_only(self) -> bool:
        """Whether it is a record that notebooks only read: its runs are not here."""
        return self.is_record and not any((self.results / "runs").glob("*"))

    @property
    def output(self) -> Path:
        """Where notebooks write: into `results`, but not where that is `read_only`."""
        return ROOT / "results/lab" if self.read_only else self.results

    @property
    def tables(self) -> dict[str, Table]:
        """The tables that are measured here, by name: those whose setting it has."""
        return {name: table for name, table in (TABLES | MORE_TABLES).items() if table.setting in self.settings}

    @property
    def table_names(self) -> list[str]:
        """What `--table` takes: the tables, comparisons and the transfer that are measured here."""
        compared = [name for name, comparison in COMPARISONS.items() if comparison.setting in self.settings]
        return [*self.tables, *compared, *(["transfer"] if self.transfer else [])]

    def runs(self, row: Row, table: Table) -> list[Run]:
        """The runs of a row, one per seed."""
        return [self._run(row, self.settings[table.setting], seed) for seed in self.seeds[: row.max_seeds]]

    def transfer_runs(self, target: str, transferred: bool = True) -> list[Run]:
        """One run per split of `target`, initialised from the network on `transfer.source`; or, to compare, from that
        network's own initial weights."""
        source = self._run(self.transfer.row, self.transfer.source, 0)
        row = dataclasses.replace(self.transfer.row, options=self.transfer.row.options | self.transfer.options)
        runs = [self._run(row, setting, 0) for setting in self.transfer.targets[target]]
        return [dataclasses.replace(config, pretrained=source) for config in runs] if transferred else runs

    def pretrained(self, system: str = "tsn", deep: bool = False) -> Run | str | None:
        """What networks are initialised from: ImageNet in the papers; on the pocket benchmark a plain 2D network,
        trained on pictures of the shapes that its objects have ("tsn", or "res2net" for TEA, which is made of it).
        None: they are trained from scratch."""
        if not isinstance(self.pretraining, tuple):
            return self.pretraining
        data, recipe = self.pretraining
        model = f"{system}_resnet{self.depths[deep]}"
        options = tuple(resolve_options(model, dict(self.options)).items())
        return Run(model, options, 1, data, self.size, self.scales, self.settings["ssv1"].views, recipe, seed=0)

    def _run(self, row: Row, setting: Setting, seed: int) -> Run:
        model = f"{row.system}_resnet{self.depths[row.deep]}"
        options = tuple(resolve_options(model, {**self.options, **row.options}).items())
        # Equation (7) sums over channels: with fewer of them the TD loss keeps the weight that it has in ResNet-50.
        channels = _td_channels(model, options)
        weight = row.td_lambda * TD_CHANNELS / channels if channels else 0.0
        recipe = dataclasses.replace(setting.recipe, td_lambda=weight)
        pretrained = self.pretrained("res2net" if dict(options).get("conv2", "dense") != "dense" else "tsn", row.deep)
        of = row.segments(self.num_segments), setting.data, self.size, self.scales, setting.views
        return Run(model, options, *of, recipe, seed, pretrained)


@functools.lru_cache
def _td_channels(model: str, options: tuple[tuple[str, Any], ...]) -> int:
    if not any("td_loss" in dict(options).get(place, ()) for place in ("before", "between")):
        return 0
    with torch.device("meta"):
        network = create_model(model, **dict(options))
    return sum(module.channels for module in network.modules() if isinstance(module, TemporalDiversity))


# Pocket: the difficulty of the clips, their number and the epochs were set on the tuning split (render seed 0), with
# TDN; on the reported clips (render seed 1) only runs of the study were trained. With `sampling="even"` crops are never
# resized, at 81 places and not 13, and no part of a clip is left out.
ADAMW = Recipe(epochs=1, batch=32, lr=0.02, optimizer="adamw", weight_decay=0.05, schedule="cosine", warmup_epochs=0.5)
ADAMW = dataclasses.replace(ADAMW, sampling="even")
# Chosen against ADAMW (tuning.py has both) on the clips of the edition before; rate and schedule on a first rendering
# of this one. At three times the rate the shapes that the 2D network knows are forgotten.
MUON = dataclasses.replace(ADAMW, optimizer="muon", lr=0.03, schedule="hold", weight_decay=0.5, label_smoothing=0.1)
OF_PICTURES = dataclasses.replace(MUON, lr=0.1, schedule="cosine", batch=64)


def _pocket(name: str, data: PocketSpec, pictures: int, segments: int, width: int, *epochs: int) -> Profile:
    """`epochs` of the 2D network, on so many `pictures`, of all others, and of fine-tuning."""
    recipes = zip((OF_PICTURES, MUON, MUON), epochs, strict=True)
    flat, recipe, tuned = (dataclasses.replace(recipe, epochs=number) for recipe, number in recipes)
    views = Views(size=48, scale=48 / 56)  # 48 of the videos' 56 pixels: cropped, never resized
    source = Setting(PocketPart(data, ("short", "order")), recipe, views)
    target = tuple(Setting(PocketPart(data, ("both",), split), tuned, views) for split in OFFICIAL_SPLITS)
    settings = dict.fromkeys(("ssv1", "ssv2", "k400", "tdrl"), Setting(data, recipe, views))
    transfer = Transfer(source, {"pocket, family both": target}, OURS["ResNet50", "8"])
    scale = {"depths": (10, 18), "num_segments": segments, "size": views.size, "scales": (views.scale,), "seeds": (0,)}
    scale |= {"many_views": dataclasses.replace(views, clips=3, crops=3), "options": {"width": width, "dropout": 0.0}}
    shapes = PocketSpec(pictures, data.val // 4, data.seed, pictures=True)
    return Profile(
        name, settings, transfer, **scale, pictures=data, pretraining=(shapes, flat), trains_in_notebooks=True
    )


POCKET = _pocket("pocket", PocketSpec(train=192, val=2880, seed=1), 2400, 8, 16, 20, 64, 180)
SMOKE = _pocket("smoke", PocketSpec(train=72, val=24), 64, 4, 8, 1, 1, 1)  # three videos per class: one per split
# What is committed: the same as POCKET with more seeds, trained once by whoever has the hours.
RECORD = dataclasses.replace(
    POCKET, name="record", seeds=(0, 1, 2, 3, 4), trains_in_notebooks=False, pictures=SMOKE.pictures
)
IN_RECORD = ("TSN", "temporal convolution", "S-TDM in stages 1-2", "TDN (both)")  # with weights: notebooks 21, 22, 27

# Paper: one clip and the centre crop on Something-Something, ten and three on Kinetics and what comes from it.
ONE_VIEW, THIRTY_VIEWS = Views(), Views(10, 3, size=256, scale=1.0)
K400 = Setting(DatasetSpec("k400"), KINETICS, THIRTY_VIEWS)
TARGETS = {
    name: tuple(Setting(DatasetSpec(name, split), UCF_HMDB, THIRTY_VIEWS) for split in OFFICIAL_SPLITS)
    for name in ("ucf101", "hmdb51")
}
SSV1, SSV2 = (Setting(DatasetSpec(name), SOMETHING, ONE_VIEW) for name in ("ssv1", "ssv2"))
PAPER = Profile(
    "paper",
    settings={"ssv1": SSV1, "ssv2": SSV2, "k400": K400, "tdrl": Setting(SSV1.data, TDRL, ONE_VIEW)},
    transfer=Transfer(K400, TARGETS, OURS["ResNet50", "16"], options={"dropout": UCF_HMDB_DROPOUT}),
    depths=(50, 101),
    num_segments=8,
    size=224,
    scales=(1.0, 0.875, 0.75, 0.66),
    seeds=(0,),
    many_views=THIRTY_VIEWS,
    pictures=SMOKE.pictures,
    pretraining=IMAGENET,
)

# Gestures: about 120 clips of real video train a small network from scratch. The recipe was tried on a part of the
# training clips (numbers 20 to 22 held out), never chosen by validation clips. None is mirrored (`Labelled.mirrored`).
REAL = Recipe(epochs=60, batch=16, lr=2e-3, optimizer="adamw", weight_decay=0.05, schedule="cosine", warmup_epochs=2)
REAL = dataclasses.replace(REAL, label_smoothing=0.1, sampling="even")
GESTURES = Profile(
    "gestures",
    settings={"gestures": Setting(DatasetSpec("gestures"), REAL, Views(size=96))},
    transfer=None,
    depths=(10, 18),
    num_segments=8,
    size=96,
    scales=(1.0, 0.875),
    seeds=(0, 1, 2, 3, 4),
    many_views=None,
    pictures=SMOKE.pictures,
    options={"width": 24, "dropout": 0.2},
    notebooks=("14",),
)
GESTURES_RECORD = dataclasses.replace(GESTURES, name="record/gestures")


def weights_of(profile: Profile) -> list[Run]:
    """The runs whose weights a record keeps: the first seed of `IN_RECORD`."""
    if "short_vs_long" not in profile.tables:
        return []
    table = profile.tables["short_vs_long"]
    return [profile.runs(row, table)[0] for row in table.rows if row.name in IN_RECORD]


PROFILES = {profile.name: profile for profile in (RECORD, SMOKE, POCKET, PAPER, GESTURES, GESTURES_RECORD)}


def get_profile(name: str) -> Profile:
    """The profile of this name; "pocket:5" is pocket with five seeds of each row. Raises ValueError with the valid
    names for one that does not exist, and for what is no number of seeds."""
    name, colon, seeds = name.partition(":")
    if name not in PROFILES:
        raise ValueError(unknown_name("profile", name, PROFILES))
    if colon and not (seeds.isdecimal() and int(seeds)):
        raise ValueError(f"after the colon goes the number of seeds of each row, as in {name}:5; got {seeds!r}")
    return dataclasses.replace(PROFILES[name], seeds=tuple(range(int(seeds)))) if colon else PROFILES[name]
