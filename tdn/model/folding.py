"""A trained network in the form that gives its scores fastest."""

import copy
import itertools

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval


def optimize(model: nn.Module) -> nn.Module:
    """A copy of `model` for inference that gives the same scores, up to rounding: each batch norm is folded into the
    convolution before it. The copy is in eval mode and an ordinary module, for `torch.compile`, `torch.export` and ONNX
    as well. It is not for training, and takes no weights of the network it was made from."""
    model = copy.deepcopy(model).eval()
    for module in list(model.modules()):
        for (name, layer), (norm_name, norm) in itertools.pairwise(list(module.named_children())):
            if isinstance(layer, nn.Conv2d | nn.Conv3d) and isinstance(norm, _BatchNorm):
                setattr(module, name, fuse_conv_bn_eval(layer, norm))
                setattr(module, norm_name, nn.Identity())
    return model
