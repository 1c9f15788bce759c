"""What can be wrong with a tensor bundle, as a catalogue; the row numbers are those of docs/format.md.

Every case is a small bundle with one thing wrong, beside the nearest bundle that is accepted.
Opening it, listing it and reading all of it has to end in the error that is named here, and never in another.
"""

from __future__ import annotations

import dataclasses
import pathlib
import struct
from collections.abc import Callable

import pytest
import snappy

import tfckpt
from tests import builders
from tests.builders import Bundle, entry_proto, table_of_blocks

WEIGHTS = struct.pack("<4f", 1, 2, 3, 4)
LATE_NAMES = [f"name/{number:02}" for number in range(12)]

Breaker = Callable[[pathlib.Path], pathlib.Path]


def sound(*, num_shards: int = 1) -> Bundle:
    """A bundle of two tensors and of a partitioned one."""
    bundle = Bundle(num_shards=num_shards).add("w", builders.FLOAT, [2, 2], WEIGHTS)
    bundle.add_strings("names", [b"hi", b""])
    return bundle.add_slices("part", builders.FLOAT, [4], [([(0, 1)], WEIGHTS[:4]), ([(1, 3)], WEIGHTS[4:])])


def late(index: Callable[[list[tuple[bytes, bytes]]], bytes]) -> Breaker:
    """A bundle of twelve scalars whose index file is made from its entries in a way of its own."""

    def write(folder: pathlib.Path) -> pathlib.Path:
        bundle = Bundle()
        for name in LATE_NAMES:
            bundle.add(name, builders.FLOAT, [], WEIGHTS[:4])
        return bundle.write(folder, index=index(bundle.sorted_entries()))

    return write


def index_bytes(change: Callable[[bytearray], bytes | bytearray]) -> Breaker:
    """The sound bundle with the bytes of its index changed."""
    return lambda folder: sound().write(folder, index=bytes(change(bytearray(sound().index()))))


def data_bytes(change: Callable[[bytearray], bytes | bytearray]) -> Breaker:
    """The sound bundle with the bytes of its data shard changed."""

    def write(folder: pathlib.Path) -> pathlib.Path:
        bundle = sound()
        bundle.shards[0] = bytearray(change(bundle.shards[0]))
        return bundle.write(folder)

    return write


def blocks(**broken: object) -> Breaker:
    """The sound bundle with one block, and keywords of `table_of_blocks`."""
    entries = sound().sorted_entries()

    def write(folder: pathlib.Path) -> pathlib.Path:
        return sound().write(folder, index=table_of_blocks([builders.block(entries)], [b"z"], **broken))  # type: ignore[arg-type]  # each keyword has its own type

    return write


def header(data: bytes) -> Breaker:
    """The sound bundle under another header."""
    return lambda folder: sound().put_entry(b"", data).write(folder)


def entry(data: bytes) -> Breaker:
    """The sound bundle with one more entry, `x`."""
    return lambda folder: sound().put_entry("x", data).write(folder)


def payload(dtype: int, shape: list[int], data: bytes, *, crc: int | None = None, size: int | None = None) -> Breaker:
    """The sound bundle with one more tensor, `x`."""
    return lambda folder: sound().add("x", dtype, shape, data, crc=crc, size=size).write(folder)


def slices(parent: bytes, pieces: dict[bytes, bytes]) -> Breaker:
    """The sound bundle with a partitioned tensor `x` given as its parent entry and its slices' entries by key."""

    def write(folder: pathlib.Path) -> pathlib.Path:
        bundle = sound().put_entry("x", parent)
        for key, data in pieces.items():
            bundle.put_entry(key, data)
        return bundle.write(folder)

    return write


def key(*extents: tuple[int, int] | None) -> bytes:
    """The key of one slice of `x`."""
    return builders.slice_key(b"x", extents)


def piece(count: int, *, dtype: int = builders.FLOAT, shape: list[int] | None = None) -> bytes:
    """The entry of one slice of so many elements; its bytes are those of `w`."""
    data = WEIGHTS[: 4 * count]
    return entry_proto(dtype, [count] if shape is None else shape, size=len(data), crc=builders.crc32c(data))


def one_bit(place: int) -> Callable[[bytearray], bytearray]:
    """Change one bit of the byte at a place."""

    def change(data: bytearray) -> bytearray:
        data[place] ^= 0x40
        return data

    return change


