"""The checksum of a payload as it is stored, without decoding it."""

from __future__ import annotations

import math

from .._typing import ByteView
from ..coding.crc32c import crc32c
from ..errors import ChecksumError, UnsupportedFeatureError
from ..limits import Limits
from ..tensors.dtypes import VARIANT
from ..tensors.strings import decode_strings
from ..tensors.variants import variants_checksum
from .entry import BundleEntry


def check_payload(entry: BundleEntry, payload: ByteView, limits: Limits, *, big_endian: bool) -> None:
    """Compare the checksum of an entry with the one its bytes give; `ChecksumError` where they differ."""
    data_type = entry.data_type
    if data_type.is_string:
        computed = decode_strings(payload, entry.shape, limits, big_endian=big_endian)[1]
    elif data_type.is_readable:
        computed = crc32c(payload)
    elif data_type.number == VARIANT and not big_endian:
        computed = variants_checksum(payload, math.prod(entry.shape))
    else:
        raise UnsupportedFeatureError(f"values of type {data_type.enum_name} cannot be read")
    if computed is not None and computed != entry.crc32c:
        raise ChecksumError(
            f"payload of {entry.size} bytes has crc32c {computed:#010x}, stored is {entry.crc32c:#010x}",
            stored=entry.crc32c,
            computed=computed,
            offset=entry.offset,
        )
