"""The 3D networks that the papers' tables compare TDN with, put together from torchvision's parts.

All of them take normalised clips `(N, T, 1, C, H, W)`, T `num_segments` consecutive samples of one frame each, C 3,
and give scores `(N, num_classes)`, before the softmax. Within a network features are `(N, C, T, H, W)`. `width` is the
channels of the stem, 64 in the published networks; `dropout` is before the classifier. Costs in the docstrings are
multiply-adds of one view and parameters with 174 classes. All raise ValueError for no frame and no class.

torchvision is imported where it is used: it takes most of a second, and the ResNets of `tdn.create_model` need none.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from tdn.model.blocks import initialise
from tdn.model.checks import require_clips, require_counts

# Blocks of the residual stages 2 to 5 of a ResNet-50; 1 where a block's first convolution is 3x1x1 instead of 1x1x1.
EVERY_SECOND = (1, 1, 1), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 1, 0)
LATE = (0,) * 3, (0,) * 4, (1,) * 6, (1,) * 3
EVERYWHERE = (1,) * 3, (1,) * 4, (1,) * 6, (1,) * 3


def _resnet50(width: int, kernel: int, inflation: tuple, lateral: int = 0, last_stride: int = 2) -> OrderedDict:
    """The stem, whose kernel spans `kernel` frames, and the residual stages 2 to 5, all without temporal stride.
    `lateral` channels join the stem's `width` before stage 2; later they grow as the network's own do."""
    conv = nn.Conv3d(3, width, (kernel, 7, 7), stride=(1, 2, 2), padding=(kernel // 2, 3, 3), bias=False)
    pool = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
    stages = OrderedDict(stem=nn.Sequential(conv, nn.BatchNorm3d(width), nn.ReLU(inplace=True), pool))
    for number, inflated, inputs, stride in zip(
        range(2, 6), inflation, (1, 4, 8, 16), (1, 2, 2, last_stride), strict=True
    ):
        planes = width * 2 ** (number - 2)
        stages[f"stage{number}"] = _stage(inputs * (width + lateral), planes, inflated, stride)
    return stages


def _stage(channels: int, planes: int, inflation: tuple[int, ...], stride: int) -> nn.Sequential:
    """torchvision's bottlenecks with 1x3x3 in the middle; where `inflation` has 1, their first convolution is 3x1x1."""
    from torchvision.models.video.resnet import Bottleneck, Conv3DNoTemporal

    outputs = planes * Bottleneck.expansion
    projection = nn.Conv3d(channels, outputs, 1, stride=(1, stride, stride), bias=False)
    downsample = nn.Sequential(projection, nn.BatchNorm3d(outputs))
    blocks = [Bottleneck(channels, planes, Conv3DNoTemporal, stride, downsample)]
    blocks += [Bottleneck(outputs, planes, Conv3DNoTemporal) for _ in inflation[1:]]
    for block, inflated in zip(blocks, inflation, strict=True):
        if inflated:
            block.conv1[0] = nn.Conv3d(block.conv1[0].in_channels, planes, (3, 1, 1), padding=(1, 0, 0), bias=False)
    return nn.Sequential(*blocks)


