"""The ResNet that hosts the temporal modules: stage 1 is the stem, stages 2 to 5 are the residual stages. Figure 2 of
TDN (Wang et al., CVPR 2021) is `VideoResNet.forward`; `tdn.model.blocks` has the places of the modules in a block."""

import functools
import inspect
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tdn.model import temporal
from tdn.model.blocks import BasicBlock, Bottleneck, SplitBasicBlock, SplitBottleneck, initialise, residual_stage, stem
from tdn.model.checks import require, require_clips, require_counts
from tdn.model.tdm import S_TDM_INPUTS, WINDOW, LongTermTDM, ShortTermTDM
from tdn.model.tdrl import ProgressiveEnhancement, TemporalDiversity

Stages = Collection[int]
BLOCKS = {
    10: (BasicBlock, (1, 1, 1, 1)),
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}
SPLIT = {BasicBlock: SplitBasicBlock, Bottleneck: SplitBottleneck}
BEFORE = {  # in front of a block's first convolution
    "shift": temporal.TemporalShift,
    "tim": temporal.TemporalConv,
    "mem": temporal.MotionEnhancement,
    "pem": ProgressiveEnhancement,
    "tam": temporal.TemporalAggregation,
    "td_loss": TemporalDiversity,
}
BETWEEN = {  # after it
    "full_conv": temporal.FullTemporalConv,
    "adaptive": temporal.TemporalAdaptive,
    "cstm": temporal.ChannelSpatiotemporal,
    "me": temporal.MotionExcitation,
    "td_loss": TemporalDiversity,
}


STACKED = {  # what the first stage of an early fusion reads: (N, T, C', H, W)
    "concat": lambda clips: clips.flatten(2, 3),
    "diff": lambda clips: clips.diff(dim=2).flatten(2, 3),
}


