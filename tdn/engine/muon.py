"""Muon (Jordan et al., 2024), with which the small networks learn in fewer clips."""

import torch
from torch import Tensor, nn, optim

OTHERS = 0.5  # the rate of AdamW, of Muon's
MOMENTUM, BETAS = 0.9, (0.9, 0.99)
# Of the odd polynomial a x + b x^3 + c x^5, which three times brings singular values near 1, the small ones first.
POLYNOMIAL = 3.4445, -4.7750, 2.0315


class Muon(optim.AdamW):
    """Muon for the weights of convolutions in two and three dimensions, but depthwise ones, as matrices `(C_out, all
    others)`; AdamW without weight decay, at half the rate, for all other parameters. (torch.optim.Muon takes
    matrices alone.)"""

    def __init__(self, model: nn.Module, lr: float, weight_decay: float):
        convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Conv3d)]
        matrices = {conv.weight: None for conv in convolutions if conv.weight.shape[1] > 1}  # in order, each once
        others = [parameter for parameter in model.parameters() if parameter not in matrices]
        groups = [{"params": others, "lr": OTHERS * lr, "weight_decay": 0.0}, {"params": list(matrices)}]
        super().__init__(groups, lr, BETAS, weight_decay=weight_decay, fused=True)
        self._step_supports_amp_scaling = False  # of fp16's scaler, which then skips the whole step

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        matrices = self.param_groups[1]
        for weight in matrices["params"]:
            if weight.grad is None:
                continue
            state = self.state[weight]
            if not state:
                state["step"], state["momentum"] = torch.zeros(()), torch.zeros_like(weight)  # AdamW loads a step
            momentum = state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
            update = orthogonal(weight.grad.lerp(momentum, MOMENTUM).flatten(1)).view(weight.shape)
            weight.mul_(1 - matrices["lr"] * matrices["weight_decay"])
            weight.add_(update, alpha=-matrices["lr"] * max(1, len(weight) / weight[0].numel()) ** 0.5)
            weight.grad = None  # AdamW leaves it alone
        super().step()


def orthogonal(matrix: Tensor) -> Tensor:
    """`U V^T` of a matrix `U S V^T`, nearly: singular values from a twentieth of the Frobenius norm on become 0.68 to
    1.21."""
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = x / (x.norm() + 1e-7)
    # The polynomial is x times one of the small square x x^T: the products are of squares alone, until the last.
    square, factor = x @ x.T, None
    a, b, c = POLYNOMIAL
    for _ in range(3):
        times = b * square + c * square @ square
        times.diagonal().add_(a)
        factor = times if factor is None else times @ factor
        square = times @ square @ times
    x = factor @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T
