"""Weights from elsewhere: our own checkpoints, the authors' released ones, ImageNet."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError

import torch
from torch import Tensor, nn

from tdn.model.blocks import BasicBlock, Bottleneck
from tdn.model.checkpoints import inner_module, read_file, shared_prefix, state_dict_of
from tdn.model.resnet import VideoResNet
from tdn.model.zoo import create_model

# Released name -> ours, applied in this order after `module.` is gone.
RELEASED_NAMES = [
    (r"^(?:base_model\.)?(conv|bn)1\.", r"stage1.\1."),  # torchvision's names are these without base_model and _bak
    (r"^base_model\.conv1_5\.0\.", "s_tdm.1.cnn.conv."),
    (r"^base_model\.conv1_5\.1\.", "s_tdm.1.cnn.bn."),
    (r"^base_model\.resnext_layer1\.", "s_tdm.2.cnn."),
    (r"^(?:base_model\.)?layer(\d)(?:_bak)?\.", lambda match: f"stage{int(match[1]) + 1}."),
    (r"\.shift\.conv\.", ".temporal.conv."),
    (r"\.mse\.conv1\.", ".temporal.l_tdm.squeeze.0."),
    (r"\.mse\.bn1\.", ".temporal.l_tdm.squeeze.1."),
    (r"\.mse\.conv2\.", ".temporal.l_tdm.align."),
    (r"\.mse\.conv3\.", ".temporal.l_tdm.restore.0."),
    (r"\.mse\.bn3\.", ".temporal.l_tdm.restore.1."),
    (r"\.mse\.conv3_smallscale2\.", ".temporal.l_tdm.half_scale.1."),
    (r"\.mse\.bn3_smallscale2\.", ".temporal.l_tdm.half_scale.2."),
    (r"\.mse\.conv3_smallscale4\.", ".temporal.l_tdm.full_scale.0."),
    (r"\.mse\.bn3_smallscale4\.", ".temporal.l_tdm.full_scale.1."),
    (r"^new_fc\.", "fc."),
]
# What no 2D network has, or gives: its own modules, and the batch norm of the motion stem.
NOT_IN_2D = (".before.", ".temporal.", ".beside.", ".channel_attention.", "s_tdm.1.cnn.bn.")
LARGEST = {
    "clips": 1000,
    "crops": 1000,
    "size": 2048,
    "scale": 1,
    "stride": 1000,
}  # views of a file; networks see 224 pixels or so
RELEASED_UNUSED = "base_model.conv1_temp."  # stored in every released file, used by no forward pass


def load_weights(model: VideoResNet, source: str | os.PathLike | Mapping) -> VideoResNet:
    """Loads our own or the authors' released weights into `model`, strictly; gives the model back.

    `source` is a file or what `torch.load` gives, as `state_dict_of` takes it. Files are read with `weights_only=True`.
    Raises FileNotFoundError; ValueError for a file that holds no weights, or with the keys and shapes that do not
    fit."""
    network, state = inner_module(model), read_weights(source)
    _require_match(network.state_dict(), state, source if isinstance(source, str | os.PathLike) else "state dict")
    network.load_state_dict(state)
    return model


def read_weights(source: str | os.PathLike | Mapping) -> dict[str, Tensor]:
    """The state dict of a file or a mapping, in our names; as `load_weights`, which fits it into a network."""
    if isinstance(source, Mapping):
        return _in_our_names(source, "state dict")
    return _in_our_names(read_file(Path(source)), source)


class Loaded(NamedTuple):
    """The network of a weights file; where the file has them, its classes and the arguments of its test's `Views`."""

    model: nn.Module
    name: str
    class_names: list[str] | None
    views: dict[str, Any] | None


