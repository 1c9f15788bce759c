"""The header and the entries of a bundle's index."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tfckpt.bundle.entry import BundleEntry, BundleHeader
from tfckpt.errors import CheckpointError, CorruptionError, LimitExceededError, UnsupportedFeatureError
from tfckpt.limits import DEFAULT_LIMITS, Limits
from tfckpt.tensors.slices import FULL

HEADER = BundleHeader(2, False, 1)


def decode_header(data: bytes, *, limits: Limits = DEFAULT_LIMITS) -> BundleHeader:
    """Decode a header."""
    return BundleHeader.decode(data, limits)


def decode_entry(data: bytes, *, limits: Limits = DEFAULT_LIMITS) -> BundleEntry:
    """Decode an entry of a bundle with two shards."""
    return BundleEntry.decode(data, HEADER, limits)


def test_header_matches_bytes_that_tensorflow_writes() -> None:
    """The header of TensorFlow has one shard, little-endian byte order and producer 1."""
    assert decode_header(bytes.fromhex("0801 1a020801")) == BundleHeader(num_shards=1, big_endian=False, producer=1)
    assert decode_header(builders.header_proto(3, endianness=1)) == BundleHeader(
        num_shards=3, big_endian=True, producer=1
    )


@pytest.mark.parametrize("big_endian", [False, True])
def test_header_round_trips(big_endian: bool) -> None:
    """The byte order matters, because overwriting a big-endian bundle rewrites its index."""
    data = BundleHeader(3, big_endian, 1).encode()

    assert data == builders.header_proto(3, endianness=int(big_endian))
    assert decode_header(data) == BundleHeader(3, big_endian, 1)


@pytest.mark.parametrize(
    "data",
    [
        builders.field_varint(1, 1),
        builders.header_proto(producer=0),
        builders.header_proto(producer=100),
        builders.header_proto(min_consumer=1),
        builders.header_proto(bad_consumers=[0, 2]),
    ],
    ids=["no version", "producer 0", "producer 100", "min_consumer 1", "other bad consumers"],
)
def test_header_of_a_supported_version_is_accepted(data: bytes) -> None:
    """Bundles without a version are supported, and newer ones that allow this reader."""
    assert decode_header(data).num_shards == 1


@pytest.mark.parametrize(
    "data",
    [
        builders.header_proto(producer=-1),
        builders.header_proto(min_consumer=2),
        builders.header_proto(bad_consumers=[1]),
        builders.header_proto(bad_consumers=[5, 1], packed=False),
    ],
    ids=["producer -1", "min_consumer 2", "bad consumer", "bad consumer unpacked"],
)
def test_header_of_an_unsupported_version_is_refused(data: bytes) -> None:
    """TensorFlow has the same three rules."""
    with pytest.raises(UnsupportedFeatureError):
        decode_header(data)


@pytest.mark.parametrize("endianness", [2, -1])
def test_header_with_an_unknown_byte_order_is_corrupt(endianness: int) -> None:
    """TensorFlow assumes little-endian, which is only a guess."""
    with pytest.raises(CorruptionError):
        decode_header(builders.header_proto(endianness=endianness))


@pytest.mark.parametrize("count", [0, -1, -(1 << 31)])
def test_header_without_shards_is_corrupt(count: int) -> None:
    """Every bundle has at least one."""
    with pytest.raises(CorruptionError):
        decode_header(builders.header_proto(count))


def test_too_many_shards_are_refused() -> None:
    """Every shard is a file that may be looked up."""
    assert decode_header(builders.header_proto(7), limits=Limits(max_shards=7)).num_shards == 7

    with pytest.raises(LimitExceededError) as caught:
        decode_header(builders.header_proto(8), limits=Limits(max_shards=7))
    assert (caught.value.limit, caught.value.maximum, caught.value.claimed) == ("max_shards", 7, 8)
    with pytest.raises(LimitExceededError):
        decode_header(builders.header_proto((1 << 31) - 1))


def test_entry_matches_bytes_that_tensorflow_writes() -> None:
    """The tensor is float32 of shape [2, 2]; the zero offset and shard number are omitted."""
    entry = decode_entry(bytes.fromhex("0801 1208 12020802 12020802 2810 354c289874"))

    assert (entry.data_type.enum_name, entry.shape, entry.slices) == ("DT_FLOAT", (2, 2), ())
    assert (entry.shard_id, entry.offset, entry.size, entry.crc32c) == (0, 0, 16, 0x9EBA690A)


def test_parent_entry_matches_bytes_that_tensorflow_writes() -> None:
    """The tensor has the shape [4, 5] and two slices of rows."""
    data = "0801 1208 12020804 12020805 3a06 0a021001 0a00 3a08 0a0408011003 0a00"

    entry = decode_entry(bytes.fromhex(data))

    assert [piece.extents for piece in entry.slices] == [((0, 1), (0, FULL)), ((1, 3), (0, FULL))]


def test_scalar_has_an_empty_or_an_absent_shape() -> None:
    """Both mean the same."""
    assert decode_entry(builders.entry_proto(1, [], size=4, crc=0)).shape == ()
    assert decode_entry(builders.entry_proto(1, None, size=4, crc=0)).shape == ()


def test_names_of_dimensions_are_ignored() -> None:
    """Shapes have a field for them, but checkpoints do not need it."""
    dim = builders.field_varint(1, 3) + builders.field_bytes(2, b"batch")
    data = builders.field_varint(1, 1) + builders.field_bytes(2, builders.field_bytes(2, dim))

    assert decode_entry(data).shape == (3,)


def test_unknown_rank_is_corrupt() -> None:
    """A stored tensor has a shape; TensorFlow would read a scalar."""
    with pytest.raises(CorruptionError):
        decode_entry(builders.entry_proto(1, [], unknown_rank=True, size=4, crc=0))


@pytest.mark.parametrize("shard_id", [2, -1, (1 << 31) - 1])
def test_entry_in_a_nonexistent_shard_is_corrupt(shard_id: int) -> None:
    """The bundle has the shards 0 and 1."""
    assert decode_entry(builders.entry_proto(1, [], shard_id=1, size=4)).shard_id == 1

    with pytest.raises(CorruptionError):
        decode_entry(builders.entry_proto(1, [], shard_id=shard_id, size=4))


@pytest.mark.parametrize(("offset", "size"), [(-1, 4), (0, -4), (-(1 << 63), -(1 << 63))])
def test_negative_offset_or_size_is_corrupt(offset: int, size: int) -> None:
    """The message has signed integers for both."""
    with pytest.raises(CorruptionError):
        decode_entry(builders.entry_proto(1, [], offset=offset, size=size))


def test_location_of_a_parent_entry_is_ignored() -> None:
    """When TensorFlow merges shards, it may leave any number there."""
    entry = decode_entry(builders.entry_proto(1, [2], shard_id=77, offset=-5, size=-6, slices=[[(0, 1)], [(1, 1)]]))

    assert len(entry.slices) == 2


@pytest.mark.parametrize(
    "shape", [[-1], [1] * 255, [1 << 62, 2], [0, 1 << 62, 1 << 62]], ids=["negative", "255", "huge", "empty"]
)
def test_entry_with_an_invalid_shape_is_corrupt(shape: list[int]) -> None:
    """Shapes are checked before anything is computed from them."""
    assert decode_entry(builders.entry_proto(1, [1] * 254, size=4)).shape == (1,) * 254

    with pytest.raises(CorruptionError):
        decode_entry(builders.entry_proto(1, shape, size=4))


def test_too_many_slices_are_refused() -> None:
    """As many slices as the limit are allowed."""
    data = builders.entry_proto(1, [3], slices=[[(0, 1)], [(1, 1)], [(2, 1)]])
    assert len(decode_entry(data, limits=Limits(max_slices=3)).slices) == 3

    with pytest.raises(LimitExceededError) as caught:
        decode_entry(data, limits=Limits(max_slices=2))

    assert (caught.value.limit, caught.value.maximum, caught.value.claimed) == ("max_slices", 2, 3)


def test_large_entry_is_refused_before_it_is_parsed() -> None:
    """Two bytes in the file can become a message of a hundred bytes in memory."""
    data = builders.entry_proto(1, [2], size=8, crc=0)
    assert decode_entry(data, limits=Limits(max_entry_bytes=len(data))).shape == (2,)

    with pytest.raises(LimitExceededError) as caught:
        decode_entry(data, limits=Limits(max_entry_bytes=len(data) - 1))
    assert (caught.value.limit, caught.value.claimed) == ("max_entry_bytes", len(data))
    with pytest.raises(LimitExceededError) as caught:
        decode_entry(b"\x3a\x00" * (3 << 20))
    assert (caught.value.limit, caught.value.claimed) == ("max_entry_bytes", 6 << 20)


@given(st.binary(max_size=60))
def test_arbitrary_bytes_give_an_entry_and_a_header_or_our_error(data: bytes) -> None:
    """Accepted entries and headers satisfy the conditions that the reader relies on."""
    with contextlib.suppress(CheckpointError):
        entry = decode_entry(data)
        assert entry.slices or (entry.shard_id in {0, 1} and entry.offset >= 0 and entry.size >= 0)
        assert all(size >= 0 for size in entry.shape)
    with contextlib.suppress(CheckpointError):
        assert decode_header(data).num_shards >= 1
