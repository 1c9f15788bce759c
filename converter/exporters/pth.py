"""A plain PyTorch state dict, as `torch.save` writes it: nothing but tensors, so that `weights_only=True` loads it.

It has no place for provenance; `.safetensors` has.
"""

from __future__ import annotations

import os
import pickle
from typing import Any, BinaryIO

import numpy as np

from tfckpt.errors import CheckpointNotFoundError, CorruptionError, MissingDependencyError, printable

from ..conversion import PathLike, Progress
from ..errors import ExportError
from ..mapping.layout import Array
from .base import Output, TensorFile, made

#: Types that NumPy has from ml_dtypes, under the names they have in PyTorch; neither knows the other's.
_BY_BYTES = ("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")


def write(output: Output, file: BinaryIO, *, progress: Progress | None = None) -> None:
    """Write the state dict; all of its tensors are in memory at once."""
    torch = _torch("writing")
    total = output.nbytes
    done = 0
    tensors: dict[str, Any] = {}
    for name, tensor in output.tensors.items():
        array = made(tensor)
        tensors[name] = _to_tensor(array, name, torch)
        done += array.nbytes
        if progress is not None:
            progress(done, total)
    try:
        torch.save(tensors, file)
    except RuntimeError as error:  # PyTorch's writer hides what the file said, a full disk for example
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise ExportError(f"PyTorch cannot write the file ({error})") from error


def read(path: PathLike) -> TensorFile:
    """Read a plain state dict; nothing in the file is executed."""
    torch = _torch("reading")
    path = os.fspath(path)
    try:
        state_dict = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointNotFoundError("there is no such file", path=path) from None
    except OSError as error:
        raise CheckpointNotFoundError(f"cannot be read ({error.strerror or error})", path=path) from error
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        # What PyTorch says here advises to load the file unsafely, and is left to the chained cause.
        raise CorruptionError("no state dict that torch.load takes with weights_only=True", path=path) from error
    if not isinstance(state_dict, dict) or not all(isinstance(value, torch.Tensor) for value in state_dict.values()):
        raise CorruptionError("no plain state dict: it holds other things than tensors", path=path)
    return TensorFile({str(name): to_array(tensor) for name, tensor in state_dict.items()}, {})


def _torch(doing: str) -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError("torch", extra="torch", purpose=f"{doing} a .pth file") from error
    return torch


def _to_tensor(array: Array, name: str, torch: Any) -> Any:
    """Copy an array into a contiguous tensor; `name` is for the message when PyTorch has no such dtype."""
    copy = np.array(array, array.dtype.newbyteorder("="), order="C", copy=True)
    if array.dtype.name in _BY_BYTES:
        return torch.from_numpy(copy.view(f"u{copy.itemsize}")).view(getattr(torch, array.dtype.name))
    try:
        return torch.from_numpy(copy)
    except TypeError as error:
        raise ExportError(f"PyTorch has no dtype {array.dtype.name}, which tensor {printable(name)} has") from error


def to_array(tensor: Any) -> Array:
    """View a PyTorch tensor as an array; one on another device is copied."""
    torch = _torch("reading")
    tensor = tensor.detach().cpu()
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in _BY_BYTES:
        array: Array = tensor.numpy()
        return array
    import ml_dtypes

    unsigned = tensor.view(getattr(torch, f"uint{8 * tensor.itemsize}"))
    return unsigned.numpy().view(getattr(ml_dtypes, name))  # type: ignore[no-any-return]  # torch is Any here
