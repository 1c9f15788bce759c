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


def header(data: bytes, *, limits: Limits = DEFAULT_LIMITS) -> BundleHeader:
    """A header from its bytes."""
    return BundleHeader.decode(data, limits)


def entry(data: bytes, *, limits: Limits = DEFAULT_LIMITS) -> BundleEntry:
    """An entry of a bundle of two shards from its bytes."""
    return BundleEntry.decode(data, HEADER, limits)


def test_header_matches_bytes_that_tensorflow_writes() -> None:
    """One shard, little-endian, producer 1."""
    assert header(bytes.fromhex("0801 1a020801")) == BundleHeader(num_shards=1, big_endian=False, producer=1)
    assert header(builders.header_proto(3, endianness=1)) == BundleHeader(num_shards=3, big_endian=True, producer=1)


@pytest.mark.parametrize("big_endian", [False, True])
def test_header_is_written_as_it_is_read(big_endian: bool) -> None:
    """The byte order too: the index of a big-endian bundle is written again when the bundle is set aside."""
    data = BundleHeader(3, big_endian, 1).encode()

    assert data == builders.header_proto(3, endianness=int(big_endian))
    assert header(data) == BundleHeader(3, big_endian, 1)


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
def test_header_of_a_version_meant_for_us_is_accepted(data: bytes) -> None:
    """Bundles from before versions, and from producers newer than this reader that allow it."""
    assert header(data).num_shards == 1


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (builders.header_proto(producer=-1), "version -1"),
        (builders.header_proto(min_consumer=2), "version 2 and newer"),
        (builders.header_proto(bad_consumers=[1]), "version 1 are told not to"),
        (builders.header_proto(bad_consumers=[5, 1], packed=False), "version 1 are told not to"),
    ],
    ids=["producer -1", "min_consumer 2", "bad consumer", "bad consumer unpacked"],
)
def test_header_of_a_version_not_meant_for_us_is_unsupported(data: bytes, complaint: str) -> None:
    """The three rules by which TensorFlow refuses a version."""
    with pytest.raises(UnsupportedFeatureError, match=complaint):
        header(data)


@pytest.mark.parametrize("endianness", [2, -1])
def test_header_with_an_unknown_byte_order_is_corrupt(endianness: int) -> None:
    """TensorFlow takes it for little-endian, which can only be a guess."""
    with pytest.raises(CorruptionError, match=f"byte order {endianness}"):
        header(builders.header_proto(endianness=endianness))


@pytest.mark.parametrize("count", [0, -1, -(1 << 31)])
def test_header_without_shards_is_corrupt(count: int) -> None:
    """Every bundle has one at least."""
    with pytest.raises(CorruptionError, match=f"with {count} data shards"):
        header(builders.header_proto(count))


def test_header_with_more_shards_than_the_limit_is_refused_by_name() -> None:
    """Every shard is a file to look for."""
    assert header(builders.header_proto(7), limits=Limits(max_shards=7)).num_shards == 7

    with pytest.raises(LimitExceededError, match="max_shards=7"):
        header(builders.header_proto(8), limits=Limits(max_shards=7))
    with pytest.raises(LimitExceededError, match="max_shards"):
        header(builders.header_proto((1 << 31) - 1))


def test_entry_matches_bytes_that_tensorflow_writes() -> None:
    """Float32 of shape [2, 2], 16 bytes at offset 0 of shard 0, which are left out."""
    found = entry(bytes.fromhex("0801 1208 12020802 12020802 2810 354c289874"))

    assert (found.data_type.enum_name, found.shape, found.slices) == ("DT_FLOAT", (2, 2), ())
    assert (found.shard_id, found.offset, found.size, found.crc32c) == (0, 0, 16, 0x9EBA690A)


def test_parent_entry_matches_bytes_that_tensorflow_writes() -> None:
    """A [4, 5] tensor in two slices of rows."""
    data = "0801 1208 12020804 12020805 3a06 0a021001 0a00 3a08 0a0408011003 0a00"

    found = entry(bytes.fromhex(data))

    assert [piece.extents for piece in found.slices] == [((0, 1), (0, FULL)), ((1, 3), (0, FULL))]


