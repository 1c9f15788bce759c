"""Entries decoded thousands at a time, compared with the same entries decoded one by one from messages."""

from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tfckpt import protos
from tfckpt._typing import ByteView
from tfckpt.bundle.batches import BatchDecoder
from tfckpt.bundle.entry import BundleEntry, BundleHeader
from tfckpt.errors import CheckpointError
from tfckpt.limits import DEFAULT_LIMITS, Limits
from tfckpt.sstable.block import Batch

HEADER = BundleHeader(2, False, 1)


def make_batch(values: list[bytes]) -> Batch:
    """Put values one after another, as in a block but without the keys between them."""
    ends = [len(b"".join(values[: number + 1])) for number in range(len(values))]
    return Batch(
        memoryview(b"".join(values)),
        [b"%d" % number for number in range(len(values))],
        [end - len(value) for end, value in zip(ends, values, strict=True)],
        ends,
    )


def decode_batch(values: list[bytes], limits: Limits = DEFAULT_LIMITS) -> tuple[list[BundleEntry | str], set[int]]:
    """Return entries or errors, and the places of the entries that were decoded one by one."""
    results: dict[int, BundleEntry | str] = {}

    def decode_one(key: bytes, value: ByteView) -> BundleEntry:
        place = int(key)
        results[place] = decode(bytes(value), limits)
        return BundleEntry.decode(USUAL, HEADER, DEFAULT_LIMITS)  # in place of an error as well

    entries = list(BatchDecoder(HEADER, limits).decode(make_batch(values), decode_one))
    return [results.get(place, entry) for place, entry in enumerate(entries)], set(results)


def decode(value: bytes, limits: Limits) -> BundleEntry | str:
    """Decode one entry from its message, or return the error."""
    try:
        return BundleEntry.decode(value, HEADER, limits)
    except CheckpointError as error:
        return repr(error)


USUAL = builders.entry_proto(builders.FLOAT, [64, 64], shard_id=1, offset=1 << 40, size=1 << 14, crc=123)
NUMBERS = st.one_of(st.sampled_from([0, 1, 127, 128, 1 << 31, (1 << 63) - 1, -1]), st.integers(-(1 << 63), (1 << 64)))
FIELDS = st.one_of(
    st.builds(builders.field_varint, st.integers(1, 9), NUMBERS, keep_zero=st.booleans()),
    st.builds(builders.field_fixed32, st.sampled_from([6, 6, 8]), st.integers(0, (1 << 32) - 1)),
    st.builds(builders.field_bytes, st.just(2), st.builds(builders.shape_proto, st.lists(st.integers(-1, 300)))),
    st.builds(builders.field_bytes, st.integers(1, 9), st.binary(max_size=4)),
)
ENTRIES = st.one_of(
    st.builds(
        builders.entry_proto,
        st.integers(0, 140),
        st.lists(st.integers(-1, 300), max_size=40),
        shard_id=st.integers(0, 3),
        offset=NUMBERS,
        size=NUMBERS,
        crc=st.one_of(st.none(), st.integers(0, (1 << 32) - 1)),
        slices=st.lists(st.just([None, (0, 1)]), max_size=1),
        unknown_rank=st.booleans(),
    ),
    st.lists(FIELDS, max_size=6).map(b"".join),
    st.binary(max_size=12),
    st.builds(
        lambda place, byte: USUAL[:place] + bytes([byte]) + USUAL[place + 1 :],
        st.integers(0, len(USUAL) - 1),
        st.integers(0, 255),
    ),
    st.integers(0, len(USUAL)).map(lambda length: USUAL[:length]),
)


@given(st.lists(ENTRIES, min_size=1, max_size=8))
def test_batch_decodes_as_the_message_does(values: list[bytes]) -> None:
    """Whatever is unusual: other orders, repeated, unknown and missing fields, slices, and damage of every kind."""
    assert decode_batch(values)[0] == [decode(value, DEFAULT_LIMITS) for value in values]


@pytest.mark.parametrize("numbers", [(0, 0, 0), (1, 0, 4), (0, 127, 128), (1, (1 << 63) - 1, 1 << 62)])
@pytest.mark.parametrize("shape", [[], [7], [3, 3, 160, 1 << 40]], ids=str)
def test_usual_entries_need_no_message_each(shape: list[int], numbers: tuple[int, int, int]) -> None:
    """Only the first of each dtype and shape is parsed."""
    shard_id, offset, size = numbers
    value = builders.entry_proto(builders.FLOAT, shape, shard_id=shard_id, offset=offset, size=size, crc=0xDEADBEEF)
    expected = BundleEntry.decode(value, HEADER, DEFAULT_LIMITS)

    with mock.patch.object(protos, "parse", wraps=protos.parse) as parse:
        entries, one_by_one = decode_batch([value, USUAL] * 50)

    assert entries[::2] == [expected] * 50
    assert not one_by_one
    assert parse.call_count == (1 if shape == [64, 64] else 2)


def test_limit_of_an_entry_holds_in_a_batch() -> None:
    """A long one is left to the code that raises."""
    assert decode_batch([USUAL], Limits(max_entry_bytes=len(USUAL)))[1] == set()
    assert decode_batch([USUAL], Limits(max_entry_bytes=len(USUAL) - 1))[1] == {0}
