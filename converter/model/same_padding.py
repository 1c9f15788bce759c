"""Give torchvision's EfficientNets TensorFlow's padding and batch norm epsilon, in place."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from .layers import SameConv2d

_Module = TypeVar("_Module", bound=nn.Module)
#: Of every network in the released TensorFlow code.
_EPSILON = 1e-3


def same_padding_(model: _Module) -> _Module:
    """Make a torchvision EfficientNet compute what TensorFlow's does, for any input size; the model is changed.

    Convolutions with a stride are padded as TensorFlow's SAME, and batch norms get the epsilon 1e-3: torchvision leaves
    `efficientnet_b0` to `b4` at 1e-5. Names and weights stay as they are, so a state dict fits before and after.
    Give the same model back. A second call changes nothing.
    """
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Conv2d and max(child.stride) > 1:
                setattr(module, name, _same(child))
            elif isinstance(child, nn.BatchNorm2d):
                child.eps = _EPSILON
    return model


def _same(convolution: nn.Conv2d) -> SameConv2d:
    """Make a convolution of the same weights with SAME padding."""
    with torch.device("meta"):
        same = SameConv2d(
            convolution.in_channels,
            convolution.out_channels,
            convolution.kernel_size[0],
            stride=convolution.stride[0],
            groups=convolution.groups,
            bias=convolution.bias is not None,
        )
    same.weight = convolution.weight
    same.bias = convolution.bias
    return same.train(convolution.training)
