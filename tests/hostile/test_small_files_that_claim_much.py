"""Small files that would take memory or time without bound are refused within small bounds.

The bound is 64 MiB and twice the size of the files, unless the limit that is named allows more.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests import builders
from tests.builders import Bundle, entry_proto

ROOT = pathlib.Path(__file__).parents[2]
MIB = 1 << 20

Attack = Callable[[pathlib.Path], pathlib.Path]


def growing_keys(folder: pathlib.Path) -> pathlib.Path:
    """Each key is the one before and one byte more: 200 000 keys of 20 GB together."""
    out = bytearray(builders.table_entry(0, b"", builders.header_proto()))
    for length in range(200_000):
        out += builders.table_entry(length, b"a", b"")
    index = builders.table_of_blocks([builders.raw_block(bytes(out))], [b"b"])
    return builders.write_index(folder, index)


def growing_keys_of_the_index_block(folder: pathlib.Path) -> pathlib.Path:
    """The same where the handles stand."""
    out = b"".join(builders.table_entry(length, b"a", builders.handle(0, 8)) for length in range(100_000))
    return builders.write_index(
        folder, builders.table_of_blocks([builders.EMPTY_BLOCK], [b""], index=builders.raw_block(out))
    )


def growing_keys_of_the_metaindex_block(folder: pathlib.Path) -> pathlib.Path:
    """The same where nobody looks."""
    out = b"".join(builders.table_entry(length, b"a", b"") for length in range(100_000))
    entries = Bundle().sorted_entries()
    index = builders.table_of_blocks([builders.block(entries)], [b"z"], metaindex=builders.raw_block(out))
    return builders.write_index(folder, index)


def million_empty_entries(folder: pathlib.Path) -> pathlib.Path:
    """A name of four bytes and no value, a million times."""
    out = bytearray(builders.table_entry(0, b"", builders.header_proto()))
    for number in range(1_000_000):
        key = number.to_bytes(4, "big")
        shared = 3 if number & 0xFF else 0
        out += bytes((shared, 4 - shared, 0)) + key[shared:]
    return builders.write_index(folder, builders.table_of_blocks([builders.raw_block(bytes(out))], [b"\xff"]))


def nothing_but_restart_points(folder: pathlib.Path) -> pathlib.Path:
    """A block of 8 MiB that consists of restart points."""
    contents = builders.raw_block(b"", restarts=range(2 * MIB))
    return builders.write_index(folder, builders.table_of_blocks([contents], [b"z"]))


def empty_submessages(folder: pathlib.Path) -> pathlib.Path:
    """An entry of 20 MB whose every two bytes are a message."""
    return Bundle().put_entry("x", b"\x3a\x00" * 10_000_000).write(folder)


def slices_without_entries(folder: pathlib.Path) -> pathlib.Path:
    """Fifty tensors that each claim 20 000 slices in four bytes a slice."""
    bundle = Bundle()
    entry = entry_proto(builders.FLOAT, [1], slices=[[None]] * 20_000)
    for number in range(50):
        bundle.put_entry(f"x{number}", entry)
    return bundle.write(folder)


def slices_of_one_payload(folder: pathlib.Path) -> pathlib.Path:
    """A thousand slices of 1 MiB that are all the same bytes of the file."""
    bundle = Bundle()
    count = 1000
    bundle.put(bytes(MIB))
    bundle.put_entry("x", entry_proto(builders.UINT8, [count, MIB], slices=[[(n, 1), None] for n in range(count)]))
    piece = entry_proto(builders.UINT8, [1, MIB], size=MIB, crc=builders.crc32c(bytes(MIB)))
    for number in range(count):
        bundle.put_entry(builders.slice_key(b"x", [(number, 1), None]), piece)
    return bundle.write(folder)


def slices_of_many_strings(folder: pathlib.Path) -> pathlib.Path:
    """A string tensor of 2**40 elements in one slice of 8 bytes."""
    count = 1 << 40
    bundle = Bundle().put_entry("x", entry_proto(builders.STRING, [count], slices=[[(0, count)]]))
    bundle.put(bytes(8))
    return bundle.put_entry(
        builders.slice_key(b"x", [(0, count)]), entry_proto(builders.STRING, [count], size=8)
    ).write(folder)


def slices_that_defeat_comparing_neighbours(folder: pathlib.Path) -> pathlib.Path:
    """Forty thousand slices side by side in one dimension that begin apart in the other."""
    count = 40_000
    extents = [[(number, count - number), (number, 1)] for number in range(count)]
    return Bundle().put_entry("x", entry_proto(builders.FLOAT, [count, count], slices=extents)).write(folder)


def long_name_with_many_slices(folder: pathlib.Path) -> pathlib.Path:
    """A name of 1 MiB and ten thousand slices, each of which would be looked up under a key with the name in it."""
    entry = entry_proto(builders.FLOAT, [10_000], slices=[[(number, 1)] for number in range(10_000)])
    return Bundle().put_entry(b"\0" * MIB, entry).write(folder)


def strings_of_no_length(folder: pathlib.Path) -> pathlib.Path:
    """Twenty million empty strings."""
    count = 20_000_000
    payload = bytes(count) + builders.fixed32(builders.mask(builders.crc32c(bytes(4 * count))))
    return Bundle().add("x", builders.STRING, [count], payload, crc=0).write(folder)


def many_slices_after_one_restart_point(folder: pathlib.Path) -> pathlib.Path:
    """Ten thousand slices in a block that has to be gone through from its beginning; nothing is wrong with it."""
    bundle = Bundle()
    pieces: list[tuple[builders.Extents, bytes]] = [([(number, 1)], b"\1") for number in range(10_000)]
    bundle.add_slices("x", builders.UINT8, [10_000], pieces)
    return bundle.write(folder, index=bundle.index(per_block=1 << 20, restart_interval=1 << 20))


def absurd_shape(folder: pathlib.Path) -> pathlib.Path:
    """2**61 floats with a size to match."""
    return Bundle().put_entry("x", entry_proto(builders.FLOAT, [1 << 60], size=1 << 62)).write(folder)


def many_missing_shards(folder: pathlib.Path) -> pathlib.Path:
    """A header that counts 100 000 shards, none of which is there."""
    bundle = Bundle(header=builders.header_proto(100_000))
    return bundle.put_entry("x", entry_proto(builders.FLOAT, [1], shard_id=77_777, size=4)).write(folder)


ATTACKS: list[tuple[Attack, str | None, str]] = [
    (growing_keys, "LimitExceededError", "max_key_bytes"),
    (growing_keys_of_the_index_block, "LimitExceededError", "max_key_bytes"),
    (growing_keys_of_the_metaindex_block, "LimitExceededError", "max_key_bytes"),
    (million_empty_entries, "LimitExceededError", "max_entries"),
    (nothing_but_restart_points, "CorruptionError", "without a bundle header"),
    (empty_submessages, "LimitExceededError", "max_entry_bytes"),
    (slices_without_entries, "LimitExceededError", "max_slices"),
    (slices_of_one_payload, "CorruptionError", "slices take 1048576000 bytes together"),
    (slices_of_many_strings, "CorruptionError", "strings take a byte each"),
    (slices_that_defeat_comparing_neighbours, "CorruptionError", "has no entry"),
    (long_name_with_many_slices, "LimitExceededError", "max_key_bytes"),
    (strings_of_no_length, "LimitExceededError", "max_string_elements"),
    (many_slices_after_one_restart_point, None, "None"),
    (absurd_shape, "TruncatedError", "past the end"),
    (many_missing_shards, "CheckpointNotFoundError", "data shard 77777 of 100000 is missing"),
]


@pytest.mark.parametrize(("attack", "error", "text"), ATTACKS, ids=[attack.__name__ for attack, _, _ in ATTACKS])
def test_attack_ends_in_values_or_our_error_within_memory_and_time(
    tmp_path: pathlib.Path, attack: Attack, error: str | None, text: str
) -> None:
    """Measured in a process of its own."""
    prefix = attack(tmp_path)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())

    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.measure", str(prefix)], cwd=ROOT, check=True, capture_output=True
    )

    found = json.loads(done.stdout)
    assert found["error"] == error
    assert text in found["text"]
    assert found["bytes"] < 64 * MIB + 2 * size
    assert found["seconds"] < 10


def test_verifying_gives_up_within_memory_where_everything_is_damaged(tmp_path: pathlib.Path) -> None:
    """Blocks whose keys grow to 24 MB each, more than the limit together, and 200 000 entries that do not parse."""
    growing = []
    separators = []
    for number in range(3):
        prefix = bytes([number + 1])
        entries = builders.table_entry(0, prefix, b"")
        entries += b"".join(builders.table_entry(length, b"a", b"") for length in range(1, 7000))
        growing.append(builders.raw_block(entries))
        separators.append(prefix + b"b")
    header = builders.block([(b"", builders.header_proto())])
    broken = [(b"%06d" % number, b"\x0a") for number in range(200_000)]
    (tmp_path / "many").mkdir()
    grown = builders.write_index(tmp_path, builders.table_of_blocks([header, *growing], [b"", *separators]))
    damaged = builders.write_index(
        tmp_path / "many", builders.table([(b"", builders.header_proto()), *broken], per_block=10_000)
    )

    for prefix_path, count in ((grown, 1), (damaged, 10_000)):
        done = subprocess.run(
            [sys.executable, "-m", "tests.hostile.measure", "--verify", str(prefix_path)],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )

        found = json.loads(done.stdout)
        assert found["findings"] >= count
        assert found["bytes"] < 128 * MIB  # names may take max_key_bytes as keys and again as text
        assert found["seconds"] < 10
