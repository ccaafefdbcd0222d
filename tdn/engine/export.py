"""A trained network as a file for other programs: ONNX or torch.export, with all that is needed to run it."""

import copy
import importlib.util
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from tdn.data.transforms import MEAN, STD
from tdn.engine.inference import NOT_FINITE, Network
from tdn.model.folding import optimize
from tdn.utils import write_text, write_whole

FILES = {"onnx": "model.onnx", "torch-export": "model.pt2"}  # by format
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
STREAM = Path(__file__).with_name("stream_example.py")  # is copied, never imported
TOLERANCE = 1e-3  # difference of scores, as a fraction of the largest
Scorer = Callable[[Tensor], Tensor]  # from clips to scores


class Exported(NamedTuple):
    """The files that were written, and the largest difference between the scores of the exported network and of the
    original on random clips, as a fraction of the largest score."""

    files: list[Path]
    difference: float


def export_network(network: Network, folder: Path, form: str) -> Exported:
    """Writes `network` into `folder` in the format `form`, a key of `FILES`: the file, which takes batches of any
    number of clips; model.json, which describes its input and output; for ONNX also stream.py, which runs it on a
    webcam or a video.

    Batch norms are folded. The file's bytes are loaded again and their scores compared with the network's before
    anything is written. Raises NotADirectoryError; ImportError where a package is missing; FloatingPointError where the
    network's scores are not finite; RuntimeError where the scores differ by more than `TOLERANCE`.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder")
    if missing := [name for name in ONNX_PACKAGES if form == "onnx" and importlib.util.find_spec(name) is None]:
        raise ImportError(f"ONNX needs packages that are not installed: pip install {' '.join(missing)}")
    model, size = copy.deepcopy(network.model).cpu().eval(), network.views.size
    shape = 2, model.num_segments, model.window, 3, size, size  # a single clip would make N a constant
    clips = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):  # the exporters warn of their own code
        scores = model(clips)
        if not scores.isfinite().all():
            raise FloatingPointError(NOT_FINITE)
        program = _program(model, clips)
        content, exported = _as_onnx(program) if form == "onnx" else _as_torch(program)
        differences = torch.cat([exported(batch) - scores[: len(batch)] for batch in (clips, clips[:1])])
    difference = float(differences.abs().max() / scores.abs().max().clamp(min=1e-12))
    if not difference <= TOLERANCE:  # also where it is not a number
        raise RuntimeError(
            f"the exported network's scores differ from the network's by {difference:.0e} of the largest, more than "
            f"{TOLERANCE}: nothing was written"
        )
    file = folder / FILES[form]
    write_whole(file, lambda opened: opened.write(content))
    write_text(folder / "model.json", json.dumps(_about(network, file.name), indent=1))
    if form != "onnx":
        return Exported([file, folder / "model.json"], difference)
    write_text(folder / "stream.py", STREAM.read_text("utf-8"))
    return Exported([file, folder / "model.json", folder / "stream.py"], difference)


def _program(model: nn.Module, clips: Tensor) -> ExportedProgram:
    program = torch.export.export(optimize(model), (clips,), dynamic_shapes=({0: Dim.DYNAMIC},))
    program.example_inputs = None  # would be stored
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


def _as_onnx(program: ExportedProgram) -> tuple[bytes, Scorer]:
    """The bytes of the file, and what they compute when loaded."""
    import onnxruntime  # optional

    names = {"input_names": ["clips"], "output_names": ["scores"], "dynamic_shapes": ({0: "N"},)}
    onnx = torch.onnx.export(program, (), dynamo=True, verbose=False, **names)
    content = onnx.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda clips: torch.from_numpy(session.run(["scores"], {"clips": clips.numpy()})[0])


def _as_torch(program: ExportedProgram) -> tuple[bytes, Scorer]:
    """As `_as_onnx`."""
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue(), torch.export.load(file).module()


def _about(network: Network, file: str) -> dict[str, object]:
    """What a program that runs the file has to know."""
    model, views = network.model, network.views
    return {
        "file": file,
        "network": network.name,
        "input": "clips (N, T, L, C, H, W), float32: N clips, T segments, windows of L frames that are window_stride "
        "apart; RGB, (value / 255 - mean) / std; the centre square, its side scale x the shorter side, resized to size",
        "output": "scores (N, classes); their softmax are probabilities",
        "segments": model.num_segments,
        "window": model.window,
        "window_stride": views.stride,
        "size": views.size,
        "scale": views.scale,
        "mean": MEAN,
        "std": STD,
        "class_names": network.class_names,
    }
