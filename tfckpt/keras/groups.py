"""Groups of HDF5: a B-tree of names and addresses, and heaps of names and of text.

::

    group       "TREE" | node type 1 | level 1 | used 2 | left 8 | right 8 | (key 8 | child 8) x used | key 8
    symbols     "SNOD" | version 1 | reserved 1 | used 2 | entry x used
    entry       name's position 8 | object's offset 8 | kind 4 | reserved 4 | scratch 16        kind 2: soft link
    names       "HEAP" | version 1 | reserved 3 | size of names 8 | free list 8 | offset of names 8
    text        "GCOL" | version 1 | reserved 3 | size 8 | object*
    object      index 2 | references 2 | reserved 4 | size 8 | bytes, padded to a multiple of 8   index 0: free space

A child of a group's node is a node one level below, or, at level 0, a table of symbols.
Names are sorted by their bytes.
"""

from __future__ import annotations

import array
import bisect
import struct
from collections.abc import Iterator

from ..coding.names import decode_name
from ..errors import CorruptionError, UnsupportedFeatureError, abridged, format_key
from .claims import Claims, Fields
from .messages import SAVE_AGAIN

_ENTRY = struct.Struct("<QQI20x")
_HEAP = struct.Struct("<4xQ8xQ")
_NODE = struct.Struct("<BBH")
_PAIR = struct.Struct("<8xQ")
_SYMBOLS = struct.Struct("<2xH")
_TEXT = struct.Struct("<H6xQ")
_OFFSET_BITS = 48
#: Indexes of the texts in a heap have 16 bits.
_MAX_TEXTS = 1 << 16
_TREE_BYTES, _PAIR_BYTES, _ENTRY_BYTES = 24, 16, 40
_SOFT_LINK = 2


def read_members(claims: Claims, tree: int, heap: int) -> Iterator[tuple[str, int]]:
    """Yield the name and the offset of each object in a group."""
    names, end = _find_names(claims, heap)
    last = b""
    for entry in _iterate_entries(claims, tree):
        start = entry.offset
        position, target, kind = entry.unpack(_ENTRY)
        raw = claims.find_zero(names + position, end)
        if raw is None:
            raise CorruptionError("the name of an object reaches past the heap of names", offset=start)
        if raw <= last or b"/" in raw or raw in (b".", b".."):
            raise CorruptionError(
                f"a group has {format_key(raw)} after {format_key(last)}, expected names in order", offset=start
            )
        last = raw
        name = decode_name(raw)
        if kind == _SOFT_LINK:
            raise UnsupportedFeatureError(
                f"{abridged(name)!r} is a soft link, which is not supported; {SAVE_AGAIN}", offset=start
            )
        yield name, target


def _find_names(claims: Claims, heap: int) -> tuple[int, int]:
    """Return where the names of a group begin and end."""
    fields = Fields(claims.read(heap, 32, "heap of names"), heap, "heap of names")
    _check_magic(fields, b"HEAP", "heap of names")
    size, start = fields.unpack(_HEAP)
    if start + size > claims.size:
        raise CorruptionError("the names of a group are outside the file", offset=heap)
    return start, start + size


def _iterate_entries(claims: Claims, tree: int) -> Iterator[Fields]:
    """Yield the symbols of a group in order, without recursion because the file decides how high the tree is."""
    work: list[tuple[int, int | None]] = [(tree, None)]
    while work:
        offset, level = work.pop()
        if level == -1:
            yield from _iterate_symbols(claims, offset)
            continue
        fields = Fields(claims.read(offset, _TREE_BYTES, "node of a group"), offset, "node of a group")
        _check_magic(fields, b"TREE", "node of a group")
        kind, its_level, used = fields.unpack(_NODE)
        if kind or (level is not None and its_level != level):
            raise CorruptionError(f"node of type {kind} at level {its_level}, expected type 0, {level}", offset=offset)
        start = offset + _TREE_BYTES
        pairs = Fields(claims.read(start, _PAIR_BYTES * used, "node of a group"), start, "node of a group")
        children = [(pairs.unpack(_PAIR)[0], its_level - 1) for _ in range(used)]
        work.extend(reversed(children))


def _iterate_symbols(claims: Claims, offset: int) -> Iterator[Fields]:
    what = "table of symbols"
    fields = Fields(claims.read(offset, 8, what), offset, what)
    _check_magic(fields, b"SNOD", what)
    (used,) = fields.unpack(_SYMBOLS)
    entries = Fields(claims.read(offset + 8, _ENTRY_BYTES * used, what), offset + 8, what)
    for _ in range(used):
        yield entries.inside(_ENTRY_BYTES, what)


class Texts:
    """The text in the global heaps of a file, which variable-length attributes refer to."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        #: By the offset of a heap, its objects in order of their index: index << 48 | offset. This is compact, because
        #: an object without text takes only 16 bytes of the file.
        self._heaps: dict[int, array.array[int]] = {}

    def read(self, heap: int, index: int, length: int) -> bytes:
        """Return the text of an object; no object for the empty text."""
        if not length or not index:
            return b""
        objects = self._heaps.get(heap)
        if objects is None:
            objects = self._heaps[heap] = self._read_heap(heap)
        at = bisect.bisect_left(objects, index << _OFFSET_BITS)
        if at == len(objects) or objects[at] >> _OFFSET_BITS != index:
            raise CorruptionError(f"text {index} is not in its heap", offset=heap)
        offset = objects[at] & ((1 << _OFFSET_BITS) - 1)
        _, size = Fields(self._claims.peek(offset, 16, "text"), offset, "text").unpack(_TEXT)
        if length > size:
            raise CorruptionError(f"text of {length} bytes, but its heap has {size}", offset=offset)
        return bytes(self._claims.read(offset + 16, length, "text"))

    def _read_heap(self, heap: int) -> array.array[int]:
        what = "heap of text"
        fields = Fields(self._claims.read(heap, 16, what), heap, what)
        _check_magic(fields, b"GCOL", what)
        fields.skip(4)
        end = heap + fields.number(8)
        if end > min(self._claims.size, 1 << _OFFSET_BITS):
            raise CorruptionError("a heap of text reaches past the end of the file", offset=heap)
        objects = array.array("Q")
        offset = heap + 16
        while offset + 16 <= end:
            index, size = Fields(self._claims.read(offset, 16, what), offset, what).unpack(_TEXT)
            if not index:
                break
            if offset + 16 + size > end or len(objects) > _MAX_TEXTS:
                raise CorruptionError("a text reaches past its heap, or its heap has too many", offset=offset)
            objects.append(index << _OFFSET_BITS | offset)
            offset += 16 + -(-size // 8) * 8
        return array.array("Q", sorted(objects))


def _check_magic(fields: Fields, magic: bytes, what: str) -> None:
    start = fields.offset
    found = bytes(fields.take(4))
    if found != magic:
        raise CorruptionError(f"{what} begins with {found!r}, expected {magic!r}", offset=start)