def _lateral(channels: int, alpha: int, kernel: int) -> nn.Sequential:
    """Fast to slow: as many frames as `[::alpha]` leaves, whatever T is, and twice the channels."""
    conv = nn.Conv3d(channels, 2 * channels, (kernel, 1, 1), (alpha, 1, 1), (kernel // 2, 0, 0), bias=False)
    return nn.Sequential(conv, nn.BatchNorm3d(2 * channels), nn.ReLU(inplace=True))


def _pooled(stages: OrderedDict[str, nn.Module]) -> nn.Sequential:
    return nn.Sequential(OrderedDict(**stages, pool=nn.AdaptiveAvgPool3d(1), flatten=nn.Flatten()))


class _TwoPathways(nn.Module):
    """Slow and fast stages side by side; the fast features join the slow ones before each residual stage."""

    def __init__(self, alpha: int, lateral_kernel: int, width: int):
        super().__init__()
        fast = width // 8
        self.alpha = alpha
        self.slow = nn.Sequential(_resnet50(width, 1, LATE, lateral=2 * fast))
        self.fast = nn.Sequential(_resnet50(fast, 5, EVERYWHERE))
        self.lateral = nn.ModuleList(_lateral(fast * scale, alpha, lateral_kernel) for scale in (1, 4, 8, 16))

    def forward(self, frames: Tensor) -> Tensor:
        slow, fast = self.slow.stem(frames[:, :, :: self.alpha]), self.fast.stem(frames)
        for lateral, slow_stage, fast_stage in zip(self.lateral, self.slow[1:], self.fast[1:], strict=True):
            slow, fast = slow_stage(torch.cat([slow, lateral(fast)], 1)), fast_stage(fast)
        return torch.cat([slow.mean((2, 3, 4)), fast.mean((2, 3, 4))], 1)


class Network3D(nn.Module):
    """Frames as one volume through `backbone`, which gives `(N, channels)`, averaged over time and space; dropout; one
    linear layer. `forward` raises ValueError for clips of another shape."""

    window = 1

    def __init__(self, backbone: nn.Module, channels: int, num_classes: int, num_segments: int, dropout: float):
        super().__init__()
        require_counts(num_segments, num_classes)
        self.num_segments = num_segments
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        initialise(self, fc_std=0.01)  # as torchvision's VideoResNet

    def forward(self, clips: Tensor) -> Tensor:
        require_clips(clips, self.num_segments, self.window)
        return self.fc(self.dropout(self.backbone(clips[:, :, 0].transpose(1, 2))))


class InflatedResNet(Network3D):
    """I3D on a ResNet-50 (Carreira and Zisserman, CVPR 2017; Wang et al., CVPR 2018) as in Wang and Gupta, ECCV 2018.

    Time is halved once, after stage 2; stage 5 keeps the size of stage 4. That is the variant nearest in cost to the
    tables' (306 GMACs for two clips): 152.47 GMACs for 32 frames at 224 px, 27.58 M parameters."""

    def __init__(self, num_classes: int = 174, num_segments: int = 32, *, width: int = 64, dropout: float = 0.5):
        stages = _resnet50(width, 5, EVERY_SECOND, last_stride=1)
        # ceil_mode: an odd last frame stays, and a clip may have one frame. An even number is as published.
        stages["stage2"].append(nn.MaxPool3d((2, 1, 1), ceil_mode=True))
        super().__init__(_pooled(stages), 32 * width, num_classes, num_segments, dropout)


class SlowOnly(Network3D):
    """The slow pathway of SlowFast alone (Feichtenhofer et al., ICCV 2019), on a ResNet-50: temporal convolutions in
    every block of stages 4 and 5, T frames throughout. 41.74 GMACs for 8 frames at 224 px, 31.99 M parameters."""

    def __init__(self, num_classes: int = 174, num_segments: int = 8, *, width: int = 64, dropout: float = 0.5):
        super().__init__(_pooled(_resnet50(width, 1, LATE)), 32 * width, num_classes, num_segments, dropout)


class SlowFast(Network3D):
    """SlowFast on a ResNet-50 (Feichtenhofer et al., ICCV 2019): few frames wide, all frames narrow.

    The slow pathway reads the frames 0, `alpha`, 2 `alpha`, ... of `num_segments` (the published code spreads them from
    the first to the last); the lateral convolutions, fast to slow, are centred on them and span `lateral_kernel`
    frames, an odd number. The fast pathway has an eighth of `width`, a multiple of 8. The defaults are "8x8": 8 slow of
    32 fast frames, 50.31 GMACs at 224 px and 65.71 at 256, 34.05 M parameters. "4x16" is `alpha=8, lateral_kernel=5`:
    27.64, 36.10 and 33.96. Unlike in the published training, the blocks are not initialised as identities."""

    def __init__(self, num_classes=174, num_segments=32, *, alpha=4, lateral_kernel=7, width=64, dropout=0.5):
        if alpha < 1 or lateral_kernel < 1 or lateral_kernel % 2 == 0 or width < 8 or width % 8:
            needed = "need alpha from 1 on, an odd lateral_kernel and a width that is a multiple of 8"
            raise ValueError(f"{needed}: {alpha=}, {lateral_kernel=}, {width=}")
        channels = 32 * (width + width // 8)
        super().__init__(_TwoPathways(alpha, lateral_kernel, width), channels, num_classes, num_segments, dropout)


def r2plus1d(num_classes: int = 174, num_segments: int = 32, *, dropout: float = 0.5) -> Network3D:
    """R(2+1)D-34 (Tran et al., CVPR 2018): each 3x3x3 convolution as 1x3x3, then 3x1x1; time is halved three times.
    Published at 112 px: 152.36 GMACs for 32 frames, 63.58 M parameters. torchvision fixes its width.

    The channels between the two are as many as keep the 3x3x3 convolution's parameters (section 3.5 of the paper), for
    each convolution anew as in the authors' network. torchvision gives both of a block the first one's, which are fewer
    in the first blocks of stages 3 to 5 (230, 460, 921 in place of 288, 576, 1152; departures, notebook 04)."""
    from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D, R2Plus1dStem, VideoResNet

    class OwnMiddle(Conv2Plus1D):
        def __init__(self, inputs: int, outputs: int, _: int, stride: int = 1, padding: int = 1):
            middle = 27 * inputs * outputs // (9 * inputs + 3 * outputs)
            super().__init__(inputs, outputs, middle, stride, padding)

    backbone = VideoResNet(BasicBlock, [OwnMiddle] * 4, [3, 4, 6, 3], R2Plus1dStem)
    channels = backbone.fc.in_features
    backbone.fc = nn.Identity()
    return Network3D(backbone, channels, num_classes, num_segments, dropout)


def s3d(num_classes: int = 174, num_segments: int = 64, *, dropout: float = 0.5) -> Network3D:
    """S3D (Xie et al., ECCV 2018), torchvision's: 71.91 GMACs for 64 frames at 224 px, 8.09 M parameters.

    Takes 8 frames (else ValueError) and 17 pixels or more. Its pool is the average over time and space; torchvision's
    spans 2 x 7 x 7 and moves by one: at 224 px and 16 frames both give the same scores; from 17 frames on torchvision's
    counts the first and the last time step half. The batch norms' running statistics move by 0.001 per step, as in
    torchvision: fewer than some thousand steps of training leave evaluation far from training.
    """
    from torchvision.models.video import S3D

    # The strides leave nothing of fewer than 5. With 5 to 7, the weight gradient of the stem's 7x1x1 convolution is
    # wrong on a CPU, up to a crash (torch 2.12.1, oneDNN 3.11.2).
    if num_segments < 8:
        raise ValueError(f"s3d needs 8 frames or more: {num_segments=}")
    backbone = S3D()
    channels = backbone.classifier[-1].in_channels
    backbone.avgpool = nn.AdaptiveAvgPool3d(1)
    backbone.classifier = nn.Identity()  # of one position, a 1x1x1 convolution is the linear layer of Network3D
    return Network3D(backbone, channels, num_classes, num_segments, dropout)
