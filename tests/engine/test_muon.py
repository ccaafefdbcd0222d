"""The optimiser Muon against its definition."""

import pytest
import torch

import tdn
from tdn.engine.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(16, 147), (147, 16), (32, 32)])
def test_orthogonal_keeps_singular_vectors_and_brings_the_values_near_one(shape):
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape, dtype=torch.double), full_matrices=False)
    values = torch.linspace(1, 0.3, len(v), dtype=torch.double)
    found = u.T @ orthogonal(u * values @ v) @ v.T
    torch.testing.assert_close(found, found.diagonal().diag(), atol=1e-9, rtol=0)
    assert found.diagonal().min() > 0.67 and found.diagonal().max() < 1.22


def test_a_step_is_momentum_made_orthogonal_for_convolutions_and_adamw_for_all_else():
    torch.manual_seed(0)
    model = tdn.create_model("tdn_resnet10", 24, 2, width=8).to(memory_format=torch.channels_last)
    optimizer, before = Muon(model, 0.1, 0.5), {name: p.detach().clone() for name, p in model.named_parameters()}
    gradients = [{name: torch.randn_like(p) for name, p in before.items()} for _ in range(2)]
    for of_step in gradients:
        for name, parameter in model.named_parameters():
            parameter.grad = of_step[name].clone()
        optimizer.step()
    after = dict(model.named_parameters())
    name = "stage3.0.conv2.weight"
    expected, momentum = before[name].clone(), torch.zeros_like(before[name])
    for of_step in gradients:
        momentum = 0.9 * momentum + 0.1 * of_step[name]
        update = 0.1 * of_step[name] + 0.9 * momentum
        expected = (1 - 0.1 * 0.5) * expected - 0.1 * orthogonal(update.flatten(1)).view(update.shape)
    torch.testing.assert_close(after[name], expected)
    names = [name for name in after if "align" in name or after[name].ndim < 4]
    assert {"fc.weight", "stage3.0.temporal.conv.weight", "stage3.0.temporal.l_tdm.align.weight"} <= set(names)
    others = [torch.nn.Parameter(before[name].clone()) for name in names]
    adamw = torch.optim.AdamW(others, 0.05, (0.9, 0.99), weight_decay=0)
    for of_step in gradients:
        for name, parameter in zip(names, others, strict=True):
            parameter.grad = of_step[name]
        adamw.step()
    torch.testing.assert_close([after[name].detach() for name in names], [p.detach() for p in others])
