"""Writing of the safetensors file format, tensor by tensor.

::

    header length  u64, little-endian
    header         JSON object: name -> {"dtype": "F32", "shape": [...], "data_offsets": [begin, end]} for each tensor,
                   and "__metadata__" -> an object of strings;
                   padded with spaces so that the data starts at a multiple of 8 bytes
    data           the tensors in C order, little-endian, without gaps; offsets count from here

The layout follows the format's own description (github.com/huggingface/safetensors, README).
The safetensors package needs every tensor contiguous in memory at the same time.
Here a tensor is loaded when it is written, and since all offsets are known in advance, several are written in parallel.
Tensors are ordered by falling item size, which aligns each of them.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from .._typing import Array, Progress
from .parallel_write import Part, write_parts

#: The format's dtype names, by the names in NumPy and ml_dtypes.
DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "uint32": "U32",
    "int32": "I32",
    "uint64": "U64",
    "int64": "I64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}


@dataclasses.dataclass(frozen=True, slots=True)
class LazyTensor:
    """A tensor with known dtype and shape, whose values are loaded when they are to be written.

    `load` yields arrays, whose elements in C order are those of the tensor: one of its shape, or several of any shape.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    load: Callable[[], Iterable[Array]]

    @property
    def nbytes(self) -> int:
        """The size of the values in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def count_bytes(tensors: Iterable[LazyTensor], progress: Progress | None) -> Callable[[int], None]:
    """Return a function that adds up the bytes of parts, and passes them and the total to `progress`."""
    total = sum(tensor.nbytes for tensor in tensors)
    done = 0

    def advance(nbytes: int) -> None:
        nonlocal done
        done += nbytes
        if progress is not None:
            progress(done, total)

    return advance


def order_tensors(tensors: Iterable[LazyTensor]) -> list[LazyTensor]:
    """Return the tensors in the order of their data in a file."""
    return sorted(tensors, key=lambda tensor: -tensor.dtype.itemsize)


def write_safetensors(
    file: BinaryIO,
    tensors: Sequence[LazyTensor],
    metadata: Mapping[str, str],
    *,
    reserved: int = 0,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write a whole file from its start; raise `KeyError` for a dtype that the format cannot represent.

    The header ends with at least `reserved` spaces, for metadata that are known only later.
    Tensors are loaded by several threads, or by `threads`; one loads them in the order of `order_tensors`.
    `progress` is called after each tensor with its size in bytes.
    """
    ordered = order_tensors(tensors)
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for tensor in ordered:
        begin, end = end, end + tensor.nbytes
        header[tensor.name] = {
            "dtype": DTYPES[tensor.dtype.name],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (reserved + -(len(text) + reserved) % 8)
    file.write(len(text).to_bytes(8, "little"))
    file.write(text)
    begin = 8 + len(text)
    parts = []
    for tensor in ordered:
        parts.append(Part(begin, tensor.nbytes, tensor.load))
        begin += tensor.nbytes
    write_parts(file, parts, threads=threads, progress=progress)
