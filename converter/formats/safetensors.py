"""Converted weights as a safetensors file, written and read; `tfckpt.files.safetensors` describes the format.

Metadata keys of ours, each with a value of JSON: `tf2torch.config`, the network's config; `tf2torch.provenance`, which
files with which checksums it came from, by which rules and which choice of weights; `tf2torch.preprocessing`,
`tf2torch.labels` and `tf2torch.target` where there are some.
"""

from __future__ import annotations

import functools
import math
import mmap
import os
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from tfckpt.errors import CorruptionError, abridged, past_end, printable
from tfckpt.files.json_text import read_json
from tfckpt.files.npy import MAX_AXES
from tfckpt.files.reading import open_file
from tfckpt.files.safetensors import DTYPES, LazyTensor, count_bytes, write_safetensors

from .._typing import PathLike, Progress
from ..errors import ExportError
from .output import METADATA_NAME, Output, TensorFile, Writable, made, require_names

#: The format's own maximum for a header, in bytes.
MAX_HEADER_BYTES = 100_000_000

_NAMES = {name: dtype for dtype, name in DTYPES.items()}


def write(output: Output, file: BinaryIO, *, progress: Progress | None = None) -> None:
    """Write an output with its metadata; `ExportError` for a dtype the format has no name for."""
    write_tensors(output.tensors, output.metadata(), file, progress=progress)


def write_tensors(
    tensors: Mapping[str, Writable], metadata: Mapping[str, str], file: BinaryIO, *, progress: Progress | None = None
) -> None:
    """Write arrays of any strides; the size of the file is known from their shapes before the first is read."""
    for name, tensor in tensors.items():
        if tensor.dtype.name not in DTYPES:
            raise ExportError(f"safetensors has no dtype {tensor.dtype.name}, which tensor {printable(name)} has")
    require_names(tensors, "safetensors")
    lazy = [
        LazyTensor(name, tensor.dtype, tensor.shape, functools.partial(made, tensor))
        for name, tensor in tensors.items()
    ]
    write_safetensors(file, lazy, metadata, progress=count_bytes(lazy, progress))


def read(path: PathLike) -> TensorFile:
    """Read a whole file, lazily: the tensors are views of its memory map, which lives as long as they do.

    Every claim of the header is compared with the file before it is used.
    Raises `CheckpointNotFoundError`, or `CorruptionError` for what breaks a rule of the format.
    """
    path = os.fspath(path)
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b"")
    header, data = _header(view, path)
    metadata = header.pop(METADATA_NAME, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CorruptionError("metadata of a safetensors file is no object of strings", path=path, offset=8)
    tensors = {}
    expected = 0
    for name, begin, end, dtype, shape in sorted((_entry(*item, path) for item in header.items()), key=_by_offset):
        if begin != expected or end > len(data):
            raise CorruptionError(
                f"data offsets [{begin}, {end}], expected to begin at {expected} and to end within {len(data)}",
                path=path,
                tensor=name,
            )
        expected = end
        try:
            tensors[name] = np.frombuffer(data[begin:end], dtype).reshape(shape)
        except ValueError as error:  # no elements, of which each axis has more than there can be
            raise CorruptionError(f"shape {list(shape)}: {error}", path=path, tensor=name) from error
    if expected != len(data):
        raise CorruptionError(f"{len(data)} bytes of data, but the header describes {expected}", path=path)
    return TensorFile(tensors, metadata)


class _Entry(NamedTuple):
    name: str
    begin: int
    end: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


def _by_offset(entry: _Entry) -> tuple[int, int]:
    return entry.begin, entry.end


def _header(view: memoryview, path: str) -> tuple[dict[str, Any], memoryview]:
    """Split a file into its header and its data."""
    if len(view) < 8:
        raise past_end("header of a safetensors file", needed=8, available=len(view), path=path)
    length = int.from_bytes(view[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise CorruptionError(f"no safetensors file: its header would have {length} bytes", path=path, offset=0)
    if 8 + length > len(view):
        raise past_end("header of a safetensors file", needed=8 + length, available=len(view), path=path)
    try:
        header = read_json(bytes(view[8 : 8 + length]))
    except ValueError as error:
        raise CorruptionError(f"no safetensors file: its header is no JSON ({error})", path=path, offset=8) from error
    if not isinstance(header, dict):
        raise CorruptionError("header of a safetensors file is no JSON object", path=path, offset=8)
    return header, view[8 + length :]


def _entry(name: str, entry: object, path: str) -> _Entry:
    """Check one tensor's description by itself."""
    match entry:
        case {"dtype": str(kind), "shape": [*shape], "data_offsets": [begin, end]} if (
            kind in _NAMES and len(shape) <= MAX_AXES and all(map(_is_size, (*shape, begin, end))) and begin <= end
        ):
            dtype = _dtype(_NAMES[kind])
            if math.prod(shape) * dtype.itemsize == end - begin:
                return _Entry(name, begin, end, dtype, tuple(shape))
    raise CorruptionError(
        f"description {abridged(repr(entry))} is not a dtype, shape and offsets that agree", path=path, tensor=name
    )


def _is_size(value: object) -> bool:
    """Whether this is a whole number that a file can count to; a bool is none."""
    return type(value) is int and 0 <= value < 1 << 63


def _dtype(name: str) -> np.dtype[Any]:
    """Find a dtype by name; ml_dtypes is imported only for those that NumPy lacks."""
    if name.startswith(("bfloat", "float8")):
        import ml_dtypes

        extension: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return extension
    plain: np.dtype[Any] = np.dtype(name).newbyteorder("<")
    return plain
