"""HDF5 files made by hand, byte by byte, which can be wrong where no library writes wrong bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence

FLOAT = struct.pack("<BBBBIHHBBBBI", 0x11, 0x20, 31, 0, 4, 0, 32, 23, 8, 0, 23, 127)
VARIABLE_TEXT = struct.pack("<BBBBI", 0x19, 1, 0, 0, 16) + struct.pack("<BBBBI", 0x13, 0, 0, 0, 1)


def text(nbytes: int) -> bytes:
    """Return the type of text of a fixed size, padded with zeros."""
    return struct.pack("<BBBBI", 0x13, 1, 0, 0, nbytes)


_ATTRIBUTE, _MORE = 12, 16


def dataspace(shape: Sequence[int]) -> bytes:
    """Return a dataspace message."""
    return struct.pack("<BBB5x", 1, len(shape), 0) + struct.pack(f"<{len(shape)}Q", *shape)


def message(kind: int, data: bytes) -> bytes:
    """Return a message of an object's header."""
    data += bytes(-len(data) % 8)
    return struct.pack("<HHB3x", kind, len(data), 0) + data


def attribute(name: bytes, datatype: bytes, shape: Sequence[int], value: bytes) -> bytes:
    """Return an attribute message."""
    parts = [name + b"\0", datatype, dataspace(shape)]
    padded = b"".join(part + bytes(-len(part) % 8) for part in parts)
    return message(_ATTRIBUTE, struct.pack("<BB3H", 1, 0, *map(len, parts)) + padded + value)


class File:
    """A file to which structures are added one after the other."""

    def __init__(self) -> None:
        self.data = bytearray(96)

    def put(self, data: bytes) -> int:
        """Add bytes, and return their offset."""
        self.data += bytes(-len(self.data) % 8)
        self.data += data
        return len(self.data) - len(data)

    def header(self, messages: Iterable[bytes]) -> int:
        """Add an object."""
        messages = list(messages)
        body = b"".join(messages)
        return self.put(struct.pack("<BxHIII", 1, len(messages), 1, len(body), 0) + body)

    def dataset(self, offset: int, nbytes: int, shape: Sequence[int] | None = None) -> int:
        """Add a dataset of float32 whose data is already there."""
        space = dataspace((nbytes // 4,) if shape is None else shape)
        layout = struct.pack("<BBQQ", 3, 1, offset, nbytes)
        return self.header([message(1, space), message(3, FLOAT), message(8, layout)])

    def names(self, names: Iterable[bytes]) -> tuple[int, list[int]]:
        """Add a heap of names; return its offset, and the position of each name in it."""
        text, positions = bytearray(8), []
        for name in names:
            positions.append(len(text))
            text += name + b"\0"
        return self.put(b"HEAP" + struct.pack("<4xQQQ", len(text), 1, self.put(bytes(text)))), positions

    def symbols(self, entries: Iterable[tuple[int, int]]) -> int:
        """Add a table of (position of the name, offset of the object)."""
        rows = [struct.pack("<QQ24x", *entry) for entry in entries]
        return self.put(b"SNOD" + struct.pack("<BxH", 1, len(rows)) + b"".join(rows))

    def node(self, level: int, children: Sequence[int]) -> int:
        """Add a node of a group."""
        pairs = b"".join(struct.pack("<QQ", 0, child) for child in children)
        return self.put(b"TREE" + struct.pack("<BBHQQ", 0, level, len(children), 0, 0) + pairs + bytes(8))

    def group(
        self, members: Mapping[bytes, int] | Sequence[tuple[bytes, int]], attributes: Iterable[bytes] = ()
    ) -> int:
        """Add a group of names and offsets of objects."""
        rows = list(members.items() if isinstance(members, Mapping) else members)
        rows = [(name.encode() if isinstance(name, str) else name, offset) for name, offset in rows]
        heap, positions = self.names(name for name, _ in rows)
        entries = list(zip(positions, (offset for _, offset in rows), strict=True))
        tree = self.node(0, [self.symbols(entries)])
        return self.header([message(17, struct.pack("<QQ", tree, heap)), *attributes])

    def write(self, tensors: Mapping[str, bytes]) -> bytes:
        """Return a file with these float32 vectors."""
        return self.finish(
            self.group({name.encode(): self.dataset(self.put(data), len(data)) for name, data in tensors.items()})
        )

    def finish(self, root: int) -> bytes:
        """Return the file with a superblock that leads to the root."""
        head = b"\x89HDF\r\n\x1a\n" + struct.pack("<5B2BxHHI", 0, 0, 0, 0, 0, 8, 8, 4, 16, 0)
        head += struct.pack("<QQQQ", 0, 2**64 - 1, len(self.data), 2**64 - 1) + struct.pack("<QQ24x", 0, root)
        return head + bytes(self.data[len(head) :])


def _headers() -> bytes:
    """Return a file in which a message continues in itself."""
    file = File()
    at = len(file.data)
    file.header([message(_MORE, struct.pack("<QQ", at + 16, 24))])
    return file.finish(at)


def _blocks() -> bytes:
    """Return a file in which 60,000 blocks of messages begin 8 bytes after each other, each a megabyte long."""
    file = File()
    at = file.put(bytes(1 << 20))
    more = [message(_MORE, struct.pack("<QQ", at + 8 * number, (1 << 20) - 8 * number)) for number in range(60_000)]
    return file.finish(file.header(more))


def _nodes() -> bytes:
    """Return a file in which each node of a group has the node below 20,000 times."""
    file = File()
    heap, _ = file.names([])
    child = file.symbols([])
    for level in range(8):
        child = file.node(level, [child] * 20_000)
    return file.finish(file.header([message(17, struct.pack("<QQ", child, heap))]))


def _symbols() -> bytes:
    """Return a file in which 60,000 children of a node are one table of 1,000 symbols."""
    file = File()
    data = file.dataset(file.put(bytes(8)), 8)
    heap, positions = file.names(b"x%04d" % number for number in range(1000))
    tree = file.node(0, [file.symbols((position, data) for position in positions)] * 60_000)
    return file.finish(file.header([message(17, struct.pack("<QQ", tree, heap))]))


def _names() -> bytes:
    """Return a file in which 20,000 names are one of a megabyte, from different positions."""
    file = File()
    heap, (position,) = file.names([b"z" * (1 << 20)])
    data = [file.dataset(file.put(bytes(8)), 8) for _ in range(20_000)]
    entries = [(position + (1 << 20) - 1 - number, offset) for number, offset in enumerate(data)]
    tree = file.node(0, [file.symbols(entries)])
    return file.finish(file.header([message(17, struct.pack("<QQ", tree, heap))]))


def _heaps() -> bytes:
    """Return a file in which 4,000 heaps of text begin 16 bytes after each other, each with all texts after it."""
    file = File()
    texts = 4000
    at = file.put(b"GCOL" + struct.pack("<4xQ", 16 + 16 * texts) + struct.pack("<HHIQ", 1, 1, 0, 0) * texts)
    for number in range(texts):
        file.data[at + 16 * number : at + 16 * number + 16] = b"GCOL" + struct.pack("<4xQ", 16 * (texts - number))
    references = b"".join(struct.pack("<IQI", 1, at + 16 * number, 9) for number in range(4000))
    return file.finish(file.group({}, [attribute(b"layer_names", VARIABLE_TEXT, (4000,), references)]))


#: Files in which structures share bytes, by kind.
OVERLAPPING = {
    "headers": _headers,
    "nodes": _nodes,
    "symbols": _symbols,
    "names": _names,
    "heaps": _heaps,
    "blocks": _blocks,
}
