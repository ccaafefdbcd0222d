"""The two temporal difference modules of TDN (Wang et al., CVPR 2021, sections 3.2 and 3.3), equations (1) to (6).

Where paper and released network differ, the defaults follow the released network, so that its weights give its scores;
"as released" marks these places. Features of a clip are folded to `(N*T, C, H, W)`: N videos, T segments.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn.model.checks import require
from tdn.model.fused import PointwiseNorm, each_direction, gated, gated_by, half_size

WINDOW = 5  # L, consecutive frames around a segment's frame: the four differences D-2, D-1, D1, D2


def difference_input(clips: Tensor) -> Tensor:
    """`Downsample(D(I))` of equation (3): the window's frame differences at half resolution, stacked.

    Takes normalised clips `(N, T, L, C, H, W)`, gives `(N*T, (L-1)*C, H//2, W//2)`: x2-x1, x3-x2, ... in the order
    of the released network. Pooling and subtraction are both linear; pooling first moves a quarter of the memory.
    """
    pooled = half_size(clips)
    return (pooled[:, 1:] - pooled[:, :-1]).flatten(1, 2)


def concat_input(clips: Tensor) -> Tensor:
    """All frames of the window, not subtracted (CVPR Table 1a, "concat"): `(N*T, L*C, H//2, W//2)`."""
    return half_size(clips).flatten(1, 2)


S_TDM_INPUTS = {"diff": difference_input, "concat": concat_input}  # the words of CVPR Table 1(a)
S_TDM_FUSIONS = ("F+H", "F*H", "F+F*H", "F*H_channel", "F+F*H_channel")  # the formulas of CVPR Table 1(b)
L_TDM_OPERATORS = {  # CVPR Table 1(a); the sign is the released one, the paper has it reversed
    "diff": lambda aligned, this: aligned - this,
    "avg": lambda aligned, this: (aligned + this) / 2,
}
L_TDM_FUSIONS = ("F+F*G", "F+G", "F+F*G_channel")  # CVPR Table 1(c)


class ShortTermTDM(nn.Module):
    """S-TDM at one stage, equations (1) and (3): `F + H` with `H = Upsample(CNN(Downsample(D(I))))`.

    The motion branch runs next to the network at half its resolution. `cnn` is the branch's part of this stage;
    its output goes on to the branch's next stage and, upsampled, as H into the RGB features F.

    Args:
        cnn: maps the branch's features of the stage before (or its input) to those of this stage.
        channels: C of F and H.
        weights: (alpha, beta) in `alpha * F + beta * H`, as released (the paper writes a plain sum); of the
            fusion F+H only.
        fusion: one of `S_TDM_FUSIONS`. The attentions F*H multiply by H itself, as equation (3) defines it, without a
            sigmoid. `H_channel` is a weight in (0, 1) for every channel of a segment: the pooled H, squeezed, restored,
            sigmoid, as in TEINet, which the paper names (the ICLR edition names SENet, which has a ReLU in between).
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
    """L-TDM, equations (2) and (4) to (6): `F + F * G`, G from the differences to the neighbouring segments.

    Both directions share every weight; in training each is normalised with its own batch statistics, as released. G
    of a direction is `sigmoid(x) - 0.5` in (-0.5, 0.5), as released: no motion leaves the features nearly as they are.

    Args:
        channels: C of the features it enhances.
        num_segments: T.
        operator: "diff", or "avg": the mean of a segment and its smoothed neighbour (CVPR Table 1a).
        fusion: one of `L_TDM_FUSIONS`. F+G adds G to the features, without sigmoid; F+F*G_channel has one weight
            for every channel of a segment, from the pooled comparison as in TEA.
        multi_scale: the three branches of equation (5); else the first alone, the comparison as it is.
        bidirectional: equation (6), the mean over both neighbours; else the next one alone.
        reduction: r of section 3.3; the squeezed features keep at least 8 channels (ResNet-50 has these in stages 3
            to 5; its stage 2 would be left with 4, the small networks with 1 or 2).
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
        pair = squeezed, self.align(squeezed), self.num_segments, self.operator
        compared = [compare(*pair, step) for step in ((1, -1) if self.bidirectional else (1,))]  # equation (4)
        compared = each_direction(self.scales, compared, self.training)  # equation (5)
        if self.fusion == "F+F*G":
            return gated_by(features, compared, self.restore)  # equations (6) and (2)
        restored = [self.restore(direction) for direction in compared]
        if self.fusion == "F+G":
            return torch.add(features, sum(restored[1:], restored[0]), alpha=1 / len(restored))
        return gated(features, restored)

    def scales(self, compared: Tensor) -> Tensor:
        """The branches of equation (5); the released network averages them (the paper sums them). Raises ValueError for
        features that can't be halved: in stage 5 those of frames below 33 x 33 pixels."""
        if self.multi_scale:
            if min(compared.shape[-2:]) < 2:
                size = "{} x {}".format(*compared.shape[-2:])
                raise ValueError(f"L-TDM halves its features, here {size}: in stages 3-5 frames need 33 x 33 pixels")
            half = F.interpolate(self.half_scale(compared), size=compared.shape[-2:], mode="nearest")
            compared = (compared + self.full_scale(compared) + half) / 3
        return compared.mean((2, 3), keepdim=True) if self.fusion == "F+F*G_channel" else compared


def compare(features: Tensor, aligned: Tensor, num_segments: int, operator: str = "diff", step: int = 1) -> Tensor:
    """`C` of equation (4), `(N*T, C, H, W)`, with the next segment (`step` 1) or the previous one (-1); zero where
    there is none. `aligned` is the smoothed neighbour `Conv(F)`."""
    # (N, T, H, W, C): what is channels-last in memory is padded so; as (N, T, C, H, W) it would be moved.
    this, other = (x.permute(0, 2, 3, 1).unflatten(0, (-1, num_segments)) for x in (features, aligned))
    if step == 1:
        compared = F.pad(L_TDM_OPERATORS[operator](other[:, 1:], this[:, :-1]), (0, 0, 0, 0, 0, 0, 0, 1))
    else:
        compared = F.pad(L_TDM_OPERATORS[operator](other[:, :-1], this[:, 1:]), (0, 0, 0, 0, 0, 0, 1, 0))
    return compared.flatten(0, 1).permute(0, 3, 1, 2)


def _conv_bn(channels_in: int, channels_out: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out))
