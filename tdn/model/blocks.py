"""The residual blocks, with their places for temporal modules, and the stages made of them.

ResNet (He et al., CVPR 2016; stride in the 3x3 convolution, as torchvision) and Res2Net (Gao et al., PAMI 2019).
"""

from collections import OrderedDict

from torch import Tensor, nn

from tdn.model.temporal import ChannelMotion, SplitConv


class ResidualBlock(nn.Module):
    """A residual block with places for modules: `before` at the start of the residual branch, in front of the first
    convolution; `temporal` after it; `beside` in parallel with `temporal` and the second convolution, added after its
    norm (and its ReLU, where the block has a third convolution)."""

    expansion = 1  # channels out, of `planes`

    def _places(self, downsample: nn.Module | None) -> None:
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.before, self.temporal, self.beside = nn.Identity(), nn.Identity(), None

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(self.before(x))))
        convolved = self._convolve(self.temporal(out))
        if self.beside is not None:
            convolved = convolved + self.beside(out)
        out = self._finish(convolved)
        out += identity
        return self.relu(out)


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions; `temporal` acts on the input of the second."""

    def __init__(self, channels: int, planes: int, stride: int = 1, downsample: nn.Module | None = None):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self._places(downsample)

    def _convolve(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(x))

    def _finish(self, convolved: Tensor) -> Tensor:
        return convolved


class Bottleneck(ResidualBlock):
    """1x1, 3x3, 1x1; `temporal` acts on the narrow channels, as released."""

    expansion = 4

    def __init__(self, channels: int, planes: int, stride: int = 1, downsample: nn.Module | None = None):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)
        self._places(downsample)

    def _convolve(self, x: Tensor) -> Tensor:
        return self.relu(self.bn2(self.conv2(x)))

    def _finish(self, convolved: Tensor) -> Tensor:
        return self.bn3(self.conv3(convolved))


class SplitBottleneck(ResidualBlock):
    """Res2Net's block, 1x1, `SplitConv`, 1x1: 26 channels per group where ResNet-50 has 64. `first` of a stage."""

    expansion = 4
    first_kernel = 1

    def __init__(self, channels: int, planes: int, stride: int = 1, downsample=None, *, first: bool = False):
        super().__init__()
        narrow, outputs = 4 * (planes * 26 // 64), planes * self.expansion
        kernel = self.first_kernel
        first_stride = stride if kernel == 3 else 1  # the first 3x3 convolution of a block halves the size
        self.conv1 = nn.Conv2d(channels, narrow, kernel, first_stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(narrow)
        self.conv2 = SplitConv(narrow, stride // first_stride, first)
        self.conv3 = nn.Conv2d(narrow, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self._places(downsample)

    def _convolve(self, x: Tensor) -> Tensor:
        return self.conv2(x)  # has its own norms

    def _finish(self, convolved: Tensor) -> Tensor:
        return self.bn3(self.conv3(convolved))


class SplitBasicBlock(SplitBottleneck):
    """The same with a 3x3 convolution first, for the small ResNets; Res2Net itself has none."""

    expansion = 1
    first_kernel = 3


def stem(channels: int, width: int) -> nn.Sequential:
    conv, pool = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False), nn.MaxPool2d(3, stride=2, padding=1)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(width), relu=nn.ReLU(inplace=True), pool=pool))


def initialise(model: nn.Module, fc_std: float) -> None:
    """Convolutions as He et al. (ICCV 2015), except those of STM's CMM; the classifier near zero. Batch norms keep 1
    and 0. Nothing is drawn on the meta device, where torch takes long for it."""
    if model.fc.weight.is_meta:
        return
    kept = {conv for module in model.modules() if isinstance(module, ChannelMotion) for conv in module.modules()}
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d) and module not in kept:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    nn.init.normal_(model.fc.weight, 0, fc_std)
    nn.init.zeros_(model.fc.bias)


def residual_stage(block: type, channels: int, planes: int, blocks: int, number: int) -> nn.Sequential:
    """`blocks` residual blocks from `channels` to `planes * block.expansion`; all stages but 2 halve the size."""
    stride = 1 if number == 2 else 2
    outputs = planes * block.expansion
    downsample = None
    if stride != 1 or channels != outputs:
        projection = nn.Conv2d(channels, outputs, 1, stride=stride, bias=False)
        downsample = nn.Sequential(projection, nn.BatchNorm2d(outputs))
    split = {"first": True} if issubclass(block, SplitBottleneck) else {}
    first = block(channels, planes, stride, downsample, **split)
    return nn.Sequential(first, *(block(outputs, planes) for _ in range(blocks - 1)))
