"""The contents of a table block: entries, shared bytes, restart points, seek."""

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
    lambda entries: sorted(entries.items())
)


def block(contents: bytes) -> Block:
    """Return a block of these contents."""
    return Block(memoryview(contents), what="data block 3", offset=1000)


def entries_of(contents: bytes) -> list[tuple[bytes, bytes]]:
    """Return all entries of a block of these contents."""
    return [(key, bytes(value)) for key, value in block(contents)]


@pytest.mark.parametrize("interval", [1, 2, 16, 1024])
def test_block_iterates_entries_whatever_the_restart_interval(interval: int) -> None:
    """Shared key bytes are restored, whether every entry or only the first is a restart point."""
    assert entries_of(builders.block(ENTRIES, restart_interval=interval)) == ENTRIES


def test_empty_block_has_no_entries() -> None:
    """It consists of one restart point at 0 and the count 1."""
    assert entries_of(builders.EMPTY_BLOCK) == []
    assert block(builders.EMPTY_BLOCK).seek(b"a") is None


@given(sorted_entries, st.integers(1, 20), st.binary(max_size=6))
def test_block_seek_finds_first_key_not_less_than_target(
    entries: list[tuple[bytes, bytes]], interval: int, target: bytes
) -> None:
    """For any target, seek agrees with a linear search."""
    contents = builders.block(entries, restart_interval=interval)
    expected = next((entry for entry in entries if entry[0] >= target), None)

    entry = block(contents).seek(target)

    assert (None if entry is None else (entry[0], bytes(entry[1]))) == expected
    assert entries_of(contents) == entries


def test_block_values_are_views_of_its_contents() -> None:
    """Even large values are not copied."""
    contents = memoryview(builders.block(ENTRIES))

    value = dict(Block(contents))[b"b"]

    assert isinstance(value, memoryview)
    assert value.obj is contents.obj


@pytest.mark.parametrize("size", [0, 1, 3])
def test_block_rejects_contents_without_room_for_a_restart_count(size: int) -> None:
    """The count takes four bytes."""
    with pytest.raises(TruncatedError) as caught:
        block(bytes(size))

    assert (caught.value.needed, caught.value.available, caught.value.offset) == (4, size, 1000)


def test_block_rejects_restart_count_larger_than_block() -> None:
    """The count is compared with the size of the block before it is used."""
    assert entries_of(builders.block(ENTRIES, restart_interval=2)) == ENTRIES

    for count in (0, 4 * len(ENTRIES) + 1000, 0x40000000, 0xFFFFFFFF):
        with pytest.raises(CorruptionError) as caught:
            block(builders.block(ENTRIES, restart_count=count))
        assert caught.value.offset == 1000


def test_block_rejects_a_first_restart_point_that_is_not_zero() -> None:
    """The first entry is at the start of the block."""
    one = table_entry(0, b"a", b"1")
    two = table_entry(0, b"b", b"2")
    assert entries_of(builders.raw_block(one + two, restarts=[0, len(one)])) == [(b"a", b"1"), (b"b", b"2")]

    with pytest.raises(CorruptionError):
        block(builders.raw_block(one + two, restarts=[len(one)]))


@pytest.mark.parametrize(
    "restarts",
    [[0, 0], [0, 5, 5], [0, 10, 5], [0, 5, 0]],
    ids=["zero twice", "repeated", "descending", "back to zero"],
)
def test_block_rejects_restart_points_that_do_not_increase(restarts: list[int]) -> None:
    """All of them are compared, including the last."""
    entries = b"".join(table_entry(0, key, b"1") for key in (b"a", b"b", b"c"))
    assert len(entries_of(builders.raw_block(entries, restarts=[0, 5, 10]))) == 3

    with pytest.raises(CorruptionError):
        block(builders.raw_block(entries, restarts=restarts))


def test_error_of_a_restart_point_has_its_position() -> None:
    """The message contains the position of the restart point itself, after the entries."""
    entries = b"".join(table_entry(0, key, b"1") for key in (b"a", b"b", b"c"))

    with pytest.raises(CorruptionError, match=r"\b27 bytes into"):
        block(builders.raw_block(entries, restarts=[0, 5, 10, 10]))
    with pytest.raises(CorruptionError, match=r"\b27 bytes into"):
        entries_of(builders.raw_block(entries, restarts=[0, 5, 10, 15]))


@pytest.mark.parametrize("length", [126, 127, 128, 129, 255, 256])
def test_block_reads_lengths_of_one_and_two_bytes(length: int) -> None:
    """Each of the three lengths of an entry may need a second byte, both when iterating and when seeking."""
    entries = [(b"a", b"v" * length), (b"b" * length, b""), (b"b" * length + b"c", b"w")]
    sound = block(builders.block(entries))

    assert [(key, bytes(value)) for key, value in sound] == entries
    for key, value in entries:
        entry = sound.seek(key)
        assert entry is not None
        assert (entry[0], bytes(entry[1])) == (key, value)


