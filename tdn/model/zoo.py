"""Every network of every table, by name, with its paper."""

import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from tqdm import tqdm

from tdn.model.cost import Cost, measure_cost
from tdn.model.networks3d import InflatedResNet, SlowFast, SlowOnly, r2plus1d, s3d
from tdn.model.resnet import BLOCKS, VideoResNet
from tdn.utils import unknown_name, write_text

if TYPE_CHECKING:
    import pandas as pd

COSTS = Path(__file__).with_name("costs.json")  # `tdn book costs` writes it
R50, SLOWFAST, TEINET = ("resnet50",), "Feichtenhofer et al., ICCV 2019", "Liu et al., AAAI 2020"


@dataclass(frozen=True)
class System:
    """What a system adds to the plain network, and where it was published. Its cost is usually reported for `segments`
    (frames of the 3D networks) and `size`."""

    paper: str
    adds: str
    options: Mapping[str, Any] = field(default_factory=dict)
    network: Callable[..., nn.Module] = VideoResNet
    backbones: tuple[str, ...] = tuple(f"resnet{depth}" for depth in BLOCKS)
    segments: int = 8
    size: int = 224


T_CONV = {"temporal_conv_stages": (2, 3, 4, 5)}
TDN = {"s_tdm_stages": (1, 2), "l_tdm_stages": (3, 4, 5), "temporal_conv_stages": (3, 4, 5)}
SYSTEMS = {
    "tsn": System("Wang et al., ECCV 2016", "nothing: a 2D network, scores averaged over segments"),
    "tconv": System("TDN, Table 1(f)", "a depthwise temporal convolution in every block", T_CONV),
    "tconv_full": System(
        "none", "a dense temporal convolution in every block: what T-Conv would cost", {"between": ("full_conv",)}
    ),
    "tsm": System("Lin et al., ICCV 2019", "a quarter of the channels shifted in time", {"before": ("shift",)}),
    "tim": System(TEINET, "TIM: the shift, learned", {"before": ("tim",)}),
    "teinet": System(TEINET, "MEM, a weight per channel from differences; TIM", {"before": ("mem", "tim")}),
    "res2net": System("Gao et al., PAMI 2019", "nothing: the 2D network of TEA", {"conv2": "split"}),
    "tea": System("Li et al., CVPR 2020", "ME and MTA in the blocks of Res2Net", {"between": ("me",), "conv2": "mta"}),
    "stm": System("Jiang et al., ICCV 2019", "CSTM and CMM in every block", {"between": ("cstm",), "cmm": True}),
    "tam": System("Fan et al., NeurIPS 2019", "a weighted sum over neighbours and a ReLU", {"before": ("tam",)}),
    "tanet": System("Liu et al., ICCV 2021", "a temporal kernel made for each video", {"between": ("adaptive",)}),
    "tdrl": System("Weng et al., ECCV 2020", "PEM and the TD loss on TIM", {"before": ("pem", "tim", "td_loss")}),
    "tdrl_tsm": System("Weng et al., ECCV 2020", "PEM and the TD loss on TSM", {"before": ("pem", "shift", "td_loss")}),
    "tdn": System(
        "Wang et al., CVPR 2021, section 3.4",
        "S-TDM in stages 1 and 2, L-TDM and a temporal convolution in stages 3 to 5",
        TDN,
    ),
    "i3d": System("Wang and Gupta, ECCV 2018", "a 3D network: inflated kernels", {}, InflatedResNet, R50, 32),
    "slowonly": System(SLOWFAST, "a 3D network: temporal kernels in stages 4 and 5", {}, SlowOnly, R50),
    "slowfast": System(
        SLOWFAST, "a 3D network of two pathways: 8 frames wide, all 32 narrow", {}, SlowFast, R50, 32, 256
    ),
    "r2plus1d": System(
        "Tran et al., CVPR 2018", "a 3D network: space, then time", {}, r2plus1d, ("resnet34",), 32, 112
    ),
    "s3d": System("Xie et al., ECCV 2018", "a 3D network: space, then time", {}, s3d, ("inception",), 64),
}


