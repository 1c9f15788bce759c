"""A catalogue of faults in a tensor bundle; the row numbers are those of docs/format.md.

Every case is a small bundle with one fault.
Opening it, listing it and reading all of it must end in exactly the expected error.
The nearest bundles that are accepted are at the end.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import struct
from collections.abc import Callable, Mapping

import pytest
import snappy

import tfckpt
from tests import builders
from tests.builders import Bundle, entry_proto, table_of_blocks

WEIGHTS = struct.pack("<4f", 1, 2, 3, 4)
SCALAR_NAMES = [f"name/{number:02}" for number in range(12)]

Breaker = Callable[[pathlib.Path], pathlib.Path]


def valid_bundle(*, num_shards: int = 1) -> Bundle:
    """Return a bundle of two tensors and a partitioned one."""
    bundle = Bundle(num_shards=num_shards).add("w", builders.FLOAT, [2, 2], WEIGHTS)
    bundle.add_strings("names", [b"hi", b""])
    return bundle.add_slices("part", builders.FLOAT, [4], [([(0, 1)], WEIGHTS[:4]), ([(1, 3)], WEIGHTS[4:])])


def twelve_scalars(index: Callable[[list[tuple[bytes, bytes]]], bytes]) -> Breaker:
    """Return a writer of a bundle of twelve scalars, whose index is built from its entries by `index`."""

    def write(folder: pathlib.Path) -> pathlib.Path:
        bundle = Bundle()
        for name in SCALAR_NAMES:
            bundle.add(name, builders.FLOAT, [], WEIGHTS[:4])
        return bundle.write(folder, index=index(bundle.sorted_entries()))

    return write


def change_index(change: Callable[[bytearray], bytes | bytearray]) -> Breaker:
    """Return a writer of the valid bundle with the bytes of its index changed."""
    return lambda folder: valid_bundle().write(folder, index=bytes(change(bytearray(valid_bundle().index()))))


def change_shard(change: Callable[[bytearray], bytes | bytearray]) -> Breaker:
    """Return a writer of the valid bundle with the bytes of its data shard changed."""

    def write(folder: pathlib.Path) -> pathlib.Path:
        bundle = valid_bundle()
        bundle.shards[0] = bytearray(change(bundle.shards[0]))
        return bundle.write(folder)

    return write


def one_block(**broken: object) -> Breaker:
    """Return a writer of the valid bundle in one block, with keywords of `table_of_blocks`."""
    entries = valid_bundle().sorted_entries()

    def write(folder: pathlib.Path) -> pathlib.Path:
        return valid_bundle().write(folder, index=table_of_blocks([builders.block(entries)], [b"z"], **broken))  # type: ignore[arg-type]  # each keyword has its own type

    return write


def with_header(data: bytes) -> Breaker:
    """Return a writer of the valid bundle with another header."""
    return lambda folder: valid_bundle().put_entry(b"", data).write(folder)


def with_entry(data: bytes) -> Breaker:
    """Return a writer of the valid bundle with one more entry, `x`."""
    return lambda folder: valid_bundle().put_entry("x", data).write(folder)


def with_payload(
    dtype: int, shape: list[int], data: bytes, *, crc: int | None = None, size: int | None = None
) -> Breaker:
    """Return a writer of the valid bundle with one more tensor, `x`."""
    return lambda folder: valid_bundle().add("x", dtype, shape, data, crc=crc, size=size).write(folder)


def with_slices(parent: bytes, pieces: dict[bytes, bytes]) -> Breaker:
    """Return a writer of the valid bundle with a partitioned tensor `x`: its entry, and its slices' entries by key."""

    def write(folder: pathlib.Path) -> pathlib.Path:
        bundle = valid_bundle().put_entry("x", parent)
        for key, data in pieces.items():
            bundle.put_entry(key, data)
        return bundle.write(folder)

    return write


def slice_key(*extents: tuple[int, int] | None) -> bytes:
    """Return the key of one slice of `x`."""
    return builders.slice_key(b"x", extents)


def slice_entry(count: int, *, dtype: int = builders.FLOAT, shape: list[int] | None = None) -> bytes:
    """Return the entry of a slice of this many elements, with the bytes of `w`."""
    data = WEIGHTS[: 4 * count]
    return entry_proto(dtype, [count] if shape is None else shape, size=len(data), crc=builders.crc32c(data))


