"""Converted weights as a safetensors file, written and read; `tfckpt.files.safetensors` describes the format.

Our metadata keys have JSON values: `tf2torch.config` is the config, and `tf2torch.provenance` has the source files
with checksums, the rules and the choice of weights. `tf2torch.preprocessing`, `tf2torch.labels` and `tf2torch.target`
are optional.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from tfckpt.errors import CorruptionError, abridged, past_end, printable
from tfckpt.files.json_text import read_json
from tfckpt.files.npy import MAX_AXES
from tfckpt.files.safetensors import DTYPES, LazyTensor, count_bytes, order_tensors, write_safetensors

from .._typing import Array, PathLike, Progress
from ..errors import ExportError
from .opening import open_weights
from .output import METADATA_NAME, LazyArray, Output, Seal, TensorFile, Writable, check_names, materialize

#: The limit of the format for a header, in bytes.
MAX_HEADER_BYTES = 100_000_000

#: Space for metadata that are known only when the tensors are written.
SEAL_BYTES = 4096

_NAMES = {name: dtype for dtype, name in DTYPES.items()}


def write(output: Output, file: BinaryIO, *, seal: Seal | None = None, progress: Progress | None = None) -> None:
    """Write an output with its metadata; raise `ExportError` for a dtype that the format does not support."""
    write_tensors(output.tensors, output.metadata(), file, seal=seal, progress=progress)


def write_tensors(
    tensors: Mapping[str, Writable],
    metadata: Mapping[str, str],
    file: BinaryIO,
    *,
    seal: Seal | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Write arrays with any strides; shapes determine the size of the file before the first array is computed.

    Tensors are computed by several threads, or by `threads`; one computes them in the order of `order_names`.
    """
    for name, tensor in tensors.items():
        if tensor.dtype.name not in DTYPES:
            raise ExportError(
                f"safetensors does not support {tensor.dtype.name}, the dtype of tensor {printable(name)}"
            )
    check_names(tensors, "safetensors")
    lazy = _to_lazy(tensors)
    reserved = 0 if seal is None else SEAL_BYTES
    write_safetensors(file, lazy, metadata, reserved=reserved, threads=threads, progress=count_bytes(lazy, progress))
    if seal is not None:
        file.flush()
        _add_metadata(file, seal())


def order_names(tensors: Mapping[str, Writable]) -> list[str]:
    """Return the names in the order of their data in a file."""
    return [tensor.name for tensor in order_tensors(_to_lazy(tensors))]


def _to_lazy(tensors: Mapping[str, Writable]) -> list[LazyTensor]:
    return [
        LazyTensor(name, tensor.dtype, tensor.shape, functools.partial(_load, tensor))
        for name, tensor in tensors.items()
    ]


def _load(tensor: Writable) -> Iterator[Array]:
    if isinstance(tensor, LazyArray) and tensor.iterate is not None:
        yield from tensor.iterate()
    else:
        yield materialize(tensor)


def _add_metadata(file: BinaryIO, added: Mapping[str, str]) -> None:
    """Rewrite the header with more metadata, in the space reserved for them."""
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(length))
    header.setdefault(METADATA_NAME, {}).update(added)
    text = json.dumps(header, separators=(",", ":")).encode()
    if len(text) > length:
        raise ExportError(f"the metadata need {len(text)} bytes, but the header has {length}")
    file.seek(8)
    file.write(text.ljust(length))
    file.seek(0, os.SEEK_END)


def read(path: PathLike) -> TensorFile:
    """Read a file; the tensors are views of its memory map, which is private and stays as long as they exist.

    Every claim of the header is compared with the file before it is used.
    Raises `CheckpointNotFoundError`, or `CorruptionError` if the file breaks a rule of the format.
    """
    path = os.fspath(path)
    with contextlib.closing(open_weights(path)) as source:
        view = source.read(0, source.size)
    header, data = _split_header(view, path)
    metadata = header.pop(METADATA_NAME, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CorruptionError("metadata of a safetensors file is not a JSON object of strings", path=path, offset=8)
    tensors = {}
    expected = 0
    for name, begin, end, dtype, shape in sorted(
        (_check_entry(*item, path) for item in header.items()), key=_by_offset
    ):
        if begin != expected or end > len(data):
            raise CorruptionError(
                f"data offsets [{begin}, {end}], expected to begin at {expected} and to end within {len(data)}",
                path=path,
                tensor=name,
            )
        expected = end
        try:
            tensors[name] = np.frombuffer(data[begin:end], dtype).reshape(shape)
        except ValueError as error:  # no elements, but an axis longer than NumPy allows
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


def _split_header(view: memoryview, path: str) -> tuple[dict[str, Any], memoryview]:
    """Return the header of a file and a view of its data."""
    if len(view) < 8:
        raise past_end("header of a safetensors file", needed=8, available=len(view), path=path)
    length = int.from_bytes(view[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise CorruptionError(f"not a safetensors file: its header would have {length} bytes", path=path, offset=0)
    if 8 + length > len(view):
        raise past_end("header of a safetensors file", needed=8 + length, available=len(view), path=path)
    try:
        header = read_json(bytes(view[8 : 8 + length]))
    except ValueError as error:
        raise CorruptionError(
            f"not a safetensors file: its header is not valid JSON ({error})", path=path, offset=8
        ) from error
    if not isinstance(header, dict):
        raise CorruptionError("header of a safetensors file is not a JSON object", path=path, offset=8)
    return header, view[8 + length :]


def _check_entry(name: str, entry: object, path: str) -> _Entry:
    """Return the entry of a tensor; raise `CorruptionError` unless dtype, shape and offsets agree."""
    match entry:
        case {"dtype": str(kind), "shape": [*shape], "data_offsets": [begin, end]} if (
            kind in _NAMES and len(shape) <= MAX_AXES and all(map(_is_size, (*shape, begin, end))) and begin <= end
        ):
            dtype = _find_dtype(_NAMES[kind])
            if math.prod(shape) * dtype.itemsize == end - begin:
                return _Entry(name, begin, end, dtype, tuple(shape))
    raise CorruptionError(
        f"entry {abridged(repr(entry))} does not have a dtype, a shape and offsets that agree", path=path, tensor=name
    )


def _is_size(value: object) -> bool:
    """Return whether a value is an integer, not a bool, from 0 to 2**63 - 1."""
    return type(value) is int and 0 <= value < 1 << 63


def _find_dtype(name: str) -> np.dtype[Any]:
    """Return a dtype by name; ml_dtypes is imported only for those that NumPy does not have."""
    if name.startswith(("bfloat", "float8")):
        import ml_dtypes

        extension: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return extension
    plain: np.dtype[Any] = np.dtype(name).newbyteorder("<")
    return plain
