"""The payload of a variant tensor in a bundle (TensorFlow `util/tensor_bundle/tensor_bundle.cc`).

::

    payload = element * n
    element = length, varint64 | VariantTensorDataProto of that length | checksum, fixed32

    checksum of an element = masked crc32c of all elements up to this one, each as its length in fixed64, its bytes,
                             and, except for this one, the 4 bytes of its checksum
    tensor checksum = crc32c of the same data, including the 4 bytes of the last element's checksum
"""

from __future__ import annotations

from .._typing import ByteView
from ..coding import varint
from ..coding.crc32c import crc32c, unmask
from ..errors import CorruptionError, checksum_mismatch, past_end

_CHECKSUM_SIZE = 4


def variants_checksum(payload: ByteView, count: int) -> int:
    """Return the tensor's unmasked checksum after verifying those of its `count` elements."""
    checksum = position = 0
    for number in range(count):
        length, start = varint.decode_varint64(payload, position)
        end = start + length
        if end + _CHECKSUM_SIZE > len(payload):
            raise past_end(f"variant {number}", needed=length + _CHECKSUM_SIZE, available=len(payload) - start)
        checksum = crc32c(payload[start:end], crc32c(varint.encode_fixed64(length), checksum))
        stored = unmask(varint.decode_fixed32(payload, end)[0])
        if stored != checksum:
            raise checksum_mismatch(f"variant {number}", stored=stored, computed=checksum)
        position = end + _CHECKSUM_SIZE
        checksum = crc32c(payload[end:position], checksum)
    if position != len(payload):
        raise CorruptionError(f"{count} variants take {position} bytes, but the payload has {len(payload)}")
    return checksum
