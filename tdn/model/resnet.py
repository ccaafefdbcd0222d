"""The ResNet that hosts the temporal modules: stage 1 is the stem, stages 2 to 5 are the residual stages.

The CVPR paper's Figure 2 is `VideoResNet.forward`; where a module stands in a block is in `tdn.model.blocks`.
"""

import functools
import inspect
from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Any

from torch import Tensor, nn

from tdn.model.blocks import BasicBlock, Bottleneck, SplitBasicBlock, SplitBottleneck, residual_stage, stem
from tdn.model.checks import require, require_clips, require_counts
from tdn.model.tdm import S_TDM_INPUTS, WINDOW, LongTermTDM, ShortTermTDM
from tdn.model.tdrl import ProgressiveEnhancement, TemporalDiversity
from tdn.model.temporal import (
    ChannelMotion,
    ChannelSpatiotemporal,
    FullTemporalConv,
    MotionEnhancement,
    MotionExcitation,
    TemporalAdaptive,
    TemporalAggregation,
    TemporalConv,
    TemporalShift,
)

BLOCKS = {
    10: (BasicBlock, (1, 1, 1, 1)),
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}
SPLIT = {BasicBlock: SplitBasicBlock, Bottleneck: SplitBottleneck}
CONV2 = ("dense", "split", "mta")
BEFORE = {  # in front of a block's first convolution
    "shift": TemporalShift,
    "tim": TemporalConv,
    "mem": MotionEnhancement,
    "pem": ProgressiveEnhancement,
    "tam": TemporalAggregation,
    "td_loss": TemporalDiversity,
}
BETWEEN = {  # after it
    "full_conv": FullTemporalConv,
    "adaptive": TemporalAdaptive,
    "cstm": ChannelSpatiotemporal,
    "me": MotionExcitation,
    "td_loss": TemporalDiversity,
}


class VideoResNet(nn.Module):
    """A 2D ResNet on every segment, temporal modules where asked for, class scores averaged over segments.

    Takes normalised clips `(N, T, W, C, H, W')` with T `num_segments`, W `window`, C 3; gives scores
    `(N, num_classes)`, before the softmax.

    Args:
        depth: 10, 18, 34, 50 or 101. 10 (one block a stage) is for the pocket benchmark.
        width: channels of stage 1; the published networks have 64.
        s_tdm_stages: stages that S-TDM supplies with motion, from 1 on without a gap.
        l_tdm_stages: residual stages whose every block has an L-TDM.
        temporal_conv_stages: residual stages whose every block has a temporal convolution.
        s_tdm_weights: (alpha, beta) of `alpha * rgb + beta * motion`; None takes what the released code
            takes: (0.5, 0.5) for 8 segments, (0.75, 0.25) for any other number.
        s_tdm_input: "diff", or "concat" for the window's frames without subtraction.
        s_tdm_fusion: as `ShortTermTDM`.
        l_tdm_operator, l_tdm_fusion, l_tdm_multi_scale, l_tdm_bidirectional: as `LongTermTDM`.
        before: modules in front of the first convolution of every residual block, in this order, names of `BEFORE`.
            TSM's shift leaves out every second block of ResNet-101, as released. "td_loss" stands only in the last
            block of each of the last three stages (TDRL section 4.2).
        between: modules after that convolution, names of `BETWEEN`; they follow L-TDM and temporal convolution.
        cmm: STM's channel-wise motion module beside every 3x3 convolution.
        conv2: the blocks' 3x3 convolution (a basic block's second): "dense", "split" as in Res2Net, or "mta", the
            same with TEA's temporal convolutions.
        td_fraction: share of the channels that the TD loss takes.
        dropout: before the classifier.

    Raises:
        ValueError: a stage or module that does not exist, S-TDM stages with a gap, no segment, no class; a form that
            does not exist, or one of a module that stands nowhere.
    """

    def __init__(
        self,
        depth: int,
        num_classes: int = 174,
        num_segments: int = 8,
        *,
        width: int = 64,
        s_tdm_stages: Collection[int] = (),
        l_tdm_stages: Collection[int] = (),
        temporal_conv_stages: Collection[int] = (),
        s_tdm_weights: tuple[float, float] | None = None,
        s_tdm_input: str = "diff",
        s_tdm_fusion: str = "F+H",
        l_tdm_operator: str = "diff",
        l_tdm_fusion: str = "F+F*G",
        l_tdm_multi_scale: bool = True,
        l_tdm_bidirectional: bool = True,
        before: Sequence[str] = (),
        between: Sequence[str] = (),
        cmm: bool = False,
        conv2: str = "dense",
        td_fraction: float = 0.5,
        dropout: float = 0.5,
    ):
        super().__init__()
        _check_stages(s_tdm_stages, l_tdm_stages, temporal_conv_stages)
        require("s_tdm_input", s_tdm_input, S_TDM_INPUTS)
        s_tdm_forms = {"s_tdm_weights": s_tdm_weights, "s_tdm_input": s_tdm_input, "s_tdm_fusion": s_tdm_fusion}
        l_tdm_forms = {
            "l_tdm_operator": l_tdm_operator,
            "l_tdm_fusion": l_tdm_fusion,
            "l_tdm_multi_scale": l_tdm_multi_scale,
            "l_tdm_bidirectional": l_tdm_bidirectional,
        }
        _check_use("s_tdm_stages", s_tdm_stages, s_tdm_forms)
        _check_use("l_tdm_stages", l_tdm_stages, l_tdm_forms)
        _check_modules(before, between, cmm, conv2, td_fraction)
        if s_tdm_weights and s_tdm_fusion != "F+H":
            raise ValueError(f"s_tdm_weights weigh the sum F+H; s_tdm_fusion {s_tdm_fusion!r} takes none")
        require_counts(num_segments, num_classes)
        self.num_segments = num_segments
        self.window = WINDOW if s_tdm_stages else 1
        block, sizes = BLOCKS[depth]
        if conv2 != "dense":
            block = SPLIT[block]

        self.stage1 = stem(3, width)
        channels = width
        for stage, blocks in enumerate(sizes, start=2):
            planes = width * 2 ** (stage - 2)
            setattr(self, f"stage{stage}", residual_stage(block, channels, planes, blocks, stage))
            channels = planes * block.expansion
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)

        td_loss = {"td_loss": functools.partial(TemporalDiversity, share=td_fraction)}
        before_modules, between_modules = BEFORE | td_loss, BETWEEN | td_loss
        l_tdm = (l_tdm_operator, l_tdm_fusion, l_tdm_multi_scale, l_tdm_bidirectional)
        for stage in range(2, 6):
            for index, unit in enumerate(units := getattr(self, f"stage{stage}")):
                left_out = {"td_loss"} if stage == 2 or unit is not units[-1] else set()
                if depth == 101 and index % 2:
                    left_out.add("shift")
                inputs, narrow = unit.conv1.in_channels, unit.conv1.out_channels

                first = [(n, before_modules[n](inputs, num_segments)) for n in before if n not in left_out]
                middle = [(n, between_modules[n](narrow, num_segments)) for n in between if n not in left_out]
                if stage in temporal_conv_stages:
                    middle.insert(0, ("conv", TemporalConv(narrow, num_segments)))
                if stage in l_tdm_stages:
                    middle.insert(0, ("l_tdm", LongTermTDM(narrow, num_segments, *l_tdm)))
                if first:
                    unit.before = nn.Sequential(OrderedDict(first))
                if middle:
                    unit.temporal = nn.Sequential(OrderedDict(middle))
                if cmm:
                    unit.beside = ChannelMotion(narrow, num_segments, unit.conv2.stride[0])
                if conv2 == "mta":
                    unit.conv2.add_temporal(num_segments)

        # The motion branch has its own copy of each stage that it runs beside, without temporal modules.
        weights = s_tdm_weights or ((0.5, 0.5) if num_segments == 8 else (0.75, 0.25))
        self._motion_input = S_TDM_INPUTS[s_tdm_input]
        self.s_tdm = nn.ModuleDict()
        for stage in sorted(s_tdm_stages):
            planes = width * 2 ** max(stage - 2, 0)
            if stage == 1:
                branch, outputs = stem(3 * (WINDOW - 1 if s_tdm_input == "diff" else WINDOW), width), width
            else:
                inputs = getattr(self, f"stage{stage}")[0].conv1.in_channels
                branch = residual_stage(block, inputs, planes, sizes[stage - 2], stage)
                outputs = planes * block.expansion
            self.s_tdm[str(stage)] = ShortTermTDM(branch, outputs, weights, s_tdm_fusion)
        self._initialise()

    def forward(self, clips: Tensor) -> Tensor:
        require_clips(clips, self.num_segments, self.window)
        n, t, w = clips.shape[:3]
        features = clips[:, :, w // 2].flatten(0, 1)
        motion = self._motion_input(clips) if len(self.s_tdm) else None
        for number, stage in enumerate(self.stages, start=1):
            features = stage(features)
            if str(number) in self.s_tdm:
                features, motion = self.s_tdm[str(number)](features, motion)
        scores = self.fc(self.dropout(features.mean((2, 3))))
        return scores.unflatten(0, (n, t)).mean(1)

    @property
    def stages(self) -> list[nn.Module]:
        return [self.stage1, self.stage2, self.stage3, self.stage4, self.stage5]

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.fc.weight, 0, 0.001)
        nn.init.zeros_(self.fc.bias)


