"""What notebook 16 shows of features."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import SPEC

import tdn
from tdn.book import features
from tdn.book.images import plot_images
from tdn.data.transforms import MEAN, STD
from tdn.experiments import runs as experiment
from tdn.experiments.profiles import PROFILES
from tdn.experiments.tables import TABLES, TDRL_TIM
from tdn.model.tdrl import ProgressiveEnhancement

(RUN,) = PROFILES["smoke"].runs(TDRL_TIM[4], TABLES["tdrl_tim"])
RUN = dataclasses.replace(RUN, data=SPEC, pretrained=None)


def test_clips_are_what_the_network_sees_and_pixels_what_they_show(data_root, tmp_path):
    pixels, clips = features.validation_clips(RUN, [3, 0], data_root)
    assert pixels.shape == (2, 4, 3, 48, 48) and clips.shape == (2, 4, 1, 3, 48, 48)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(clips[:, :, 0], (pixels - mean) / std, atol=1e-5, rtol=1e-5)
    alone, _ = features.validation_clips(RUN, [0], data_root)
    assert torch.equal(alone[0], pixels[1]) and 0 <= pixels.min() < 0.3 < pixels.max() <= 1
    with pytest.raises(
        FileNotFoundError, match="of a complete run: train it first, tdn train --profile"
    ):  # a network without a run is not trained
        experiment.trained(RUN, tmp_path)


def test_before_and_after_a_module():
    network, clips = tdn.create_model("tdrl_resnet10", 5, 4, width=8), torch.randn(3, 4, 1, 3, 48, 48)
    tim = network.stage3[-1].before.tim
    before, after = features.before_and_after(network, tim, clips)
    assert before.shape == after.shape == (3, 4, 8, 12, 12) and not network.training and not tim._forward_hooks
    torch.testing.assert_close(tim(before.flatten(0, 1)), after.flatten(0, 1))
    torch.testing.assert_close(features.before_and_after(network, tim, clips[1:2])[0][0], before[1])


def test_channels_that_pem_raises_and_lowers():
    pem = ProgressiveEnhancement(16, 4)
    torch.nn.init.zeros_(pem.restore.weight)
    with torch.no_grad():
        pem.restore.bias.copy_(torch.arange(16.0).roll(3))  # the largest weights: channels 0 to 2; the smallest: 3 to 5
    before = torch.randn(2, 4, 16, 5, 5)
    weights = features.enhancement(pem, before)
    torch.testing.assert_close(before * weights[..., None, None], pem(before.flatten(0, 1)).unflatten(0, (2, 4)))
    raised, lowered = features.raised_and_lowered(weights, before)
    torch.testing.assert_close(raised, before[:, :, [1, 2]].mean(2))  # 10 of 64 are 2 of 16
    torch.testing.assert_close(lowered, before[:, :, [3, 4]].mean(2))


def test_change_is_in_units_of_what_a_channel_varies_by():
    """Still, of two signs around 0, the same small and far from 0, drawn anew, constant: whatever their mean."""
    torch.manual_seed(0)
    turns = torch.tensor([1.0, -1, 1, -1]).view(1, 4, 1, 1).expand(50, 4, 6, 6)
    still, anew = torch.randn(50, 1, 6, 6).expand(50, 4, 6, 6), torch.randn(50, 4, 6, 6)
    channels = [still, turns, 5 + 1e-3 * turns, anew, anew - 7, torch.full_like(anew, 0.1)]
    changes = features.change(torch.stack(channels, 2))
    assert changes.shape == (50, 6)
    assert changes.mean(0).tolist() == pytest.approx([0, 2, 2, 2 / np.pi**0.5, 2 / np.pi**0.5, 0], rel=0.02)
    ends = torch.tensor([0.0, 1, -1, 0]).view(1, 4, 1, 1, 1)  # near the largest that there can be
    assert 1.8 < features.change(ends).item() < 2 * (4 / 3) ** 0.5
    assert features.change(torch.randn(3, 8, 2, 4, 4) * 1e-20).isfinite().all()


def test_raised_channels_that_change_more():
    """The PEM raises the channels 0 and 1 of 16, which change in every clip, and lowers 14 and 15, which are still."""
    pem = ProgressiveEnhancement(16, 4)
    torch.nn.init.zeros_(pem.restore.weight)
    with torch.no_grad():
        pem.restore.bias.copy_(torch.arange(16.0).flip(0))
    before = torch.rand(9, 1, 16, 5, 5).expand(9, 4, 16, 5, 5).clone()
    before[:, :, :2] = torch.randn(9, 4, 2, 5, 5)
    row = features.change_of_raised_and_lowered(pem, before)
    assert row["raised channels (%)"] == pytest.approx(113, rel=0.1) and row["lowered channels (%)"] == 0
    assert row["difference"] == pytest.approx(row["raised channels (%)"]) and 0 < row["±"] < 20
    assert (row["raised against lowered"], row["videos"]) == ("more", 9)
    row = features.change_of_raised_and_lowered(pem, before.flip(2))
    assert row["raised against lowered"] == "less" and row["difference"] < 0


def test_similarity_and_colours():
    still = torch.rand(2, 1, 6, 4, 4).expand(2, 3, 6, 4, 4)
    assert features.similarity(still) == pytest.approx(1)
    picture = features.colours(torch.randn(4, 16, 5, 5))
    assert picture.shape == (4, 3, 5, 5) and picture.min() == 0 and picture.max() == pytest.approx(1)
    assert len(plot_images([("pictures", picture), ("maps", torch.randn(4, 5, 5))]).axes) == 2
