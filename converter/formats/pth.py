"""PyTorch state dicts: written as plain ones by `torch.save`, so that `weights_only=True` loads them.

Reading also takes what training programs save, a state dict inside other dicts (`formats.state_dicts`).
The format cannot store provenance; `.safetensors` can.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pickle
import threading
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from tfckpt._typing import ByteSource
from tfckpt.errors import (
    CheckpointError,
    CorruptionError,
    MissingDependencyError,
    abridged,
    error_context,
    printable,
)
from tfckpt.limits import DEFAULT_LIMITS
from tfckpt.storage.archives import zip as zip_format
from tfckpt.storage.archives.kinds import detect_archive

from .._typing import Array, PathLike, Progress
from ..errors import ExportError
from .opening import open_weights
from .output import Output, Seal, TensorFile, materialize
from .state_dicts import find_state_dicts

#: Limit of the pickle that lists the tensors, at about 100 bytes each; unpickling can need 60 times its size.
MAX_PICKLE_BYTES = 4 << 20
#: Bytes that tensors may take in addition to twice the size of the file.
_FREE = 64 << 20
#: PyTorch's list of allowed classes belongs to the process.
_ALLOWING = threading.Lock()
#: Most classes that a message names.
_SHOWN = 4
#: Endings of files that training programs save; `.pth` is our own too.
_ENDINGS = (".pt", ".ckpt", ".bin", ".tar")
#: Dtypes of ml_dtypes by their names in PyTorch; they are exchanged as bytes, since neither library knows the other's.
_BY_BYTES = ("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")


def write(output: Output, file: BinaryIO, *, seal: Seal | None = None, progress: Progress | None = None) -> None:
    """Write the state dict; all tensors are in memory at the same time, and metadata have no place."""
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
    if seal is not None:
        file.flush()
        seal()


class StateDictFile(NamedTuple):
    """The state dicts in a file by their paths, and the architecture that it names, if it names one.

    `arrays` must be used to read them.
    """

    state_dicts: dict[str, Mapping[str, Any]]
    architecture: str | None
    path: str
    allowed: int

    def arrays(self, tensors: Mapping[str, Any]) -> dict[str, Array]:
        """Return the tensors of a state dict as arrays; raise `CorruptionError` if they claim more than the file."""
        arrays: dict[str, Array] = {}
        for name, tensor in tensors.items():
            try:
                arrays[name] = to_array(tensor)
            except TypeError as error:
                raise CorruptionError(str(error), path=self.path, tensor=name) from error
        claimed = sum(array.nbytes for array in arrays.values())
        if claimed > self.allowed:  # tensors can be views that repeat a few bytes
            raise CorruptionError(f"its tensors claim {claimed} bytes in a smaller file", path=self.path)
        return arrays


def is_training_file(path: PathLike) -> bool:
    """Return whether a path has an ending of training programs and is an archive that `torch.save` wrote."""
    path = os.fspath(path)
    if not path.lower().endswith(_ENDINGS) or not os.path.isfile(path):
        return False
    with contextlib.suppress(CheckpointError), contextlib.closing(open_weights(path)) as source:
        return detect_archive(source) == "zip" and any(
            member.name.endswith("/data.pkl") for member in zip_format.read_members(source, DEFAULT_LIMITS)
        )
    return False


def read(path: PathLike) -> TensorFile:
    """Read the only state dict in a file; no code in the file is executed."""
    file = read_state_dicts(path)
    if len(file.state_dicts) > 1:
        listed = ", ".join(map(printable, file.state_dicts))
        raise CorruptionError(f"several state dicts, expected one: {listed}", path=file.path)
    (tensors,) = file.state_dicts.values()
    return TensorFile(file.arrays(tensors), {})


def read_state_dicts(path: PathLike) -> StateDictFile:
    """Read a file with one state dict or several; no code in the file is executed."""
    torch = _import_torch("reading")
    path = os.fspath(path)
    with contextlib.closing(open_weights(path)) as source, error_context(path=path):
        _check_records(source)
        allowed = _FREE + 2 * source.size
    try:
        content = _load(path, torch)
    except Exception as error:  # damaged files raise many kinds of errors in PyTorch's readers
        # PyTorch's message recommends unsafe loading, so it is only the chained cause.
        classes = ", ".join(printable(abridged(name)) for name in _list_classes(path, torch)[:_SHOWN])
        found = f"; it also holds {classes}: save only the state dict, torch.save(model.state_dict(), ...)"
        raise CorruptionError(
            f"not a state dict that torch.load reads with weights_only=True{found if classes else ''}", path=path
        ) from error
    state_dicts = find_state_dicts(content, lambda value: isinstance(value, torch.Tensor))
    if not state_dicts:
        raise CorruptionError("no state dict: expected only tensors with names, or a dict that has them", path=path)
    return StateDictFile(state_dicts, _find_architecture(content), path, allowed)


def _load(path: str, torch: Any) -> Any:
    """Return the contents of a file: tensors, plain values, and the arguments that timm's training program saves."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        if _list_classes(path, torch) != ["argparse.Namespace"]:
            raise
    with _ALLOWING, torch.serialization.safe_globals([argparse.Namespace]):  # has attributes and runs no code
        return torch.load(path, map_location="cpu", weights_only=True)


def _list_classes(path: str, torch: Any) -> list[str]:
    """Return the classes and functions in a file that weights_only=True refuses, if PyTorch can list them."""
    find = getattr(torch.serialization, "get_unsafe_globals_in_checkpoint", None)  # since PyTorch 2.6
    with contextlib.suppress(Exception):  # the file may be damaged
        return sorted(map(str, find(path))) if find is not None else []
    return []


def _find_architecture(content: Mapping[str, Any]) -> str | None:
    """Return the model that timm's training names."""
    architecture = content.get("arch")
    return architecture if isinstance(architecture, str) else None


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