@pytest.mark.parametrize("restart", [1, 4, 6, 14, 15, 16, 0xFFFFFFFF])
def test_block_rejects_a_restart_point_that_is_not_at_an_entry(restart: int) -> None:
    """It may be inside an entry, at the end of the entries, or past the end."""
    entries = b"".join(table_entry(0, key, b"1") for key in (b"a", b"b", b"c"))
    assert len(entries_of(builders.raw_block(entries, restarts=[0, 5]))) == 3

    with pytest.raises(CorruptionError):
        entries_of(builders.raw_block(entries, restarts=[0, restart]))


def test_block_rejects_a_restart_point_at_an_entry_with_shared_bytes() -> None:
    """A search that starts there does not know the previous key."""
    first, second = table_entry(0, b"a", b"1"), table_entry(1, b"b", b"2")
    assert entries_of(builders.raw_block(first + second)) == [(b"a", b"1"), (b"ab", b"2")]
    broken = builders.raw_block(first + second, restarts=[0, len(first)])

    with pytest.raises(CorruptionError):
        entries_of(broken)
    with pytest.raises(CorruptionError):
        block(broken).seek(b"b")


def test_block_rejects_more_shared_bytes_than_the_previous_key_has() -> None:
    """The first entry can share nothing, the second at most the whole first key."""
    first = table_entry(0, b"ab", b"1")
    assert entries_of(builders.raw_block(first + table_entry(2, b"c", b"")))[1][0] == b"abc"

    with pytest.raises(CorruptionError):
        entries_of(builders.raw_block(first + table_entry(3, b"c", b"")))
    with pytest.raises(CorruptionError):
        entries_of(builders.raw_block(table_entry(1, b"c", b"")))


@pytest.mark.parametrize(
    ("unshared", "value_length"),
    [(2, 1), (1, 2), (0xFFFFFFFF, 1), (1, 0xFFFFFFFF), (0xFFFFFFFF, 3), (0x80000000, 0x80000000)],
    ids=["key longer", "value longer", "key huge", "value huge", "sum wraps in 32 bits", "halves wrap in 32 bits"],
)
def test_block_rejects_lengths_beyond_its_entries(unshared: int, value_length: int) -> None:
    """The sum of the lengths does not overflow, as it does in TensorFlow, which crashes."""
    entry = table_entry(0, b"a", b"1", unshared=unshared, value_length=value_length)
    assert entries_of(builders.raw_block(table_entry(0, b"a", b"1"))) == [(b"a", b"1")]

    with pytest.raises(TruncatedError) as caught:
        entries_of(builders.raw_block(entry))

    assert caught.value.needed == unshared + value_length
    assert caught.value.available == 2
    assert caught.value.offset == 1000


def test_block_rejects_a_varint_that_runs_into_the_restart_points() -> None:
    """The entries end where the restart points begin."""
    for entry in (b"\x00\x01", b"\x80\x80\x80\x80\x80\x00" + b"a" * 9):
        with pytest.raises(CorruptionError) as caught:
            entries_of(builders.raw_block(entry))
        assert caught.value.offset == 1000


@pytest.mark.parametrize("keys", [[b"b", b"a"], [b"a", b"a"], [b"", b""], [b"ab", b"a"]], ids=repr)
@pytest.mark.parametrize("interval", [1, 16])
def test_block_rejects_keys_that_do_not_increase(keys: list[bytes], interval: int) -> None:
    """Keys may be out of order or equal, with or without a restart point between them."""
    with pytest.raises(CorruptionError):
        entries_of(builders.block([(key, b"") for key in keys], restart_interval=interval))


def test_block_error_has_the_offset_of_the_block() -> None:
    """An entry of a compressed block has no offset in the file; the message contains its position in the block."""
    contents = builders.raw_block(table_entry(0, b"a", b"1") + table_entry(9, b"b", b""))

    with pytest.raises(CorruptionError, match=r"data block 3 .*\b5 bytes into") as caught:
        entries_of(contents)

    assert caught.value.offset == 1000


@given(st.binary(max_size=80))
def test_arbitrary_contents_iterate_or_give_our_error(contents: bytes) -> None:
    """Iterating and seeking return increasing keys or raise CorruptionError."""
    try:
        keys = [key for key, _ in block(contents)]
        assert keys == sorted(set(keys))
    except CorruptionError:
        keys = []
    try:
        entry = block(contents).seek(b"m")
        assert entry is None or entry[0] >= b"m"
    except CorruptionError:
        pass


@given(sorted_entries, st.integers(1, 4), st.data())
def test_damaged_block_fails_to_iterate_or_agrees_with_seek(
    entries: list[tuple[bytes, bytes]], interval: int, data: st.DataObject
) -> None:
    """After any byte is changed, either iterating fails, or seek finds every key that iterating does."""
    contents = bytearray(builders.block(entries, restart_interval=interval))
    contents[data.draw(st.integers(0, len(contents) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        listed = entries_of(bytes(contents))
    except CorruptionError:
        return

    for key, value in listed:
        entry = block(bytes(contents)).seek(key)
        assert entry is not None
        assert (entry[0], bytes(entry[1])) == (key, value)
