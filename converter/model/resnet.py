"""slim's ResNet v1 and v2 (He et al., 2015 and 2016) in PyTorch, with the names of torchvision's ResNet.

Unlike torchvision's, the stride is in the last unit of a block, and the first pooling pads as TensorFlow's SAME does.
Convolutions with a stride pad by (kernel - 1) / 2 on each side at every size, as slim's `conv2d_same` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ResNet(nn.Module):
    """Maps images (batch, channels, height, width) to logits (batch, classes)."""

    def __init__(
        self,
        *,
        version: int,
        in_channels: int,
        stem: int,
        units: Sequence[int],
        widths: Sequence[int],
        outputs: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        bn_epsilon: float,
    ) -> None:
        """Build a network of `units` bottlenecks in each block, with `widths` inside and `outputs` returned."""
        super().__init__()
        self.version = version
        self.conv1 = _convolution(in_channels, stem, 7, 2, bias=version == 2)
        self.bn1: nn.Module = nn.BatchNorm2d(stem, bn_epsilon) if version == 1 else nn.Identity()
        channels = stem
        for block, (count, width, output, stride) in enumerate(zip(units, widths, outputs, strides, strict=True), 1):
            layers = []
            for unit in range(count):
                unit_stride = stride if unit == count - 1 else 1
                layers.append(Unit(version, channels, width, output, stride=unit_stride, bn_epsilon=bn_epsilon))
                channels = output
            self.add_module(f"layer{block}", nn.Sequential(*layers))
        self.blocks = len(units)
        self.postnorm: nn.Module = nn.BatchNorm2d(channels, bn_epsilon) if version == 2 else nn.Identity()
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of images."""
        x = self.conv1(x)
        if self.version == 1:
            x = F.relu(self.bn1(x))
        x = _pool(x)
        for block in range(1, self.blocks + 1):
            x = self.get_submodule(f"layer{block}")(x)
        if self.version == 2:
            x = F.relu(self.postnorm(x))
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


class Unit(nn.Module):
    """A bottleneck; in version 2 the norm and the activation come before the convolutions."""

    def __init__(self, version: int, inputs: int, width: int, outputs: int, *, stride: int, bn_epsilon: float) -> None:
        super().__init__()
        self.version, self.stride = version, stride
        is_first = version == 1
        if not is_first:
            self.preact = nn.BatchNorm2d(inputs, bn_epsilon)
        self.conv1 = _convolution(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width, bn_epsilon)
        self.conv2 = _convolution(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width, bn_epsilon)
        self.conv3 = _convolution(width, outputs, 1, bias=not is_first)
        if is_first:
            self.bn3 = nn.BatchNorm2d(outputs, bn_epsilon)
        self.downsample: nn.Sequential | None = None
        if inputs != outputs:
            layers: list[nn.Module] = [_convolution(inputs, outputs, 1, stride, bias=not is_first)]
            self.downsample = nn.Sequential(*layers, *([nn.BatchNorm2d(outputs, bn_epsilon)] if is_first else []))

    def forward(self, x: Tensor) -> Tensor:
        """Return the unit's output."""
        start = x if self.version == 1 else F.relu(self.preact(x))
        if self.downsample is not None:
            shortcut = self.downsample(start)
        else:
            shortcut = x if self.stride == 1 else x[:, :, :: self.stride, :: self.stride]
        inner = F.relu(self.bn1(self.conv1(start)))
        inner = self.conv3(F.relu(self.bn2(self.conv2(inner))))
        total: Tensor = shortcut + inner if self.version == 2 else F.relu(shortcut + self.bn3(inner))
        return total


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, *, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=bias)


def _pool(x: Tensor) -> Tensor:
    """Return the maximum over 3 by 3 pixels with stride 2 and TensorFlow's padding SAME."""
    pads: list[Any] = []
    for size in (x.shape[3], x.shape[2]):
        total = 2 - (size + 1) % 2 if size > 1 else 2
        pads += [total // 2, total - total // 2]
    return F.max_pool2d(F.pad(x, pads, value=-torch.inf), 3, 2)
