"""Tables, bundles and protobuf messages made by hand, sound or with any one thing wrong.

It follows the written format and shares no code with the package, so that one mistake cannot sit in both.
Every builder gives sound bytes by default, and each keyword breaks one thing.
Checksums are right unless asked otherwise, so that a test reaches the rule it is about.

Layers, low to high: numbers and checksums, protobuf fields, ordered codes, a block, a table, a bundle.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import crc32c as castagnoli
import snappy

MAGIC = bytes.fromhex("57fb808b247547db")
EMPTY_BLOCK = bytes.fromhex("0000000001000000")

FLOAT, DOUBLE, INT32, UINT8, STRING, INT64, BOOL, HALF = 1, 2, 3, 4, 7, 9, 10, 19

# Numbers and checksums


def crc32c(data: bytes, crc: int = 0) -> int:
    """The Castagnoli checksum, continuing from `crc`."""
    return castagnoli.crc32c(data, crc)


def mask(crc: int) -> int:
    """The form in which a checksum is stored."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value: int, *, width: int = 1) -> bytes:
    """LEB128 of a number in [0, 2**64), or of a negative one as its 64-bit complement; at least `width` bytes."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F or len(out) < width - 1:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def fixed32(value: int) -> bytes:
    """Four bytes, little-endian."""
    return struct.pack("<I", value)


# Protobuf fields


def field_varint(number: int, value: int, *, keep_zero: bool = False) -> bytes:
    """A numeric field; left out when 0, as writers do, unless `keep_zero`."""
    return varint(number << 3) + varint(value) if value or keep_zero else b""


def field_fixed32(number: int, value: int) -> bytes:
    """A fixed32 field."""
    return varint(number << 3 | 5) + fixed32(value)


def field_bytes(number: int, data: bytes) -> bytes:
    """A string, bytes or message field."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def shape_proto(shape: Iterable[int], *, unknown_rank: bool = False) -> bytes:
    """A TensorShapeProto."""
    return b"".join(field_bytes(2, field_varint(1, size)) for size in shape) + field_varint(3, unknown_rank)


Extents = Sequence[tuple[int, int] | None]


def slice_proto(extents: Extents) -> bytes:
    """A TensorSliceProto; None is a whole dimension, else (start, length)."""
    return b"".join(
        field_bytes(
            1, b"" if extent is None else field_varint(1, extent[0]) + field_varint(2, extent[1], keep_zero=True)
        )
        for extent in extents
    )


def header_proto(
    num_shards: int = 1,
    *,
    endianness: int = 0,
    producer: int = 1,
    min_consumer: int = 0,
    bad_consumers: Sequence[int] = (),
    packed: bool = True,
) -> bytes:
    """A BundleHeaderProto."""
    version = field_varint(1, producer) + field_varint(2, min_consumer)
    if packed and bad_consumers:
        version += field_bytes(3, b"".join(map(varint, bad_consumers)))
    else:
        version += b"".join(field_varint(3, number) for number in bad_consumers)
    return field_varint(1, num_shards) + field_varint(2, endianness) + field_bytes(3, version)


def entry_proto(
    dtype: int,
    shape: Sequence[int] | None,
    *,
    shard_id: int = 0,
    offset: int = 0,
    size: int = 0,
    crc: int | None = None,
    slices: Sequence[Extents] = (),
    unknown_rank: bool = False,
) -> bytes:
    """A BundleEntryProto; `crc` is the unmasked checksum and is left out when None, `shape` too."""
    out = field_varint(1, dtype)
    if shape is not None:
        out += field_bytes(2, shape_proto(shape, unknown_rank=unknown_rank))
    out += field_varint(3, shard_id) + field_varint(4, offset) + field_varint(5, size)
    if crc is not None:
        out += field_fixed32(6, mask(crc))
    return out + b"".join(field_bytes(7, slice_proto(extents)) for extents in slices)


# Ordered codes


