"""A plain PyTorch state dict, as `torch.save` writes it: nothing but tensors, so that `weights_only=True` loads it.

It has no place for provenance; `.safetensors` has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from tfckpt.errors import MissingDependencyError

from ..conversion import ConversionResult, Progress
from ..errors import ExportError
from ..mapping.layout import Array

if TYPE_CHECKING:
    import torch


def write(result: ConversionResult, file: BinaryIO, *, progress: Progress | None = None) -> None:
    """Write the state dict; all of its tensors are in memory at once."""
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError("torch", extra="torch", purpose="writing a .pth file") from error
    total = sum(array.nbytes for array in result.state_dict.values())
    done = 0
    tensors: dict[str, torch.Tensor] = {}
    for name, array in result.state_dict.items():
        tensors[name] = to_tensor(array, name)
        done += array.nbytes
        if progress is not None:
            progress(done, total)
    try:
        torch.save(tensors, file)
    except RuntimeError as error:  # PyTorch's writer hides what the file said, a full disk for example
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise ExportError(f"PyTorch cannot write the file ({error})") from error


def to_tensor(array: Array, name: str) -> torch.Tensor:
    """Copy an array into a contiguous tensor; `name` is for the message when PyTorch has no such dtype."""
    import torch

    copy = np.array(array, order="C", copy=True)
    if array.dtype.name in _BY_BYTES:  # NumPy's extension types, which PyTorch knows by another name
        return torch.from_numpy(copy.view(f"u{array.dtype.itemsize}")).view(getattr(torch, array.dtype.name))
    try:
        return torch.from_numpy(copy)
    except TypeError as error:
        raise ExportError(f"PyTorch has no dtype {array.dtype.name}, which tensor {name} has") from error


_BY_BYTES = ("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")
