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

from collections.abc import Iterator

from ..coding.names import decode_name
from ..errors import CorruptionError, UnsupportedFeatureError
from .claims import Claims, Fields
from .messages import SAVE_AGAIN

_TREE_BYTES, _PAIR_BYTES, _ENTRY_BYTES = 24, 16, 40
_SOFT_LINK = 2


def read_members(claims: Claims, tree: int, heap: int) -> Iterator[tuple[str, int]]:
    """Yield the name and the offset of each object in a group."""
    names, end = _find_names(claims, heap)
    last = b""
    for entry in _iterate_entries(claims, tree):
        start = entry.offset
        position, target, kind = entry.number(8), entry.number(8), entry.number(4)
        raw = claims.find_zero(names + position, end)
        if raw is None:
            raise CorruptionError("the name of an object reaches past the heap of names", offset=start)
        if raw <= last or b"/" in raw or raw in (b".", b".."):
            raise CorruptionError(
                f"a group has the object {raw!r} after {last!r}, expected names in order", offset=start
            )
        last = raw
        name = decode_name(raw)
        if kind == _SOFT_LINK:
            raise UnsupportedFeatureError(
                f"{name!r} is a soft link, which is not supported; {SAVE_AGAIN}", offset=start
            )
        yield name, target


def _find_names(claims: Claims, heap: int) -> tuple[int, int]:
    """Return where the names of a group begin and end."""
    fields = Fields(claims.read(heap, 32, "heap of names"), heap, "heap of names")
    _check_magic(fields, b"HEAP", "heap of names")
    fields.skip(4)
    size, _, start = (fields.number(8) for _ in range(3))
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
        kind, its_level, used = fields.number(1), fields.number(1), fields.number(2)
        if kind or (level is not None and its_level != level):
            raise CorruptionError(f"node of type {kind} at level {its_level}, expected type 0, {level}", offset=offset)
        start = offset + _TREE_BYTES
        pairs = Fields(claims.read(start, _PAIR_BYTES * used, "node of a group"), start, "node of a group")
        children = []
        for _ in range(used):
            pairs.skip(8)
            children.append((pairs.number(8), its_level - 1))
        work.extend(reversed(children))


def _iterate_symbols(claims: Claims, offset: int) -> Iterator[Fields]:
    what = "table of symbols"
    fields = Fields(claims.read(offset, 8, what), offset, what)
    _check_magic(fields, b"SNOD", what)
    fields.skip(2)
    used = fields.number(2)
    entries = Fields(claims.read(offset + 8, _ENTRY_BYTES * used, what), offset + 8, what)
    for _ in range(used):
        yield entries.inside(_ENTRY_BYTES, what)


class Texts:
    """The text in the global heaps of a file, which variable-length attributes refer to."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        #: Offset and size of each object by index, by the offset of its heap.
        self._heaps: dict[int, dict[int, tuple[int, int]]] = {}

    def read(self, heap: int, index: int, length: int) -> bytes:
        """Return the text of an object; no object for the empty text."""
        if not length or not index:
            return b""
        if heap not in self._heaps:
            self._heaps[heap] = self._read_heap(heap)
        if index not in self._heaps[heap]:
            raise CorruptionError(f"text {index} is not in its heap", offset=heap)
        offset, size = self._heaps[heap][index]
        if length > size:
            raise CorruptionError(f"text of {length} bytes, but its heap has {size}", offset=offset)
        return bytes(self._claims.read(offset, length, "text"))

    def _read_heap(self, heap: int) -> dict[int, tuple[int, int]]:
        what = "heap of text"
        fields = Fields(self._claims.read(heap, 16, what), heap, what)
        _check_magic(fields, b"GCOL", what)
        fields.skip(4)
        end = heap + fields.number(8)
        if end > self._claims.size:
            raise CorruptionError("a heap of text reaches past the end of the file", offset=heap)
        objects: dict[int, tuple[int, int]] = {}
        offset = heap + 16
        while offset + 16 <= end:
            head = Fields(self._claims.read(offset, 16, what), offset, what)
            index = head.number(2)
            if not index:
                break
            head.skip(6)
            size = head.number(8)
            if offset + 16 + size > end:
                raise CorruptionError("a text reaches past its heap", offset=offset)
            objects[index] = (offset + 16, size)
            offset += 16 + -(-size // 8) * 8
        return objects


def _check_magic(fields: Fields, magic: bytes, what: str) -> None:
    start = fields.offset
    found = bytes(fields.take(4))
    if found != magic:
        raise CorruptionError(f"{what} begins with {found!r}, expected {magic!r}", offset=start)