class VideoResNet(nn.Module):
    """A 2D ResNet on every segment, temporal modules where asked for, class scores averaged over segments.

    Takes normalised clips `(N, T, L, C, H, W)`, T `num_segments`, L `window`, C 3; gives scores `(N, num_classes)`.

    Args:
        depth: 10, 18, 34, 50 or 101. 10 (one block per stage) is for the pocket benchmark.
        width: channels of stage 1; the published networks have 64.
        s_tdm_stages: stages with an S-TDM, from 1 on without a gap.
        l_tdm_stages: residual stages whose every block has an L-TDM.
        temporal_conv_stages: residual stages whose every block has a temporal convolution.
        dilation, repeat_ends: controls: how many segments apart its taps are, and whether it is padded with zeros.
        s_tdm_weights: (alpha, beta) of `alpha * rgb + beta * motion`; None: (0.5, 0.5) for T 8, else (0.75, 0.25).
        s_tdm_input: "diff", or "concat" for the window's frames without subtraction.
        s_tdm_fusion, l_tdm_operator, l_tdm_fusion, l_tdm_multi_scale, l_tdm_bidirectional: as the two modules.
        before: modules in front of the first convolution of every residual block, in this order, names of `BEFORE`.
            TSM's shift leaves out every second block of ResNet-101, as released. "td_loss" is only in the last
            block of each of the last three stages (TDRL section 4.2).
        between: modules after that convolution, names of `BETWEEN`; they follow L-TDM and temporal convolution.
        cmm: STM's channel-wise motion module next to every 3x3 convolution.
        conv2: that convolution: "dense", "split" as in Res2Net, or "mta", with TEA's temporal convolutions too.
        td_fraction: fraction of the channels that the TD loss takes, above 0 and up to 1.
        stacked: a control, early fusion: stage 1 reads all frames of the window ("concat"), or the differences of its
            neighbours ("diff"), as channels, in place of the middle frame.
        shuffled: a control: segments in random order, in training drawn for each clip, else one order for all.
        dropout: before the classifier.

    Raises:
        ValueError: a stage, module or form that does not exist or would do nothing, no segment, no class.
    """

    def __init__(
        self,
        depth: int,
        num_classes: int = 174,
        num_segments: int = 8,
        *,
        width: int = 64,
        s_tdm_stages: Stages = (),
        l_tdm_stages: Stages = (),
        temporal_conv_stages: Stages = (),
        dilation: int = 1,
        repeat_ends: bool = False,
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
        stacked: str | None = None,
        shuffled: bool = False,
        dropout: float = 0.5,
    ):
        super().__init__()
        s_tdm = {"weights": s_tdm_weights, "input": s_tdm_input, "fusion": s_tdm_fusion}
        l_tdm = {"operator": l_tdm_operator, "fusion": l_tdm_fusion}
        l_tdm |= {"multi_scale": l_tdm_multi_scale, "bidirectional": l_tdm_bidirectional}
        require_counts(num_segments, num_classes)
        if (dilation != 1 or repeat_ends) and not temporal_conv_stages:
            raise ValueError("dilation and repeat_ends would do nothing here: temporal_conv_stages is empty")
        _check_stages(s_tdm_stages, l_tdm_stages, temporal_conv_stages)
        _check_forms("s_tdm", s_tdm_stages, s_tdm)
        _check_forms("l_tdm", l_tdm_stages, l_tdm)
        _check_modules(before, between, cmm, conv2, td_fraction)

        self.depth, self.num_segments = depth, num_segments
        if stacked:
            require("stacked", stacked, STACKED)
        self.stacked, self.shuffled = stacked, shuffled
        self.window = WINDOW if s_tdm_stages or stacked else 1
        block, sizes = BLOCKS[depth]
        block = block if conv2 == "dense" else SPLIT[block]
        # The order of the next lines is that of the random draws: another one gives other networks from a seed.
        channels = self._backbone(block, sizes, width)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()  # of 0 it still draws
        self.fc = nn.Linear(channels, num_classes)
        td_loss = functools.partial(TemporalDiversity, fraction=td_fraction)
        long_term = functools.partial(LongTermTDM, **l_tdm)
        conv = functools.partial(temporal.TemporalConv, dilation=dilation, repeat_ends=repeat_ends)
        makers = {**BEFORE, **BETWEEN, "td_loss": td_loss, "conv": conv, "l_tdm": long_term}
        in_stages = {"conv": temporal_conv_stages, "l_tdm": l_tdm_stages}
        self._add_temporal_modules(makers, before, between, in_stages, cmm, conv2 == "mta")
        self._motion_branch(block, sizes, width, s_tdm_stages, **s_tdm)
        initialise(self, fc_std=0.001)

    def _backbone(self, block: type, sizes: tuple, width: int) -> int:
        """The stages 1 to 5 without temporal modules; returns the channels of the last."""
        frames = {None: 1, "concat": WINDOW, "diff": WINDOW - 1}[self.stacked]
        self.stage1, channels = stem(3 * frames, width), width
        for number, blocks in enumerate(sizes, start=2):
            planes = width * 2 ** (number - 2)
            setattr(self, f"stage{number}", residual_stage(block, channels, planes, blocks, number))
            channels = planes * block.expansion
        return channels

    def _add_temporal_modules(
        self, makers: Mapping, before: Sequence[str], between: Sequence[str], in_stages: Mapping, cmm: bool, mta: bool
    ) -> None:
        """`makers` make a module from its channels and T; those of `in_stages` are only in these stages."""
        for number, stage in enumerate(self.stages[1:], start=2):
            for index, block in enumerate(stage):
                left_out = set() if number > 2 and block is stage[-1] else {"td_loss"}
                if self.depth == 101 and index % 2:
                    left_out.add("shift")
                inputs, narrow, segments = block.conv1.in_channels, block.conv1.out_channels, self.num_segments
                first = [(name, makers[name](inputs, segments)) for name in before if name not in left_out]
                middle = [(name, makers[name](narrow, segments)) for name in between if name not in left_out]
                for name, stages in in_stages.items():
                    if number in stages:
                        middle.insert(0, (name, makers[name](narrow, segments)))
                if first:
                    block.before = nn.Sequential(OrderedDict(first))
                if middle:
                    block.temporal = nn.Sequential(OrderedDict(middle))
                if cmm:
                    block.beside = temporal.ChannelMotion(narrow, segments, block.conv2.stride[0])
                if mta:
                    block.conv2.add_temporal(segments)

    def _motion_branch(
        self, block: type, sizes: tuple, width: int, stages: Stages, weights: tuple | None, input: str, fusion: str
    ) -> None:
        """A copy of each of the `stages`, without temporal modules, that the S-TDMs run on the window's motion."""
        require("s_tdm_input", input, S_TDM_INPUTS)
        if weights and fusion != "F+H":
            raise ValueError(f"s_tdm_weights weigh the sum F+H; s_tdm_fusion {fusion!r} takes none")
        weights = weights or ((0.5, 0.5) if self.num_segments == 8 else (0.75, 0.25))
        self._motion_input = S_TDM_INPUTS[input]
        self.s_tdm = nn.ModuleDict()
        for number in sorted(stages):
            if number == 1:
                branch, outputs = stem(3 * (WINDOW - 1 if input == "diff" else WINDOW), width), width
            else:
                planes = width * 2 ** (number - 2)
                inputs = self.stages[number - 1][0].conv1.in_channels
                branch = residual_stage(block, inputs, planes, sizes[number - 2], number)
                outputs = planes * block.expansion
            self.s_tdm[str(number)] = ShortTermTDM(branch, outputs, weights, fusion)

    def forward(self, clips: Tensor) -> Tensor:
        require_clips(clips, self.num_segments, self.window)
        n, t = clips.shape[:2]
        if self.shuffled:
            clips = self._shuffle(clips)
        features = STACKED[self.stacked](clips) if self.stacked else clips[:, :, self.window // 2]  # the middle frame
        features = features.flatten(0, 1)
        motion = self._motion_input(clips) if len(self.s_tdm) else None
        for number, stage in enumerate(self.stages, start=1):
            features = stage(features)
            if str(number) in self.s_tdm:
                features, motion = self.s_tdm[str(number)](features, motion)
        scores = self.fc(self.dropout(features.mean((2, 3))))
        return scores.unflatten(0, (n, t)).mean(1)

    def _shuffle(self, clips: Tensor) -> Tensor:
        n, t = clips.shape[:2]
        if not self.training:
            return clips[:, torch.randperm(t, generator=torch.Generator().manual_seed(0)).to(clips.device)]
        order = torch.rand(n, t, device=clips.device).argsort(1)
        return clips[torch.arange(n, device=clips.device)[:, None], order]

    @property
    def stages(self) -> list[nn.Module]:
        return [self.stage1, self.stage2, self.stage3, self.stage4, self.stage5]


def _check_stages(s_tdm: Stages, l_tdm: Stages, temporal_conv: Stages) -> None:
    if sorted(s_tdm) != list(range(1, len(s_tdm) + 1)) or len(s_tdm) > 4:
        raise ValueError(f"s_tdm_stages run from 1 on without a gap, up to 4 at most; got {tuple(s_tdm)}")
    for name, stages in (("l_tdm_stages", l_tdm), ("temporal_conv_stages", temporal_conv)):
        if not set(stages) <= {2, 3, 4, 5}:
            raise ValueError(f"{name} are residual stages, 2 to 5; got {tuple(stages)}")


def _check_forms(module: str, stages: Stages, forms: Mapping[str, Any]) -> None:
    """A form of a module that the network does not have would be ignored in silence."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(VideoResNet).parameters.items()}
    idle = [f"{module}_{name}" for name, value in forms.items() if value != defaults[f"{module}_{name}"]]
    if idle and not stages:
        raise ValueError(f"{', '.join(idle)} would do nothing in this network: {module}_stages is empty")


def _check_modules(before: Sequence[str], between: Sequence[str], cmm: bool, conv2: str, td_fraction: float) -> None:
    for option, names, valid in (("before", before, BEFORE), ("between", between, BETWEEN)):
        for name in names:
            require(f"a module in {option}", name, valid)
        if len(set(names)) < len(names):
            raise ValueError(f"{option} takes each module once; got {tuple(names)}")
    require("conv2", conv2, ("dense", "split", "mta"))
    if cmm and conv2 != "dense":
        raise ValueError(f"cmm needs a dense 3x3 convolution next to it; conv2 is {conv2!r}")
    if not 0 < td_fraction <= 1:
        raise ValueError(f"td_fraction is a fraction of the channels, above 0 and up to 1; got {td_fraction}")
    if "td_loss" not in (*before, *between) and td_fraction != 0.5:
        raise ValueError("td_fraction would do nothing in this network: no td_loss in before or between")