def create_model(name: str, num_classes: int = 174, num_segments: int = 8, **options) -> nn.Module:
    """A network with random weights, e.g. `create_model("tdn_resnet50")`.

    Args:
        name: one of `model_names()`: `<system>_<backbone>`.
        num_classes: 174 is Something-Something.
        num_segments: T, any number from 1 on; of a 3D network its frames.
        options: keyword arguments of `VideoResNet` (or of the 3D network), such as `width=16` or `l_tdm_stages=()`.

    Raises:
        ValueError: unknown name or option (with the nearest valid ones), or an illegal value.
    """
    options = resolve_options(name, options)
    system, backbone = name.rsplit("_", 1)
    depth = (int(backbone.removeprefix("resnet")),) if SYSTEMS[system].network is VideoResNet else ()
    return SYSTEMS[system].network(*depth, num_classes, num_segments, **options)


def resolve_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options that make the network `name` with `options`: what its system sets, and what else differs from the
    defaults, sorted, so that each network has one form. Raises as `create_model`."""
    if name not in model_names():
        every = " or ".join(f"_resnet{depth}" for depth in BLOCKS)
        plain = ", ".join(key for key, system in SYSTEMS.items() if system.network is VideoResNet)
        others = ", ".join(n for n in model_names() if SYSTEMS[n.rsplit("_", 1)[0]].network is not VideoResNet)
        raise ValueError(unknown_name("model", name, model_names(), f"{plain}, each with {every}; {others}"))
    system = SYSTEMS[name.rsplit("_", 1)[0]]
    defaults = _defaults(system.network)
    for option in options:
        if option not in defaults:
            raise ValueError(unknown_name("model option", option, list(defaults)))
    merged = {**system.options, **options}
    return {key: merged[key] for key in sorted(merged) if key in system.options or merged[key] != defaults[key]}


@functools.cache
def _defaults(network: Callable[..., nn.Module]) -> dict[str, Any]:
    parameters = inspect.signature(network).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def model_names() -> list[str]:
    """Names that `create_model` takes."""
    return [f"{name}_{backbone}" for name, system in SYSTEMS.items() for backbone in system.backbones]


def list_models() -> "pd.DataFrame":
    """One row per system of `tdn.create_model`, at the size that its cost is usually reported for: `paper`, what it
    `adds` to the plain network, `GMACs` of one view of so many `segments` x `window` frames at `size` pixels, `params
    (M)` with 174 classes, and the `backbones` that a name can end in.
    """
    import pandas as pd  # a quarter of a second, for this table alone

    rows = []
    for name, _, segments, size in listed():
        system, cost = SYSTEMS[name.rsplit("_", 1)[0]], cost_of(name, (), segments, size)
        shown = (cost.gmacs, cost.params, cost.segments, cost.window, cost.size, ", ".join(system.backbones))
        rows.append((name, system.paper, system.adds, *shown))
    columns = ["name", "paper", "adds", "GMACs", "params (M)", "segments", "window", "size", "backbones"]
    return pd.DataFrame(rows, columns=columns).set_index("name")


Asked = tuple[str, tuple[tuple[str, Any], ...], int, int]  # name, options, segments, size


def listed() -> list[Asked]:
    """What `list_models` asks."""
    ends = {name: "resnet50" if "resnet50" in of.backbones else of.backbones[0] for name, of in SYSTEMS.items()}
    return [(f"{name}_{ends[name]}", (), of.segments, of.size) for name, of in SYSTEMS.items()]


@functools.lru_cache  # some networks are in several tables
def cost_of(name: str, options: tuple[tuple[str, Any], ...], segments: int, size: int) -> Cost:
    """`measure_cost`, less `gmacs_by_module`, of a network with 174 classes: as `COSTS` keeps it, or counted where it
    does not."""
    asked = name, options, segments, size
    return _kept_costs().get(str(asked)) or _counted(*asked)


def keep_costs(asked: Iterable[Asked]) -> None:
    """Counts all of these anew, and writes them into `COSTS`."""
    costs = {str(of): asdict(_counted(*of)) for of in tqdm(sorted(set(asked)), "counting")}
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(cost)}" for key, cost in costs.items())
    write_text(COSTS, f'{{"sources": "{_sources()}", "costs": {{\n{lines}\n}}}}\n')


def _counted(name: str, options: tuple[tuple[str, Any], ...], segments: int, size: int) -> Cost:
    with torch.device("meta"):
        model = create_model(name, num_segments=segments, **dict(options))
    return replace(measure_cost(model, size), gmacs_by_module={})


@functools.cache
def _kept_costs() -> dict[str, Cost]:
    """Empty where a file of tdn/model has changed since they were counted."""
    content = json.loads(COSTS.read_text())
    current = content["sources"] == _sources()
    return {key: Cost(**of) for key, of in content["costs"].items()} if current else {}


def _sources() -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(COSTS.parent.glob("*.py")))).hexdigest()
