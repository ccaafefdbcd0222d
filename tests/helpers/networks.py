"""A network without batch norm; a small TDN with random weights, and the file of it."""

import torch
from torch import nn

from helpers.reference import randomise
from tdn.model.zoo import create_model


def small_tdn():
    torch.manual_seed(0)
    return randomise(create_model("tdn_resnet10", 24, 4, width=8)).eval()


def save_network(model, file, class_names, clips):
    """As a training does, with so many clips of a test."""
    network = {"name": "tdn_resnet10", "options": {"width": 8}, "num_segments": 4}
    views = {"clips": clips, "crops": 1, "size": 48, "scale": 48 / 56}
    torch.save({"model": model.state_dict(), "network": network, "class_names": class_names, "views": views}, file)
    return file


class Linear(nn.Module):
    """Scores from the mean pixel of every segment: no batch norm, so that sums over batches can be compared."""

    window = 1

    def __init__(self, classes=24, segments=2):
        super().__init__()
        self.fc = nn.Linear(3 * segments, classes)

    def forward(self, clips):
        return self.fc(clips.mean((2, 4, 5)).flatten(1))