@dataclasses.dataclass(frozen=True)
class Case:
    """One row: what is wrong, the error and part of its text, and the tensors that are still read, if any."""

    name: str
    write: Breaker
    error: type[tfckpt.CheckpointError]
    text: str
    #: Opening and listing succeed; only tensors with this name fail.
    only: str | None = None


def in_two_blocks(second: Callable[[bytes], bytes] = builders.plain) -> Callable[[list[tuple[bytes, bytes]]], bytes]:
    """An index of two blocks, the second framed in a way of its own."""

    def make(entries: list[tuple[bytes, bytes]]) -> bytes:
        framers = iter([builders.plain, second])
        return builders.table(entries, per_block=7, frame_data=lambda contents: next(framers)(contents))

    return make


def swapped(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Two neighbours in the wrong order."""
    return builders.table([*entries[:4], entries[5], entries[4], *entries[6:]])


def doubled(entries: list[tuple[bytes, bytes]]) -> bytes:
    """One name twice."""
    return builders.table([*entries[:5], *entries[4:]])


def bad_entry(entries: list[tuple[bytes, bytes]]) -> bytes:
    """A table entry after the header that claims more bytes than there are."""
    contents = builders.table_entry(0, b"", entries[0][1]) + builders.table_entry(0, b"a", b"", value_length=9)
    return table_of_blocks([builders.raw_block(contents)], [b"z"])


def overflowing(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Lengths of a table entry whose sum is small in 32 bits."""
    broken = builders.table_entry(0, b"a", b"", unshared=0xFFFFFFF0, value_length=0x20)
    return table_of_blocks([builders.raw_block(builders.table_entry(0, b"", entries[0][1]) + broken)], [b"z"])


def small_separator(entries: list[tuple[bytes, bytes]]) -> bytes:
    """A separator that is less than the last key of its block."""
    return builders.table(entries, per_block=5, separators=[b"name/03", b"name/07", b"z"])


def second_header(entries: list[tuple[bytes, bytes]]) -> bytes:
    """The empty key twice."""
    return builders.table([entries[0], *entries])


BOMB = builders.varint((1 << 32) - 1) + bytes(20)
Corrupt, Truncated, Checksum = tfckpt.CorruptionError, tfckpt.TruncatedError, tfckpt.ChecksumError
Missing, Unsupported, Limit = tfckpt.CheckpointNotFoundError, tfckpt.UnsupportedFeatureError, tfckpt.LimitExceededError

SAME_BYTES = entry_proto(builders.FLOAT, [4], size=16, crc=builders.crc32c(WEIGHTS))
PARENT_OF_SHARD_9 = entry_proto(builders.FLOAT, [4], shard_id=9, slices=[[(1, 3)], [(0, 1)]])
PARENT = entry_proto(builders.FLOAT, [4], slices=[[(0, 1)], [(1, 3)]])

CASES = [
    Case("01 no file", lambda folder: folder / "model", Missing, "no such checkpoint"),
    Case("02 empty index", index_bytes(lambda data: b""), Missing, "an empty file"),
    Case("02 index of 47 bytes", index_bytes(lambda data: data[-47:]), Corrupt, "not an index file"),
    Case("03 index cut at its end", index_bytes(lambda data: data[:-1]), Corrupt, "not an index file"),
    Case("03 junk after the index", index_bytes(lambda data: data + b"!"), Corrupt, "not an index file"),
    Case("03 magic number", index_bytes(one_bit(-1)), Corrupt, "not an index file"),
    Case("04 index cut at its head", index_bytes(lambda data: data[1:]), Corrupt, "crc32c|past the end|entry|handle"),
    Case("05 footer varints", blocks(index_handle=b"\x80" * 20), Corrupt, "varint64"),
    Case("06 footer padding", blocks(padding=b"\1"), Corrupt, "padding"),
    Case("07 index past the end", blocks(index_handle=(1 << 20, 8)), Truncated, "index block .*past the end"),
    Case("08 index of 2**40 bytes", blocks(index_handle=(0, 1 << 40)), Truncated, "index block .*past the end"),
    Case("08 index of 2**63 bytes", blocks(index_handle=(0, 1 << 63)), Truncated, "index block .*past the end"),
    Case(
        "08 index of 2**64 - 1 bytes", blocks(index_handle=(1, (1 << 64) - 1)), Truncated, "index block .*past the end"
    ),
    Case(
        "09 metaindex past the end", blocks(metaindex_handle=(1 << 20, 8)), Truncated, "metaindex block .*past the end"
    ),
    Case("09 metaindex is no block", blocks(metaindex=b"\1\2\3"), Corrupt, "metaindex"),
    Case(
        "10 index block checksum",
        blocks(frame_index=lambda contents: builders.frame(contents, crc=0)),
        Checksum,
        "index block",
    ),
    Case("10 index block without handle", blocks(handle_of=lambda *_: b""), Corrupt, "bad handle"),
    Case(
        "10 index entry of another size",
        blocks(handle_of=lambda _, place: builders.handle(*place)[:1] + b"\5"),
        Corrupt,
        "crc32c|damaged|header",
    ),
    Case("11 first data block checksum", index_bytes(one_bit(4)), Checksum, "data block 0"),
    Case(
        "11 first data block tag", blocks(frame_data=lambda contents: builders.frame(contents, tag=7)), Corrupt, "tag 7"
    ),
    Case(
        "12 later data block checksum",
        late(in_two_blocks(lambda contents: builders.frame(contents, crc=1))),
        Checksum,
        "data block 1",
        "name/06",
    ),
    Case("13 bad table entry", late(bad_entry), Truncated, "table entry .*: 10 bytes needed"),
    Case("14 lengths that overflow", late(overflowing), Truncated, "table entry .*: 4294967312 bytes needed"),
    Case(
        "15 restart count",
        late(lambda entries: table_of_blocks([builders.block(entries, restart_count=1 << 30)], [b"z"])),
        Corrupt,
        "cannot hold 1073741824 restart points",
    ),
    Case(
        "15 restart count 0",
        late(lambda entries: table_of_blocks([builders.block(entries, restart_count=0)], [b"z"])),
        Corrupt,
        "cannot hold 0 restart points",
    ),
    Case(
        "16 snappy garbage",
        blocks(frame_data=lambda contents: builders.frame(b"\x20" + bytes(31), tag=1)),
        Corrupt,
        "snappy",
    ),
    Case(
        "16 snappy cut short",
        blocks(frame_data=lambda contents: builders.frame(snappy.compress(contents)[:-1], tag=1)),
        Corrupt,
        "snappy",
    ),
    Case("17 snappy bomb", blocks(frame_data=lambda contents: builders.frame(BOMB, tag=1)), Corrupt, "are possible"),
    Case("18 keys out of order", late(swapped), Corrupt, "does not come after"),
    Case("19 separator too small", late(small_separator), Corrupt, "after its block's separator"),
    Case("20 duplicate key", late(doubled), Corrupt, "does not come after"),
    Case("21 no header", late(lambda entries: builders.table(entries[1:])), Corrupt, "without a bundle header"),
    Case("22 second header", late(second_header), Corrupt, "does not come after"),
    Case("23 empty table", late(lambda entries: builders.table([])), Corrupt, "without a bundle header"),
    Case("24 header that does not parse", header(b"\x08"), Corrupt, "do not parse as BundleHeaderProto"),
    Case("26 no shards", header(builders.header_proto(0)), Corrupt, "0 data shards"),
    Case("26 negative shards", header(builders.header_proto(-1)), Corrupt, "-1 data shards"),
    Case("26 too few shards named", header(builders.header_proto(2)), Missing, "data shard 0 of 2 is missing", "all"),
    Case("26 2**31 - 1 shards", header(builders.header_proto((1 << 31) - 1)), Limit, "max_shards"),
    Case("27 version", header(builders.header_proto(min_consumer=2)), Unsupported, "version 2"),
    Case("27 bad consumer", header(builders.header_proto(bad_consumers=[1])), Unsupported, "must not be read"),
    Case("28 byte order", header(builders.header_proto(endianness=2)), Corrupt, "byte order 2"),
    Case("29 entry that does not parse", entry(b"\x0a"), Corrupt, "do not parse as BundleEntryProto"),
    Case("30 dtype 0", payload(0, [1], WEIGHTS[:4]), Unsupported, "DT_UNKNOWN_0 cannot be read", "x"),
    Case("30 unknown dtype", payload(99, [1], WEIGHTS[:4]), Unsupported, "cannot be read", "x"),
    Case("30 reference dtype", payload(101, [1], WEIGHTS[:4]), Unsupported, "cannot be read", "x"),
    Case("31 resource", payload(20, [1], b""), Unsupported, "DT_RESOURCE cannot be read", "x"),
    Case("32 negative dimension", entry(entry_proto(1, [-1], size=4)), Corrupt, "negative dimension"),
    Case("32 255 dimensions", entry(entry_proto(1, [1] * 255, size=4)), Corrupt, "255 dimensions"),
    Case("32 product overflows", entry(entry_proto(1, [1 << 62, 4], size=4)), Corrupt, r"2\*\*63"),
    Case("33 unknown rank", entry(entry_proto(1, [], size=4, unknown_rank=True)), Corrupt, "unknown rank"),
    Case("34 absurd shape", entry(entry_proto(1, [1 << 40], size=1 << 42)), Truncated, "past the end", "x"),
    Case("34 absurd strings", entry(entry_proto(7, [1 << 40], size=8)), Corrupt, "strings take a byte each", "x"),
    Case("35 65 dimensions", payload(1, [1] * 65, WEIGHTS[:4]), Unsupported, "65 dimensions", "x"),
    Case("36 size too small", payload(1, [4], WEIGHTS, size=12), Corrupt, "takes 16 bytes, the entry says 12", "x"),
    Case("36 size too large", payload(1, [2], WEIGHTS), Corrupt, "takes 8 bytes, the entry says 16", "x"),
    Case("36 negative size", entry(entry_proto(1, [1], size=-4)), Corrupt, "size -4"),
    Case("37 negative offset", entry(entry_proto(1, [1], offset=-1, size=4)), Corrupt, "offset -1"),
    Case("38 end past the shard", entry(entry_proto(1, [4], offset=32, size=16)), Truncated, "past the end", "x"),
    Case("38 offset past the shard", entry(entry_proto(1, [0], offset=1 << 40)), Truncated, "past the end", "x"),
    Case("38 offset 2**63 - 1", entry(entry_proto(1, [1], offset=(1 << 63) - 1, size=4)), Truncated, "past the", "x"),
    Case("38 empty shard", data_bytes(lambda data: b""), Truncated, "past the end", "all"),
    Case("39 shard id", entry(entry_proto(1, [1], shard_id=1, size=4)), Corrupt, "data shard 1 of 1"),
    Case("39 negative shard id", entry(entry_proto(1, [1], shard_id=-1, size=4)), Corrupt, "data shard -1 of 1"),
    Case("41 bit of a payload", data_bytes(one_bit(0)), Checksum, "payload of 16 bytes has crc32c", "w"),
    Case("41 checksum absent", entry(entry_proto(1, [4], size=16)), Checksum, "stored is", "x"),
    Case(
        "41 checksum unmasked",
        entry(
            builders.field_varint(1, 1)
            + builders.field_bytes(2, builders.shape_proto([4]))
            + builders.field_varint(5, 16)
            + builders.field_fixed32(6, builders.crc32c(WEIGHTS))
        ),
        Checksum,
        "stored is",
        "x",
    ),
    Case("43 string lengths", data_bytes(one_bit(20)), Checksum, "lengths of 2 strings", "names"),
    Case("43 string bytes", data_bytes(one_bit(23)), Checksum, "payload of 8 bytes", "names"),
    Case(
        "44 huge string",
        payload(
            7,
            [1],
            builders.varint(1 << 40)
            + builders.fixed32(builders.mask(builders.crc32c((1 << 40).to_bytes(8, "little")))),
        ),
        Corrupt,
        ": 1099511627776 bytes needed",
        "x",
    ),
    Case("45 string size too large", payload(7, [1], b"\x00\xa6\x7b\x11\x3a!"), Corrupt, "take 5 bytes", "x"),
    Case("45 string size too small", payload(7, [1], b"\x01\xa6\x7b\x11\x3a"), Corrupt, "take 6 bytes", "x"),
    Case("46 string varint", payload(7, [1], b"\x80" * 11 + bytes(9)), Corrupt, "past 10 bytes", "x"),
    Case("47 strings without bytes", payload(7, [2], b""), Corrupt, "2 strings take", "x"),
    Case("47 negative string size", entry(entry_proto(7, [1], size=-1)), Corrupt, "size -1"),
    Case("49 slice without entry", slices(PARENT, {key((0, 1)): piece(1)}), Corrupt, "1,3 of the tensor has no entry"),
    Case(
        "49 slices that leave a gap",
        slices(entry_proto(1, [4], slices=[[(0, 1)]]), {key((0, 1)): piece(1)}),
        Corrupt,
        "hold 1 of 4",
        "x",
    ),
    Case(
        "49 overlapping slices",
        slices(entry_proto(1, [4], slices=[[(0, 2)], [(1, 3)]]), {key((0, 2)): piece(2), key((1, 3)): piece(3)}),
        Corrupt,
        "overlap",
        "x",
    ),
    Case(
        "49 same slice twice",
        slices(entry_proto(1, [4], slices=[[(0, 2)], [(0, 2)]]), {key((0, 2)): piece(2)}),
        Corrupt,
        "overlap",
        "x",
    ),
    Case(
        "49 slice past the shape",
        slices(entry_proto(1, [2], slices=[[(0, 1)], [(1, 3)]]), {key((0, 1)): piece(1), key((1, 3)): piece(3)}),
        Corrupt,
        "past the shape",
    ),
    Case(
        "49 slice of another rank",
        slices(entry_proto(1, [4], slices=[[(0, 4), (0, 1)]]), {key((0, 4), (0, 1)): piece(4)}),
        Corrupt,
        "different rank",
    ),
    Case(
        "49 negative start",
        slices(entry_proto(1, [4], slices=[[(-1, 4)]]), {key((-1, 4)): piece(4)}),
        Corrupt,
        "start -1",
    ),
    Case("49 length 0", slices(entry_proto(1, [4], slices=[[(0, 0)], [None]]), {}), Corrupt, "length 0"),
    Case(
        "49 slice entry of another shape",
        slices(PARENT, {key((0, 1)): piece(1), key((1, 3)): piece(3, shape=[3, 1])}),
        Corrupt,
        r"stored as float32 \[3, 1\], expected float32 \[3\]",
    ),
    Case(
        "49 slice entry of another type",
        slices(PARENT, {key((0, 1)): piece(1), key((1, 3)): piece(3, dtype=builders.INT32)}),
        Corrupt,
        "stored as int32",
    ),
    Case(
        "49 slice that has slices",
        slices(PARENT, {key((0, 1)): piece(1), key((1, 3)): entry_proto(1, [3], slices=[[None]])}),
        Corrupt,
        "slice 1,3 is stored as",
    ),
    Case(
        "49 slice checksum",
        slices(PARENT, {key((0, 1)): piece(1), key((1, 3)): entry_proto(1, [3], size=12, crc=5)}),
        Checksum,
        "stored is 0x00000005",
        "x",
    ),
]


def read_all(prefix: pathlib.Path) -> dict[str, object]:
    """Open, list, describe and read everything."""
    with tfckpt.open(prefix) as checkpoint:
        assert len(list(checkpoint.infos())) == len(checkpoint)
        return {name: checkpoint[name].tolist() for name in checkpoint}


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_damage_is_named_by_one_of_our_errors(tmp_path: pathlib.Path, case: Case) -> None:
    """Nothing but the error that is expected, with a message of one line that says where."""
    prefix = case.write(tmp_path)

    with pytest.raises(case.error, match=case.text) as caught:
        read_all(prefix)

    assert type(caught.value) is case.error or case.error is Corrupt
    assert "\n" not in str(caught.value)
    assert caught.value.path is not None
    assert caught.value.path.startswith(str(tmp_path))


@pytest.mark.parametrize("case", [case for case in CASES if case.only], ids=lambda case: case.name)
def test_damage_of_one_tensor_leaves_the_others_readable(tmp_path: pathlib.Path, case: Case) -> None:
    """The names are all there, or found one by one, and only what is damaged fails."""
    prefix = case.write(tmp_path)

    with tfckpt.open(prefix) as checkpoint:
        names = LATE_NAMES if case.name.startswith("12") else list(checkpoint)
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
        assert failed == set(LATE_NAMES[6:])
    else:
        assert failed == {case.only}


def test_sound_bundles_beside_the_damaged_ones_are_read(tmp_path: pathlib.Path) -> None:
    """What every case above starts from."""
    (tmp_path / "late").mkdir()

    found = read_all(sound().write(tmp_path))
    many = read_all(late(in_two_blocks())(tmp_path / "late"))

    assert found == {"names": [b"hi", b""], "part": [1, 2, 3, 4], "w": [[1, 2], [3, 4]]}
    assert many == dict.fromkeys(LATE_NAMES, 1.0)


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda folder: Bundle().write(folder), {}),
        (header(builders.header_proto(producer=100)), None),
        (header(builders.field_varint(1, 1)), None),
        (header(builders.header_proto() + builders.field_varint(9, 9)), None),
        (data_bytes(lambda data: data + bytes(100)), None),
        (entry(SAME_BYTES), {"x": [1, 2, 3, 4]}),
        (entry(SAME_BYTES + builders.field_bytes(40, b"new")), {"x": [1, 2, 3, 4]}),
        (entry(entry_proto(1, None, size=4, crc=builders.crc32c(WEIGHTS[:4]))), {"x": 1}),
        (entry(entry_proto(1, [0, 1 << 40], crc=0)), {"x": []}),
        (payload(7, [0], b""), {"x": []}),
        (payload(1, [1] * 32, WEIGHTS[:4]), None),
        (slices(PARENT, {key((0, 1)): piece(1), key((1, 3)): piece(3)}), {"x": [1, 1, 2, 3]}),
        (slices(PARENT_OF_SHARD_9, {key((0, 1)): piece(1), key((1, 3)): piece(3)}), {"x": [1, 1, 2, 3]}),
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
        "49 slices of a parent with a shard that means nothing",
    ],
)
def test_what_is_unusual_and_legal_is_read(
    tmp_path: pathlib.Path, write: Breaker, expected: dict[str, object] | None
) -> None:
    """Neighbours of the damage above that TensorFlow reads too."""
    found = read_all(write(tmp_path))

    rest = {"names": [b"hi", b""], "part": [1, 2, 3, 4], "w": [[1, 2], [3, 4]]}
    assert expected == {} or rest.items() <= found.items()
    assert expected is None or {name: found[name] for name in found if name not in rest} == expected