def test_scalar_has_an_empty_or_an_absent_shape() -> None:
    """Both are read alike."""
    assert entry(builders.entry_proto(1, [], size=4, crc=0)).shape == ()
    assert entry(builders.entry_proto(1, None, size=4, crc=0)).shape == ()


def test_names_of_dimensions_are_ignored() -> None:
    """A field of the shape that no checkpoint needs."""
    dim = builders.field_varint(1, 3) + builders.field_bytes(2, b"batch")
    data = builders.field_varint(1, 1) + builders.field_bytes(2, builders.field_bytes(2, dim))

    assert entry(data).shape == (3,)


def test_unknown_rank_is_corrupt() -> None:
    """A stored tensor has a shape; TensorFlow reads a scalar."""
    with pytest.raises(CorruptionError, match="unknown rank"):
        entry(builders.entry_proto(1, [], unknown_rank=True, size=4, crc=0))


@pytest.mark.parametrize("shard_id", [2, -1, (1 << 31) - 1])
def test_entry_in_a_shard_the_bundle_lacks_is_corrupt(shard_id: int) -> None:
    """Shards 0 and 1 are there."""
    assert entry(builders.entry_proto(1, [], shard_id=1, size=4)).shard_id == 1

    with pytest.raises(CorruptionError, match=f"data shard {shard_id} of 2"):
        entry(builders.entry_proto(1, [], shard_id=shard_id, size=4))


@pytest.mark.parametrize(("offset", "size"), [(-1, 4), (0, -4), (-(1 << 63), -(1 << 63))])
def test_entry_at_a_negative_place_is_corrupt(offset: int, size: int) -> None:
    """Offsets and sizes are signed in the message."""
    with pytest.raises(CorruptionError, match=f"at offset {offset} with size {size}"):
        entry(builders.entry_proto(1, [], offset=offset, size=size))


def test_place_of_a_parent_entry_means_nothing() -> None:
    """After shards were merged its shard may be any number."""
    found = entry(builders.entry_proto(1, [2], shard_id=77, offset=-5, size=-6, slices=[[(0, 1)], [(1, 1)]]))

    assert len(found.slices) == 2


@pytest.mark.parametrize(
    "shape", [[-1], [1] * 255, [1 << 62, 2], [0, 1 << 62, 1 << 62]], ids=["negative", "255", "huge", "empty"]
)
def test_entry_with_a_shape_that_no_tensor_has_is_corrupt(shape: list[int]) -> None:
    """The rules of tensor shapes hold before anything is computed from one."""
    assert entry(builders.entry_proto(1, [1] * 254, size=4)).shape == (1,) * 254

    with pytest.raises(CorruptionError, match="shape"):
        entry(builders.entry_proto(1, shape, size=4))


def test_slices_over_the_limit_are_refused_by_name() -> None:
    """The limit itself is allowed."""
    data = builders.entry_proto(1, [3], slices=[[(0, 1)], [(1, 1)], [(2, 1)]])
    assert len(entry(data, limits=Limits(max_slices=3)).slices) == 3

    with pytest.raises(LimitExceededError, match="max_slices=2"):
        entry(data, limits=Limits(max_slices=2))


def test_entry_over_the_limit_is_refused_before_it_is_parsed() -> None:
    """Two bytes in the file can become a message of a hundred."""
    data = builders.entry_proto(1, [2], size=8, crc=0)
    assert entry(data, limits=Limits(max_entry_bytes=len(data))).shape == (2,)

    with pytest.raises(LimitExceededError, match="max_entry_bytes"):
        entry(data, limits=Limits(max_entry_bytes=len(data) - 1))
    with pytest.raises(LimitExceededError, match="max_entry_bytes"):
        entry(b"\x3a\x00" * (3 << 20))


@given(st.binary(max_size=60))
def test_arbitrary_bytes_give_an_entry_and_a_header_or_our_error(data: bytes) -> None:
    """What is accepted keeps the promises that reading relies on."""
    with contextlib.suppress(CheckpointError):
        found = entry(data)
        assert found.slices or (found.shard_id in {0, 1} and found.offset >= 0 and found.size >= 0)
        assert all(size >= 0 for size in found.shape)
    with contextlib.suppress(CheckpointError):
        assert header(data).num_shards >= 1
