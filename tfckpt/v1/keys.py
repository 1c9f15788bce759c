"""The keys of a V1 table (TensorFlow `util/saved_tensor_slice_util.cc`).

::

    the empty key                                                           the list of tensors
    N(0) | S(name) | N(rank) | for each dimension: I(start) | I(length)     one record, a slice of a tensor

`TensorSlice.key` encodes the key of a record, and this module decodes it.
"""

from __future__ import annotations

from ..coding import ordered_code
from ..errors import CorruptionError
from ..tensors.slices import FULL, TensorSlice

LIST_KEY = b""


def decode_key(key: bytes) -> tuple[bytes, TensorSlice]:
    """Return the name of the tensor and the slice; `CorruptionError` if it is not the key of a record."""
    zero, position = ordered_code.decode_number(key, 0)
    if zero:
        raise CorruptionError(f"key of a record begins with the number {zero}, expected 0")
    name, position = ordered_code.decode_string(key, position)
    rank, position = ordered_code.decode_number(key, position)
    if rank > len(key):
        raise CorruptionError(f"key of {len(key)} bytes claims a slice of {rank} dimensions")
    extents = []
    for _ in range(rank):
        start, position = ordered_code.decode_signed(key, position)
        length, position = ordered_code.decode_signed(key, position)
        if start < 0 or (length < 1 and (start, length) != (0, FULL)):
            raise CorruptionError(f"key of a slice has start {start} and length {length}")
        extents.append((start, length))
    if position != len(key):
        raise CorruptionError(f"key of a record has {len(key) - position} bytes after its end")
    return name, TensorSlice(tuple(extents))
