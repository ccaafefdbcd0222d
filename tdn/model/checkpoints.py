"""Files of weights: what a file is, the tensors in it by name, and the network inside a wrapper."""

import os
import pickle
import re
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from tdn.utils import IN_PLACE, check_if_listed, kind_of

WRAPPERS = {"module", "_orig_mod"}  # DistributedDataParallel, DataParallel, AveragedModel; torch.compile
LIGHTNING = {"model", "net", "network"}  # what the network usually is called in a module of PyTorch Lightning
AVERAGE = re.compile(r"(?<![a-z])ema(?![a-z])|E[Mm][Aa]")  # the name of what holds averaged weights
FIRST = ("stage1.", "base_model.")  # what names of a network begin with: ours, released
COUNTERS = {"n_averaged", "steps"}  # of averaged weights (torch, mmengine): how many were averaged
SAVE = "where the network was made, torch.save(model.state_dict(), 'weights.pt') saves it properly"

DAMAGED = "damaged or cut short; copy or download it again"

# What a file is by its first bytes; the first that fits.
KINDS = [
    *IN_PLACE,
    (rb"(?s).{8}\s*\{\s*\"", f"a safetensors file: {SAVE}"),
    (rb"\x08\x01\x12", "a network of TensorFlow (SavedModel)"),
    (rb"(?s)\x08.\x12", f"a network in the format ONNX: {SAVE}"),
    (rb"(?s).{4}TFL3", "a network of TensorFlow Lite"),
    (rb"\x89HDF", "an HDF5 file, as Keras and TensorFlow write it"),
    (rb"\x93NUMPY", "an array of NumPy"),
    (rb"(?s)\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd|.{257}ustar", "an archive: unpack it"),
    (rb"(?s).{4}ftyp|\x1aE\xdf\xa3|RIFF|\x89PNG|\xff\xd8\xff|GIF8|%PDF", "a video, a picture or a document"),
]
TENSORFLOW_INDEX = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"  # the last bytes of a TensorFlow checkpoint's index

# Plain data that other people's training code keeps next to the weights: settings, and NumPy's numbers.
_scalar = np.float64(0).__reduce__()[0]
PLAIN_DATA = [(SimpleNamespace, "argparse.Namespace"), np.dtype, *(type(np.dtype(code)) for code in "?bhilqBHILQefd")]
PLAIN_DATA += [(_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]


def read_file(path: Path) -> Mapping:
    """What torch saved in a file, without running code of it (`weights_only=True`). Raises FileNotFoundError;
    ValueError, which says what the file is, for any other."""
    if path.is_dir():
        raise ValueError(f"{path} is no checkpoint but a folder: give the file in it")
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}")
    check_if_listed(path)
    if kind := _kind(path):
        raise ValueError(f"{path} is no checkpoint but {kind}")
    try:
        with torch.serialization.safe_globals(PLAIN_DATA), warnings.catch_warnings(action="ignore"):
            content, problem = torch.load(path, map_location="cpu", weights_only=True), None
    except (OSError, MemoryError):
        raise
    except Exception as error:  # bytes that are no pickle make the unpickler raise nearly anything
        problem = error
    if problem:  # raised here, without torch's own message: it advises to load unsafely
        raise ValueError(f"{path} is not a weights file that can be read safely: {_reason(problem)}")
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds no weights but a {type(content).__name__}: {SAVE}")
    return content


def _kind(path: Path) -> str | None:
    """What a file is that is no checkpoint; None for one that may be."""
    with path.open("rb") as file:
        start = file.read(512)
        file.seek(-min(8, path.stat().st_size), 2)
        end = file.read()
    if not start:
        return "an empty file: copy or download it again"
    if start.startswith(b"PK"):
        return _kind_of_zip(path)
    if end == TENSORFLOW_INDEX:
        return "the index of a TensorFlow checkpoint"
    if kind := kind_of(start, KINDS):
        return kind
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start):
        return f"a text file, which begins with {' '.join(start.decode().split())[:40]!r}"
    return None


def _kind_of_zip(path: Path) -> str | None:
    """As `_kind`; raises ValueError for a damaged archive, whose checksums torch does not compare."""
    try:
        with zipfile.ZipFile(path) as archive:
            names, changed = archive.namelist(), archive.testzip()
    except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError, EOFError, RuntimeError) as error:
        raise ValueError(f"{path} is not a weights file that can be read: {DAMAGED}") from error
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner:
        return f"a network of TorchScript: {SAVE}"
    if any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in names):
        return f"a network of torch.export: {SAVE}"
    if "data.pkl" not in inner:
        return f"a zip archive of other files ({', '.join(names[:3])}): unpack it"
    if changed:
        raise ValueError(f"{path} is not a weights file that can be read: {changed} in it is {DAMAGED}")
    return None


