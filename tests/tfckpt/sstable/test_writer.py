"""The writer of tables: round trips, and the rules that determine TensorFlow's bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import MemorySource
from tfckpt.sstable.table import Table
from tfckpt.sstable.writer import BLOCK_SIZE, BlockWriter, TableWriter, separator, successor

entry_lists = st.dictionaries(st.binary(max_size=12), st.binary(max_size=40), max_size=60).map(
    lambda entries: sorted(entries.items())
)


def write_table(
    entries: list[tuple[bytes, bytes]], *, block_size: int = BLOCK_SIZE, restart_interval: int = 16
) -> bytes:
    """Return the bytes of a table of these entries."""
    out = bytearray()
    writer = TableWriter(out.extend, block_size=block_size, restart_interval=restart_interval)
    for key, value in entries:
        writer.add(key, value)
    assert writer.finish() == len(out)
    return bytes(out)


@settings(deadline=None)
@given(entry_lists, st.sampled_from([1, 40, 300, BLOCK_SIZE]), st.sampled_from([1, 2, 16]))
def test_table_of_any_entries_reads_back(
    entries: list[tuple[bytes, bytes]], block_size: int, restart_interval: int
) -> None:
    """Listing and lookup find every entry, whatever the block size and the restart interval."""
    table = Table(MemorySource(write_table(entries, block_size=block_size, restart_interval=restart_interval)))

    assert [(key, bytes(value)) for key, value in table] == entries
    assert all(bytes(table.get(key) or b"") == value for key, value in entries)


def test_empty_table_has_two_empty_blocks_and_a_footer() -> None:
    """It has no data block."""
    data = write_table([])

    assert len(data) == 2 * (8 + 5) + 48
    assert Table(MemorySource(data)).block_count == 0


def test_table_refuses_a_key_that_does_not_come_after_the_previous_one() -> None:
    """Equal and smaller keys are misuse; a longer key with the same prefix is in order."""
    writer = TableWriter(bytearray().extend)
    writer.add(b"b", b"")

    with pytest.raises(ValueError, match="previous key"):
        writer.add(b"b", b"")
    with pytest.raises(ValueError, match="previous key"):
        writer.add(b"a", b"")
    writer.add(b"b\0", b"")


def test_block_ends_when_it_reaches_the_block_size() -> None:
    """The size includes the restart point and the count, 4 bytes each."""
    entry = 3 + 1  # three lengths and the key
    full = BLOCK_SIZE - entry - 8

    assert Table(MemorySource(write_table([(b"a", bytes(full - 2)), (b"b", b"")]))).block_count == 2
    assert Table(MemorySource(write_table([(b"a", bytes(full - 3)), (b"b", b"")]))).block_count == 1


@pytest.mark.parametrize(("value_bytes", "blocks"), [(524286, 1), (524287, 2)], ids=["below", "at"])
def test_entry_of_half_a_mebibyte_begins_a_new_block(value_bytes: int, blocks: int) -> None:
    """The size of key and value together counts; the block before the large entry may be small."""
    table = Table(MemorySource(write_table([(b"a", b""), (b"b", bytes(value_bytes))])))

    assert table.block_count == blocks


def test_every_sixteenth_entry_is_a_restart_point() -> None:
    """The 17th entry shares no bytes, and the block has two restart points."""
    block = BlockWriter(16)
    for number in range(17):
        block.add(b"key%02d" % number, b"")

    contents = block.finish()

    assert contents[-4:] == (2).to_bytes(4, "little")
    assert contents[-12:-8] == (0).to_bytes(4, "little")
    second = int.from_bytes(contents[-8:-4], "little")
    assert contents[second : second + 3] == bytes([0, 5, 0])


def test_block_writer_is_empty_after_finish() -> None:
    """The next block does not share bytes with the last key of the previous block."""
    block = BlockWriter(16)
    block.add(b"same", b"1")
    first = block.finish()
    assert block.is_empty

    block.add(b"same", b"1")

    assert block.finish() == first


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (b"abc1", b"abd", b"abc1"),
        (b"abc1", b"abe", b"abd"),
        (b"a\xff", b"b", b"a\xff"),
        (b"a\xffz", b"c", b"b"),
        (b"ab", b"abc", b"ab"),
        (b"", b"a", b""),
        (b"\xff", b"\xff\x01", b"\xff"),
        (b"a\xfe1", b"a\xff2", b"a\xfe1"),
    ],
    ids=["next byte", "room", "last but one", "far", "beginning", "empty", "ff", "fe and ff"],
)
def test_separator_is_shortened_only_if_a_byte_fits_between(low: bytes, high: bytes, expected: bytes) -> None:
    """LevelDB's comparator gives the same results."""
    assert separator(low, high) == expected


@settings(deadline=None)
@given(st.binary(max_size=6), st.binary(max_size=6))
def test_separator_is_between_its_keys(a: bytes, b: bytes) -> None:
    """It is not less than the lower key, and less than the higher key."""
    low, high = min(a, b), max(a, b)

    if low < high:
        assert low <= separator(low, high) < high


@pytest.mark.parametrize(
    ("key", "expected"),
    [(b"abc", b"b"), (b"\xff\xffab", b"\xff\xffb"), (b"\xff\xff", b"\xff\xff"), (b"", b"")],
    ids=["first byte", "after ff", "only ff", "empty"],
)
def test_successor_increments_the_first_byte_that_is_not_ff(key: bytes, expected: bytes) -> None:
    """The bytes after it are dropped."""
    assert successor(key) == expected