def ordered_number(value: int) -> bytes:
    """N(u)."""
    digits = value.to_bytes(8, "big").lstrip(b"\0")
    return bytes([len(digits)]) + digits


def ordered_string(value: bytes) -> bytes:
    """S(s)."""
    out = bytearray()
    for byte in value:
        out += {0: b"\x00\xff", 255: b"\xff\x00"}.get(byte, bytes([byte]))
    return bytes(out) + b"\x00\x01"


def ordered_signed(value: int) -> bytes:
    """I(v)."""
    length = next(n for n in range(1, 11) if -(1 << (7 * n - 1)) <= value < 1 << (7 * n - 1))
    out = bytearray(
        value.to_bytes(length, "big", signed=True) if length < 9 else value.to_bytes(10, "big", signed=True)
    )
    out = out[-length:]
    header = {9: b"\xff\x80", 10: b"\xff\xc0"}.get(length) or bytes([0xFF << (8 - length) & 0xFF])
    for place, bits in enumerate(header):
        out[place] ^= bits
    return bytes(out)


def slice_key(name: bytes, extents: Extents) -> bytes:
    """The key of one slice of a partitioned tensor."""
    out = ordered_number(0) + ordered_string(name) + ordered_number(len(extents))
    for extent in extents:
        start, length = (0, -1) if extent is None else extent
        out += ordered_signed(start) + ordered_signed(length)
    return out


# Blocks

Entries = Sequence[tuple[bytes, bytes]]


def table_entry(
    shared: int, delta: bytes, value: bytes, *, unshared: int | None = None, value_length: int | None = None
) -> bytes:
    """One entry of a block; `unshared` and `value_length` are the lengths it claims."""
    return (
        varint(shared)
        + varint(len(delta) if unshared is None else unshared)
        + varint(len(value) if value_length is None else value_length)
        + delta
        + value
    )


def block(
    entries: Entries,
    *,
    restart_interval: int = 16,
    restarts: Sequence[int] | None = None,
    restart_count: int | None = None,
    junk: bytes = b"",
) -> bytes:
    """The contents of a block, entries in the order given.

    `restarts` and `restart_count` replace what is true; `junk` stands between the last entry and the restart points.
    """
    out, true_restarts, previous = bytearray(), [], b""
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % restart_interval == 0:
            true_restarts.append(len(out))
        else:
            while shared < min(len(key), len(previous)) and key[shared] == previous[shared]:
                shared += 1
        out += table_entry(shared, key[shared:], value)
        previous = key
    return raw_block(
        bytes(out) + junk, restarts=true_restarts or [0] if restarts is None else restarts, count=restart_count
    )


def raw_block(entries: bytes, *, restarts: Sequence[int] = (0,), count: int | None = None) -> bytes:
    """Block contents from encoded entries and restart points."""
    count = len(restarts) if count is None else count
    return entries + b"".join(map(fixed32, restarts)) + fixed32(count & 0xFFFFFFFF)


def frame(stored: bytes, *, tag: int = 0, crc: int | None = None) -> bytes:
    """A block as it stands in the file: what is stored, its compression tag, its checksum."""
    tagged = stored + bytes([tag])
    return tagged + fixed32(mask(crc32c(tagged)) if crc is None else crc)


def snappy_frame(contents: bytes) -> bytes:
    """A Snappy-compressed block as it stands in the file."""
    return frame(snappy.compress(contents), tag=1)


# Tables

Handle = tuple[int, int]


def handle(offset: int, size: int) -> bytes:
    """Two varints."""
    return varint(offset) + varint(size)


def footer(metaindex: Handle | bytes, index: Handle | bytes, *, padding: bytes = b"\0", magic: bytes = MAGIC) -> bytes:
    """The last 48 bytes of a table; a handle may be given as raw bytes."""
    handles = b"".join(part if isinstance(part, bytes) else handle(*part) for part in (metaindex, index))
    return handles + (padding * 40)[: 40 - len(handles)] + magic


