"""A whole table: index block, data blocks, separators, lookups."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import snappy
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.builders import MemorySource
from tfckpt.errors import ChecksumError, CorruptionError, LimitExceededError, TruncatedError
from tfckpt.limits import DEFAULT_LIMITS, Limits
from tfckpt.sstable.table import Table

ENTRIES = [(f"k{number:03}".encode(), f"value {number}".encode()) for number in range(20)]

entries_with_targets = st.tuples(
    st.dictionaries(st.binary(max_size=4), st.binary(max_size=4), max_size=30).map(lambda items: sorted(items.items())),
    st.binary(max_size=4),
)


def open_table(data: bytes, *, limits: Limits = DEFAULT_LIMITS) -> Table:
    """Return a table of these bytes."""
    return Table(MemorySource(data), limits)


def list_entries(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return all entries of a table."""
    return [(key, bytes(value)) for key, value in open_table(data)]


@pytest.mark.parametrize("framer", [builders.plain, builders.snappy_frame], ids=["uncompressed", "snappy"])
@pytest.mark.parametrize("per_block", [1, 3, 20])
def test_table_iterates_in_key_order_across_blocks(per_block: int, framer: Callable[[bytes], bytes]) -> None:
    """Neither the distribution of the entries over blocks nor compression matters."""
    data = builders.table(ENTRIES, per_block=per_block, frame_data=framer, frame_index=framer, frame_metaindex=framer)

    assert list_entries(data) == ENTRIES
    assert open_table(data).block_count == -(-20 // per_block)


def test_table_may_mix_compressed_and_uncompressed_blocks() -> None:
    """Each block has its own compression tag."""
    turns = iter(range(100))

    def framer(contents: bytes) -> bytes:
        return builders.snappy_frame(contents) if next(turns) % 2 else builders.frame(contents)

    data = builders.table(ENTRIES, per_block=4, frame_data=framer, frame_index=framer)

    assert list_entries(data) == ENTRIES


def test_empty_table_has_no_entries() -> None:
    """A table without data blocks is legal."""
    data = builders.table([])

    assert list_entries(data) == []
    assert open_table(data).get(b"") is None
    assert open_table(data).seek(b"") is None


@given(entries_with_targets, st.integers(1, 5), st.integers(1, 5))
def test_table_seek_and_get_agree_with_a_linear_search(
    entries_and_target: tuple[list[tuple[bytes, bytes]], bytes], per_block: int, interval: int
) -> None:
    """The target may be in any block or after the last key."""
    entries, target = entries_and_target
    table = open_table(builders.table(entries, per_block=per_block, restart_interval=interval))

    entry, value = table.seek(target), table.get(target)

    expected = next((entry for entry in entries if entry[0] >= target), None)
    assert (None if entry is None else (entry[0], bytes(entry[1]))) == expected
    assert (None if value is None else bytes(value)) == dict(entries).get(target)


def test_table_seek_continues_in_the_next_block() -> None:
    """A separator may be greater than every key of its block, so the first key not less than it may be in the next."""
    data = builders.table([(b"a", b"1"), (b"m", b"2")], per_block=1, separators=[b"f", b"z"])
    table = open_table(data)

    for target, expected in ((b"b", b"m"), (b"f", b"m"), (b"m", b"m")):
        entry = table.seek(target)
        assert entry is not None
        assert entry[0] == expected
    assert table.seek(b"n") is None


def test_table_tolerates_bytes_after_a_handle() -> None:
    """TensorFlow ignores any bytes after the two varints of an index entry."""
    data = builders.table_of_blocks(
        [builders.block(ENTRIES)], [b"z"], handle_of=lambda _, place: builders.handle(*place) + b"more"
    )

    assert list_entries(data) == ENTRIES


def test_lookup_reads_index_and_one_data_block() -> None:
    """Other blocks are not read, and a second lookup in the same block reads nothing."""
    source = MemorySource(builders.table(ENTRIES, per_block=5))
    table = Table(source)
    source.reads.clear()

    assert bytes(table.get(b"k012") or b"") == b"value 12"
    assert len(source.reads) == 1

    assert bytes(table.get(b"k013") or b"") == b"value 13"
    assert len(source.reads) == 1


def test_first_entry_is_found_even_if_later_ones_are_damaged() -> None:
    """Opening a bundle needs only the header, which is the first entry."""
    entries = [(b"", b"header"), (b"x", b""), (b"c", b"")]
    source = MemorySource(builders.table_of_blocks([builders.block(entries)], [b"z"]))
    table = Table(source)
    source.reads.clear()

    first = table.first()

    assert first is not None
    assert (first[0], bytes(first[1])) == (b"", b"header")
    assert len(source.reads) == 1
    with pytest.raises(CorruptionError):
        list(table)


def test_empty_table_has_no_first_entry() -> None:
    """The result is None, as with `seek`."""
    table = open_table(builders.table([], per_block=5))

    assert table.first() is None


def test_index_block_with_a_changed_byte_fails_to_open() -> None:
    """The index block is read and checked when the table is opened."""
    data = bytearray(builders.table(ENTRIES))
    data[-48 - 5 - 4] ^= 1

    with pytest.raises(ChecksumError) as caught:
        open_table(bytes(data))

    assert caught.value.path == "memory"
    assert caught.value.offset == len(builders.block(ENTRIES)) + 5 + len(builders.EMPTY_BLOCK) + 5


def test_index_entry_that_is_not_a_handle_fails_to_open() -> None:
    """The value may be empty, too short, or an endless varint."""
    for value in (b"", b"\x80" * 11, b"\x05"):
        with pytest.raises(CorruptionError):
            open_table(
                builders.table_of_blocks([builders.block(ENTRIES)], [b"z"], handle_of=lambda *_, value=value: value)
            )


@pytest.mark.parametrize("handle", [(0, 1 << 40), (1 << 63, 1 << 63), ((1 << 64) - 1, 8), (10_000, 0)], ids=str)
def test_data_block_past_the_end_fails_to_open(handle: tuple[int, int]) -> None:
    """Handles are compared with the size of the file before anything is read or allocated."""
    data = builders.table_of_blocks([builders.block(ENTRIES)], [b"z"], handle_of=lambda *_: builders.handle(*handle))

    with pytest.raises(TruncatedError) as caught:
        open_table(data)

    assert caught.value.needed == sum(handle) + 5


def test_damaged_block_does_not_affect_keys_in_other_blocks() -> None:
    """Only listing and lookups in the damaged block fail."""
    blocks = [builders.block(ENTRIES[:10]), builders.block(ENTRIES[10:])]
    data = bytearray(builders.table_of_blocks(blocks, [b"k009", b"k019"]))
    data[len(blocks[0]) + 5 + 20] ^= 1
    table = open_table(bytes(data))

    assert bytes(table.get(b"k003") or b"") == b"value 3"
    for use in (lambda: table.get(b"k015"), lambda: list(table)):
        with pytest.raises(ChecksumError) as caught:
            use()
        assert caught.value.offset == len(blocks[0]) + 5


def test_metaindex_block_is_checked_when_listing() -> None:
    """TensorFlow never reads it, but damage there still means that the file is damaged."""
    data = bytearray(builders.table(ENTRIES))
    start = len(builders.block(ENTRIES)) + 5
    assert bytes(data[start : start + 8]) == builders.EMPTY_BLOCK
    data[start] ^= 1

    with pytest.raises(ChecksumError) as caught:
        list(open_table(bytes(data)))

    assert caught.value.offset == start


def test_metaindex_block_may_have_entries() -> None:
    """LevelDB lists filters there, which are not keys of the table."""
    data = builders.table_of_blocks(
        [builders.block(ENTRIES)], [b"z"], metaindex=builders.block([(b"filter.bloom", builders.handle(0, 0))])
    )

    assert list_entries(data) == ENTRIES


@pytest.mark.parametrize(
    ("groups", "separators", "damaged"),
    [
        ([[b"a", b"c"], [b"m"]], [b"b", b"z"], 0),
        ([[b"a", b"c"], [b"c"]], [b"c", b"z"], 1),
        ([[b"m"], [b"a"]], [b"m", b"z"], 1),
        ([[b"a"], [b"m"]], [b"m", b"z"], 1),
        ([[b"a"], []], [b"b", b"z"], 1),
        ([[b"a", b"c", b"b"]], [b"z"], 0),
    ],
    ids=[
        "separator too small",
        "same key in two blocks",
        "blocks exchanged",
        "separator too large",
        "empty block",
        "unsorted",
    ],
)
def test_table_with_misplaced_keys_fails_to_list(
    groups: list[list[bytes]], separators: list[bytes], damaged: int
) -> None:
    """TensorFlow lists such tables and then does not find the names; here listing is an error."""
    blocks = [builders.block([(key, b"") for key in group]) for group in groups]
    data = builders.table_of_blocks(blocks, separators)

    with pytest.raises(CorruptionError) as caught:
        list(open_table(data))

    assert caught.value.offset == sum(len(block) + 5 for block in blocks[:damaged])


def test_lookup_checks_the_whole_block_it_reads() -> None:
    """If keys were out of order, a binary search could miss an existing key."""
    entries = [(key, key) for key in (b"a", b"x", b"c", b"d", b"y", b"z")]
    data = builders.table_of_blocks([builders.block(entries, restart_interval=1)], [b"z"])

    for key, _ in entries:
        with pytest.raises(CorruptionError):
            open_table(data).get(key)


@pytest.mark.parametrize("separators", [[b"m", b"m"], [b"z", b"m"]], ids=["repeated", "descending"])
def test_index_keys_must_increase(separators: list[bytes]) -> None:
    """The index block follows the same rules as other blocks."""
    blocks = [builders.block([(b"a", b"")]), builders.block([(b"n", b"")])]

    with pytest.raises(CorruptionError) as caught:
        open_table(builders.table_of_blocks(blocks, separators))

    assert caught.value.offset == sum(len(block) + 5 for block in (*blocks, builders.EMPTY_BLOCK))


def test_two_index_entries_cannot_share_a_block() -> None:
    """Overlapping blocks cannot be in order, so a small file cannot list its entries many times."""
    block = builders.block(ENTRIES[:5])
    data = builders.table_of_blocks(
        [block, block], [b"k004", b"k009"], handle_of=lambda *_: builders.handle(0, len(block))
    )

    with pytest.raises(CorruptionError):
        list(open_table(data))


def test_too_many_entries_are_refused() -> None:
    """As many entries as the limit are allowed."""
    data = builders.table(ENTRIES, per_block=5)
    assert len(list(open_table(data, limits=Limits(max_entries=20)))) == 20

    with pytest.raises(LimitExceededError) as caught:
        list(open_table(data, limits=Limits(max_entries=19)))

    assert (caught.value.limit, caught.value.maximum, caught.value.claimed) == ("max_entries", 19, 20)


def test_too_many_key_bytes_are_refused() -> None:
    """The limit applies to the uncompressed keys of all blocks together."""
    data = builders.table(ENTRIES, per_block=5)
    assert len(list(open_table(data, limits=Limits(max_key_bytes=80)))) == 20

    with pytest.raises(LimitExceededError) as caught:
        list(open_table(data, limits=Limits(max_key_bytes=79)))

    assert (caught.value.limit, caught.value.maximum, caught.value.claimed) == ("max_key_bytes", 79, 80)


def test_table_is_thread_safe() -> None:
    """Eight threads look up keys and list the table through one cache."""
    table = open_table(builders.table(ENTRIES, per_block=2, frame_data=builders.snappy_frame))
    wrong: list[object] = []

    def work(number: int) -> None:
        for turn in range(20):
            key, value = ENTRIES[(number * 7 + turn * 3) % len(ENTRIES)]
            if bytes(table.get(key) or b"") != value:
                wrong.append(key)
            if turn % 10 == 0 and [(key, bytes(value)) for key, value in table] != ENTRIES:
                wrong.append("listing")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


@given(st.data())
def test_table_with_any_byte_changed_gives_the_same_entries_or_our_error(data: st.DataObject) -> None:
    """Checksums protect the blocks, and strict checks the rest."""
    sound = builders.table(ENTRIES, per_block=7, frame_data=lambda block: builders.frame(snappy.compress(block), tag=1))
    broken = bytearray(sound)
    broken[data.draw(st.integers(0, len(sound) - 1))] ^= data.draw(st.integers(1, 255))

    try:
        assert list_entries(bytes(broken)) == ENTRIES
    except CorruptionError as error:
        assert error.path == "memory"