def _check_stages(s_tdm: Collection[int], l_tdm: Collection[int], temporal_conv: Collection[int]) -> None:
    if sorted(s_tdm) != list(range(1, len(s_tdm) + 1)) or len(s_tdm) > 4:
        raise ValueError(f"s_tdm_stages run from 1 on without a gap, up to 4 at most; got {tuple(s_tdm)}")
    for name, stages in (("l_tdm_stages", l_tdm), ("temporal_conv_stages", temporal_conv)):
        if not set(stages) <= {2, 3, 4, 5}:
            raise ValueError(f"{name} are residual stages, 2 to 5; got {tuple(stages)}")


def _check_use(option: str, stages: Collection[int], forms: dict[str, Any]) -> None:
    """A form of a module that stands nowhere would be ignored in silence."""
    parameters = inspect.signature(VideoResNet).parameters
    idle = [name for name, value in forms.items() if value != parameters[name].default]
    if idle and not stages:
        raise ValueError(f"{', '.join(idle)} would do nothing in this network: {option} is empty")


def _check_modules(before: Sequence[str], between: Sequence[str], cmm: bool, conv2: str, td_fraction: float) -> None:
    for option, names, valid in (("before", before, BEFORE), ("between", between, BETWEEN)):
        for name in names:
            require(f"a module in {option}", name, valid)
        if len(set(names)) < len(names):
            raise ValueError(f"{option} takes each module once; got {tuple(names)}")
    require("conv2", conv2, CONV2)
    if cmm and conv2 != "dense":
        raise ValueError(f"cmm stands beside a dense 3x3 convolution; conv2 is {conv2!r}")
    if not 0 < td_fraction <= 1:
        raise ValueError(f"td_fraction is a share of the channels, above 0 and up to 1; got {td_fraction}")
    if "td_loss" not in (*before, *between) and td_fraction != 0.5:
        raise ValueError("td_fraction would do nothing in this network: no td_loss in before or between")