def flip_bit(position: int) -> Callable[[bytearray], bytearray]:
    """Return a function that changes one bit of the byte at a position."""

    def change(data: bytearray) -> bytearray:
        data[position] ^= 0x40
        return data

    return change


def located(name: str, **attributes: object) -> dict[str, object]:
    """Return the attributes of an error in this file; tensor and offset are None unless given."""
    return {"path": name, "tensor": None, "offset": None, **attributes}


in_index = functools.partial(located, "model.index")
in_shard = functools.partial(located, "model.data-00000-of-00001")


@dataclasses.dataclass(frozen=True)
class Case:
    """One row: what is wrong, the class and the attributes of the error, and which tensors fail."""

    name: str
    write: Breaker
    error: type[tfckpt.CheckpointError]
    attributes: Mapping[str, object]
    #: If set, opening and listing succeed, and only this tensor ("all" for every tensor) fails.
    only: str | None = None


def in_two_blocks(second: Callable[[bytes], bytes] = builders.plain) -> Callable[[list[tuple[bytes, bytes]]], bytes]:
    """Return a builder of an index with two blocks, the second framed by `second`."""

    def make(entries: list[tuple[bytes, bytes]]) -> bytes:
        framers = iter([builders.plain, second])
        return builders.table(entries, per_block=7, frame_data=lambda contents: next(framers)(contents))

    return make


