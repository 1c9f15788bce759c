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
    st.dictionaries(st.binary(max_size=4), st.binary(max_size=4), max_size=30).map(lambda found: sorted(found.items())),
    st.binary(max_size=4),
)


def opened(data: bytes, *, limits: Limits = DEFAULT_LIMITS) -> Table:
    """A table over these bytes."""
    return Table(MemorySource(data), limits)


def listed(data: bytes) -> list[tuple[bytes, bytes]]:
    """Every entry of a table."""
    return [(key, bytes(value)) for key, value in opened(data)]


@pytest.mark.parametrize("framer", [builders.plain, builders.snappy_frame], ids=["uncompressed", "snappy"])
@pytest.mark.parametrize("per_block", [1, 3, 20])
def test_table_iterates_in_key_order_across_blocks(per_block: int, framer: Callable[[bytes], bytes]) -> None:
    """However the entries are spread over blocks, and however the blocks are stored."""
    data = builders.table(ENTRIES, per_block=per_block, frame_data=framer, frame_index=framer, frame_metaindex=framer)

    assert listed(data) == ENTRIES
    assert opened(data).block_count == -(-20 // per_block)


def test_table_takes_the_compression_of_each_block_by_itself() -> None:
    """Compressed and uncompressed blocks stand side by side in one file."""
    turns = iter(range(100))

    def framer(contents: bytes) -> bytes:
        return builders.snappy_frame(contents) if next(turns) % 2 else builders.frame(contents)

    data = builders.table(ENTRIES, per_block=4, frame_data=framer, frame_index=framer)

    assert listed(data) == ENTRIES


def test_empty_table_has_no_entries() -> None:
    """No data blocks is legal for a table."""
    data = builders.table([])

    assert listed(data) == []
    assert opened(data).get(b"") is None
    assert opened(data).seek(b"") is None


@given(entries_with_targets, st.integers(1, 5), st.integers(1, 5))
def test_table_seek_and_get_agree_with_looking_through_all_entries(
    entries_and_target: tuple[list[tuple[bytes, bytes]], bytes], per_block: int, interval: int
) -> None:
    """For any target, in any block, also past the last."""
    entries, target = entries_and_target
    table = opened(builders.table(entries, per_block=per_block, restart_interval=interval))

    found, value = table.seek(target), table.get(target)

    expected = next((entry for entry in entries if entry[0] >= target), None)
    assert (None if found is None else (found[0], bytes(found[1]))) == expected
    assert (None if value is None else bytes(value)) == dict(entries).get(target)


def test_table_seek_passes_from_a_separator_to_the_next_block() -> None:
    """A separator may be larger than every key of its block, so that what it covers may begin the next one."""
    data = builders.table([(b"a", b"1"), (b"m", b"2")], per_block=1, separators=[b"f", b"z"])
    table = opened(data)

    for target, expected in ((b"b", b"m"), (b"f", b"m"), (b"m", b"m")):
        found = table.seek(target)
        assert found is not None
        assert found[0] == expected
    assert table.seek(b"n") is None


def test_table_tolerates_bytes_after_a_handle() -> None:
    """TensorFlow ignores what follows the two varints of an index entry."""
    data = builders.table_of_blocks(
        [builders.block(ENTRIES)], [b"z"], handle_of=lambda _, place: builders.handle(*place) + b"more"
    )

    assert listed(data) == ENTRIES


def test_lookup_reads_index_and_one_data_block() -> None:
    """A name is found without reading the blocks it is not in, and a second lookup there reads nothing."""
    source = MemorySource(builders.table(ENTRIES, per_block=5))
    table = Table(source)
    source.reads.clear()

    assert bytes(table.get(b"k012") or b"") == b"value 12"
    assert len(source.reads) == 1

    assert bytes(table.get(b"k013") or b"") == b"value 13"
    assert len(source.reads) == 1


def test_first_entry_is_found_whatever_stands_after_it() -> None:
    """Opening a bundle needs no more than its header, and what follows in the block cannot change what comes first."""
    entries = [(b"", b"header"), (b"x", b""), (b"c", b"")]
    source = MemorySource(builders.table_of_blocks([builders.block(entries)], [b"z"]))
    table = Table(source)
    source.reads.clear()

    first = table.first()

    assert first is not None
    assert (first[0], bytes(first[1])) == (b"", b"header")
    assert len(source.reads) == 1
    with pytest.raises(CorruptionError, match="does not come after"):
        list(table)


def test_empty_table_has_no_first_entry() -> None:
    """There is no block that could hold one."""
    table = opened(builders.table([], per_block=5))

    assert table.first() is None


def test_index_block_with_a_changed_byte_fails_to_open() -> None:
    """The index block is read and checked first."""
    data = bytearray(builders.table(ENTRIES))
    data[-48 - 5 - 4] ^= 1

    with pytest.raises(ChecksumError, match=" index block of ") as caught:
        opened(bytes(data))

    assert caught.value.path == "memory"


def test_index_entry_that_is_no_handle_fails_to_open() -> None:
    """An empty value, or a varint that never ends."""
    for value in (b"", b"\x80" * 11, b"\x05"):
        with pytest.raises(CorruptionError, match="bad handle of data block 0"):
            opened(builders.table_of_blocks([builders.block(ENTRIES)], [b"z"], handle_of=lambda *_, value=value: value))


@pytest.mark.parametrize("handle", [(0, 1 << 40), (1 << 63, 1 << 63), ((1 << 64) - 1, 8), (10_000, 0)], ids=str)
def test_data_block_past_the_end_fails_to_open(handle: tuple[int, int]) -> None:
    """Handles are compared with the file before anything is read or allocated."""
    data = builders.table_of_blocks([builders.block(ENTRIES)], [b"z"], handle_of=lambda *_: builders.handle(*handle))

    with pytest.raises(TruncatedError) as caught:
        opened(data)

    assert caught.value.needed == sum(handle) + 5


def test_table_with_one_damaged_block_still_finds_what_the_others_hold() -> None:
    """Listing fails and so does every name of the damaged block; a name elsewhere is found."""
    blocks = [builders.block(ENTRIES[:10]), builders.block(ENTRIES[10:])]
    data = bytearray(builders.table_of_blocks(blocks, [b"k009", b"k019"]))
    data[len(blocks[0]) + 5 + 20] ^= 1
    table = opened(bytes(data))

    assert bytes(table.get(b"k003") or b"") == b"value 3"
    with pytest.raises(ChecksumError, match="data block 1"):
        table.get(b"k015")
    with pytest.raises(ChecksumError, match="data block 1"):
        list(table)


def test_metaindex_block_is_checked_when_listing() -> None:
    """TensorFlow never reads it; a difference there still means that the file was damaged."""
    data = bytearray(builders.table(ENTRIES))
    start = len(builders.block(ENTRIES)) + 5
    assert bytes(data[start : start + 8]) == builders.EMPTY_BLOCK
    data[start] ^= 1

    with pytest.raises(ChecksumError, match="metaindex"):
        list(opened(bytes(data)))


def test_metaindex_block_may_have_entries() -> None:
    """LevelDB names filters there; they are no keys of the table."""
    data = builders.table_of_blocks(
        [builders.block(ENTRIES)], [b"z"], metaindex=builders.block([(b"filter.bloom", builders.handle(0, 0))])
    )

    assert listed(data) == ENTRIES


@pytest.mark.parametrize(
    ("groups", "separators", "complaint"),
    [
        ([[b"a", b"c"], [b"m"]], [b"b", b"z"], "after its block's separator"),
        ([[b"a", b"c"], [b"c"]], [b"c", b"z"], "not after the separator"),
        ([[b"m"], [b"a"]], [b"m", b"z"], "not after the separator"),
        ([[b"a"], [b"m"]], [b"m", b"z"], "not after the separator"),
        ([[b"a"], []], [b"b", b"z"], "has no entries"),
        ([[b"a", b"c", b"b"]], [b"z"], "does not come after"),
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
    groups: list[list[bytes]], separators: list[bytes], complaint: str
) -> None:
    """TensorFlow lists such tables and then does not find the names; here it is an error."""
    blocks = [builders.block([(key, b"") for key in group]) for group in groups]
    data = builders.table_of_blocks(blocks, separators)

    with pytest.raises(CorruptionError, match=complaint):
        list(opened(data))


def test_lookup_checks_the_whole_of_the_block_it_reads() -> None:
    """With keys out of order a binary search could miss a key that is there."""
    entries = [(key, key) for key in (b"a", b"x", b"c", b"d", b"y", b"z")]
    data = builders.table_of_blocks([builders.block(entries, restart_interval=1)], [b"z"])

    for key, _ in entries:
        with pytest.raises(CorruptionError, match="does not come after"):
            opened(data).get(key)


@pytest.mark.parametrize("separators", [[b"m", b"m"], [b"z", b"m"]], ids=["repeated", "descending"])
def test_index_keys_have_to_increase(separators: list[bytes]) -> None:
    """The index is a block like any other."""
    blocks = [builders.block([(b"a", b"")]), builders.block([(b"n", b"")])]

    with pytest.raises(CorruptionError, match="index block is damaged"):
        opened(builders.table_of_blocks(blocks, separators))


def test_two_index_entries_for_one_block_are_misplaced() -> None:
    """Blocks that overlap cannot be in order, so a small file cannot be read many times over."""
    block = builders.block(ENTRIES[:5])
    data = builders.table_of_blocks(
        [block, block], [b"k004", b"k009"], handle_of=lambda *_: builders.handle(0, len(block))
    )

    with pytest.raises(CorruptionError, match="data block 1 is damaged"):
        list(opened(data))


def test_entries_over_the_limit_are_refused_by_name() -> None:
    """The limit itself is allowed."""
    data = builders.table(ENTRIES, per_block=5)
    assert len(list(opened(data, limits=Limits(max_entries=20)))) == 20

    with pytest.raises(LimitExceededError, match="max_entries=19") as caught:
        list(opened(data, limits=Limits(max_entries=19)))

    assert caught.value.claimed == 20


def test_keys_over_the_limit_are_refused_by_name() -> None:
    """Counted as they are spelled out, over all blocks together."""
    data = builders.table(ENTRIES, per_block=5)
    assert len(list(opened(data, limits=Limits(max_key_bytes=80)))) == 20

    with pytest.raises(LimitExceededError, match="max_key_bytes=79") as caught:
        list(opened(data, limits=Limits(max_key_bytes=79)))

    assert caught.value.claimed == 80


def test_table_is_safe_to_use_from_several_threads() -> None:
    """Eight threads look up every key and list the table, through one cache."""
    table = opened(builders.table(ENTRIES, per_block=2, frame_data=builders.snappy_frame))
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
    """Checksums cover the blocks, and strict reading the rest."""
    sound = builders.table(ENTRIES, per_block=7, frame_data=lambda block: builders.frame(snappy.compress(block), tag=1))
    broken = bytearray(sound)
    broken[data.draw(st.integers(0, len(sound) - 1))] ^= data.draw(st.integers(1, 255))

    try:
        assert listed(bytes(broken)) == ENTRIES
    except CorruptionError as error:
        assert error.path == "memory"
