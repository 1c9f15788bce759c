"""Import this before transformers where torchvision is installed beside a torch it was not compiled for.

The wheel of torchvision on the package index cannot load its compiled operators beside a CPU-only torch, and then fails
to import; that two of them are declared is enough for what transformers imports.
"""

from __future__ import annotations

import importlib.util

import torch

if importlib.util.find_spec("torchvision") is not None:
    LIBRARY = torch.library.Library("torchvision", "DEF")
    LIBRARY.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    LIBRARY.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