def swap_entries(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Build an index with two neighbours in the wrong order."""
    return builders.table([*entries[:4], entries[5], entries[4], *entries[6:]])


def double_entry(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Build an index with one name twice."""
    return builders.table([*entries[:5], *entries[4:]])


def overlong_entry(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Build an index with a table entry after the header that claims more bytes than there are."""
    contents = builders.table_entry(0, b"", entries[0][1]) + builders.table_entry(0, b"a", b"", value_length=9)
    return table_of_blocks([builders.raw_block(contents)], [b"z"])


def overflowing_entry(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Build an index with lengths of a table entry whose sum overflows 32 bits."""
    broken = builders.table_entry(0, b"a", b"", unshared=0xFFFFFFF0, value_length=0x20)
    return table_of_blocks([builders.raw_block(builders.table_entry(0, b"", entries[0][1]) + broken)], [b"z"])


def small_separators(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Build an index with a separator less than the last key of its block."""
    return builders.table(entries, per_block=5, separators=[b"name/03", b"name/07", b"z"])


def double_header(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Build an index with the empty key twice."""
    return builders.table([entries[0], *entries])


BOMB = builders.varint((1 << 32) - 1) + bytes(20)
Corrupt, Truncated, Checksum = tfckpt.CorruptionError, tfckpt.TruncatedError, tfckpt.ChecksumError
Missing, Unsupported, Limit = tfckpt.CheckpointNotFoundError, tfckpt.UnsupportedFeatureError, tfckpt.LimitExceededError

SAME_BYTES = entry_proto(builders.FLOAT, [4], size=16, crc=builders.crc32c(WEIGHTS))
PARENT_OF_SHARD_9 = entry_proto(builders.FLOAT, [4], shard_id=9, slices=[[(1, 3)], [(0, 1)]])
PARENT = entry_proto(builders.FLOAT, [4], slices=[[(0, 1)], [(1, 3)]])

CASES = [
    Case("01 no file", lambda folder: folder / "model", Missing, located("model")),
    Case("02 empty index", change_index(lambda data: b""), Missing, in_index()),
    Case("02 index of 47 bytes", change_index(lambda data: data[-47:]), Corrupt, in_index()),
    Case("03 index cut at its end", change_index(lambda data: data[:-1]), Corrupt, in_index()),
    Case("03 junk after the index", change_index(lambda data: data + b"!"), Corrupt, in_index()),
    Case("03 magic number", change_index(flip_bit(-1)), Corrupt, in_index()),
    Case(
        "04 index cut at its head",
        change_index(lambda data: data[1:]),
        Truncated,
        in_index(offset=184, needed=185, available=184),
    ),
    Case("05 footer varints", one_block(index_handle=b"\x80" * 20), Corrupt, in_index(offset=188)),
    Case("06 footer padding", one_block(padding=b"\1"), Corrupt, in_index(offset=185)),
    Case(
        "07 index past the end",
        one_block(index_handle=(1 << 20, 8)),
        Truncated,
        in_index(offset=185, needed=(1 << 20) + 13, available=185),
    ),
    Case(
        "08 index of 2**40 bytes",
        one_block(index_handle=(0, 1 << 40)),
        Truncated,
        in_index(offset=185, needed=(1 << 40) + 5, available=185),
    ),
    Case(
        "08 index of 2**63 bytes",
        one_block(index_handle=(0, 1 << 63)),
        Truncated,
        in_index(offset=185, needed=(1 << 63) + 5, available=185),
    ),
    Case(
        "08 index of 2**64 - 1 bytes",
        one_block(index_handle=(1, (1 << 64) - 1)),
        Truncated,
        in_index(offset=185, needed=(1 << 64) + 5, available=185),
    ),
    Case(
        "09 metaindex past the end",
        one_block(metaindex_handle=(1 << 20, 8)),
        Truncated,
        in_index(offset=185, needed=(1 << 20) + 13, available=185),
    ),
    Case(
        "09 metaindex is no block",
        one_block(metaindex=b"\1\2\3"),
        Truncated,
        in_index(offset=152, needed=4, available=3),
    ),
    Case(
        "10 index block checksum",
        one_block(frame_index=lambda contents: builders.frame(contents, crc=0)),
        Checksum,
        in_index(offset=165),
    ),
    Case("10 index block without handle", one_block(handle_of=lambda *_: b""), Corrupt, in_index(offset=165)),
    Case(
        "10 index entry of another size",
        one_block(handle_of=lambda _, position: builders.handle(*position)[:1] + b"\5"),
        Checksum,
        in_index(offset=0),
    ),
    Case("11 first data block checksum", change_index(flip_bit(4)), Checksum, in_index(offset=0)),
    Case(
        "11 first data block tag",
        one_block(frame_data=lambda contents: builders.frame(contents, tag=7)),
        Corrupt,
        in_index(offset=147),
    ),
    Case(
        "12 later data block checksum",
        twelve_scalars(in_two_blocks(lambda contents: builders.frame(contents, crc=1))),
        Checksum,
        in_index(offset=128),
        "name/06",
    ),
    Case("13 bad table entry", twelve_scalars(overlong_entry), Truncated, in_index(offset=0, needed=10, available=1)),
    Case(
        "14 lengths that overflow",
        twelve_scalars(overflowing_entry),
        Truncated,
        in_index(offset=0, needed=(1 << 32) + 16, available=1),
    ),
    Case(
        "15 restart count",
        twelve_scalars(lambda entries: table_of_blocks([builders.block(entries, restart_count=1 << 30)], [b"z"])),
        Corrupt,
        in_index(offset=0),
    ),
    Case(
        "15 restart count 0",
        twelve_scalars(lambda entries: table_of_blocks([builders.block(entries, restart_count=0)], [b"z"])),
        Corrupt,
        in_index(offset=0),
    ),
    Case(
        "16 snappy garbage",
        one_block(frame_data=lambda contents: builders.frame(b"\x20" + bytes(31), tag=1)),
        Corrupt,
        in_index(offset=0),
    ),
    Case(
        "16 snappy cut short",
        one_block(frame_data=lambda contents: builders.frame(snappy.compress(contents)[:-1], tag=1)),
        Corrupt,
        in_index(offset=0),
    ),
    Case(
        "17 snappy bomb",
        one_block(frame_data=lambda contents: builders.frame(BOMB, tag=1)),
        Corrupt,
        in_index(offset=0),
    ),
    Case("18 keys out of order", twelve_scalars(swap_entries), Corrupt, in_index(offset=0)),
    Case("19 separator too small", twelve_scalars(small_separators), Corrupt, in_index(offset=94)),
    Case("20 duplicate key", twelve_scalars(double_entry), Corrupt, in_index(offset=0)),
    Case("21 no header", twelve_scalars(lambda entries: builders.table(entries[1:])), Corrupt, in_index()),
    Case("22 second header", twelve_scalars(double_header), Corrupt, in_index(offset=0)),
    Case("23 empty table", twelve_scalars(lambda entries: builders.table([])), Corrupt, in_index()),
    Case("24 header that does not parse", with_header(b"\x08"), Corrupt, in_index()),
    Case("26 no shards", with_header(builders.header_proto(0)), Corrupt, in_index()),
    Case("26 negative shards", with_header(builders.header_proto(-1)), Corrupt, in_index()),
    Case(
        "26 too few shards named",
        with_header(builders.header_proto(2)),
        Missing,
        located("model.data-00000-of-00002", tensor="names"),
        "all",
    ),
    Case(
        "26 2**31 - 1 shards",
        with_header(builders.header_proto((1 << 31) - 1)),
        Limit,
        in_index(limit="max_shards", claimed=(1 << 31) - 1),
    ),
    Case("27 version", with_header(builders.header_proto(min_consumer=2)), Unsupported, in_index()),
    Case("27 bad consumer", with_header(builders.header_proto(bad_consumers=[1])), Unsupported, in_index()),
    Case("28 byte order", with_header(builders.header_proto(endianness=2)), Corrupt, in_index()),
    Case("29 entry that does not parse", with_entry(b"\x0a"), Corrupt, in_index(tensor="x")),
    Case("30 dtype 0", with_payload(0, [1], WEIGHTS[:4]), Unsupported, in_index(tensor="x"), "x"),
    Case("30 unknown dtype", with_payload(99, [1], WEIGHTS[:4]), Unsupported, in_index(tensor="x"), "x"),
    Case("30 reference dtype", with_payload(101, [1], WEIGHTS[:4]), Unsupported, in_index(tensor="x"), "x"),
    Case("31 resource", with_payload(20, [1], b""), Unsupported, in_index(tensor="x"), "x"),
    Case("32 negative dimension", with_entry(entry_proto(1, [-1], size=4)), Corrupt, in_index(tensor="x")),
    Case("32 255 dimensions", with_entry(entry_proto(1, [1] * 255, size=4)), Corrupt, in_index(tensor="x")),
    Case("32 product overflows", with_entry(entry_proto(1, [1 << 62, 4], size=4)), Corrupt, in_index(tensor="x")),
    Case("33 unknown rank", with_entry(entry_proto(1, [], size=4, unknown_rank=True)), Corrupt, in_index(tensor="x")),
    Case(
        "34 absurd shape",
        with_entry(entry_proto(1, [1 << 40], size=1 << 42)),
        Truncated,
        in_shard(tensor="x", offset=0, needed=1 << 42, available=40),
        "x",
    ),
    Case("34 absurd strings", with_entry(entry_proto(7, [1 << 40], size=8)), Corrupt, in_index(tensor="x"), "x"),
    Case("35 65 dimensions", with_payload(1, [1] * 65, WEIGHTS[:4]), Unsupported, in_shard(tensor="x"), "x"),
    Case("36 size too small", with_payload(1, [4], WEIGHTS, size=12), Corrupt, in_index(tensor="x"), "x"),
    Case("36 size too large", with_payload(1, [2], WEIGHTS), Corrupt, in_index(tensor="x"), "x"),
    Case("36 negative size", with_entry(entry_proto(1, [1], size=-4)), Corrupt, in_index(tensor="x")),
    Case("37 negative offset", with_entry(entry_proto(1, [1], offset=-1, size=4)), Corrupt, in_index(tensor="x")),
    Case(
        "38 end past the shard",
        with_entry(entry_proto(1, [4], offset=32, size=16)),
        Truncated,
        in_shard(tensor="x", offset=32, needed=16, available=8),
        "x",
    ),
    Case(
        "38 offset past the shard",
        with_entry(entry_proto(1, [0], offset=1 << 40)),
        Truncated,
        in_shard(tensor="x", offset=1 << 40, needed=0, available=0),
        "x",
    ),
    Case(
        "38 offset 2**63 - 1",
        with_entry(entry_proto(1, [1], offset=(1 << 63) - 1, size=4)),
        Truncated,
        in_shard(tensor="x", offset=(1 << 63) - 1, needed=4, available=0),
        "x",
    ),
    Case(
        "38 empty shard",
        change_shard(lambda data: b""),
        Truncated,
        in_shard(tensor="names", offset=16, needed=8, available=0),
        "all",
    ),
    Case("39 shard id", with_entry(entry_proto(1, [1], shard_id=1, size=4)), Corrupt, in_index(tensor="x")),
    Case("39 negative shard id", with_entry(entry_proto(1, [1], shard_id=-1, size=4)), Corrupt, in_index(tensor="x")),
    Case("41 bit of a payload", change_shard(flip_bit(0)), Checksum, in_shard(tensor="w", offset=0), "w"),
    Case("41 checksum absent", with_entry(entry_proto(1, [4], size=16)), Checksum, in_shard(tensor="x", offset=0), "x"),
    Case(
        "41 checksum unmasked",
        with_entry(
            builders.field_varint(1, 1)
            + builders.field_bytes(2, builders.shape_proto([4]))
            + builders.field_varint(5, 16)
            + builders.field_fixed32(6, builders.crc32c(WEIGHTS))
        ),
        Checksum,
        in_shard(tensor="x", offset=0),
        "x",
    ),
    Case("43 string lengths", change_shard(flip_bit(20)), Checksum, in_shard(tensor="names", offset=16), "names"),
    Case("43 string bytes", change_shard(flip_bit(23)), Checksum, in_shard(tensor="names", offset=16), "names"),
    Case(
        "44 huge string",
        with_payload(
            7,
            [1],
            builders.varint(1 << 40)
            + builders.fixed32(builders.mask(builders.crc32c((1 << 40).to_bytes(8, "little")))),
        ),
        Truncated,
        in_shard(tensor="x", offset=40, needed=1 << 40, available=10),
        "x",
    ),
    Case(
        "45 string size too large",
        with_payload(7, [1], b"\x00\xa6\x7b\x11\x3a!"),
        Corrupt,
        in_shard(tensor="x", offset=40),
        "x",
    ),
    Case(
        "45 string size too small",
        with_payload(7, [1], b"\x01\xa6\x7b\x11\x3a"),
        Corrupt,
        in_shard(tensor="x", offset=40),
        "x",
    ),
    Case(
        "46 string varint", with_payload(7, [1], b"\x80" * 11 + bytes(9)), Corrupt, in_shard(tensor="x", offset=40), "x"
    ),
    Case("47 strings without bytes", with_payload(7, [2], b""), Corrupt, in_index(tensor="x"), "x"),
    Case("47 negative string size", with_entry(entry_proto(7, [1], size=-1)), Corrupt, in_index(tensor="x")),
    Case(
        "49 slice without entry",
        with_slices(PARENT, {slice_key((0, 1)): slice_entry(1)}),
        Corrupt,
        in_index(tensor="x"),
    ),
    Case(
        "49 slices that leave a gap",
        with_slices(entry_proto(1, [4], slices=[[(0, 1)]]), {slice_key((0, 1)): slice_entry(1)}),
        Corrupt,
        in_index(tensor="x"),
        "x",
    ),
    Case(
        "49 overlapping slices",
        with_slices(
            entry_proto(1, [4], slices=[[(0, 2)], [(1, 3)]]),
            {slice_key((0, 2)): slice_entry(2), slice_key((1, 3)): slice_entry(3)},
        ),
        Corrupt,
        in_index(tensor="x"),
        "x",
    ),
    Case(
        "49 same slice twice",
        with_slices(entry_proto(1, [4], slices=[[(0, 2)], [(0, 2)]]), {slice_key((0, 2)): slice_entry(2)}),
        Corrupt,
        in_index(tensor="x"),
        "x",
    ),
    Case(
        "49 slice past the shape",
        with_slices(
            entry_proto(1, [2], slices=[[(0, 1)], [(1, 3)]]),
            {slice_key((0, 1)): slice_entry(1), slice_key((1, 3)): slice_entry(3)},
        ),
        Corrupt,
        in_index(tensor="x"),
    ),
    Case(
        "49 slice of another rank",
        with_slices(entry_proto(1, [4], slices=[[(0, 4), (0, 1)]]), {slice_key((0, 4), (0, 1)): slice_entry(4)}),
        Corrupt,
        in_index(tensor="x"),
    ),
    Case(
        "49 negative start",
        with_slices(entry_proto(1, [4], slices=[[(-1, 4)]]), {slice_key((-1, 4)): slice_entry(4)}),
        Corrupt,
        in_index(tensor="x"),
    ),
    Case("49 length 0", with_slices(entry_proto(1, [4], slices=[[(0, 0)], [None]]), {}), Corrupt, in_index(tensor="x")),
    Case(
        "49 slice entry of another shape",
        with_slices(PARENT, {slice_key((0, 1)): slice_entry(1), slice_key((1, 3)): slice_entry(3, shape=[3, 1])}),
        Corrupt,
        in_index(tensor="x"),
    ),
    Case(
        "49 slice entry of another type",
        with_slices(
            PARENT, {slice_key((0, 1)): slice_entry(1), slice_key((1, 3)): slice_entry(3, dtype=builders.INT32)}
        ),
        Corrupt,
        in_index(tensor="x"),
    ),
    Case(
        "49 slice that has slices",
        with_slices(
            PARENT, {slice_key((0, 1)): slice_entry(1), slice_key((1, 3)): entry_proto(1, [3], slices=[[None]])}
        ),
        Corrupt,
        in_index(tensor="x"),
    ),
    Case(
        "49 slice checksum",
        with_slices(
            PARENT, {slice_key((0, 1)): slice_entry(1), slice_key((1, 3)): entry_proto(1, [3], size=12, crc=5)}
        ),
        Checksum,
        in_shard(tensor="x", offset=0, stored=5),
        "x",
    ),
]


def read_all(prefix: pathlib.Path) -> dict[str, object]:
    """Open, list, describe and read everything; return the values by name."""
    with tfckpt.open(prefix) as checkpoint:
        assert len(list(checkpoint.infos())) == len(checkpoint)
        return {name: checkpoint[name].tolist() for name in checkpoint}


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_damage_raises_the_expected_error(tmp_path: pathlib.Path, case: Case) -> None:
    """The class and the attributes are exact, and the message is one line."""
    prefix = case.write(tmp_path)

    with pytest.raises(case.error) as caught:
        read_all(prefix)

    expected = {**case.attributes, "path": f"{tmp_path}/{case.attributes['path']}"}
    assert type(caught.value) is case.error
    assert {name: getattr(caught.value, name) for name in expected} == expected
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", [case for case in CASES if case.only], ids=lambda case: case.name)
def test_damage_of_one_tensor_leaves_the_others_readable(tmp_path: pathlib.Path, case: Case) -> None:
    """All names are listed, or found one by one, and only the damaged tensors fail."""
    prefix = case.write(tmp_path)

    with tfckpt.open(prefix) as checkpoint:
        names = SCALAR_NAMES if case.name.startswith("12") else list(checkpoint)
        failed = set()
        for name in names:
            try:
                checkpoint[name]
            except tfckpt.CheckpointError as error:
                assert error.tensor == name or case.name.startswith("12")
                failed.add(name)

    if case.only == "all":
        assert failed == set(names)
    elif case.name.startswith("12"):
        assert failed == set(SCALAR_NAMES[6:])
    else:
        assert failed == {case.only}


def test_valid_bundles_are_read(tmp_path: pathlib.Path) -> None:
    """All cases above start from these."""
    (tmp_path / "late").mkdir()

    values = read_all(valid_bundle().write(tmp_path))
    scalars = read_all(twelve_scalars(in_two_blocks())(tmp_path / "late"))

    assert values == {"names": [b"hi", b""], "part": [1, 2, 3, 4], "w": [[1, 2], [3, 4]]}
    assert scalars == dict.fromkeys(SCALAR_NAMES, 1.0)


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda folder: Bundle().write(folder), {}),
        (with_header(builders.header_proto(producer=100)), None),
        (with_header(builders.field_varint(1, 1)), None),
        (with_header(builders.header_proto() + builders.field_varint(9, 9)), None),
        (change_shard(lambda data: data + bytes(100)), None),
        (with_entry(SAME_BYTES), {"x": [1, 2, 3, 4]}),
        (with_entry(SAME_BYTES + builders.field_bytes(40, b"new")), {"x": [1, 2, 3, 4]}),
        (with_entry(entry_proto(1, None, size=4, crc=builders.crc32c(WEIGHTS[:4]))), {"x": 1}),
        (with_entry(entry_proto(1, [0, 1 << 40], crc=0)), {"x": []}),
        (with_payload(7, [0], b""), {"x": []}),
        (with_payload(1, [1] * 32, WEIGHTS[:4]), None),
        (
            with_slices(PARENT, {slice_key((0, 1)): slice_entry(1), slice_key((1, 3)): slice_entry(3)}),
            {"x": [1, 1, 2, 3]},
        ),
        (
            with_slices(PARENT_OF_SHARD_9, {slice_key((0, 1)): slice_entry(1), slice_key((1, 3)): slice_entry(3)}),
            {"x": [1, 1, 2, 3]},
        ),
    ],
    ids=[
        "25 header only",
        "27 producer 100",
        "27 no version",
        "54 unknown field of the header",
        "40 shard longer than used",
        "42 two tensors of the same bytes",
        "54 unknown field of an entry",
        "33 no shape",
        "38 empty tensor",
        "47 no strings without bytes",
        "35 32 dimensions",
        "49 slices",
        "49 slices of a parent with a meaningless shard id",
    ],
)
def test_unusual_but_legal_bundles_are_read(
    tmp_path: pathlib.Path, write: Breaker, expected: dict[str, object] | None
) -> None:
    """TensorFlow reads them too."""
    values = read_all(write(tmp_path))

    rest = {"names": [b"hi", b""], "part": [1, 2, 3, 4], "w": [[1, 2], [3, 4]]}
    assert expected == {} or rest.items() <= values.items()
    assert expected is None or {name: values[name] for name in values if name not in rest} == expected


