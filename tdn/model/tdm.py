"""The two temporal difference modules of TDN (Wang et al., CVPR 2021, sections 3.2 and 3.3).

Where paper and released network differ, the defaults compute what the released network computes, so that its
weights give its scores; each such place says so. Features of a clip are folded to `(N*T, C, H, W)`: N videos,
T segments.
"""

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tdn.model.checks import require

Weights = tuple[Tensor, Tensor]  # of a 1x1 convolution: (channels out, channels in, 1, 1), and biases (channels out,)
ONE_BY_ONE = (1, 1), (0, 0), (1, 1), False, (0, 0), 1  # stride, padding, dilation, transposed, its padding, groups
WINDOW = 5  # consecutive frames around a segment's frame: the four differences D-2, D-1, D1, D2


def difference_input(clips: Tensor) -> Tensor:
    """`Downsample(D(I))` of equation (3): the window's frame differences at half resolution, stacked.

    Takes normalised clips `(N, T, W, C, H, W')`, gives `(N*T, (W-1)*C, H//2, W'//2)`: x2-x1, x3-x2, ... in the
    order of the released network. Pooling and subtraction are both linear; pooling first moves a quarter of the
    memory.
    """
    pooled = _half_size(clips)
    return (pooled[:, 1:] - pooled[:, :-1]).flatten(1, 2)


def concat_input(clips: Tensor) -> Tensor:
    """All frames of the window, not subtracted (CVPR Table 1a, "concat"): `(N*T, W*C, H//2, W'//2)`."""
    return _half_size(clips).flatten(1, 2)


def _half_size(clips: Tensor) -> Tensor:
    """Means of 2 x 2 pixels, `(N*T, W, C, H//2, W'//2)`: `avg_pool2d` in a third of its time on a CPU."""
    height, width = clips.shape[-2] // 2 * 2, clips.shape[-1] // 2 * 2
    clips = clips.flatten(0, 1)[..., :height, :width]
    rows = clips[..., 0::2, :] + clips[..., 1::2, :]
    return (rows[..., 0::2] + rows[..., 1::2]).div_(4)


S_TDM_INPUTS = {"diff": difference_input, "concat": concat_input}  # the words of CVPR Table 1(a)
S_TDM_FUSIONS = ("F+H", "F*H", "F+F*H", "F*H_channel", "F+F*H_channel")  # the formulas of CVPR Table 1(b)
L_TDM_OPERATORS = {  # CVPR Table 1(a); the sign is the released one, the paper has it reversed
    "diff": lambda aligned, this: aligned - this,
    "avg": lambda aligned, this: (aligned + this) / 2,
}
L_TDM_FUSIONS = ("F+F*G", "F+G", "F+F*G_channel")  # CVPR Table 1(c)


