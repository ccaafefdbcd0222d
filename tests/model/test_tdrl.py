"""TDRL's module and loss against the equations of its paper."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from helpers.reference import randomise

import tdn
from tdn.data.clips import TrainingClips
from tdn.data.transforms import to_input
from tdn.engine.loading import TrainingLoader
from tdn.engine.recipes import Recipe
from tdn.engine.trainer import fit
from tdn.model.tdrl import ProgressiveEnhancement, TemporalDiversity, temporal_diversity, temporal_diversity_loss


@pytest.mark.parametrize("segments", [1, 2, 5])
def test_pem_follows_its_equations_segment_by_segment(segments):
    pem = randomise(ProgressiveEnhancement(32, segments))
    features = torch.randn(2 * segments, 32, 4, 4)
    x = features.mean((2, 3)).unflatten(0, (2, segments)).unbind(1)
    f1, f2 = lambda v: F.relu(pem.f1(v)), lambda v: F.relu(pem.f2(v))
    d = [f2(x[t + 1]) - f1(x[t]) for t in range(segments - 1)] + [torch.ones(2, 8)]  # equation (4)
    m = d[segments - 2] if segments > 1 else d[0]
    for t in range(segments):
        gamma = torch.sigmoid(F.linear(torch.cat([m, d[t]], 1), pem.gate.weight, pem.gate.bias))
        m = (1 - gamma) * m + gamma * d[t]  # equation (5)
        a = torch.sigmoid(pem.restore(m))  # equation (6)
        out = pem(features).unflatten(0, (2, segments))[:, t]
        torch.testing.assert_close(out, features.unflatten(0, (2, segments))[:, t] * a[:, :, None, None])


def by_pairs(features, segments):
    """Equation (7), literally."""
    maps = features.flatten(2).unflatten(0, (-1, segments))
    pairs = list(itertools.permutations(range(segments), 2))
    similarities = [F.cosine_similarity(maps[:, i], maps[:, j], dim=-1) for i, j in pairs]
    return (sum(similarities) / len(pairs)).sum(-1)


@pytest.mark.parametrize("segments", [2, 3, 5])
def test_td_loss_is_the_mean_similarity_of_all_pairs_summed_over_channels(segments):
    features = torch.randn(3 * segments, 6, 5, 4)
    torch.testing.assert_close(temporal_diversity_loss(features, segments), by_pairs(features, segments))
    assert temporal_diversity_loss(features[:2], 1).tolist() == [0, 0], "one segment has no pair"


def test_maps_of_zeros_have_no_similarity_and_no_gradient_and_a_fraction_of_the_channels_is_regularised():
    features = torch.randn(4, 2, 3, 3)
    features[0] = 0
    features.requires_grad_()
    loss = temporal_diversity_loss(features, 4)
    torch.testing.assert_close(loss, by_pairs(features[1:], 3) * 6 / 12)
    loss.sum().backward()
    assert features.grad[0].abs().max() == 0 and features.grad.isfinite().all() and features.grad[1].abs().max() > 0

    features = torch.randn(2 * 4, 16, 3, 3)
    place = TemporalDiversity(16, 4, fraction=0.25)
    assert place(features) is features
    torch.testing.assert_close(place.take(), temporal_diversity_loss(features[:, :4], 4))
    place.eval()(features)
    with pytest.raises(RuntimeError, match="not in training"):
        place.take()


def test_the_loss_is_the_sum_over_the_last_blocks_of_the_last_three_stages_after_the_temporal_module():
    model = tdn.create_model("tdrl_resnet50", 3, 2)
    places = {name: module for name, module in model.named_modules() if isinstance(module, TemporalDiversity)}
    assert list(places) == [f"stage{stage}.{block}.before.td_loss" for stage, block in ((3, 3), (4, 5), (5, 2))]
    assert [place.channels for place in places.values()] == [512, 1024, 2048]
    assert list(model.stage5[2].before._modules) == ["pem", "tim", "td_loss"]
    assert list(model.stage5[1].before._modules) == ["pem", "tim"]
    before = tdn.create_model("tdrl_resnet10", 3, 2, width=8, before=("td_loss", "tim"), td_fraction=0.75)
    assert list(before.stage5[0].before._modules) == ["td_loss", "tim"]
    assert before.stage5[0].before.td_loss.fraction == 0.75
    within = tdn.create_model("tdn_resnet10", 3, 2, width=8, between=("td_loss",))
    assert list(within.stage5[0].temporal._modules) == ["l_tdm", "conv", "td_loss"]

    torch.manual_seed(0)
    model = tdn.create_model("tdrl_resnet10", 3, 4, width=8)
    seen = {}
    for name, module in model.named_modules():
        if isinstance(module, TemporalDiversity):
            module.register_forward_hook(lambda m, _, out, name=name: seen.update({name: out[:, : m.channels // 2]}))
    model(torch.randn(2, 4, 1, 3, 48, 48))
    expected = sum(by_pairs(features, 4) for features in seen.values())
    torch.testing.assert_close(temporal_diversity(model), expected, atol=1e-4, rtol=1e-4)
    assert len(seen) == 3 and temporal_diversity(tdn.create_model("tsn_resnet10", width=8)).shape == (0,)


def test_a_step_with_the_loss_is_the_gradient_of_equation_2(video_sets, tmp_path):
    """One step of plain SGD on all clips at once, against the loss put together by hand."""
    clips, cpu = TrainingClips(video_sets[0], 4, 1, seed=3), torch.device("cpu")
    loader, recipe = TrainingLoader(clips, 36, 36), Recipe(1, 36, 0.1, weight_decay=0, td_lambda=0.05, clip_norm=1e9)
    torch.manual_seed(0)
    model = tdn.create_model("tdrl_resnet10", 24, 4, width=8, dropout=0.0)
    by_hand = copy.deepcopy(model).train()
    history = fit(model, loader, recipe, 48, tmp_path, cpu).history

    clips.start_epoch(0)
    samples = [clips[i] for i in range(36)]
    inputs = to_input([s.clip for s in samples], [s.crops[0] for s in samples], 48)
    loss = F.cross_entropy(by_hand(inputs), torch.tensor([s.label for s in samples]))
    diversity = temporal_diversity(by_hand).mean()
    (loss + 0.05 * diversity).backward()
    assert history[0]["td_loss"] == pytest.approx(diversity.item(), rel=1e-3)
    for (name, mine), expected in zip(model.named_parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(mine, expected - 0.1 * expected.grad, atol=2e-4, rtol=2e-3, msg=name)
    with pytest.raises(ValueError, match=r"td_lambda 0\.05 would do nothing"):
        fit(tdn.create_model("tsn_resnet10", 24, 4, width=8), loader, recipe, 48, tmp_path, cpu)