def test_missing_shard_affects_only_its_tensors(tmp_path: pathlib.Path) -> None:
    """Row 39: listing works, and the error has the path of the shard."""
    bundle = valid_bundle(num_shards=2).add("other", builders.FLOAT, [], WEIGHTS[:4], shard_id=1)
    prefix = bundle.write(tmp_path)
    lost = tmp_path / "model.data-00001-of-00002"
    lost.unlink()

    with tfckpt.open(prefix) as checkpoint:
        assert list(checkpoint) == ["names", "other", "part", "w"]
        assert checkpoint.missing_files() == {str(lost): ("other",)}
        assert checkpoint["w"].tolist() == [[1, 2], [3, 4]]
        with pytest.raises(Missing) as caught:
            checkpoint["other"]

    assert (caught.value.path, caught.value.tensor) == (str(lost), "other")


def test_names_that_are_not_utf8_use_surrogates(tmp_path: pathlib.Path) -> None:
    """Row 55: TensorFlow's listing fails; here such a name can be listed, looked up and printed."""
    prefix = Bundle().add(b"a\xff\xfe", builders.FLOAT, [], WEIGHTS[:4]).write(tmp_path)

    with tfckpt.open(prefix) as checkpoint:
        (name,) = checkpoint
        assert name == "a\udcff\udcfe"
        assert checkpoint[name] == 1
        assert "a\ud800" not in checkpoint
        with pytest.raises(tfckpt.TensorNotFoundError) as caught:
            checkpoint["a\ud800"]

    assert str(caught.value).isprintable()


