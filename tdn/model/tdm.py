"""The two temporal difference modules of TDN (Wang et al., CVPR 2021, sections 3.2 and 3.3).

Where paper and released network differ, the defaults compute what the released network computes, so that its
weights give its scores; each such place says so. Features of a clip are folded to `(N*T, C, H, W)`: N videos,
T segments.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WINDOW = 5  # consecutive frames around a segment's frame: the four differences D-2, D-1, D1, D2


def difference_input(clips: Tensor) -> Tensor:
    """`Downsample(D(I))` of equation (3): the window's frame differences at half resolution, stacked.

    Takes normalised clips `(N, T, W, C, H, W')`, gives `(N*T, (W-1)*C, H//2, W'//2)`: x2-x1, x3-x2, ... in the
    order of the released network. Pooling and subtraction are both linear; pooling first moves a quarter of the
    memory.
    """
    n, t, w = clips.shape[:3]
    pooled = F.avg_pool2d(clips.flatten(0, 2), 2).unflatten(0, (n * t, w))
    return (pooled[:, 1:] - pooled[:, :-1]).flatten(1, 2)


class ShortTermTDM(nn.Module):
    """S-TDM at one stage, equations (1) and (3): `F + Upsample(CNN(Downsample(D(I))))`.

    The difference branch runs beside the network at half its resolution. `cnn` is the branch's part of this
    stage; its output goes on to the branch's next stage and, upsampled and weighted, into the RGB features.

    Args:
        cnn: maps difference features of the stage before (or `difference_input`) to those of this stage.
        weights: (alpha, beta) in `alpha * F + beta * H`. The paper writes a plain sum.
    """

    def __init__(self, cnn: nn.Module, weights: tuple[float, float]):
        super().__init__()
        self.cnn = cnn
        self.alpha, self.beta = weights

    def forward(self, features: Tensor, differences: Tensor) -> tuple[Tensor, Tensor]:
        differences = self.cnn(differences)
        # Nearest, as released; the paper says bilinear.
        motion = F.interpolate(differences, size=features.shape[-2:], mode="nearest")
        return self.alpha * features + self.beta * motion, differences


class LongTermTDM(nn.Module):
    """L-TDM, equations (2) and (4) to (6): difference to the neighbouring segments as an attention map.

    Both directions share every weight; each is normalised with its own batch statistics, as released.

    Args:
        channels: C of the features it enhances.
        num_segments: T.
        reduction: r of section 3.3; the squeezed features keep at least 8 channels (ResNet-50 has 8 and more
            anyway, the small networks would be left with 1 or 2).
    """

    def __init__(self, channels: int, num_segments: int, reduction: int = 16):
        super().__init__()
        squeezed = max(channels // reduction, 8)
        self.num_segments = num_segments
        self.squeeze = _conv_bn(channels, squeezed, 1)
        self.align = nn.Conv2d(squeezed, squeezed, 3, padding=1, groups=squeezed, bias=False)
        self.full_scale = _conv_bn(squeezed, squeezed, 3)
        self.half_scale = nn.Sequential(nn.AvgPool2d(2), *_conv_bn(squeezed, squeezed, 3))
        self.restore = _conv_bn(squeezed, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        squeezed = self.squeeze(features)
        forward, backward = aligned_differences(squeezed, self.align(squeezed), self.num_segments)
        attention = (self.attention(forward) + self.attention(backward)) / 2  # equation (6)
        return features + features * attention  # equation (2)

    def attention(self, difference: Tensor) -> Tensor:
        """`M` of equation (5). The released network averages the three branches (the paper sums them) and
        subtracts 0.5, so that no motion leaves the features nearly as they are: values in (-0.5, 0.5)."""
        half = F.interpolate(self.half_scale(difference), size=difference.shape[-2:], mode="nearest")
        return torch.sigmoid(self.restore((difference + self.full_scale(difference) + half) / 3)) - 0.5


def aligned_differences(features: Tensor, aligned: Tensor, num_segments: int) -> tuple[Tensor, Tensor]:
    """`C` of equation (4) to the next and to the previous segment, each `(N*T, C, H, W)`.

    `aligned` is the smoothed neighbour `Conv(F)`. The sign is the released one, `Conv(F_i+1) - F_i` (the paper
    has it reversed). A segment without a neighbour on that side (the last, the first) has difference zero.
    """
    features = features.unflatten(0, (-1, num_segments))
    aligned = aligned.unflatten(0, (-1, num_segments))
    to_next = aligned[:, 1:] - features[:, :-1]
    to_previous = aligned[:, :-1] - features[:, 1:]
    pad_end, pad_start = (0, 0, 0, 0, 0, 0, 0, 1), (0, 0, 0, 0, 0, 0, 1, 0)
    return F.pad(to_next, pad_end).flatten(0, 1), F.pad(to_previous, pad_start).flatten(0, 1)


def _conv_bn(channels_in: int, channels_out: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out))