def test_missing_shard_costs_only_its_tensors(tmp_path: pathlib.Path) -> None:
    """Row 39: listing works, and the error says how many tensors are lost and what to do."""
    bundle = sound(num_shards=2).add("other", builders.FLOAT, [], WEIGHTS[:4], shard_id=1)
    prefix = bundle.write(tmp_path)
    lost = tmp_path / "model.data-00001-of-00002"
    lost.unlink()

    with tfckpt.open(prefix) as checkpoint:
        assert list(checkpoint) == ["names", "other", "part", "w"]
        assert checkpoint.missing_files() == {str(lost): ("other",)}
        assert checkpoint["w"].tolist() == [[1, 2], [3, 4]]
        with pytest.raises(Missing, match="data shard 1 of 2 is missing; 1 of 4 tensors cannot be read") as caught:
            checkpoint["other"]

    assert caught.value.path == str(lost)


def test_non_utf8_names_come_as_lone_surrogates_and_lead_back(tmp_path: pathlib.Path) -> None:
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
    """A name may begin with a zero byte; only what a tensor's own slices name is hidden."""
    like = builders.slice_key(b"part", [(0, 2)])
    like_name = like.decode("utf-8", "surrogateescape")
    prefix = sound().add(like, builders.FLOAT, [], WEIGHTS[:4]).write(tmp_path)

    with tfckpt.open(prefix) as checkpoint:
        assert list(checkpoint) == [like_name, "names", "part", "w"]
        assert checkpoint[like_name] == 1
        assert builders.slice_key(b"part", [(0, 1)]).decode("utf-8", "surrogateescape") not in checkpoint


def test_payload_is_read_past_a_wrong_checksum_without_verification(tmp_path: pathlib.Path) -> None:
    """Row 41: to save what a damaged file still holds."""
    prefix = data_bytes(one_bit(3))(tmp_path)

    with tfckpt.open(prefix) as checkpoint:
        with pytest.raises(Checksum):
            checkpoint.read("w")
        assert checkpoint.read("w", verify=False).ravel()[1:].tolist() == [2, 3, 4]


@pytest.mark.parametrize(("name", "absent"), [("name/03", "name/99"), ("name/11", "m"), ("name/00", "name/005")])
def test_name_is_denied_only_when_all_of_the_index_is_sound(tmp_path: pathlib.Path, name: str, absent: str) -> None:
    """A lookup that finds nothing checks every block, since a damaged one could hold the name."""
    for folder in ("sound", "damaged"):
        (tmp_path / folder).mkdir()
    whole = late(in_two_blocks())(tmp_path / "sound")
    broken = late(small_separator)(tmp_path / "damaged")

    with tfckpt.open(whole) as checkpoint:
        assert name in checkpoint
        assert absent not in checkpoint
    with tfckpt.open(broken) as checkpoint, pytest.raises(Corrupt):
        assert absent in checkpoint
