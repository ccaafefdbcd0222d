"""The same study at three scales: data, networks' size and recipes of smoke, pocket and paper."""

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
from tdn.experiments.tables import OURS, Row, Table
from tdn.model.tdrl import TemporalDiversity
from tdn.model.zoo import create_model, resolve_options
from tdn.utils import unknown_name

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
    transfer: Transfer
    depths: tuple[int, int]
    num_segments: int
    size: int  # pixels of a training crop
    scales: tuple[float, ...]  # as `Run.scales`
    seeds: tuple[int, ...]
    many_views: Views  # for Kinetics
    pictures: PocketSpec
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of every network
    pretraining: tuple[PocketSpec, Recipe] | None = None  # of the 2D networks to initialise from; None: ImageNet

    @property
    def results(self) -> Path:
        return ROOT / "results" / self.name

    @property
    def trains_in_notebooks(self) -> bool:
        """Whether notebooks train what is missing: where that does not take days."""
        return self.pretraining is not None

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

    def pretrained(self, system: str = "tsn", deep: bool = False) -> Run | str:
        """What networks are initialised from: ImageNet in the papers; on the pocket benchmark a plain 2D network,
        trained on two frames of each of the same videos ("tsn", or "res2net" for TEA, which is made of it)."""
        if self.pretraining is None:
            return IMAGENET
        data, recipe = self.pretraining
        model = f"{system}_resnet{self.depths[deep]}"
        options = tuple(resolve_options(model, dict(self.options)).items())
        return Run(model, options, 2, data, self.size, self.scales, self.settings["ssv1"].views, recipe, seed=0)

    def _run(self, row: Row, setting: Setting, seed: int) -> Run:
        model = f"{row.system}_resnet{self.depths[row.deep]}"
        options = tuple(resolve_options(model, {**self.options, **row.options}).items())
        # Equation (7) sums over channels: with fewer of them the TD loss keeps the weight that it has in ResNet-50.
        channels = _td_channels(model, options)
        weight = row.td_lambda * TD_CHANNELS / channels if channels else 0.0
        recipe = dataclasses.replace(setting.recipe, td_lambda=weight)
        pretrained = self.pretrained("res2net" if dict(options).get("conv2", "dense") != "dense" else "tsn", row.deep)
        of = (model, options, row.times * self.num_segments, setting.data, self.size, self.scales, setting.views)
        return Run(*of, recipe, seed, pretrained)


@functools.lru_cache
def _td_channels(model: str, options: tuple[tuple[str, Any], ...]) -> int:
    with torch.device("meta"):
        network = create_model(model, **dict(options))
    return sum(module.channels for module in network.modules() if isinstance(module, TemporalDiversity))


# Pocket: the difficulty of the clips and the recipes were set on the tuning split (render seed 0), with TSN, the
# temporal convolution and TDN; on the reported clips (render seed 1) only whole studies were run. That was done with
# `sampling="even"`, which stays: crops are never resized, at 81 places and not 13, and no part of a clip is left out.
ADAMW = Recipe(epochs=1, batch=32, lr=0.02, optimizer="adamw", weight_decay=0.05, schedule="cosine", warmup_epochs=0.5)
ADAMW = dataclasses.replace(ADAMW, sampling="even")
# Chosen against ADAMW, with which the committed record was trained: tuning.py has both.
MUON = dataclasses.replace(ADAMW, optimizer="muon", lr=0.1, weight_decay=0.5, label_smoothing=0.1)


def _pocket(name: str, data: PocketSpec, segments: int, width: int, seeds: tuple[int, ...], *epochs: int) -> Profile:
    """`epochs` of the 2D network, of all others, and of fine-tuning."""
    # The rate of fine-tuning is the best of three on the tuning split.
    recipes = zip((ADAMW, MUON, ADAMW), epochs, strict=True)
    flat, recipe, tuned = (dataclasses.replace(recipe, epochs=number) for recipe, number in recipes)
    views = Views(size=48, scale=48 / 56)  # 48 of the videos' 56 pixels: cropped, never resized
    source = Setting(PocketPart(data, ("short", "long")), recipe, views)
    target = tuple(Setting(PocketPart(data, ("both",), split), tuned, views) for split in OFFICIAL_SPLITS)
    settings = dict.fromkeys(("ssv1", "ssv2", "k400", "tdrl"), Setting(data, recipe, views))
    transfer = Transfer(source, {"pocket, family both": target}, OURS["ResNet50", "8"])
    scale = {"depths": (10, 18), "num_segments": segments, "size": views.size, "scales": (views.scale,), "seeds": seeds}
    scale |= {"many_views": dataclasses.replace(views, clips=3, crops=3), "options": {"width": width, "dropout": 0.0}}
    pretraining = data, dataclasses.replace(flat, lr=0.01)
    return Profile(name, settings, transfer, **scale, pictures=data, pretraining=pretraining)


POCKET = _pocket("pocket", PocketSpec(train=1440, val=720, seed=1), 8, 16, (0, 1), 20, 9, 25)
SMOKE = _pocket("smoke", PocketSpec(train=54, val=18), 4, 8, (0,), 1, 1, 1)  # three videos per class: one per split

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
)


def own_run(data: DatasetSpec, model: str, num_segments: int, pretrained: str | None = IMAGENET) -> Run:
    """A network on one's own data, with the recipe and views of Something-Something; `pretrained=None` trains it from
    scratch. Raises ValueError for an unknown model."""
    options = tuple(resolve_options(model, {}).items())
    return Run(model, options, num_segments, data, PAPER.size, PAPER.scales, ONE_VIEW, SOMETHING, 0, pretrained)


PROFILES = {profile.name: profile for profile in (SMOKE, POCKET, PAPER)}


def get_profile(name: str) -> Profile:
    """Raises ValueError with the valid names for one that does not exist."""
    if name not in PROFILES:
        raise ValueError(unknown_name("profile", name, PROFILES))
    return PROFILES[name]
