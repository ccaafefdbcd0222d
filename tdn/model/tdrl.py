"""Temporal Distinct Representation Learning (TDRL; Weng et al., ECCV 2020): a module and a loss. Features are folded to
`(N*T, C, H, W)`: N videos, T segments."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ProgressiveEnhancement(nn.Module):
    """PEM, section 3.2: a weight in (0, 1) for every channel of a segment, from all that moved before it. The text
    leaves open the reduction (8, as MEM), whether gamma is one number or one per channel (one), and biases (with). The
    squeezed features keep at least 8 channels."""

    def __init__(self, channels: int, num_segments: int, reduction: int = 8):
        super().__init__()
        self.num_segments = num_segments
        squeezed = max(channels // reduction, 8)
        self.f1, self.f2 = nn.Linear(channels, squeezed), nn.Linear(channels, squeezed)
        self.gate = nn.Linear(2 * squeezed, 1)
        self.restore = nn.Linear(squeezed, channels)

    def forward(self, features: Tensor) -> Tensor:
        return features * self.enhancement(features)[:, :, None, None]  # equation (3)

    def enhancement(self, features: Tensor) -> Tensor:
        """The weights a_t, `(N*T, C)`."""
        pooled = features.mean((2, 3)).unflatten(0, (-1, self.num_segments))  # (N, T, C)
        # Equation (4). The last segment has no next one: its difference is ones.
        differences = F.relu(self.f2(pooled[:, 1:])) - F.relu(self.f1(pooled[:, :-1]))
        differences = F.pad(differences, (0, 0, 0, 1), value=1.0)
        # Equation (5), initialised with the last difference of two segments (section 4.2).
        memory = differences[:, max(self.num_segments - 2, 0)]
        memories = []
        for difference in differences.unbind(1):
            gamma = torch.sigmoid(self.gate(torch.cat([memory, difference], 1)))
            memory = (1 - gamma) * memory + gamma * difference
            memories.append(memory)
        return torch.sigmoid(self.restore(torch.stack(memories, 1))).flatten(0, 1)  # equation (6)


class TemporalDiversity(nn.Module):
    """Where the TD loss is taken: hands features on as they are and, in training, keeps their loss for `take`. The
    first `fraction` of the channels (above 0 and up to 1) is regularised; the text leaves open which. A loss that is
    not taken holds its activations in memory until the next clips, and the module cannot be copied."""

    def __init__(self, channels: int, num_segments: int, fraction: float):
        super().__init__()
        self.channels, self.num_segments, self.fraction = channels, num_segments, fraction
        self._loss: Tensor | None = None

    def forward(self, features: Tensor) -> Tensor:
        if self.training:
            chosen = features[:, : max(round(self.fraction * self.channels), 1)]
            self._loss = temporal_diversity_loss(chosen, self.num_segments)
        return features

    def take(self) -> Tensor:
        """The loss `(N,)` of the last clips, once. RuntimeError where none went through in training."""
        if self._loss is None:
            raise RuntimeError("no clips since the TD loss was last taken, or not in training")
        loss, self._loss = self._loss, None
        return loss


def temporal_diversity(model: nn.Module) -> Tensor:
    """L_r of equation (2): the TD loss `(N,)` of the clips that last went through `model` in training, summed over
    its blocks; `(0,)` for a network without one. Each is handed out once."""
    losses = [module.take() for module in model.modules() if isinstance(module, TemporalDiversity)]
    return sum(losses) if losses else torch.zeros(0, device=next(model.parameters()).device)


def temporal_diversity_loss(features: Tensor, num_segments: int, eps: float = 1e-3) -> Tensor:
    """Equation (7) for each video, `(N,)`: the cosine similarity of a channel's maps in two different segments, mean
    over all pairs of segments, summed over the channels.

    Takes `(N*T, C, H, W)`. A map whose norm is `eps` or less (shifts leave maps of zeros at the ends of a clip) has no
    direction: its similarities count as 0. One segment alone has no pair and loss 0. The gradient of a map is of size
    1 / norm, so `eps` bounds it too. Pairs are summed as the squared sum of all unit vectors without their own squares.
    """
    if num_segments == 1:
        return features.new_zeros(len(features))
    maps = features.float().flatten(2).unflatten(0, (-1, num_segments))  # (N, T, C, H*W)
    norms = maps.norm(dim=-1, keepdim=True)
    unit = torch.where(norms > eps, maps / norms.clamp(min=eps), 0)
    pairs = unit.sum(1).square().sum(-1) - unit.square().sum((1, -1))  # (N, C)
    return pairs.sum(-1) / (num_segments * (num_segments - 1))
