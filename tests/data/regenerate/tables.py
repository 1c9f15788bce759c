"""A small table and bundle writer of its own, for the files TensorFlow can read but does not write.

It follows the same layout as TensorFlow's writer, but the caller chooses the block size, the compression of blocks,
the byte order and the alignment of tensors; TensorFlow then has to read the result.
Kept apart from the package on purpose: the tests compare the package's reader with files of another hand.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tensorflow.core.protobuf import tensor_bundle_pb2

from regenerate.values import DTYPES, Array

MAGIC = 0xDB4775248B80FB57

Compress = Callable[[bytes], bytes]

_CRC_TABLE = []
for _byte in range(256):
    _crc = _byte
    for _ in range(8):
        _crc = (_crc >> 1) ^ (0x82F63B78 if _crc & 1 else 0)
    _CRC_TABLE.append(_crc)


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def mask(crc: int) -> int:
    """The form in which a checksum is stored."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value: int) -> bytes:
    """A number as LEB128."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def block(entries: list[tuple[bytes, bytes]], restart_interval: int) -> bytes:
    """The contents of one block."""
    out, restarts, previous = bytearray(), [], b""
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % restart_interval == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(previous)) and key[shared] == previous[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        previous = key
    restarts = restarts or [0]
    return bytes(out) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def table(entries: dict[bytes, bytes], *, block_size: int = 262144, compress: Compress | None = None) -> bytes:
    """A whole table; with `compress` every block but an incompressible one is stored as what it returns."""
    out = bytearray()

    def append(contents: bytes) -> bytes:
        stored, kind = contents, 0
        if compress is not None and len(packed := compress(contents)) < len(contents):
            stored, kind = packed, 1
        handle = varint(len(out)) + varint(len(stored))
        out.extend(stored + bytes([kind]) + struct.pack("<I", mask(crc32c(stored + bytes([kind])))))
        return handle

    index, pending = [], []
    for key in sorted(entries):
        pending.append((key, entries[key]))
        if len(block(pending, 16)) >= block_size:
            index.append((key, append(block(pending, 16))))
            pending = []
    if pending:
        index.append((pending[-1][0], append(block(pending, 16))))
    footer = append(block([], 1)) + append(block(index, 1))
    return bytes(out) + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC)


def read_table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a table TensorFlow wrote, uncompressed; nothing is checked."""
    position = 0

    def number(source: bytes) -> int:
        nonlocal position
        result = shift = 0
        while True:
            byte = source[position]
            position += 1
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result
            shift += 7

    def entries(contents: bytes) -> list[tuple[bytes, bytes]]:
        nonlocal position
        (count,) = struct.unpack("<I", contents[-4:])
        position, key, found = 0, b"", []
        while position < len(contents) - 4 * (count + 1):
            shared, unshared, length = number(contents), number(contents), number(contents)
            key = key[:shared] + contents[position : position + unshared]
            position += unshared
            found.append((key, contents[position : position + length]))
            position += length
        return found

    position = len(data) - 48
    number(data), number(data)
    start = number(data)
    size = number(data)
    for _, handle in entries(data[start : start + size]):
        position = 0
        start = number(handle)
        size = number(handle)
        yield from entries(data[start : start + size])


def string_payload(array: Array, order: str) -> tuple[bytes, int]:
    """The bytes of a string tensor and the checksum over it; `order` is `<` or `>`, that of the bundle."""
    items = array.ravel().tolist()
    lengths = b"".join(struct.pack(order + "I", len(item)) for item in items)
    checksum = struct.pack(order + "I", mask(crc32c(lengths)))
    body = b"".join(items)
    return b"".join(varint(len(item)) for item in items) + checksum + body, crc32c(lengths + checksum + body)


def to_big_endian(array: Array) -> bytes:
    """The bytes of a fixed-width tensor with every number turned round, each half of a complex one by itself."""
    unit = array.dtype.itemsize // (2 if array.dtype.kind == "c" else 1)
    raw = np.frombuffer(array.tobytes(), np.uint8)
    return raw.reshape(-1, unit)[:, ::-1].tobytes() if raw.size else b""


def write_bundle(
    prefix: str,
    tensors: list[tuple[str, str, Array]],
    *,
    big_endian: bool = False,
    alignment: int = 1,
    block_size: int = 262144,
    compress: Compress | None = None,
) -> None:
    """Write (name, dtype, array) as a bundle of one shard."""
    header = tensor_bundle_pb2.BundleHeaderProto(num_shards=1, endianness=int(big_endian))
    header.version.producer = 1
    entries = {b"": header.SerializeToString()}
    data = bytearray()
    for name, dtype, array in tensors:
        if dtype == "string":
            payload, crc = string_payload(array, ">" if big_endian else "<")
        else:
            payload = to_big_endian(array) if big_endian else array.tobytes()
            crc = crc32c(payload)
        entry = tensor_bundle_pb2.BundleEntryProto(
            dtype=DTYPES[dtype].as_datatype_enum, offset=len(data), size=len(payload), crc32c=mask(crc)
        )
        entry.shape.SetInParent()
        for size in array.shape:
            entry.shape.dim.add(size=size)
        entries[name.encode()] = entry.SerializeToString()
        data += payload
        data += bytes(-len(data) % alignment)
    Path(f"{prefix}.data-00000-of-00001").write_bytes(data)
    Path(f"{prefix}.index").write_bytes(table(entries, block_size=block_size, compress=compress))