def load_model(path: str | os.PathLike, num_segments: int | None = None) -> Loaded:
    """The network of a weights file, with its weights. Our files hold all of it; of the authors' released ones
    `num_segments` must be given. Raises as `load_weights`; ValueError where a file of others does not hold its network,
    where what it holds makes no network, and where `num_segments` is missing or contradicts the file."""
    content = read_file(Path(path))
    state = _in_our_names(content, path)
    name, options, segments = _network(content, state, path, num_segments)
    if num_segments not in (None, segments):
        raise ValueError(f"{path} is a network of {segments} segments, not {num_segments}")
    if "fc.weight" not in state or state["fc.weight"].ndim != 2:
        raise ValueError(f"{path} has no classifier (fc.weight, new_fc.weight in released files){_prefix(state)}")
    classes = len(state["fc.weight"])
    names, views = content.get("class_names"), content.get("views")
    if names is not None and not (_are_texts(names) and len(names) == classes):
        raise ValueError(f"{path}: its class_names are no list of {classes} names, as many as the network has classes")
    if views is not None and not _are_views(views):
        raise ValueError(f"{path}: its views are {views!r:.200}, not numbers by name, above 0 to {LARGEST}")
    try:
        with torch.device("meta"):  # takes no memory, whatever the options are
            model = create_model(name, classes, segments, **options)
    except Exception as error:  # options of a wrong type make nearly anything raise
        first_line = str(error).partition("\n")[0]
        raise ValueError(f"{path}: {name} cannot be made with {options}: {first_line}") from error
    _require_match(model.state_dict(), state, path)
    return Loaded(load_weights(create_model(name, classes, segments, **options), state), name, names, views)


def _network(
    content: Mapping, state: Mapping[str, Tensor], path: str | os.PathLike, num_segments: int | None
) -> tuple[str, dict[str, Any], int]:
    """Name, options and segments of a file's network: as it says, or as its weights show."""
    if network := content.get("network"):
        expected = {"name": str, "options": dict, "num_segments": int}
        if not (isinstance(network, dict) and {key: type(network.get(key)) for key in expected} == expected):
            raise ValueError(
                f"{path}: its network is {network!r:.200}, not name (str), options (dict) and num_segments (int)"
            )
        return network["name"], network["options"], network["num_segments"]
    blocks = len({key.split(".")[1] for key in state if key.startswith("stage4.")})
    if blocks not in (6, 23) or not any(key.startswith("s_tdm.") for key in state):
        raise ValueError(
            f"{path} does not hold its network, and is no released TDN-ResNet50 or 101: in Python, "
            "tdn.load_weights(tdn.create_model(NAME), FILE) loads it"
        )
    if num_segments is None:
        raise ValueError(f"{path} does not hold its number of segments: 8 or 16 for the released ones (--segments)")
    return f"tdn_resnet{ {6: 50, 23: 101}[blocks] }", {}, num_segments


def _are_texts(values: object) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(value, str) for value in values)


def _are_views(views: object) -> bool:
    if not isinstance(views, Mapping):
        return False
    return all(isinstance(value, int | float) and 0 < value <= LARGEST.get(key, 0) for key, value in views.items())


def _in_our_names(content: Mapping, source: object) -> dict[str, Tensor]:
    state = state_dict_of(content, source)
    return _renamed(state) if any(key.startswith("base_model.") for key in state) else state


def load_imagenet(model: VideoResNet) -> VideoResNet:
    """Initialises `model` from torchvision's ImageNet ResNet (`IMAGENET1K_V1`), as `initialise_from`; gives it back.

    Raises:
        ValueError: torchvision has no such ResNet (another width, another depth, Res2Net).
        ConnectionError: the file is neither in torch's cache nor can it be fetched; names the file and its folder.
    """
    if not isinstance(model, VideoResNet):
        raise ValueError(f"a {type(model).__name__} cannot be initialised from the weights of a 2D ResNet")
    if model.stage1.conv.out_channels != 64 or model.depth == 10:
        raise ValueError(f"no ImageNet weights for depth {model.depth}, width {model.stage1.conv.out_channels}")
    if not isinstance(model.stage2[0], BasicBlock | Bottleneck):
        raise ValueError("torchvision has no ImageNet weights of Res2Net, which this network is made of")
    from torchvision.models import get_model_weights  # it takes most of a second to load, for this function alone

    weights = get_model_weights(f"resnet{model.depth}").IMAGENET1K_V1
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[1]
    try:
        if not file.exists():
            weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (URLError, OSError) as error:
        raise ConnectionError(
            f"ImageNet weights could not be fetched ({error}). Put {file.name} (from {weights.url}) into {file.parent} "
            "and try again."
        ) from error
    return initialise_from(model, _renamed(read_file(file)))


