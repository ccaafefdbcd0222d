"""The temporal modules TDN is compared with, each made from `(channels, num_segments)`. Features are folded to
`(N*T, C, H, W)`, N videos, T segments, and keep their shape."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn.model.tdm import LongTermTDM, compare


class TemporalShift(nn.Module):
    """TSM (Lin et al., ICCV 2019): the first eighth of the channels comes from the next segment, the second eighth
    from the previous one, zero where there is none."""

    def __init__(self, channels: int, num_segments: int):
        super().__init__()
        self.num_segments, self.fold = num_segments, channels // 8

    def forward(self, features: Tensor) -> Tensor:
        x, fold = features.unflatten(0, (-1, self.num_segments)), self.fold
        out = x.clone()
        out[:, :-1, :fold] = x[:, 1:, :fold]
        out[:, -1, :fold] = 0
        out[:, 1:, fold : 2 * fold] = x[:, :-1, fold : 2 * fold]
        out[:, 0, fold : 2 * fold] = 0
        return out.flatten(0, 1)


class TemporalConv(nn.Module):
    """Depthwise temporal convolution over three neighbouring segments, zero padded. In controls that are in no paper:
    over every `dilation`-th, padded with the first and the last segment (`repeat_ends`).

    T-Conv (TDN section 3.4 and Table 1f) and, in front of a block, the temporal interaction module TIM of TEINet (Liu
    et al., AAAI 2020). Initialised as a shift, as in the released network: the first `fold` channels (an eighth; TEA
    differs) read the next segment, as many the previous one, the others themselves."""

    def __init__(
        self, channels: int, num_segments: int, fold: int | None = None, dilation: int = 1, repeat_ends: bool = False
    ):
        super().__init__()
        self.num_segments, self.dilation, self.repeat_ends = num_segments, dilation, repeat_ends
        fold = channels // 8 if fold is None else fold
        weight = torch.zeros(channels, 1, 3)  # taps: previous, this, next segment
        weight[:fold, 0, 2] = 1
        weight[fold : 2 * fold, 0, 0] = 1
        weight[2 * fold :, 0, 1] = 1
        self.weight = nn.Parameter(weight)

    def forward(self, features: Tensor) -> Tensor:
        return convolve_segments(features, self.weight, self.num_segments, self.dilation, self.repeat_ends)


def convolve_segments(
    features: Tensor, weight: Tensor, num_segments: int, dilation: int = 1, repeat_ends: bool = False
) -> Tensor:
    """A depthwise convolution over the segments, padded as `TemporalConv`; `weight` (C, 1, 3): taps of the previous,
    this and the next segment (`dilation` segments away). Features that are channels-last in memory are so as images of
    height T and width H * W too: nothing is moved, where a 1D convolution needs time as the last axis."""
    images = features.unflatten(0, (-1, num_segments)).transpose(1, 2).flatten(3)  # (N, C, T, H * W)
    if repeat_ends:
        images = F.pad(images, (0, 0, dilation, dilation), mode="replicate")
    apart = {"padding": (0 if repeat_ends else dilation, 0), "dilation": (dilation, 1)}
    out = F.conv2d(images, weight.unsqueeze(-1), **apart, groups=len(weight))
    return out.unflatten(3, features.shape[2:]).transpose(1, 2).flatten(0, 1)


class FullTemporalConv(nn.Module):
    """What T-Conv would be if it were not depthwise, in no table: all C x C weights, initialised as the identity."""

    def __init__(self, channels: int, num_segments: int):
        super().__init__()
        self.num_segments = num_segments
        self.conv = nn.Conv1d(channels, channels, 3, padding=1, bias=False)
        nn.init.dirac_(self.conv.weight)

    def forward(self, features: Tensor) -> Tensor:
        x = features.unflatten(0, (-1, self.num_segments))  # (N, T, C, H, W)
        lines = x.permute(0, 3, 4, 2, 1).flatten(0, 2)  # (N*H*W, C, T)
        return self.conv(lines).unflatten(0, (x.shape[0], *x.shape[3:])).permute(0, 4, 3, 1, 2).flatten(0, 1)


class MotionEnhancement(nn.Module):
    """MEM of TEINet (Liu et al., AAAI 2020): a weight in (0, 1) for every channel of a segment, from the difference
    of its pooled features to the next segment's. The last segment has no next one and stays as it is. No code was
    released; as TDRL's section 3 describes it. The reduction is not reported: 8, as for PEM."""

    def __init__(self, channels: int, num_segments: int, reduction: int = 8):
        super().__init__()
        self.num_segments = num_segments
        squeezed = max(channels // reduction, 8)
        self.squeeze = nn.Linear(channels, squeezed)
        self.squeeze_next = nn.Linear(channels, squeezed)
        self.restore = nn.Linear(squeezed, channels)

    def forward(self, features: Tensor) -> Tensor:
        pooled = features.mean((2, 3)).unflatten(0, (-1, self.num_segments))  # (N, T, C)
        difference = self.squeeze_next(pooled[:, 1:]) - self.squeeze(pooled[:, :-1])
        weights = F.pad(torch.sigmoid(self.restore(difference)), (0, 0, 0, 1), value=1.0)
        return features * weights.flatten(0, 1)[:, :, None, None]


class TemporalAggregation(nn.Module):
    """TAM of bLVNet (Fan et al., NeurIPS 2019): a weighted sum of a segment and its two neighbours in every channel,
    then a ReLU. Initialised at random, as released."""

    def __init__(self, channels: int, num_segments: int):
        super().__init__()
        self.num_segments = num_segments
        self.weight = nn.Parameter(torch.randn(channels, 3) * math.sqrt(2 / channels))

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(convolve_segments(features, self.weight.unsqueeze(1), self.num_segments))


class TemporalAdaptive(nn.Module):
    """The temporal adaptive module of TANet (Liu et al., ICCV 2021): each video has a temporal kernel of its own.

    From the pooled features, `global_branch` makes a kernel of three taps per channel (a softmax; its weights are
    shared by the channels), `local_branch` a weight in (0, 1) for every channel of a segment; the features, so
    weighted, are convolved with the kernel, zero padded."""

    def __init__(self, channels: int, num_segments: int):
        super().__init__()
        self.num_segments = num_segments
        t, squeezed = num_segments, channels // 4
        first = nn.Linear(t, 2 * t, bias=False), nn.BatchNorm1d(2 * t), nn.ReLU(inplace=True)
        self.global_branch = nn.Sequential(*first, nn.Linear(2 * t, 3, bias=False), nn.Softmax(-1))
        first = nn.Conv1d(channels, squeezed, 3, padding=1, bias=False), nn.BatchNorm1d(squeezed), nn.ReLU(inplace=True)
        self.local_branch = nn.Sequential(*first, nn.Conv1d(squeezed, channels, 1, bias=False), nn.Sigmoid())

    def forward(self, features: Tensor) -> Tensor:
        pooled = features.mean((2, 3)).unflatten(0, (-1, self.num_segments)).transpose(1, 2)  # (N, C, T)
        kernels = self.global_branch(pooled.flatten(0, 1)).unflatten(0, pooled.shape[:2])  # (N, C, 3)
        weights = self.local_branch(pooled).transpose(1, 2).flatten(0, 1)
        x = (features * weights[:, :, None, None]).unflatten(0, (-1, self.num_segments))
        from_previous, from_this, from_next = kernels.to(x.dtype)[:, None, :, :, None, None].unbind(3)
        out = x * from_this
        out[:, 1:].addcmul_(x[:, :-1], from_previous)
        out[:, :-1].addcmul_(x[:, 1:], from_next)
        return out.flatten(0, 1)


class MotionExcitation(LongTermTDM):
    """ME of TEA (Li et al., CVPR 2020): the form of L-TDM with one direction, one scale and one weight per channel. The
    squeezed features keep at least 8 channels (TEA's stage 2 has 6)."""

    def __init__(self, channels: int, num_segments: int):
        super().__init__(channels, num_segments, "diff", "F+F*G_channel", multi_scale=False, bidirectional=False)


class SplitConv(nn.Module):
    """Res2Net's 3x3 convolution in four groups of channels (Gao et al., PAMI 2019); with `add_temporal` TEA's multiple
    temporal aggregation, MTA. Each group but the last has its own convolution; the output of the group before is added
    to its input, except in the `first` block of a stage."""

    def __init__(self, channels: int, stride: int = 1, first: bool = False):
        super().__init__()
        width = channels // 4
        self.first = first
        self.convs = nn.ModuleList()
        for _ in range(3):
            conv = nn.Conv2d(width, width, 3, stride, 1, bias=False)
            self.convs.append(nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)))
        self.last = nn.AvgPool2d(3, stride, 1) if first else nn.Identity()
        self.temporal = nn.ModuleList(nn.Identity() for _ in range(4))

    def add_temporal(self, num_segments: int) -> None:
        """A temporal convolution in front of each group: initialised as identities, except that the last group is
        shifted, half to either side."""
        width = self.convs[0][0].in_channels
        self.temporal = nn.ModuleList(TemporalConv(width, num_segments, fold) for fold in (0, 0, 0, width // 2))

    def forward(self, features: Tensor) -> Tensor:
        outputs = []
        convs = (*self.convs, self.last)
        for i, (group, temporal, conv) in enumerate(zip(features.chunk(4, dim=1), self.temporal, convs, strict=True)):
            if i in (1, 2) and not self.first:
                group = group + outputs[-1]
            outputs.append(conv(temporal(group)))
        return torch.cat(outputs, 1)


class ChannelSpatiotemporal(TemporalConv):
    """The temporal half of STM's CSTM (Jiang et al., ICCV 2019); the block's own 3x3 convolution is the other half.
    Initialised as a shift, as in the public code of the paper's first author: the first quarter of the channels reads
    the previous segment, the last quarter the next one, the half between them itself."""

    def __init__(self, channels: int, num_segments: int):
        super().__init__(channels, num_segments, fold=0)
        quarter = channels // 4
        with torch.no_grad():
            self.weight[:quarter] = torch.tensor([1.0, 0, 0])
            self.weight[channels - quarter :] = torch.tensor([0, 0, 1.0])


class ChannelMotion(nn.Module):
    """CMM of STM (Jiang et al., ICCV 2019), added to the normalised output of the 3x3 convolution: what moves between a
    segment and the next, squeezed to a sixteenth of the channels (at least 4) and normalised, restored by a 1x1
    convolution. Zero for the last segment. The paper leaves open where batch norms are, how the size is halved
    (`stride`) and how weights start: as in the public code of its first author (STM.py and CMM.py of 2019), there is
    one batch norm, after the squeeze, the output is max-pooled (of an odd size the last row and column too, which that
    code does not take), and convolutions start as torch's do, which `initialise` leaves (departures, notebook 04)."""

    def __init__(self, channels: int, num_segments: int, stride: int = 1):
        super().__init__()
        self.num_segments, self.stride = num_segments, stride
        squeezed = max(channels // 16, 4)
        self.squeeze = nn.Sequential(nn.Conv2d(channels, squeezed, 1, bias=False), nn.BatchNorm2d(squeezed))
        self.align = nn.Conv2d(squeezed, squeezed, 3, padding=1, groups=squeezed, bias=False)
        self.restore = nn.Conv2d(squeezed, channels, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        squeezed = self.squeeze(features)
        restored = self.restore(compare(squeezed, self.align(squeezed), self.num_segments))
        return restored if self.stride == 1 else F.max_pool2d(restored, self.stride, ceil_mode=True)
