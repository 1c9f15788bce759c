"""The inside of a table block: entries, shared bytes, restart points, seek."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.builders import table_entry
from tfckpt.errors import CorruptionError, TruncatedError
from tfckpt.sstable.block import Block

ENTRIES = [(b"", b"header"), (b"a", b"1"), (b"ab", b""), (b"abc", b"3"), (b"b", b"4" * 200), (b"ba\xff", b"5")]

sorted_entries = st.dictionaries(st.binary(max_size=6), st.binary(max_size=5), max_size=40).map(
    lambda found: sorted(found.items())
)


def block(contents: bytes) -> Block:
    """A block of these contents."""
    return Block(memoryview(contents), what="data block 3", offset=1000)


def entries_of(contents: bytes) -> list[tuple[bytes, bytes]]:
    """Every entry of a block of these contents."""
    return [(key, bytes(value)) for key, value in block(contents)]


@pytest.mark.parametrize("interval", [1, 2, 16, 1024])
def test_block_iterates_entries_whatever_the_restart_interval(interval: int) -> None:
    """Shared key bytes are put back, with every key or none standing at a restart point."""
    assert entries_of(builders.block(ENTRIES, restart_interval=interval)) == ENTRIES


def test_empty_block_has_no_entries() -> None:
    """Eight bytes: one restart point at 0, and the count 1."""
    assert entries_of(builders.EMPTY_BLOCK) == []
    assert block(builders.EMPTY_BLOCK).seek(b"a") is None


@given(sorted_entries, st.integers(1, 20), st.binary(max_size=6))
def test_block_seek_finds_first_key_not_less_than_target(
    entries: list[tuple[bytes, bytes]], interval: int, target: bytes
) -> None:
    """For any target seek agrees with looking through all entries."""
    contents = builders.block(entries, restart_interval=interval)
    expected = next((entry for entry in entries if entry[0] >= target), None)

    found = block(contents).seek(target)

    assert (None if found is None else (found[0], bytes(found[1]))) == expected
    assert entries_of(contents) == entries


def test_block_values_are_views_of_its_contents() -> None:
    """A value of megabytes costs nothing until it is copied."""
    contents = memoryview(builders.block(ENTRIES))

    value = dict(Block(contents))[b"b"]

    assert isinstance(value, memoryview)
    assert value.obj is contents.obj


@pytest.mark.parametrize("size", [0, 1, 3])
def test_block_rejects_contents_without_room_for_a_restart_count(size: int) -> None:
    """Four bytes are the least."""
    with pytest.raises(TruncatedError, match="restart count"):
        block(bytes(size))


def test_block_rejects_restart_count_larger_than_block() -> None:
    """A count is compared with the bytes that are there before it is used."""
    assert entries_of(builders.block(ENTRIES, restart_interval=2)) == ENTRIES

    for count in (0, 4 * len(ENTRIES) + 1000, 0x40000000, 0xFFFFFFFF):
        with pytest.raises(CorruptionError, match=f"cannot hold {count} restart points"):
            block(builders.block(ENTRIES, restart_count=count))


def test_block_rejects_a_first_restart_point_that_is_not_zero() -> None:
    """Entries begin at the beginning."""
    one = table_entry(0, b"a", b"1")
    two = table_entry(0, b"b", b"2")
    assert entries_of(builders.raw_block(one + two, restarts=[0, len(one)])) == [(b"a", b"1"), (b"b", b"2")]

    with pytest.raises(CorruptionError, match="first restart point is 5, not 0"):
        block(builders.raw_block(one + two, restarts=[len(one)]))


@pytest.mark.parametrize(
    "restarts",
    [[0, 0], [0, 5, 5], [0, 10, 5], [0, 5, 0]],
    ids=["zero twice", "repeated", "descending", "back to zero"],
)
def test_block_rejects_restart_points_that_do_not_increase(restarts: list[int]) -> None:
    """Wherever in the list they stand, the last included."""
    entries = b"".join(table_entry(0, key, b"1") for key in (b"a", b"b", b"c"))
    assert len(entries_of(builders.raw_block(entries, restarts=[0, 5, 10]))) == 3

    with pytest.raises(CorruptionError, match="do not increase"):
        block(builders.raw_block(entries, restarts=restarts))


def test_block_says_at_which_byte_a_restart_point_is_wrong() -> None:
    """The place of the number itself, behind the entries."""
    entries = b"".join(table_entry(0, key, b"1") for key in (b"a", b"b", b"c"))

    with pytest.raises(CorruptionError, match="increase at number 3, 27 bytes into the contents"):
        block(builders.raw_block(entries, restarts=[0, 5, 10, 10]))
    with pytest.raises(CorruptionError, match="restart point 15 is not at an entry, 27 bytes into the contents"):
        entries_of(builders.raw_block(entries, restarts=[0, 5, 10, 15]))


@pytest.mark.parametrize("length", [126, 127, 128, 129, 255, 256])
def test_block_reads_lengths_around_the_end_of_one_byte(length: int) -> None:
    """Of a value, of unshared bytes and of shared ones, each alone, going through the block and seeking in it."""
    entries = [(b"a", b"v" * length), (b"b" * length, b""), (b"b" * length + b"c", b"w")]
    found = block(builders.block(entries))

    assert [(key, bytes(value)) for key, value in found] == entries
    for key, value in entries:
        hit = found.seek(key)
        assert hit is not None
        assert (hit[0], bytes(hit[1])) == (key, value)


@pytest.mark.parametrize("restart", [1, 4, 6, 14, 15, 16, 0xFFFFFFFF])
def test_block_rejects_a_restart_point_that_is_not_at_an_entry(restart: int) -> None:
    """Inside an entry, at the end, or past it."""
    entries = b"".join(table_entry(0, key, b"1") for key in (b"a", b"b", b"c"))
    assert len(entries_of(builders.raw_block(entries, restarts=[0, 5]))) == 3

    with pytest.raises(CorruptionError, match=f"restart point {restart} is"):
        entries_of(builders.raw_block(entries, restarts=[0, restart]))


def test_block_rejects_a_restart_point_at_an_entry_with_shared_bytes() -> None:
    """Seek starts there without the key before it."""
    first, second = table_entry(0, b"a", b"1"), table_entry(1, b"b", b"2")
    assert entries_of(builders.raw_block(first + second)) == [(b"a", b"1"), (b"ab", b"2")]
    broken = builders.raw_block(first + second, restarts=[0, len(first)])

    with pytest.raises(CorruptionError, match="shares 1 bytes"):
        entries_of(broken)
    with pytest.raises(CorruptionError, match="shares 1 bytes"):
        block(broken).seek(b"b")


def test_block_rejects_more_shared_bytes_than_the_key_before_has() -> None:
    """The first entry can share nothing, the next as much as the first has."""
    first = table_entry(0, b"ab", b"1")
    assert entries_of(builders.raw_block(first + table_entry(2, b"c", b"")))[1][0] == b"abc"

    with pytest.raises(CorruptionError, match="shares 3 bytes with a key of 2 bytes"):
        entries_of(builders.raw_block(first + table_entry(3, b"c", b"")))
    with pytest.raises(CorruptionError, match="shares 1 bytes with a key of 0 bytes"):
        entries_of(builders.raw_block(table_entry(1, b"c", b"")))


@pytest.mark.parametrize(
    ("unshared", "value_length"),
    [(2, 1), (1, 2), (0xFFFFFFFF, 1), (1, 0xFFFFFFFF), (0xFFFFFFFF, 3), (0x80000000, 0x80000000)],
    ids=["key longer", "value longer", "key huge", "value huge", "sum wraps in 32 bits", "halves wrap in 32 bits"],
)
def test_block_rejects_lengths_beyond_its_entries(unshared: int, value_length: int) -> None:
    """Sums are compared without wrapping round, where TensorFlow crashes."""
    entry = table_entry(0, b"a", b"1", unshared=unshared, value_length=value_length)
    assert entries_of(builders.raw_block(table_entry(0, b"a", b"1"))) == [(b"a", b"1")]

    with pytest.raises(TruncatedError) as caught:
        entries_of(builders.raw_block(entry))

    assert caught.value.needed == unshared + value_length
    assert caught.value.available == 2
    assert caught.value.offset == 1000


def test_block_rejects_a_varint_that_runs_into_the_restart_points() -> None:
    """Entries end where the restart points begin, so that no entry can borrow their bytes."""
    with pytest.raises(CorruptionError, match="bad table entry"):
        entries_of(builders.raw_block(b"\x00\x01"))
    with pytest.raises(CorruptionError, match="bad table entry"):
        entries_of(builders.raw_block(b"\x80\x80\x80\x80\x80\x00" + b"a" * 9))


@pytest.mark.parametrize("keys", [[b"b", b"a"], [b"a", b"a"], [b"", b""], [b"ab", b"a"]], ids=repr)
@pytest.mark.parametrize("interval", [1, 16])
def test_block_rejects_keys_that_do_not_increase(keys: list[bytes], interval: int) -> None:
    """Out of order and twice the same, with or without a restart point between them."""
    with pytest.raises(CorruptionError, match="does not come after"):
        entries_of(builders.block([(key, b"") for key in keys], restart_interval=interval))


def test_block_error_says_where_in_the_file_and_in_the_block() -> None:
    """The offset is the block's, since a compressed block has no others; the text tells how far inside."""
    contents = builders.raw_block(table_entry(0, b"a", b"1") + table_entry(9, b"b", b""))

    with pytest.raises(CorruptionError) as caught:
        entries_of(contents)

    assert caught.value.offset == 1000
    assert str(caught.value) == (
        "byte 1000: data block 3 is damaged: "
        "table entry shares 9 bytes with a key of 1 bytes, 5 bytes into the contents"
    )


@given(st.binary(max_size=80))
def test_arbitrary_contents_iterate_or_give_our_error(contents: bytes) -> None:
    """Whatever the bytes: increasing keys or a CorruptionError; seek likewise."""
    try:
        keys = [key for key, _ in block(contents)]
        assert keys == sorted(set(keys))
    except CorruptionError:
        keys = []
    try:
        found = block(contents).seek(b"m")
        assert found is None or found[0] >= b"m"
    except CorruptionError:
        pass


@given(sorted_entries, st.integers(1, 4), st.data())
def test_a_block_that_iterates_answers_seek_alike(
    entries: list[tuple[bytes, bytes]], interval: int, data: st.DataObject
) -> None:
    """One changed byte either fails iteration or leaves seek in agreement with it for every key."""
    contents = bytearray(builders.block(entries, restart_interval=interval))
    contents[data.draw(st.integers(0, len(contents) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = entries_of(bytes(contents))
    except CorruptionError:
        return

    for key, value in found:
        sought = block(bytes(contents)).seek(key)
        assert sought is not None
        assert (sought[0], bytes(sought[1])) == (key, value)
