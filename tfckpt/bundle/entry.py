"""The values in a bundle's index: the header at the empty key, a bundle entry at every other key.

Source: TensorFlow `protobuf/tensor_bundle.proto` and `util/tensor_bundle/tensor_bundle.cc`.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

from .. import protos
from .._typing import ByteView
from ..coding.crc32c import crc32c, mask, unmask
from ..errors import CorruptionError, UnsupportedFeatureError, checksum_mismatch, pluralize
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
    """The properties of the whole bundle."""

    num_shards: int
    big_endian: bool
    producer: int

    @classmethod
    def decode(cls, data: bytes | memoryview, limits: Limits) -> BundleHeader:
        """Decode a BundleHeaderProto; checks the version, the byte order and the number of shards."""
        message = protos.parse("BundleHeaderProto", data)
        protos.check_version(message.version, VERSION, "bundle")
        if message.endianness not in (0, 1):
            raise CorruptionError(f"bundle header with byte order {message.endianness}, expected 0 (little) or 1 (big)")
        if message.num_shards < 1:
            raise CorruptionError(f"bundle header with {message.num_shards} data shards")
        check_limit(limits, "max_shards", message.num_shards, "bundle header with too many data shards")
        return cls(message.num_shards, message.endianness == 1, message.version.producer)

    def encode(self) -> bytes:
        """Encode the BundleHeaderProto with the same bytes as TensorFlow."""
        message = protos.message_class("BundleHeaderProto")(num_shards=self.num_shards, endianness=int(self.big_endian))
        message.version.SetInParent()
        message.version.producer = self.producer
        return bytes(message.SerializeToString())


class BundleEntry(NamedTuple):
    """The location and the unmasked checksum of a tensor's payload, or of one slice of a partitioned tensor.

    The entry of a partitioned tensor itself, the parent, has `slices`; its shard, offset, size and checksum are unused.
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
        """Decode a BundleEntryProto; checks the shape and the location."""
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
        """Encode the BundleEntryProto with the same bytes as TensorFlow: a parent has no checksum."""
        message = protos.message_class("BundleEntryProto")(
            dtype=self.data_type.number,
            shard_id=self.shard_id,
            offset=self.offset,
            size=self.size,
            crc32c=0 if self.slices else mask(self.crc32c),
        )
        message.shape.SetInParent()  # TensorFlow writes an empty shape for a scalar
        for size in self.shape:
            message.shape.dim.add().size = size
        for piece in self.slices:
            piece.to_proto(message.slices.add())
        return bytes(message.SerializeToString())

    def check_payload(self, payload: ByteView, limits: Limits, *, big_endian: bool) -> None:
        """Raise `ChecksumError` unless the bytes have the entry's checksum; decodes only what the checksum requires."""
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
        """Raise `ChecksumError` if a checksum was computed and differs from the entry's."""
        if computed is not None and computed != self.crc32c:
            raise checksum_mismatch(
                f"payload of {pluralize(self.size, 'byte')}", stored=self.crc32c, computed=computed, offset=self.offset
            )
