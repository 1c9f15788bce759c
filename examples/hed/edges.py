"""Holistically-nested edge detection (Xie and Tu, 2015): a VGG-16 whose five blocks draw edges, and their mixture."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional as F


class HED(nn.Module):
    """Logits of edges, of the size of the image: BGR minus its mean, as Caffe's networks take them."""

    def __init__(self) -> None:
        super().__init__()
        widths = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256), (256, 512, 512, 512), (512, 512, 512, 512))
        for number, block in enumerate(widths, 1):
            convs = [nn.Conv2d(*pair, 3, padding=1) for pair in itertools.pairwise(block)]
            self.add_module(f"block{number}", nn.ModuleList(convs))
            self.add_module(f"dsn{number}", nn.Conv2d(block[-1], 1, 1))
        self.fuse = nn.Conv2d(5, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return [N, 1, H, W] for images [N, 3, H, W]."""
        size, sides = x.shape[2:], []
        for number in range(1, 6):
            x = F.max_pool2d(x, 2, ceil_mode=True) if number > 1 else x
            for conv in getattr(self, f"block{number}"):
                x = F.relu(conv(x))
            sides.append(F.interpolate(getattr(self, f"dsn{number}")(x), size, mode="bilinear"))
        return self.fuse(torch.cat(sides, 1))