def plain(contents: bytes) -> bytes:
    """An uncompressed block as it stands in the file."""
    return frame(contents)


Framer = Callable[[bytes], bytes]


def table(
    entries: Entries,
    *,
    per_block: int = 1000,
    restart_interval: int = 16,
    frame_data: Framer = plain,
    frame_index: Framer = plain,
    frame_metaindex: Framer = plain,
    separators: Sequence[bytes] | None = None,
) -> bytes:
    """A table of entries in the order given, `per_block` of them in each data block."""
    groups = [entries[start : start + per_block] for start in range(0, len(entries), per_block)]
    return table_of_blocks(
        [block(group, restart_interval=restart_interval) for group in groups],
        [group[-1][0] for group in groups] if separators is None else separators,
        frame_data=frame_data,
        frame_index=frame_index,
        frame_metaindex=frame_metaindex,
    )


def table_of_blocks(
    blocks: Sequence[bytes],
    separators: Sequence[bytes],
    *,
    frame_data: Framer = plain,
    frame_index: Framer = plain,
    frame_metaindex: Framer = plain,
    metaindex: bytes = EMPTY_BLOCK,
    metaindex_handle: Handle | bytes | None = None,
    index: bytes | None = None,
    index_handle: Handle | bytes | None = None,
    handle_of: Callable[[int, Handle], bytes] | None = None,
    padding: bytes = b"\0",
    magic: bytes = MAGIC,
) -> bytes:
    """A table from the contents of its data blocks.

    `handle_of(number, true handle)` gives the value of an index entry; `index` replaces the index block's contents.
    """
    out = bytearray()

    def append(contents: bytes, framer: Framer) -> Handle:
        framed = framer(contents)
        place = (len(out), len(framed) - 5)
        out.extend(framed)
        return place

    places = [append(contents, frame_data) for contents in blocks]
    values = [handle(*place) if handle_of is None else handle_of(n, place) for n, place in enumerate(places)]
    true_metaindex = append(metaindex, frame_metaindex)
    contents = block(list(zip(separators, values, strict=True)), restart_interval=1) if index is None else index
    true_index = append(contents, frame_index)
    return bytes(out) + footer(
        true_metaindex if metaindex_handle is None else metaindex_handle,
        true_index if index_handle is None else index_handle,
        padding=padding,
        magic=magic,
    )


# Bundles


def string_payload(values: Sequence[bytes], *, big_endian: bool = False) -> tuple[bytes, int]:
    """The payload of a string tensor and its checksum."""
    order = ">" if big_endian else "<"
    lengths = b"".join(struct.pack(order + "I", len(value)) for value in values)
    checksum = struct.pack(order + "I", mask(crc32c(lengths)))
    body = b"".join(values)
    return b"".join(varint(len(value)) for value in values) + checksum + body, crc32c(lengths + checksum + body)


