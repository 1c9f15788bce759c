"""The devices that can run the network in a comparison; the oracle and float64 always run on the CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tfckpt.errors import MissingDependencyError

from ..errors import ConversionError

DEVICES = ("cpu", "cuda", "mps")


def check_device(name: str) -> None:
    """Raise `ConversionError` if torch finds no such device on this machine, and `ValueError` for another name."""
    if name not in DEVICES:
        raise ValueError(f"device is {name!r}, expected one of {', '.join(DEVICES)}")
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingDependencyError("torch", extra="torch", purpose="running a network") from error
    if name == "cuda" and not torch.cuda.is_available():
        raise ConversionError("torch finds no CUDA device on this machine")
    if name == "mps" and not torch.backends.mps.is_available():
        raise ConversionError("torch finds no MPS device on this machine")


@contextlib.contextmanager
def full_float32(device: str) -> Iterator[None]:
    """Compute convolutions in float32 on a GPU too, whose default is less precise."""
    if device != "cuda":
        yield
        return
    import torch

    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield
