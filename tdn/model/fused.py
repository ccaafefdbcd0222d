"""Forms of TDN's operations that save memory or time. Each computes what the plain expression in its docstring does."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

ONE_BY_ONE = (1, 1), (0, 0), (1, 1), False, (0, 0), 1  # stride, padding, dilation, transposed, its padding, groups


def half_size(clips: Tensor) -> Tensor:
    """`avg_pool2d(frames, 2)` of clips `(N, T, L, C, H, W)`: `(N*T, L, C, H//2, W//2)`. Saves two thirds of its
    time on a CPU."""
    height, width = clips.shape[-2] // 2 * 2, clips.shape[-1] // 2 * 2
    clips = clips.flatten(0, 1)[..., :height, :width]
    rows = clips[..., 0::2, :] + clips[..., 1::2, :]
    return (rows[..., 0::2] + rows[..., 1::2]).div_(4)


def each_direction(layers: Callable[[Tensor], Tensor], directions: list[Tensor], training: bool) -> list[Tensor]:
    """`[layers(x) for x in directions]`: in training each direction has its own batch statistics, as released. In eval
    mode both go through the layers as one batch, which saves half of the calls."""
    if training:
        return [layers(x) for x in directions]
    return list(layers(torch.cat(directions)).unflatten(0, (len(directions), -1)).unbind())


def gated(features: Tensor, directions: Sequence[Tensor]) -> Tensor:
    """`F + F * G`, G the mean of `sigmoid(x) - 0.5` over one or two directions, which are overwritten.

    Written as `F * (sigmoid(x) + 0.5)`: saves a pass over the features. Where no gradient is needed the result takes
    the memory of a direction: new memory costs more than the arithmetic.
    """
    gates = [x.sigmoid_() for x in directions]
    if torch.is_grad_enabled() or gates[0].shape != features.shape:
        return features * torch.lerp(gates[0], gates[-1], 0.5).add_(0.5)
    return gates[0].lerp_(gates[-1], 0.5).add_(0.5).mul_(features)


def gated_by(features: Tensor, directions: Sequence[Tensor], restore: "PointwiseNorm") -> Tensor:
    """`gated(F, [restore(x) for x in directions])`. Saves in training all maps as large as F but F itself."""
    if restore.training:
        return Gated.apply(features, *(t for x in directions for t in (x, *restore.normalised(x))))
    return gated(features, [restore(x) for x in directions])


class Gated(torch.autograd.Function):
    """`gated` of 1x1 convolutions, of each direction `(x, weight, bias)`. G has as many channels as F, x a sixteenth:
    the maps of G are recomputed in the backward pass instead of stored."""

    @staticmethod
    def forward(ctx, features: Tensor, *directions: Tensor) -> Tensor:
        directions = [tensor.to(features.dtype) for tensor in directions]  # autocast does not reach the backward
        ctx.save_for_backward(features, *directions)
        with torch.autocast(features.device.type, enabled=False):
            return gated(features, [F.conv2d(*direction) for direction in _by_three(directions)])

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, ...]:
        features, *directions = ctx.saved_tensors
        directions = _by_three(directions)
        gates = [F.conv2d(*direction).sigmoid_() for direction in directions]
        of_features = torch.lerp(gates[0], gates[-1], 0.5).add_(0.5).mul_(gradient)
        of_directions = []
        for gate, (x, weight, bias) in zip(gates, directions, strict=True):
            slope = gate.addcmul_(gate, gate, value=-1).mul_(features).mul_(gradient)
            of_three = torch.ops.aten.convolution_backward(slope, x, weight, bias.shape, *ONE_BY_ONE, [True] * 3)
            of_directions += [tensor / len(gates) for tensor in of_three]
        return of_features, *of_directions


def _by_three(tensors: Sequence[Tensor]) -> list[Sequence[Tensor]]:
    return [tensors[start : start + 3] for start in range(0, len(tensors), 3)]


class PointwiseNorm(nn.Sequential):
    """A 1x1 convolution to many channels, then its batch norm. The mean and the variance of the outputs follow from the
    mean and the covariance of the few inputs, so that the weights can be normalised beforehand. Saves reading the
    outputs for their statistics, and storing them for the gradient."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__(nn.Conv2d(channels_in, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, *self.normalised(x))

    def normalised(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Weights `(C_out, C_in, 1, 1)` and biases `(C_out,)` of the convolution that gives normalised outputs for
        these inputs. In training the running statistics move."""
        conv, norm = self
        if isinstance(norm, nn.Identity):  # folded by `optimize`
            return conv.weight, conv.bias
        mean, variance = self._batch_statistics(x) if norm.training else (norm.running_mean, norm.running_var)
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        return conv.weight * scale[:, None, None, None], norm.bias - mean * scale

    def _batch_statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        conv, norm = self
        with torch.autocast(x.device.type, enabled=False):
            weight = conv.weight.flatten(1)
            rows = x.to(weight.dtype).permute(0, 2, 3, 1).flatten(0, 2)
            mean = rows.mean(0)
            centred = rows - mean
            covariance = centred.T @ centred / len(rows)
            mean, variance = weight @ mean, (weight @ covariance * weight).sum(1)
        with torch.no_grad():  # the running variance is the unbiased one
            norm.running_mean.lerp_(mean, norm.momentum)
            norm.running_var.lerp_(variance * len(rows) / (len(rows) - 1), norm.momentum)
            norm.num_batches_tracked += 1
        return mean, variance
