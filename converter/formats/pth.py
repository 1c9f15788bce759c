"""A plain PyTorch state dict, written by `torch.save`: only tensors, so that `weights_only=True` loads it.

The format cannot store provenance; `.safetensors` can.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any, BinaryIO

import numpy as np

from tfckpt._typing import ByteSource
from tfckpt.errors import (
    CheckpointNotFoundError,
    CorruptionError,
    MissingDependencyError,
    StorageError,
    abridged,
    error_context,
    printable,
)
from tfckpt.limits import DEFAULT_LIMITS
from tfckpt.storage.archives import zip as zip_format
from tfckpt.storage.archives.kinds import detect_archive
from tfckpt.storage.local import LocalStorage

from .._typing import Array, PathLike, Progress
from ..errors import ExportError
from .output import Output, TensorFile, materialize

#: Limit of the pickle that lists the tensors, at about 100 bytes each; unpickling can need 60 times its size.
MAX_PICKLE_BYTES = 4 << 20
#: Bytes that tensors may take in addition to twice the size of the file.
_FREE = 64 << 20
#: Dtypes of ml_dtypes by their names in PyTorch; they are exchanged as bytes, since neither library knows the other's.
_BY_BYTES = ("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")


def write(output: Output, file: BinaryIO, *, progress: Progress | None = None) -> None:
    """Write the state dict; all tensors are in memory at the same time."""
    torch = _import_torch("writing")
    total = output.nbytes
    done = 0
    tensors: dict[str, Any] = {}
    for name, tensor in output.tensors.items():
        array = materialize(tensor)
        tensors[name] = _to_tensor(array, name, torch)
        done += array.nbytes
        if progress is not None:
            progress(done, total)
    try:
        torch.save(tensors, file)
    except RuntimeError as error:  # PyTorch's writer hides the error of the file, such as a full disk
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise ExportError(f"PyTorch cannot write the file ({error})") from error


def read(path: PathLike) -> TensorFile:
    """Read a plain state dict; no code in the file is executed."""
    torch = _import_torch("reading")
    path = os.fspath(path)
    try:
        source = LocalStorage().open(path)
    except StorageError as error:
        raise CheckpointNotFoundError(error.message, path=path) from error
    with contextlib.closing(source), error_context(path=path):
        _check_records(source)
        allowed = _FREE + 2 * source.size
    try:
        state_dict = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise many kinds of errors in PyTorch's readers
        # PyTorch's message recommends unsafe loading, so it is only the chained cause.
        raise CorruptionError("not a state dict that torch.load reads with weights_only=True", path=path) from error
    if not isinstance(state_dict, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state_dict.items()
    ):
        raise CorruptionError("not a plain state dict: expected only tensors with names", path=path)
    arrays: dict[str, Array] = {}
    for name, tensor in state_dict.items():
        try:
            arrays[name] = to_array(tensor)
        except TypeError as error:
            raise CorruptionError(str(error), path=path, tensor=name) from error
    claimed = sum(array.nbytes for array in arrays.values())
    if claimed > allowed:  # tensors can be views that repeat a few bytes
        raise CorruptionError(f"its tensors claim {claimed} bytes in a file of {source.size}", path=path)
    return TensorFile(arrays, {})


def _check_records(source: ByteSource) -> None:
    """Raise `CorruptionError` if records need more memory than the file, since PyTorch trusts its zip directory."""
    if detect_archive(source) != "zip":
        return  # the format before PyTorch 1.6
    total = 0
    for member in zip_format.read_members(source, DEFAULT_LIMITS):
        total += member.size
        if member.method != zip_format.STORED or member.size != member.packed_size:
            raise CorruptionError(f"record {member.name!r} is compressed, expected PyTorch's uncompressed ones")
        if member.name.endswith("/data.pkl") and member.size > MAX_PICKLE_BYTES:
            raise CorruptionError(f"list of tensors of {member.size} bytes, expected at most {MAX_PICKLE_BYTES}")
    if total > source.size:
        raise CorruptionError(f"records claim {total} bytes in a file of {source.size}")


def _import_torch(action: str) -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError("torch", extra="torch", purpose=f"{action} a .pth file") from error
    return torch


def _to_tensor(array: Array, name: str, torch: Any) -> Any:
    """Copy an array into a contiguous tensor; `name` is for the message if PyTorch does not support the dtype."""
    copy = np.array(array, array.dtype.newbyteorder("="), order="C", copy=True)
    if array.dtype.name in _BY_BYTES:
        return torch.from_numpy(copy.view(f"u{copy.itemsize}")).view(getattr(torch, array.dtype.name))
    try:
        return torch.from_numpy(copy)
    except TypeError as error:
        raise ExportError(
            f"PyTorch does not support {array.dtype.name}, the dtype of tensor {printable(name)}"
        ) from error


def to_array(tensor: Any) -> Array:
    """Return a view of a PyTorch tensor as an array, or a copy from another device.

    Raises `TypeError` if an array cannot represent the tensor.
    """
    torch = _import_torch("reading")
    name = str(tensor.dtype).removeprefix("torch.")
    try:
        tensor = tensor.detach().cpu()
        if name not in _BY_BYTES:
            array: Array = tensor.numpy()
            return array
        unsigned = tensor.view(getattr(torch, f"uint{8 * tensor.itemsize}")).numpy()
    except (TypeError, RuntimeError) as error:
        # The tensor is sparse, quantised, nested, without data, or has a dtype that only PyTorch knows.
        layout = str(tensor.layout).removeprefix("torch.")
        raise TypeError(f"a {layout} tensor of {name}, which cannot be an array ({abridged(str(error))})") from error
    import ml_dtypes

    return unsigned.view(getattr(ml_dtypes, name))  # type: ignore[no-any-return]  # torch is Any here
