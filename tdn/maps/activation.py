"""Class activation maps of a clip, one for each segment, all on one scale.

The papers show Grad-CAM (Selvaraju et al., ICCV 2017) for the centre frame (CVPR Figures 4, 5) and for all 8 frames
(Figures 6, 7).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tdn.data.sampling import Views
from tdn.data.transforms import to_pixels
from tdn.engine.inference import NOT_FINITE, ONE_VIEW, Source, network_input
from tdn.model.checkpoints import require_network
from tdn.model.cost import in_eval_mode
from tdn.model.resnet import VideoResNet
from tdn.utils import unknown_name

# Methods of pytorch-grad-cam that need only a layer's features and their gradients. Others change single images;
# EigenCAM and EigenGradCAM take a direction of each frame by itself, with either sign.
METHODS = ("GradCAM", "HiResCAM", "GradCAMElementWise", "GradCAMPlusPlus", "XGradCAM", "LayerCAM")
MIN_FEATURES = 6  # along a side of a map
GRADIENT_SCALE = 2.0**12  # of the score: its gradients would underflow in float16


@dataclass(frozen=True)
class Maps:
    """Activation maps of one clip, and the frames that they lie on."""

    maps: Tensor  # (T, H, W), float32, 0 to 1: the maximum of the whole clip, of all its frames; 0 without evidence
    frames: Tensor  # uint8 RGB (T, C, H, W), as the network sees them: cropped and resized
    segments: tuple[int, ...]  # which frames of the clip these are, 0-based, of `num_segments`
    num_segments: int
    energy: Tensor  # (T,), the fraction of the clip's CAM energy (the sum of all its maps) in each of these
    peak: float  # the maximum before scaling: `maps * peak` are the maps as they come out of the method
    target: int  # the class that is explained
    scores: Tensor  # (classes,), before the softmax, float32


@torch.inference_mode(False)
def cam(
    model: nn.Module,
    video: Source,
    frames: str = "center",
    target: int | None = None,
    layer: str | None = None,
    method: str = "GradCAM",
    views: Views = ONE_VIEW,
    reader: str = "pyav",
) -> Maps:
    """Which regions of a video are evidence for a class.

    Args:
        model: any network of `list_models()`, on any device and in any precision; it ends as it was. Of one in
            DataParallel, DistributedDataParallel or torch.compile the network inside is run, not compiled.
        video, reader: as `inference.network_input`.
        frames: "center", the frame in the middle of the clip, or "all", one for each segment. A 3D network gives one
            for each of its time steps, on the frame in the middle of the step.
        target: index of the class; None takes the one with the highest score.
        layer: whose features are taken, one of `layers(model)` or any module between. A stage includes what S-TDM adds
            to it. None takes `default_layer`.
        method: one of `METHODS`, pytorch-grad-cam's names.
        views: of one view; its size is what the network was trained for.

    Raises VideoError where the video can't be read; ValueError for a name or class that does not exist, a tensor of
    another kind and more than one view; FloatingPointError where scores or maps are not finite.
    """
    if frames not in ("center", "all"):
        raise ValueError(f"frames are 'center' or 'all', not {frames!r}")
    if views.number != 1:
        raise ValueError(f"maps are of one view, not of {views}")
    model = require_network(model)
    clips = network_input(model, video, views, reader)
    raw, scores = activation_maps(model, clips, None if target is None else [target], layer, method)
    placed = placed_on(raw[0], clips.shape[-2:])
    peak, sums, steps = float(placed.max()), placed.sum((1, 2)), len(placed)
    shown = range(steps) if frames == "all" else [steps // 2]
    segments = [(2 * step + 1) * model.num_segments // (2 * steps) for step in shown]
    return Maps(
        maps=placed[shown] / peak if peak > 0 else placed[shown],
        frames=to_pixels(clips[0, segments, model.window // 2]).cpu(),
        segments=tuple(segments),
        num_segments=model.num_segments,
        energy=(sums / sums.sum().clamp(min=torch.finfo().tiny))[shown],
        peak=peak,
        target=int(scores[0].argmax()) if target is None else target,
        scores=scores[0],
    )


def layers(model: nn.Module) -> list[str]:
    """The stages of a network, from the first to the last: names for `cam`."""
    model = require_network(model)
    if isinstance(model, VideoResNet):
        return [f"stage{number}" for number in range(1, 6)]
    inside = "backbone.slow" if hasattr(model.backbone, "slow") else "backbone"
    ends = ("pool", "flatten", "avgpool", "fc", "classifier")
    return [f"{inside}.{name}" for name, _ in model.get_submodule(inside).named_children() if name not in ends]


def default_layer(model: nn.Module, size: int) -> str:
    """The last stage with 6 x 6 features or more for `size` pixels: stage 5 for 224 (7 x 7), stage 3 for 48. Of a 3D
    network the last stage."""
    if not isinstance(model, VideoResNet):
        return layers(model)[-1]
    return f"stage{min(max(int(math.log2(size / MIN_FEATURES)), 2), 5)}"  # stage n has a feature every 2 ** n pixels


@torch.inference_mode(False)  # gradients are needed, whatever the caller's mode
def activation_maps(
    model: nn.Module,
    clips: Tensor,
    targets: Sequence[int] | None = None,
    layer: str | None = None,
    method: str = "GradCAM",
) -> tuple[Tensor, Tensor]:
    """The maps of normalised clips `(N, T, L, C, H, W)` as the method gives them: `(N, T, h, w)`, 0 or more, of the
    size of the layer's features; and the scores `(N, classes)`. Both float32, on the CPU.

    `targets`: a class for each clip. Raises as `cam`.
    """
    import pytorch_grad_cam  # takes a second to import
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    if method not in METHODS:
        raise ValueError(unknown_name("method", method, METHODS))
    model = require_network(model)
    layer = default_layer(model, min(clips.shape[-2:])) if layer is None else layer
    features, scores = _features_and_scores(model, clips, layer)
    if targets is None:
        targets = scores.argmax(1).tolist()
    if wrong := [target for target in targets if not 0 <= target < scores.shape[1]]:
        raise ValueError(f"class {wrong[0]} is none of the network's 0 to {scores.shape[1] - 1}")
    if not scores.isfinite().all():
        raise FloatingPointError(NOT_FINITE)
    with torch.enable_grad():
        chosen = scores.float().gather(1, torch.tensor(targets, device=scores.device)[:, None]).sum()
        (gradients,) = torch.autograd.grad(chosen * GRADIENT_SCALE, features)
    pixels, gradients = features.detach().float(), gradients.float() / GRADIENT_SCALE
    if features.ndim == 5:  # (N, C, T, h, w) of a 3D network
        pixels, gradients = (tensor.transpose(1, 2).flatten(0, 1) for tensor in (pixels, gradients))
    of_each = [ClassifierOutputTarget(target) for target in targets]
    # The library runs networks of images only, and leaves them changed: it gets a network that is not used.
    with getattr(pytorch_grad_cam, method)(nn.Linear(1, 1), []) as library:
        maps = library.get_cam_image(clips, None, of_each, pixels.cpu().numpy(), gradients.cpu().numpy(), False)
    maps = torch.from_numpy(maps).float().clamp(min=0)
    if not maps.isfinite().all():
        raise FloatingPointError(f"the maps of {layer} are not finite")
    return maps.unflatten(0, (len(clips), -1)), scores.detach().float().cpu()


def placed_on(maps: Tensor, size: Sequence[int], shift: float | None = None) -> Tensor:
    """Maps `(T, h, w)` resized bilinearly to frames of `size` (H, W): features as far apart as in the network, outer
    ones extended to the edge.

    Feature i of a layer with stride s is centred on pixel i * s, so the features stop s - 1 pixels before the frame
    does. Trained networks make up for that: their features respond to places past this centre (notebook 23 measures
    it). So the features are centred on the frame, feature 0 on pixel `shift`: by default (s - 1) / 2 where s divides
    the frame, as when a map is stretched to the frame.
    """
    places = []
    for pixels, features in zip(size, maps.shape[-2:], strict=True):
        spacing = 2 ** math.ceil(math.log2(pixels / features))
        first = (pixels - 1 - (features - 1) * spacing) / 2 if shift is None else shift
        of_pixel = ((torch.arange(pixels) - first) / spacing).clamp(min=0, max=features - 1)
        places.append(of_pixel / max(features - 1, 1) * 2 - 1)
    y, x = torch.meshgrid(*places, indexing="ij")
    grid = torch.stack([x, y], -1).expand(len(maps), *size, 2)
    return functional.grid_sample(maps[:, None], grid, align_corners=True)[:, 0]


def _features_and_scores(model: nn.Module, clips: Tensor, layer: str) -> tuple[Tensor, Tensor]:
    """What leaves `layer`, a leaf of the graph, and the scores that follow from it."""
    module, kept = _module(model, layer), []

    def keep(_: nn.Module, __: tuple, output: Tensor | tuple[Tensor, Tensor]) -> Tensor | tuple[Tensor, Tensor]:
        features, *others = output if isinstance(output, tuple) else (output,)
        kept.append(features.detach().requires_grad_())
        torch.set_grad_enabled(True)  # only from here on
        copy = kept[-1].clone()  # later layers may change it in place
        return (copy, *others) if others else copy

    not_compiled = torch.compiler.set_stance("force_eager")  # compiled code runs no hooks
    with module.register_forward_hook(keep), in_eval_mode(model), torch.no_grad(), not_compiled:
        scores = model(clips)
    frames = len(clips) * model.num_segments if isinstance(model, VideoResNet) else len(clips)
    if len(kept) != 1 or kept[0].ndim != (4 if isinstance(model, VideoResNet) else 5) or len(kept[0]) != frames:
        raise ValueError(f"layer {layer!r} gives no features of each frame; valid: {', '.join(layers(model))}")
    return kept[0], scores


def _module(model: nn.Module, layer: str) -> nn.Module:
    modules = {name: module for name, module in model.named_modules() if name}
    if isinstance(model, VideoResNet):
        modules |= {f"stage{number}": module for number, module in model.s_tdm.items()}
    if layer not in modules:
        inside = next(name for name in modules if name.count(".") == 1)
        valid = f"{', '.join(layers(model))}, or any module between, such as {inside}"
        raise ValueError(unknown_name("layer", layer, modules, valid))
    return modules[layer]
