"""NumPy's .npy format (its NEP 1), read without copying and without trusting it, and written in parts.

::

    magic, 6 bytes | version 1 + 1 | header length 2 (version 1) or 4 (version 2) | header | data

The header is the text of a Python dictionary: `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.
NumPy parses the header, since it defines which dtypes are valid.
It would allocate whatever the shape claims, so the shape is compared with the data here first.
"""

from __future__ import annotations

import io
import math
import tokenize
from collections.abc import Iterable
from typing import IO, Any

import numpy as np

from .._typing import Array, ByteView
from ..errors import CorruptionError, abridged

#: NumPy's own limit.
MAX_AXES = 64
#: Only records of many fields have a longer header; NumPy's own limit is a little lower.
_MAX_HEADER_BYTES = 16 << 10
#: What NumPy's parser raises for invalid headers.
_PARSE_ERRORS = (
    *(ValueError, TypeError, LookupError, ArithmeticError, AttributeError, SyntaxError, EOFError),
    *(MemoryError, RecursionError, tokenize.TokenError),
)


def write_npy(file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...], parts: Iterable[Array]) -> None:
    """Write a whole `.npy` file; `parts` are arrays whose elements in C order are those of the array."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    start = io.BytesIO()
    try:
        np.lib.format.write_array_header_1_0(start, header)
    except ValueError:  # only records of many fields have a longer header
        np.lib.format.write_array_header_2_0(start, header)
    file.write(start.getvalue())
    for part in parts:
        contiguous: Array = np.ascontiguousarray(part)
        file.write(contiguous.reshape(-1).view(np.uint8).data)


def read_npy(data: ByteView) -> Array:
    """Return the array in a whole `.npy` file, as a view of its bytes; raise `CorruptionError` if it is invalid."""
    file = io.BytesIO(data[:_MAX_HEADER_BYTES])
    try:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version[0]}.{version[1]}, expected 1.0 or 2.0")
        parse = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = parse(file)
    except _PARSE_ERRORS as error:
        raise CorruptionError(f"invalid .npy file: {abridged(str(error))}") from error
    if dtype.hasobject:
        raise CorruptionError("unsupported .npy file: an array of Python objects, which would have to be unpickled")
    contents = data[file.tell() :]
    if len(shape) > MAX_AXES or not all(type(size) is int and 0 <= size < 1 << 63 for size in shape):
        raise CorruptionError(f"invalid array shape {abridged(str(shape))}")
    if math.prod(shape) * dtype.itemsize != len(contents) or not dtype.itemsize:
        raise CorruptionError(
            f"array of shape {list(shape)} and dtype {dtype} does not match {len(contents)} bytes of data"
        )
    try:
        array: Array = np.frombuffer(contents, dtype).reshape(shape, order="F" if is_fortran else "C")
    except ValueError as error:
        raise CorruptionError(f"invalid array of shape {list(shape)} and dtype {dtype}: {error}") from error
    return array
