"""One array as NumPy keeps it in a file (its NEP 1), read without copying and without believing it.

::

    magic, 6 bytes | version 1 + 1 | header length 2 (version 1) or 4 (version 2) | header | data

The header is the text of a Python dictionary: `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.
NumPy parses it, and is the one to know what it may hold; it allocates what a shape claims, which is compared with the
data here first.
"""

from __future__ import annotations

import io
import math
import tokenize

import numpy as np

from .._typing import Array, ByteView
from ..errors import CorruptionError, abridged

#: No array of NumPy has more axes.
MAX_AXES = 64
#: A header is longer only for records of many fields; NumPy's own limit is a little lower.
_LONGEST_HEADER = 16 << 10
#: What NumPy's parser ends in, besides `ValueError`, for headers that are none.
_NO_HEADER = (
    *(ValueError, TypeError, LookupError, ArithmeticError, AttributeError, SyntaxError, EOFError),
    *(MemoryError, RecursionError, tokenize.TokenError),
)


def npy_array(data: ByteView) -> Array:
    """The array of a whole `.npy` file, a view of its bytes; `CorruptionError` for what is none."""
    file = io.BytesIO(data[:_LONGEST_HEADER])
    try:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"it has version {version[0]}.{version[1]}, and 1.0 and 2.0 are known")
        parse = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = parse(file)
    except _NO_HEADER as error:
        raise CorruptionError(f"cannot be read as a .npy file: {abridged(str(error))}") from error
    if dtype.hasobject:
        raise CorruptionError(
            "cannot be read as a .npy file: it has an array of Python objects, which would have to be unpickled"
        )
    contents = data[file.tell() :]
    if len(shape) > MAX_AXES or not all(type(size) is int and 0 <= size < 1 << 63 for size in shape):
        raise CorruptionError(f"array of shape {abridged(str(shape))}, which no array has")
    if math.prod(shape) * dtype.itemsize != len(contents) or not dtype.itemsize:
        raise CorruptionError(f"array of shape {list(shape)} and dtype {dtype} in {len(contents)} bytes")
    try:
        array: Array = np.frombuffer(contents, dtype).reshape(shape, order="F" if is_fortran else "C")
    except ValueError as error:
        raise CorruptionError(f"array of shape {list(shape)} and dtype {dtype}: {error}") from error
    return array