def test_slice_keys_are_hidden_and_names_like_them_are_not(tmp_path: pathlib.Path) -> None:
    """A name may start with a zero byte; only the keys of a tensor's own slices are hidden."""
    like = builders.slice_key(b"part", [(0, 2)])
    like_name = like.decode("utf-8", "surrogateescape")
    prefix = valid_bundle().add(like, builders.FLOAT, [], WEIGHTS[:4]).write(tmp_path)

    with tfckpt.open(prefix) as checkpoint:
        assert list(checkpoint) == [like_name, "names", "part", "w"]
        assert checkpoint[like_name] == 1
        assert builders.slice_key(b"part", [(0, 1)]).decode("utf-8", "surrogateescape") not in checkpoint


def test_damaged_payload_can_be_read_without_verification(tmp_path: pathlib.Path) -> None:
    """Row 41: this saves what a damaged file still contains."""
    prefix = change_shard(flip_bit(3))(tmp_path)

    with tfckpt.open(prefix) as checkpoint:
        with pytest.raises(Checksum):
            checkpoint.read("w")
        assert checkpoint.read("w", verify=False).ravel()[1:].tolist() == [2, 3, 4]


@pytest.mark.parametrize(("name", "absent"), [("name/03", "name/99"), ("name/11", "m"), ("name/00", "name/005")])
def test_name_is_reported_absent_only_if_the_index_is_valid(tmp_path: pathlib.Path, name: str, absent: str) -> None:
    """A lookup without a result checks every block, since a damaged block could contain the name."""
    for folder in ("valid", "damaged"):
        (tmp_path / folder).mkdir()
    valid = twelve_scalars(in_two_blocks())(tmp_path / "valid")
    damaged = twelve_scalars(small_separators)(tmp_path / "damaged")

    with tfckpt.open(valid) as checkpoint:
        assert name in checkpoint
        assert absent not in checkpoint
    with tfckpt.open(damaged) as checkpoint, pytest.raises(Corrupt):
        assert absent in checkpoint