@dataclasses.dataclass
class Bundle:
    """A bundle in the making: entries under their keys, and the bytes of each data shard."""

    num_shards: int = 1
    big_endian: bool = False
    header: bytes | None = None
    entries: dict[bytes, bytes] = dataclasses.field(default_factory=dict)
    shards: dict[int, bytearray] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Lay down the header and empty shards."""
        if self.header is None:
            self.header = header_proto(self.num_shards, endianness=int(self.big_endian))
        self.entries.setdefault(b"", self.header)
        for shard_id in range(self.num_shards):
            self.shards.setdefault(shard_id, bytearray())

    def put(self, payload: bytes, *, shard_id: int = 0, alignment: int = 1) -> int:
        """Append bytes to a shard; gives their offset."""
        shard = self.shards[shard_id]
        shard.extend(bytes(-len(shard) % alignment))
        shard.extend(payload)
        return len(shard) - len(payload)

    def add(
        self,
        name: bytes | str,
        dtype: int,
        shape: Sequence[int],
        payload: bytes,
        *,
        crc: int | None = None,
        shard_id: int = 0,
        offset: int | None = None,
        size: int | None = None,
        alignment: int = 1,
    ) -> Bundle:
        """A fixed-width tensor; the keywords replace what is true."""
        true_offset = self.put(payload, shard_id=shard_id, alignment=alignment)
        self.entries[_key(name)] = entry_proto(
            dtype,
            shape,
            shard_id=shard_id,
            offset=true_offset if offset is None else offset,
            size=len(payload) if size is None else size,
            crc=crc32c(payload) if crc is None else crc,
        )
        return self

    def add_strings(
        self, name: bytes | str, values: Sequence[bytes], shape: Sequence[int] | None = None, *, shard_id: int = 0
    ) -> Bundle:
        """A string tensor, by default of one dimension."""
        payload, crc = string_payload(values, big_endian=self.big_endian)
        return self.add(name, STRING, [len(values)] if shape is None else shape, payload, crc=crc, shard_id=shard_id)

    def add_slices(
        self, name: bytes | str, dtype: int, shape: Sequence[int], pieces: Sequence[tuple[Extents, bytes]]
    ) -> Bundle:
        """A partitioned tensor: the parent and an entry a slice, in the order given."""
        self.entries[_key(name)] = entry_proto(dtype, shape, slices=[extents for extents, _ in pieces])
        for extents, payload in pieces:
            piece_shape = [size if extent is None else extent[1] for extent, size in zip(extents, shape, strict=False)]
            self.add(slice_key(_key(name), extents), dtype, piece_shape, payload)
        return self

    def put_entry(self, name: bytes | str, entry: bytes) -> Bundle:
        """An entry as it is given."""
        self.entries[_key(name)] = entry
        return self

    def sorted_entries(self) -> list[tuple[bytes, bytes]]:
        """The index's entries in key order."""
        return sorted(self.entries.items())

    def index(self, *, per_block: int = 1000, restart_interval: int = 16, framer: Framer = plain) -> bytes:
        """The index file."""
        return table(
            self.sorted_entries(),
            per_block=per_block,
            restart_interval=restart_interval,
            frame_data=framer,
            frame_index=framer,
            frame_metaindex=framer,
        )

    def write(self, folder: Path, prefix: str = "model", *, index: bytes | None = None) -> Path:
        """Write index and shards; gives the prefix's path. `index` replaces the index file's bytes."""
        (folder / f"{prefix}.index").write_bytes(self.index() if index is None else index)
        for shard_id, data in self.shards.items():
            (folder / f"{prefix}.data-{shard_id:05d}-of-{self.num_shards:05d}").write_bytes(data)
        return folder / prefix


def _key(name: bytes | str) -> bytes:
    return name if isinstance(name, bytes) else name.encode()


def write_index(folder: Path, index: bytes, data: bytes = b"", prefix: str = "model") -> Path:
    """Write an index file made elsewhere, beside one data shard; gives the prefix's path."""
    (folder / f"{prefix}.index").write_bytes(index)
    (folder / f"{prefix}.data-00000-of-00001").write_bytes(data)
    return folder / prefix


class MemorySource:
    """The bytes of a file that is none, for tests of what reads through `ByteSource`."""

    def __init__(self, data: bytes | bytearray, name: str = "memory") -> None:
        """`name` is for messages."""
        self.name = name
        self.size = len(data)
        self.reads: list[tuple[int, int]] = []
        self._data = memoryview(data)

    def read(self, offset: int, length: int) -> memoryview:
        """A view of these bytes; what was asked for is kept in `reads`."""
        assert 0 <= offset <= offset + length <= self.size, "callers compare with `size` first"
        self.reads.append((offset, length))
        return self._data[offset : offset + length]

    def read_again(self, offset: int, length: int) -> memoryview:
        """The same view."""
        return self.read(offset, length)

    def close(self) -> None:
        """Nothing to give back."""
