"""The devices that run the eager side of a comparison."""

from __future__ import annotations

import torch

from ..errors import ConversionError

DEVICES = ("cpu", "cuda", "mps")


def check_device(name: str) -> None:
    """Raise `ConversionError` if torch finds no such device on this machine, and `ValueError` for another name."""
    if name not in DEVICES:
        raise ValueError(f"device is {name!r}, expected one of {', '.join(DEVICES)}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConversionError("torch finds no CUDA device on this machine")
    if name == "mps" and not torch.backends.mps.is_available():
        raise ConversionError("torch finds no MPS device on this machine")