def initialise_from(model: VideoResNet, state: Mapping[str, Tensor]) -> VideoResNet:
    """Initialises the stages of `model` from those of a plain 2D network (of `tsn_...`, say), or all of it but the
    classifier from weights of the same network; gives the model back.

    From a 2D network, the motion branch gets the same weights: the convolution of its stem the mean of the RGB stem
    over the input channels, repeated for its own; its later stages those of the stages that they copy, batch norms
    included. The classifier, the temporal modules and the batch norm of the motion stem, which sees differences, keep
    their own initialisation. All as released (departures, notebook 04). The stem of an early fusion (`stacked`) gets
    what the motion stem gets. Raises ValueError where the stages do not fit.
    """
    ours = {key: value for key, value in state.items() if not key.startswith("fc.")}
    whole = {key: value for key, value in model.state_dict().items() if not key.startswith("fc.")}
    stem = ours.get("stage1.conv.weight", torch.empty(0, 0, 0, 0))
    flat = bool(model.stacked) and stem.shape[1] == 3
    if ours.keys() == whole.keys() and not flat:
        _require_match(whole, ours, "the pretrained network")
        model.load_state_dict(ours, strict=False)
        return model
    for number in [number for number in model.s_tdm if number != "1"]:
        stage, branch = f"stage{number}.", f"s_tdm.{number}.cnn."
        ours |= {branch + key.removeprefix(stage): ours[key] for key in ours if key.startswith(stage)}
    mean = stem.mean(1, keepdim=True)
    if "1" in model.s_tdm:
        ours["s_tdm.1.cnn.conv.weight"] = mean.repeat(1, model.s_tdm["1"].cnn.conv.in_channels, 1, 1)
    if flat:
        ours = {key: value for key, value in ours.items() if not key.startswith("stage1.bn.")}
        ours["stage1.conv.weight"] = mean.repeat(1, model.stage1.conv.in_channels, 1, 1)
    not_in_2d = (*NOT_IN_2D, "stage1.bn.") if flat else NOT_IN_2D
    expected = {key: value for key, value in whole.items() if not any(own in key for own in not_in_2d)}
    _require_match(expected, ours, "the 2D network")
    model.load_state_dict(ours, strict=False)
    return model


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the authors' or torchvision's keys, and folds biases of convolutions into the batch norms that follow:
    `running_mean - bias` gives the same scores, and in training the batch's own mean removes a bias anyway."""
    ours = {}
    for key, value in state.items():
        if not key.startswith(RELEASED_UNUSED):
            for pattern, name in RELEASED_NAMES:
                key = re.sub(pattern, name, key)
            ours[key] = value
    for key in [k for k in ours if re.search(r"(conv\d?|downsample\.0)\.bias$", k)]:
        norm = key.replace("downsample.0", "downsample.1").replace("conv", "bn").replace("bias", "running_mean")
        if norm in ours:  # where it is not, the strict comparison names both
            ours[norm] = ours[norm] - ours.pop(key)
    return ours


def _plain(value: Tensor) -> bool:
    """Whether these are numbers that can be copied: statistics' counters are integers, all else floating-point."""
    odd = value.is_complex() or value.is_quantized or value.is_meta or value.layout != torch.strided
    return not odd and (value.is_floating_point() or value.ndim == 0)


def _require_match(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], source: object) -> None:
    problems = [f"missing {key}" for key in expected if key not in state]
    problems += [f"unexpected {key}" for key in state if key not in expected]
    for key, value in expected.items():
        if key in state and not _plain(state[key]):
            problems.append(f"{key} is {state[key].dtype}, {state[key].layout}: needs real floating-point numbers")
        elif key in state and state[key].shape != value.shape:
            problems.append(f"{key} is {tuple(state[key].shape)}, the network has {tuple(value.shape)}")
    if problems:
        shown = "; ".join(problems[:8] + (["..."] if len(problems) > 8 else []))
        raise ValueError(f"{source} does not fit this network, {len(problems)} differences{_prefix(state)}: {shown}")


def _prefix(state: Mapping[str, Tensor]) -> str:
    prefix = shared_prefix(state)
    return f"; all its names begin with {prefix!r}" if prefix else ""
