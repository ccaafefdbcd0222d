"""The reference implementation of TDN, written down from its equations; the benchmark compares the package with it.

It computes the same function of the same parameters. Frames are subtracted at full resolution, the temporal convolution
has time as the last axis in memory, the two directions of L-TDM are computed one after the other."""

import copy
import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdn.model.fused import PointwiseNorm
from tdn.model.resnet import VideoResNet
from tdn.model.tdm import LongTermTDM, ShortTermTDM
from tdn.model.temporal import TemporalConv


def reference_implementation(model: VideoResNet) -> VideoResNet:
    """A copy of a TDN in its default forms, computed by this file and laid out in memory as torch does by default."""
    model = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    model._motion_input = frame_wise_differences
    forms = {TemporalConv: PermutedTemporalConv, ShortTermTDM: PlainShortTermTDM, LongTermTDM: PlainLongTermTDM}
    forms[PointwiseNorm] = nn.Sequential
    for module in model.modules():  # the parameters stay, `forward` is another
        module.__class__ = forms.get(type(module), type(module))
    return model


def frame_wise_differences(clips: Tensor) -> Tensor:
    """Equation (3): subtracted at full resolution, then pooled."""
    frames = clips.flatten(0, 1).unbind(1)
    return F.avg_pool2d(torch.cat([after - before for before, after in itertools.pairwise(frames)], 1), 2)


class PlainShortTermTDM(ShortTermTDM):
    """Equation (3), the sum as released."""

    def forward(self, features: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
        motion = self.cnn(motion)
        return self.alpha * features + self.beta * F.interpolate(motion, features.shape[-2:]), motion


class PlainLongTermTDM(LongTermTDM):
    """Equations (2) and (4) to (6), one direction after the other."""

    def forward(self, features: Tensor) -> Tensor:
        squeezed = self.squeeze(features)
        this, other = (x.unflatten(0, (-1, self.num_segments)) for x in (squeezed, self.align(squeezed)))
        following = self.enhancement(F.pad(other[:, 1:] - this[:, :-1], (0, 0, 0, 0, 0, 0, 0, 1)).flatten(0, 1))
        preceding = self.enhancement(F.pad(other[:, :-1] - this[:, 1:], (0, 0, 0, 0, 0, 0, 1, 0)).flatten(0, 1))
        return features + features * (0.5 * following + 0.5 * preceding)

    def enhancement(self, compared: Tensor) -> Tensor:
        half = F.interpolate(self.half_scale(compared), compared.shape[-2:])
        return torch.sigmoid(self.restore((compared + self.full_scale(compared) + half) / 3)) - 0.5


class PermutedTemporalConv(TemporalConv):
    """A one-dimensional convolution over time, which has to be the last axis in memory."""

    def forward(self, features: Tensor) -> Tensor:
        x = features.unflatten(0, (-1, self.num_segments))  # (N, T, C, H, W)
        lines = x.permute(0, 3, 4, 2, 1).flatten(0, 2)  # (N*H*W, C, T)
        out = F.conv1d(lines, self.weight, padding=1, groups=len(self.weight))
        return out.unflatten(0, (len(x), *x.shape[3:])).permute(0, 4, 3, 1, 2).flatten(0, 1).contiguous()
