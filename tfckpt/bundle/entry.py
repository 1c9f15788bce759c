"""The values in a bundle's index: the header under the empty key, an entry under every other.

Source: TensorFlow `protobuf/tensor_bundle.proto` and `util/tensor_bundle/tensor_bundle.cc`.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

from .. import protos
from .._typing import ByteView
from ..coding.crc32c import crc32c, mask, unmask
from ..errors import ChecksumError, CorruptionError, UnsupportedFeatureError
from ..limits import Limits, check_limit
from ..tensors.dense import check_shape
from ..tensors.dtypes import VARIANT, DataType, data_type
from ..tensors.slices import TensorSlice
from ..tensors.strings import decode_strings
from ..tensors.variants import variants_checksum

#: The bundle version this reader implements (TensorFlow: kTensorBundleVersion).
VERSION = 1


@dataclasses.dataclass(frozen=True, slots=True)
class BundleHeader:
    """What holds for the whole bundle."""

    num_shards: int
    big_endian: bool
    producer: int

    @classmethod
    def decode(cls, data: bytes | memoryview, limits: Limits) -> BundleHeader:
        """From a BundleHeaderProto; refuses versions, byte orders and shard counts that TensorFlow does not write."""
        message = protos.parse("BundleHeaderProto", data)
        version = message.version
        if version.producer < 0:
            raise UnsupportedFeatureError(f"bundle of version {version.producer}; 0 is the oldest")
        if version.min_consumer > VERSION:
            raise UnsupportedFeatureError(
                f"bundle that only readers of version {version.min_consumer} and newer may read; this is {VERSION}: "
                "a newer release of tfckpt may read it"
            )
        if VERSION in version.bad_consumers:
            raise UnsupportedFeatureError(f"bundle that readers of version {VERSION} are told not to read")
        if message.endianness not in (0, 1):
            raise CorruptionError(
                f"bundle header with byte order {message.endianness}; 0 (little) and 1 (big) are defined"
            )
        if message.num_shards < 1:
            raise CorruptionError(f"bundle header with {message.num_shards} data shards")
        check_limit(limits, "max_shards", message.num_shards, "bundle header with too many data shards")
        return cls(message.num_shards, message.endianness == 1, version.producer)

    def encode(self) -> bytes:
        """The BundleHeaderProto, with the bytes TensorFlow gives it."""
        message = protos.message_class("BundleHeaderProto")(num_shards=self.num_shards, endianness=int(self.big_endian))
        message.version.SetInParent()
        message.version.producer = self.producer
        return bytes(message.SerializeToString())


class BundleEntry(NamedTuple):
    """One tensor, or one slice of a partitioned one: where its payload lies and what its checksum must be.

    A partitioned tensor's own entry, the parent, has `slices`; its shard, offset, size and checksum mean nothing.
    """

    data_type: DataType
    shape: tuple[int, ...]
    shard_id: int
    offset: int
    size: int
    crc32c: int
    slices: tuple[TensorSlice, ...]

    @classmethod
    def decode(cls, data: bytes | memoryview, header: BundleHeader, limits: Limits) -> BundleEntry:
        """From a BundleEntryProto; refuses shapes and places that no bundle has."""
        check_limit(limits, "max_entry_bytes", len(data), "bundle entry is too large")
        message = protos.parse("BundleEntryProto", data)
        stored = message.shape
        if stored.unknown_rank:
            raise CorruptionError("bundle entry of unknown rank")
        shape = tuple([dim.size for dim in stored.dim])
        check_shape(shape)
        shard_id, offset, size = message.shard_id, message.offset, message.size
        slices: tuple[TensorSlice, ...] = ()
        if message.slices:
            check_limit(limits, "max_slices", len(message.slices), "partitioned tensor with too many slices")
            slices = tuple(map(TensorSlice.from_proto, message.slices))
        elif not 0 <= shard_id < header.num_shards:
            raise CorruptionError(f"bundle entry in data shard {shard_id} of {header.num_shards}")
        elif offset < 0 or size < 0:
            raise CorruptionError(f"bundle entry at offset {offset} with size {size}")
        return cls(data_type(message.dtype), shape, shard_id, offset, size, unmask(message.crc32c), slices)

    def encode(self) -> bytes:
        """The BundleEntryProto, with the bytes TensorFlow gives it: a parent has no checksum at all."""
        message = protos.message_class("BundleEntryProto")(
            dtype=self.data_type.number,
            shard_id=self.shard_id,
            offset=self.offset,
            size=self.size,
            crc32c=0 if self.slices else mask(self.crc32c),
        )
        message.shape.SetInParent()  # a scalar's shape is there, and empty
        for size in self.shape:
            message.shape.dim.add().size = size
        for piece in self.slices:
            piece.to_proto(message.slices.add())
        return bytes(message.SerializeToString())

    def check_payload(self, payload: ByteView, limits: Limits, *, big_endian: bool) -> None:
        """Raise `ChecksumError` unless these bytes have the entry's checksum; nothing is decoded that need not be."""
        data_type = self.data_type
        computed: int | None
        if data_type.is_string:
            computed = decode_strings(payload, self.shape, limits, big_endian=big_endian)[1]
        elif data_type.is_readable:
            computed = crc32c(payload)
        elif data_type.number == VARIANT and not big_endian:
            computed = variants_checksum(payload, math.prod(self.shape))
        else:
            raise UnsupportedFeatureError(f"values of type {data_type.enum_name} cannot be read")
        self.check_checksum(computed)

    def check_checksum(self, computed: int | None) -> None:
        """Raise `ChecksumError` if a checksum was computed and is not the entry's."""
        if computed is not None and computed != self.crc32c:
            raise ChecksumError(
                f"payload of {self.size} bytes has crc32c {computed:#010x}, stored is {self.crc32c:#010x}",
                stored=self.crc32c,
                computed=computed,
                offset=self.offset,
            )
