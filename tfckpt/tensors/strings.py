"""The payload of a string tensor in a bundle (TensorFlow `util/tensor_bundle/tensor_bundle.cc`).

::

    payload = length, varint64 * n | length checksum, 4 bytes | bytes of element 0 | ... | bytes of element n-1

    length checksum = masked crc32c of the lengths, each as fixed32, or as fixed64 if it does not fit into 32 bits
    tensor checksum = crc32c of the same fixed-width lengths | the 4 bytes of the length checksum | all element bytes

The checksums cover only the values of the varints, not their bytes.
In a big-endian bundle the fixed-width lengths and the 4 stored bytes are big-endian; varints have no byte order.
"""

from __future__ import annotations

import array
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from .._typing import Array, ByteView
from ..coding import varint
from ..coding.crc32c import crc32c, mask, unmask
from ..errors import CorruptionError, checksum_mismatch, past_end
from ..limits import Limits, check_limit
from .dense import check_rank, reshape_read_only

_CHECKSUM_SIZE = 4


def decode_strings(
    payload: ByteView,
    shape: Sequence[int],
    limits: Limits,
    *,
    big_endian: bool = False,
    verify: bool = True,
) -> tuple[Array, int | None]:
    """Return an object array of `bytes`, and the tensor's unmasked checksum, or None without `verify`.

    With `verify`, this function verifies the checksum of the lengths; the caller compares the tensor's checksum.
    The lengths are compared with the size of the payload before memory is allocated for the strings.
    """
    count = math.prod(shape)
    check_limit(limits, "max_string_elements", count, "string tensor has too many elements")
    if count == 0 and len(payload) == 0:
        return _reshape(np.empty(0, object), shape), 0 if verify else None
    if count + _CHECKSUM_SIZE > len(payload):
        raise past_end(f"payload of {count} strings", needed=count + _CHECKSUM_SIZE, available=len(payload))
    lengths, start = _decode_lengths(payload, count)
    needed = start + _CHECKSUM_SIZE + int(lengths.sum())
    if needed != len(payload):
        raise CorruptionError(
            f"{count} strings with their lengths take {needed} bytes, but the payload has {len(payload)}"
        )
    byteorder = _byteorder(big_endian)
    checksum = _lengths_checksum(lengths, byteorder) if verify else None
    position = start + _CHECKSUM_SIZE
    if checksum is not None:
        stored = unmask(int.from_bytes(payload[start:position], byteorder))
        if stored != checksum:
            raise checksum_mismatch(f"list of {count} string lengths", stored=stored, computed=checksum)
        checksum = crc32c(payload[start:], checksum)
    values: Array = np.empty(count, object)
    for number, length in enumerate(lengths.tolist()):
        values[number] = bytes(payload[position : position + length])
        position += length
    return _reshape(values, shape), checksum


def encode_strings(values: Sequence[bytes], *, big_endian: bool = False) -> tuple[bytes, int]:
    """Return the payload of string elements in C order, and the tensor's unmasked checksum."""
    lengths = np.array([len(value) for value in values], np.uint64)
    byteorder = _byteorder(big_endian)
    checksum = _lengths_checksum(lengths, byteorder)
    stored = mask(checksum).to_bytes(_CHECKSUM_SIZE, byteorder)
    body = stored + b"".join(values)
    return b"".join(map(varint.encode_varint, lengths.tolist())) + body, crc32c(body, checksum)


def _decode_lengths(payload: ByteView, count: int) -> tuple[Array, int]:
    """Decode `count` varints at the start; `TruncatedError` if their sum exceeds the size of the payload."""
    short: Array = np.frombuffer(payload, np.uint8, count)
    if short.max(initial=0) < 0x80:
        return short.astype(np.uint64), count
    lengths = array.array("Q")
    position, total = 0, 0
    for number in range(count):
        length, position = varint.decode_varint64(payload, position)
        total += length
        if total > len(payload):
            raise past_end(f"payload up to string {number}", needed=total, available=len(payload))
        lengths.append(length)
    return np.frombuffer(lengths, np.uint64), position


def _byteorder(big_endian: bool) -> Literal["big", "little"]:
    return "big" if big_endian else "little"


def _lengths_checksum(lengths: Array, byteorder: Literal["big", "little"]) -> int:
    if lengths.max(initial=0) <= 0xFFFFFFFF:
        return crc32c(lengths.astype(np.dtype(np.uint32).newbyteorder(byteorder)).tobytes())
    checksum = 0
    for length in lengths.tolist():
        checksum = crc32c(length.to_bytes(4 if length <= 0xFFFFFFFF else 8, byteorder), checksum)
    return checksum


def _reshape(values: Array, shape: Sequence[int]) -> Array:
    check_rank(shape)
    return reshape_read_only(values, shape)
