"""TensorFlow's padding and batch norm epsilon for torchvision's EfficientNets."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from .layers import SameConv2d

_Module = TypeVar("_Module", bound=nn.Module)
#: The epsilon of every network in the released TensorFlow code.
_EPSILON = 1e-3


def same_padding_(model: _Module) -> _Module:
    """Change a torchvision EfficientNet in place to compute what TensorFlow's does, for any input size; return it.

    Convolutions with a stride get TensorFlow's SAME padding, and batch norms the epsilon 1e-3, because torchvision
    leaves `efficientnet_b0` to `b4` at 1e-5. Names and weights do not change, so the same state dict fits before and
    after. A second call has no effect.
    """
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Conv2d and max(child.stride) > 1:
                setattr(module, name, _convert(child))
            elif isinstance(child, nn.BatchNorm2d):
                child.eps = _EPSILON
    return model


def _convert(convolution: nn.Conv2d) -> SameConv2d:
    """Return a convolution with the same weights and SAME padding."""
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
