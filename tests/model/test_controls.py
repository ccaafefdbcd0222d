"""The controls: early fusion of a window's frames, and segments in random order."""

import pytest
import torch
from helpers.reference import randomise

import tdn
from tdn.model.weights import initialise_from

NO_TDM = {"s_tdm_stages": (), "l_tdm_stages": ()}


def network(system="tsn", **options):
    return randomise(tdn.create_model(f"{system}_resnet10", 5, 4, width=8, dropout=0.0, **options)).eval()


@pytest.mark.parametrize(("stacked", "channels"), [("concat", 15), ("diff", 12)])
def test_early_fusion_reads_the_frames_or_their_differences_as_channels(stacked, channels):
    model = network(stacked=stacked)
    assert model.window == 5 and model.stage1.conv.in_channels == channels
    clips = torch.randn(1, 4, 5, 3, 32, 32)
    stack = clips if stacked == "concat" else clips.diff(dim=2)
    expected = torch.nn.functional.conv2d(stack[0].flatten(1, 2), model.stage1.conv.weight, stride=2, padding=3)
    seen = []
    model.stage1.conv.register_forward_hook(lambda _, __, out: seen.append(out))
    model(clips)
    torch.testing.assert_close(seen[0], expected)
    brighter = model(clips + torch.rand(1, 4, 1, 3, 32, 32))
    assert torch.allclose(brighter, model(clips), atol=1e-5) == (stacked == "diff"), "differences see no still picture"


def test_early_fusion_starts_from_the_mean_of_the_2d_stem():
    flat, model = network(), network("tdn", **NO_TDM, stacked="diff")
    norm = model.stage1.bn.weight.clone()
    initialise_from(model, flat.state_dict())
    weight = model.stage1.conv.weight
    assert torch.equal(weight, flat.stage1.conv.weight.mean(1, keepdim=True).expand_as(weight))
    assert torch.equal(model.stage1.bn.weight, norm) and torch.equal(
        model.stage2[0].bn1.weight, flat.stage2[0].bn1.weight
    )
    again = initialise_from(network("tdn", **NO_TDM, stacked="diff"), model.state_dict())
    assert torch.equal(again.stage1.conv.weight, weight), "from a network of its kind all is taken"


def test_shuffled_segments_are_drawn_for_each_clip_in_training_and_in_one_order_at_test():
    model, clips = network(shuffled=True), torch.arange(4.0).view(1, 4, 1, 1, 1, 1).expand(50, 4, 1, 3, 8, 8)
    orders = [model._shuffle(clips)[:, :, 0, 0, 0, 0] for _ in range(2)]
    assert torch.equal(*orders) and (orders[0] == orders[0][0]).all() and orders[0][0].tolist() != [0, 1, 2, 3]
    torch.manual_seed(0)
    drawn = model.train()._shuffle(clips)[:, :, 0, 0, 0, 0]
    assert len({tuple(order) for order in drawn.tolist()}) > 10 and (drawn.sort(1).values == torch.arange(4.0)).all()
    in_order, shuffled = network("tconv"), network("tconv", shuffled=True)
    shuffled.load_state_dict(in_order.state_dict())
    x = torch.randn(2, 4, 1, 3, 32, 32)
    assert not torch.allclose(in_order(x), shuffled(x), atol=1e-4)
