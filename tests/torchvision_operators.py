"""Import this before timm, torchvision or transformers, where torchvision was compiled for another torch.

The wheel of torchvision on the package index cannot load its compiled operators beside a CPU-only torch, and then fails
to import; that two of them are declared is enough for the networks.
"""

from __future__ import annotations

import torch

LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
try:
    LIBRARY.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    LIBRARY.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
except RuntimeError:  # they are declared already
    pass
