"""Every network of every table, by name."""

import difflib
import inspect
from collections.abc import Iterable
from typing import Any

from tdn.model.resnet import BLOCKS, VideoResNet

LATE = (3, 4, 5)

# What each system adds to the plain ResNet. The published TDN is section 3.4 of the CVPR paper.
SYSTEMS = {
    "tsn": {},
    "tconv": {"temporal_conv_stages": LATE},
    "tdn": {"s_tdm_stages": (1, 2), "l_tdm_stages": LATE, "temporal_conv_stages": LATE},
}


def create_model(name: str, num_classes: int = 174, num_segments: int = 8, **options) -> VideoResNet:
    """A network with random weights, e.g. `create_model("tdn_resnet50")`.

    Args:
        name: one of `list_models()`: `<system>_resnet<depth>`.
        num_classes: 174 is Something-Something.
        num_segments: T, any number from 1 on.
        options: overrides of `VideoResNet`'s keyword arguments, such as `width=16` or `l_tdm_stages=()`.

    Raises:
        ValueError: unknown name or option (with the nearest valid ones), or an illegal value.
    """
    options = resolve_options(name, options)
    return VideoResNet(int(name.split("_resnet")[1]), num_classes, num_segments, **options)


def resolve_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options that make the network `name` with `options`: what its system sets, and what else differs from
    the defaults, sorted.

    Two ways to ask for the same network resolve to the same; what comes back can be resolved again. Raises as
    `create_model`.
    """
    if name not in list_models():
        raise ValueError(unknown_name("model", name, list_models()))
    parameters = inspect.signature(VideoResNet).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    for option in options:
        if option not in defaults:
            raise ValueError(unknown_name("model option", option, list(defaults)))
    system = SYSTEMS[name.split("_resnet")[0]]
    merged = system | options
    return {key: merged[key] for key in sorted(merged) if key in system or merged[key] != defaults[key]}


def list_models() -> list[str]:
    """Names that `create_model` takes."""
    return [f"{system}_resnet{depth}" for system in SYSTEMS for depth in BLOCKS]


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> str:
    """The text of an error: which names are near to `name`, and all there are."""
    near = difflib.get_close_matches(name, list(valid), n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"unknown {kind} {name!r}; {hint}valid: {', '.join(valid) or 'none'}"
