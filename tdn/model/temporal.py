"""The temporal modules TDN is compared with. Features are folded to `(N*T, C, H, W)`: N videos, T segments."""

import torch
from torch import Tensor, nn


class TemporalConv(nn.Module):
    """Depthwise temporal convolution over three neighbouring segments, zero padded (T-Conv; TDN section 3.4).

    Starts as a shift, as in the released network: the first eighth of the channels reads the next segment, the
    second the previous one, the others themselves. A sum of three weighted shifts costs less than a
    one-dimensional convolution, which needs time as the last axis in memory.
    """

    def __init__(self, channels: int, num_segments: int):
        super().__init__()
        self.num_segments = num_segments
        fold = channels // 8
        weight = torch.zeros(channels, 1, 3)  # taps: previous, this, next segment
        weight[:fold, 0, 2] = 1
        weight[fold : 2 * fold, 0, 0] = 1
        weight[2 * fold :, 0, 1] = 1
        self.weight = nn.Parameter(weight)

    def forward(self, features: Tensor) -> Tensor:
        x = features.unflatten(0, (-1, self.num_segments))
        weight = self.weight.to(x.dtype)  # half precision stays half
        from_previous, from_this, from_next = weight.view(-1, 3, 1, 1).unbind(1)
        out = x * from_this
        out[:, 1:] += x[:, :-1] * from_previous
        out[:, :-1] += x[:, 1:] * from_next
        return out.flatten(0, 1)