def _reason(error: Exception) -> str:
    needed = re.search(r"(?:GLOBAL|unsupported class|but got) (\S+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and needed:
        return f"it needs the code of {needed[1]}, where only tensors, numbers and texts are loaded; {SAVE}"
    return f"no checkpoint of torch, or {DAMAGED}"


def state_dict_of(content: Mapping, source: object) -> dict[str, Tensor]:
    """The tensors of a network by name, from what `torch.load` gives: bare, or the one part (`state_dict`, `model`,
    `model_ema`, ...) that has them, without what DistributedDataParallel, torch.compile, AveragedModel and a module of
    PyTorch Lightning put before the names. Raises ValueError, which calls the content `source`, where there are no
    weights, or those of several networks, averages (EMA) without names included."""
    parts = {name: value for name, value in content.items() if isinstance(value, Mapping) and _has_weights(value)}
    averages = [name for name in content if AVERAGE.search(str(name)) and _holds_weights(content[name])]
    _require_one(parts | dict.fromkeys(averages), "networks", source)
    state = next(iter(parts.values()), content)
    if not any(isinstance(value, Tensor) for value in state.values()):
        has = f"has only {', '.join(map(str, list(content)[:8]))}" if content else "is empty"
        raise ValueError(f"{source} holds no weights: needs a dict of tensors by name, bare or as state_dict; it {has}")
    for name, value in state.items():
        if not (isinstance(name, str) and isinstance(value, Tensor)):
            raise ValueError(f"{source} holds no weights: {name!r} is no tensor by name but a {type(value).__name__}")
    named = {".".join(part for part in name.split(".") if part not in WRAPPERS): name for name in state}
    if len(named) < len(state):
        raise ValueError(f"{source} holds weights twice, with and without module. or _orig_mod.: save one of them")
    ours = {name: state[old] for name, old in named.items() if name not in COUNTERS}
    modules: dict[str, dict[str, Tensor]] = {}
    for name, value in ours.items():
        modules.setdefault(name.partition(".")[0], {})[name.partition(".")[2]] = value
    if modules.keys() & LIGHTNING:  # a loss may have some names, too
        modules = {name: of_one for name, of_one in modules.items() if _has_weights(of_one)}
        _require_one(modules, "modules", source)
        ours = next(iter(modules.values()), ours)
    prefix = shared_prefix(ours).partition("base_model.")[0]
    inside = {name.removeprefix(prefix): value for name, value in ours.items()}
    return inside if any(name.startswith(FIRST) for name in inside) else ours


def shared_prefix(state: Mapping[str, Tensor]) -> str:
    """What all names begin with, such as `backbone.`; empty where they share no module."""
    return "".join(os.path.commonprefix(list(state)).rpartition(".")[:2])  # noqa: RUF071 (up to a dot)


def _has_weights(state: Mapping) -> bool:
    return any(isinstance(value, Tensor) and value.ndim > 1 for value in state.values())


def _holds_weights(value: object) -> bool:
    """Whether there are any in a dict or list, however deep."""
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return any((isinstance(each, Tensor) and each.ndim > 1) or _holds_weights(each) for each in inside)


def _require_one(parts: Mapping[str, object], kind: str, source: object) -> None:
    if len(parts) > 1:
        raise ValueError(
            f"{source} holds several {kind}: {', '.join(parts)}. Load it with torch.load(FILE, weights_only=True), and "
            "torch.save the weights of the one to use, by their names in the network, to a file of their own"
        )


def inner_module(model: nn.Module) -> nn.Module:
    """The network inside torch.compile, DataParallel, DistributedDataParallel and AveragedModel; else `model`."""
    while (inside := getattr(model, "_orig_mod", getattr(model, "module", None))) is not None:
        model = inside
    return model


def require_network(model: nn.Module) -> nn.Module:
    """`inner_module`; raises ValueError where that is no network of video clips."""
    network = inner_module(model)
    if not (hasattr(network, "num_segments") and hasattr(network, "window")):
        kind = type(network).__name__
        raise ValueError(f"a {kind} is no network of video clips (num_segments, window): pass the one inside it")
    return network
