"""A plain PyTorch state dict, as `torch.save` writes it: nothing but tensors, so that `weights_only=True` loads it.

It has no place for provenance; `.safetensors` has.
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
from tfckpt.storage.archives.kinds import archive_kind
from tfckpt.storage.local import LocalStorage

from .._typing import Array, PathLike, Progress
from ..errors import ExportError
from .output import Output, TensorFile, made

#: The pickle that says which tensors there are: one of a hundred bytes each, and each byte can become sixty.
MAX_PICKLE_BYTES = 4 << 20
#: What tensors may take beside twice the size of the file.
_FREE = 64 << 20
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
        source = LocalStorage().open(path)
    except StorageError as error:
        raise CheckpointNotFoundError(error.message, path=path) from error
    with contextlib.closing(source), error_context(path=path):
        _check_records(source)
        allowed = _FREE + 2 * source.size
    try:
        state_dict = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # its readers end in whatever a damaged file leads them to
        # What PyTorch says here advises to load the file unsafely, and is left to the chained cause.
        raise CorruptionError("no state dict that torch.load takes with weights_only=True", path=path) from error
    if not isinstance(state_dict, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state_dict.items()
    ):
        raise CorruptionError("no plain state dict: it holds other things than tensors by name", path=path)
    arrays: dict[str, Array] = {}
    for name, tensor in state_dict.items():
        try:
            arrays[name] = to_array(tensor)
        except TypeError as error:
            raise CorruptionError(str(error), path=path, tensor=name) from error
    claimed = sum(array.nbytes for array in arrays.values())
    if claimed > allowed:  # tensors can be views that repeat a few bytes
        raise CorruptionError(f"its tensors claim {claimed} bytes, in a file of {source.size}", path=path)
    return TensorFile(arrays, {})


def _check_records(source: ByteSource) -> None:
    """Refuse what would take more memory than the file's size says: PyTorch believes its zip directory."""
    if archive_kind(source) != "zip":
        return  # as PyTorch wrote it before 1.6
    total = 0
    for member in zip_format.read_members(source, DEFAULT_LIMITS):
        total += member.size
        if member.method != zip_format.STORED or member.size != member.packed_size:
            raise CorruptionError(f"record {member.name!r} is compressed, which PyTorch does not write")
        if member.name.endswith("/data.pkl") and member.size > MAX_PICKLE_BYTES:
            raise CorruptionError(f"description of {member.size} bytes, at most {MAX_PICKLE_BYTES} are read")
    if total > source.size:
        raise CorruptionError(f"records claim {total} bytes together, in a file of {source.size}")


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
    """View a PyTorch tensor as an array; one on another device is copied. `TypeError` for one that no array can be."""
    torch = _torch("reading")
    name = str(tensor.dtype).removeprefix("torch.")
    try:
        tensor = tensor.detach().cpu()
        if name not in _BY_BYTES:
            array: Array = tensor.numpy()
            return array
        unsigned = tensor.view(getattr(torch, f"uint{8 * tensor.itemsize}")).numpy()
    except (
        TypeError,
        RuntimeError,
    ) as error:  # sparse, quantised, nested, without data, or of a dtype of PyTorch's own
        layout = str(tensor.layout).removeprefix("torch.")
        raise TypeError(f"a {layout} tensor of {name} that no array can hold ({abridged(str(error))})") from error
    import ml_dtypes

    return unsigned.view(getattr(ml_dtypes, name))  # type: ignore[no-any-return]  # torch is Any here