class ShortTermTDM(nn.Module):
    """S-TDM at one stage, equations (1) and (3): `F + Upsample(CNN(Downsample(D(I))))`.

    The motion branch runs beside the network at half its resolution. `cnn` is the branch's part of this stage;
    its output goes on to the branch's next stage and, upsampled, as H into the RGB features F.

    Args:
        cnn: maps the branch's features of the stage before (or its input) to those of this stage.
        channels: C of F and H.
        weights: (alpha, beta) in `alpha * F + beta * H`, as released (the paper writes a plain sum); of the
            fusion F+H only.
        fusion: one of `S_TDM_FUSIONS`. The attentions F*H multiply by H itself, as equation (3) defines it: no
            text has a sigmoid there. `H_channel` is a weight in (0, 1) for every channel of a segment: the pooled H,
            squeezed, restored, sigmoid, as in TEINet, which the paper names (the ICLR edition names SENet, which
            has a ReLU between the two).
    """

    def __init__(self, cnn: nn.Module, channels: int, weights: tuple[float, float], fusion: str = "F+H"):
        super().__init__()
        require("fusion", fusion, S_TDM_FUSIONS)
        self.cnn = cnn
        self.alpha, self.beta = weights
        self.fusion = fusion
        if fusion.endswith("_channel"):
            squeezed = max(channels // 16, 8)
            self.channel_attention = nn.Sequential(
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(channels, squeezed, 1),
                nn.Conv2d(squeezed, channels, 1),
                nn.Sigmoid(),
            )

    def forward(self, features: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
        motion = self.cnn(motion)
        size = features.shape[-2:]  # upsampled to the nearest, as released; the paper says bilinear
        if self.fusion == "F+H":
            h = F.interpolate(self.beta * motion, size=size, mode="nearest")
            return h.add_(features, alpha=self.alpha), motion
        if self.fusion.endswith("_channel"):
            h = self.channel_attention(motion)
        else:
            h = F.interpolate(motion, size=size, mode="nearest")
        attended = features * h
        return features + attended if self.fusion.startswith("F+") else attended, motion


class LongTermTDM(nn.Module):
    """L-TDM, equations (2) and (4) to (6): difference to the neighbouring segments as an attention map.

    Both directions share every weight; each is normalised with its own batch statistics, as released.

    Args:
        channels: C of the features it enhances.
        num_segments: T.
        operator: "diff", or "avg": the mean of a segment and its smoothed neighbour in place of their difference
            (CVPR Table 1a).
        fusion: one of `L_TDM_FUSIONS`. F+G adds G to the features, without sigmoid; F+F*G_channel has one weight
            for every channel of a segment, from the pooled comparison as in TEA.
        multi_scale: the three branches of equation (5); else the first alone, the comparison as it is.
        bidirectional: equation (6); else only M(F_i, F_i+1).
        reduction: r of section 3.3; the squeezed features keep at least 8 channels (ResNet-50 has 8 and more in
            stages 3 to 5; its stage 2 would be left with 4, the small networks with 1 or 2).
    """

    def __init__(
        self,
        channels: int,
        num_segments: int,
        operator: str = "diff",
        fusion: str = "F+F*G",
        multi_scale: bool = True,
        bidirectional: bool = True,
        reduction: int = 16,
    ):
        super().__init__()
        require("operator", operator, L_TDM_OPERATORS)
        require("fusion", fusion, L_TDM_FUSIONS)
        squeezed = max(channels // reduction, 8)
        self.num_segments = num_segments
        self.operator, self.fusion = operator, fusion
        self.multi_scale, self.bidirectional = multi_scale, bidirectional
        self.squeeze = _conv_bn(channels, squeezed, 1)
        self.align = nn.Conv2d(squeezed, squeezed, 3, padding=1, groups=squeezed, bias=False)
        if multi_scale:
            self.full_scale = _conv_bn(squeezed, squeezed, 3)
            self.half_scale = nn.Sequential(nn.AvgPool2d(2), *_conv_bn(squeezed, squeezed, 3))
        self.restore = PointwiseNorm(squeezed, channels)

    def forward(self, features: Tensor) -> Tensor:
        squeezed = self.squeeze(features)
        neighbours = squeezed, self.align(squeezed), self.num_segments, self.operator
        compared = [compare_next(*neighbours)]
        if self.bidirectional:
            compared.append(compare_previous(*neighbours))
        if self.training:  # each direction has its own batch statistics
            compared = [self.scales(direction) for direction in compared]
        else:
            compared = self.scales(torch.cat(compared)).unflatten(0, (len(compared), -1)).unbind()
        if self.training and self.fusion == "F+F*G":
            return Gated.apply(features, *(t for x in compared for t in (x, *self.restore.normalised(x))))
        restored = [self.restore(direction) for direction in compared]
        if self.fusion == "F+G":
            return torch.add(features, functools.reduce(torch.add, restored), alpha=1 / len(restored))
        return gated(features, restored)

    def scales(self, compared: Tensor) -> Tensor:
        """The branches of equation (5); the released network averages them (the paper sums them)."""
        if self.multi_scale:
            half = F.interpolate(self.half_scale(compared), size=compared.shape[-2:], mode="nearest")
            compared = (compared + self.full_scale(compared) + half) / 3
        return compared.mean((2, 3), keepdim=True) if self.fusion == "F+F*G_channel" else compared


def gated(features: Tensor, restored: Sequence[Tensor]) -> Tensor:
    """Equations (2) and (6), `F + F * G`: G of a direction is `sigmoid(x) - 0.5`, as released, so that no motion leaves
    the features nearly as they are, in (-0.5, 0.5); both directions' mean. Written as `F * (sigmoid(x) + 0.5)`."""
    gates = [x.sigmoid_() for x in restored]
    if torch.is_grad_enabled() or gates[0].shape != features.shape:
        return features * torch.lerp(gates[0], gates[-1], 0.5).add_(0.5)
    # The same in memory that no gradient needs: new memory costs more than the arithmetic.
    return gates[0].lerp_(gates[-1], 0.5).add_(0.5).mul_(features)


class Gated(torch.autograd.Function):
    """`gated` of 1x1 convolutions, for training: of each direction `(x, weight, bias)`.

    G has as many channels as F, x a sixteenth: none of G's maps is kept, for the gradient they are computed again.
    """

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
    """A 1x1 convolution to many channels and its batch norm, in one pass.

    The mean and the variance of what the convolution gives follow from the mean and the covariance of its few
    inputs, so that it is computed with weights that are normalised already: its outputs are neither read for their
    statistics nor kept for the gradient.
    """

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__(*_conv_bn(channels_in, channels_out, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, *self.normalised(x))

    def normalised(self, x: Tensor) -> Weights:
        """The weights that give normalised outputs for these inputs; in training the running statistics move."""
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


def compare_next(features: Tensor, aligned: Tensor, num_segments: int, operator: str = "diff") -> Tensor:
    """`C` of equation (4) with the next segment, `(N*T, C, H, W)`; zero for the last, which has none. `aligned` is the
    smoothed neighbour `Conv(F)`."""
    features, aligned = _by_segment(features, num_segments), _by_segment(aligned, num_segments)
    compared = L_TDM_OPERATORS[operator](aligned[:, 1:], features[:, :-1])
    return _images(F.pad(compared, (0, 0, 0, 0, 0, 0, 0, 1)))


def compare_previous(features: Tensor, aligned: Tensor, num_segments: int, operator: str = "diff") -> Tensor:
    """The same with the previous segment; zero for the first."""
    features, aligned = _by_segment(features, num_segments), _by_segment(aligned, num_segments)
    compared = L_TDM_OPERATORS[operator](aligned[:, :-1], features[:, 1:])
    return _images(F.pad(compared, (0, 0, 0, 0, 0, 0, 1, 0)))


def _by_segment(features: Tensor, num_segments: int) -> Tensor:
    """(N, T, H, W, C): what is channels-last in memory is padded so; as (N, T, C, H, W) it would be moved."""
    return features.permute(0, 2, 3, 1).unflatten(0, (-1, num_segments))


def _images(features: Tensor) -> Tensor:
    return features.flatten(0, 1).permute(0, 3, 1, 2)


def _conv_bn(channels_in: int, channels_out: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out))
