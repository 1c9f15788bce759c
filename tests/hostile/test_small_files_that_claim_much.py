"""Small files that would take unbounded memory or time are rejected within small bounds.

The bound is 64 MiB plus twice the size of the files, unless a named limit allows more.
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
    """Write an index in which each key is one byte longer than the one before: 200,000 keys with 20 GB in total."""
    out = bytearray(builders.table_entry(0, b"", builders.header_proto()))
    for length in range(200_000):
        out += builders.table_entry(length, b"a", b"")
    index = builders.table_of_blocks([builders.raw_block(bytes(out))], [b"b"])
    return builders.write_index(folder, index)


def growing_keys_of_the_index_block(folder: pathlib.Path) -> pathlib.Path:
    """Write an index block with such keys."""
    out = b"".join(builders.table_entry(length, b"a", builders.handle(0, 8)) for length in range(100_000))
    return builders.write_index(
        folder, builders.table_of_blocks([builders.EMPTY_BLOCK], [b""], index=builders.raw_block(out))
    )


def growing_keys_of_the_metaindex_block(folder: pathlib.Path) -> pathlib.Path:
    """Write a metaindex block, which is not used, with such keys."""
    out = b"".join(builders.table_entry(length, b"a", b"") for length in range(100_000))
    entries = Bundle().sorted_entries()
    index = builders.table_of_blocks([builders.block(entries)], [b"z"], metaindex=builders.raw_block(out))
    return builders.write_index(folder, index)


def million_empty_entries(folder: pathlib.Path) -> pathlib.Path:
    """Write a million names of four bytes without values."""
    out = bytearray(builders.table_entry(0, b"", builders.header_proto()))
    for number in range(1_000_000):
        key = number.to_bytes(4, "big")
        shared = 3 if number & 0xFF else 0
        out += bytes((shared, 4 - shared, 0)) + key[shared:]
    return builders.write_index(folder, builders.table_of_blocks([builders.raw_block(bytes(out))], [b"\xff"]))


def only_restart_points(folder: pathlib.Path) -> pathlib.Path:
    """Write a block of 8 MiB that consists of restart points."""
    contents = builders.raw_block(b"", restarts=range(2 * MIB))
    return builders.write_index(folder, builders.table_of_blocks([contents], [b"z"]))


def empty_submessages(folder: pathlib.Path) -> pathlib.Path:
    """Write an entry of 20 MB in which every two bytes are a message."""
    return Bundle().put_entry("x", b"\x3a\x00" * 10_000_000).write(folder)


def slices_without_entries(folder: pathlib.Path) -> pathlib.Path:
    """Write fifty tensors that each claim 20,000 slices, in four bytes per slice."""
    bundle = Bundle()
    entry = entry_proto(builders.FLOAT, [1], slices=[[None]] * 20_000)
    for number in range(50):
        bundle.put_entry(f"x{number}", entry)
    return bundle.write(folder)


def slices_of_one_payload(folder: pathlib.Path) -> pathlib.Path:
    """Write a thousand slices of 1 MiB that all share the same bytes of the file."""
    bundle = Bundle()
    count = 1000
    bundle.put(bytes(MIB))
    bundle.put_entry("x", entry_proto(builders.UINT8, [count, MIB], slices=[[(n, 1), None] for n in range(count)]))
    piece = entry_proto(builders.UINT8, [1, MIB], size=MIB, crc=builders.crc32c(bytes(MIB)))
    for number in range(count):
        bundle.put_entry(builders.slice_key(b"x", [(number, 1), None]), piece)
    return bundle.write(folder)


def slices_of_many_strings(folder: pathlib.Path) -> pathlib.Path:
    """Write a string tensor of 2**40 elements in one slice of 8 bytes."""
    count = 1 << 40
    bundle = Bundle().put_entry("x", entry_proto(builders.STRING, [count], slices=[[(0, count)]]))
    bundle.put(bytes(8))
    return bundle.put_entry(
        builders.slice_key(b"x", [(0, count)]), entry_proto(builders.STRING, [count], size=8)
    ).write(folder)


def slices_adjacent_in_one_dimension_only(folder: pathlib.Path) -> pathlib.Path:
    """Write 40,000 slices that sorting does not keep apart: adjacent in one dimension, distant in the other."""
    count = 40_000
    extents = [[(number, count - number), (number, 1)] for number in range(count)]
    return Bundle().put_entry("x", entry_proto(builders.FLOAT, [count, count], slices=extents)).write(folder)


def long_name_with_many_slices(folder: pathlib.Path) -> pathlib.Path:
    """Write a name of 1 MiB with 10,000 slices, each of which would be looked up by a key that contains the name."""
    entry = entry_proto(builders.FLOAT, [10_000], slices=[[(number, 1)] for number in range(10_000)])
    return Bundle().put_entry(b"\0" * MIB, entry).write(folder)


def empty_strings(folder: pathlib.Path) -> pathlib.Path:
    """Write twenty million empty strings."""
    count = 20_000_000
    payload = bytes(count) + builders.fixed32(builders.mask(builders.crc32c(bytes(4 * count))))
    return Bundle().add("x", builders.STRING, [count], payload, crc=0).write(folder)


def many_slices_after_one_restart_point(folder: pathlib.Path) -> pathlib.Path:
    """Write 10,000 slices in a block that must be read from its start; this is legal."""
    bundle = Bundle()
    pieces: list[tuple[builders.Extents, bytes]] = [([(number, 1)], b"\1") for number in range(10_000)]
    bundle.add_slices("x", builders.UINT8, [10_000], pieces)
    return bundle.write(folder, index=bundle.index(per_block=1 << 20, restart_interval=1 << 20))


def absurd_shape(folder: pathlib.Path) -> pathlib.Path:
    """Write a tensor of 2**60 floats with a matching size."""
    return Bundle().put_entry("x", entry_proto(builders.FLOAT, [1 << 60], size=1 << 62)).write(folder)


def many_missing_shards(folder: pathlib.Path) -> pathlib.Path:
    """Write a header with 100,000 shards, none of which exists."""
    bundle = Bundle(header=builders.header_proto(100_000))
    return bundle.put_entry("x", entry_proto(builders.FLOAT, [1], shard_id=77_777, size=4)).write(folder)


#: Each attack, the class of its error, and the limit that it exceeds.
ATTACKS: list[tuple[Attack, str | None, str | None]] = [
    (growing_keys, "LimitExceededError", "max_key_bytes"),
    (growing_keys_of_the_index_block, "LimitExceededError", "max_key_bytes"),
    (growing_keys_of_the_metaindex_block, "LimitExceededError", "max_key_bytes"),
    (million_empty_entries, "LimitExceededError", "max_entries"),
    (only_restart_points, "CorruptionError", None),
    (empty_submessages, "LimitExceededError", "max_entry_bytes"),
    (slices_without_entries, "CorruptionError", None),
    (slices_of_one_payload, "CorruptionError", None),
    (slices_of_many_strings, "CorruptionError", None),
    (slices_adjacent_in_one_dimension_only, "CorruptionError", None),
    (long_name_with_many_slices, "LimitExceededError", "max_key_bytes"),
    (empty_strings, "LimitExceededError", "max_string_elements"),
    (many_slices_after_one_restart_point, None, None),
    (absurd_shape, "TruncatedError", None),
    (many_missing_shards, "CheckpointNotFoundError", None),
]


@pytest.mark.parametrize(("attack", "error", "limit"), ATTACKS, ids=[attack.__name__ for attack, _, _ in ATTACKS])
def test_attack_ends_within_memory_and_time(
    tmp_path: pathlib.Path, attack: Attack, error: str | None, limit: str | None
) -> None:
    """It is measured in a separate process."""
    prefix = attack(tmp_path)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())

    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.measure", str(prefix)], cwd=ROOT, check=True, capture_output=True
    )

    result = json.loads(done.stdout)
    assert (result["error"], result["limit"]) == (error, limit)
    assert result["bytes"] < 64 * MIB + 2 * size
    assert result["seconds"] < 10


def test_verification_of_damaged_indexes_takes_bounded_memory(tmp_path: pathlib.Path) -> None:
    """One index has keys of 24 MB each, more than the limit in total; another one has 200,000 invalid entries."""
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

        result = json.loads(done.stdout)
        assert result["findings"] >= count
        assert result["bytes"] < 128 * MIB  # names may take max_key_bytes as keys and again as text
        assert result["seconds"] < 10
