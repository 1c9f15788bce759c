"""The objects of an HDF5 file: its datasets, and the attributes that Keras writes.

Keras writes a small part of HDF5: superblock 0, groups with tables of symbols, contiguous data without filters.
Everything else is refused by name, because HDF5 can refer to other files, to data anywhere and to itself.

::

    file          superblock | objects, trees, heaps and data, anywhere
    superblock    "\\x89HDF\\r\\n\\x1a\\n" | version 1, 0 | versions 4 | bytes of an offset 1, 8 | of a length 1, 8
                  | reserved 1 | ranks of trees 2 + 2 | flags 4 | base 8 | free space 8 | end of file 8 | driver 8
                  | root's entry 40, see `groups`
    object        version 1, 1 | reserved 1 | messages 2 | references 4 | size 4 | reserved 4 | message*
    message       type 2 | size 2 | flags 1 | reserved 3 | data       type 16: offset 8 and size 8 of more messages
    attribute     version 1 | flags 1 | size of name 2, of type 2, of dataspace 2 | character set 1, if version 3
                  | name | type | dataspace | value      version 1 pads each to a multiple of 8 bytes
"""

from __future__ import annotations

import collections
import dataclasses
import re
import struct
from collections.abc import Iterator, Mapping

from .._typing import ByteSource
from ..coding.names import decode_name
from ..errors import CorruptionError, TruncatedError, UnsupportedFeatureError, abridged, error_context
from ..limits import Limits, check_limit, limits_of_table
from ..tensors.dtypes import DataType
from .claims import Claims, Fields, Prefetch
from .files import MAGIC
from .groups import Texts, read_members
from .messages import (
    REPACK,
    SAVE_AGAIN,
    StoredType,
    check_data,
    decode_dataspace,
    decode_datatype,
    decode_layout,
)

#: Most groups inside each other. Keras needs two for each level of nested models.
MAX_DEPTH = 64

_SUPERBLOCK_BYTES = 96
#: Objects whose pages are fetched together from a remote file; two pages each fit into the memory for pages.
_BATCH = 2000
_DATASPACE, _LINK_INFO, _DATATYPE, _LINK, _EXTERNAL, _LAYOUT, _FILTERS = 1, 2, 3, 6, 7, 8, 11
_ATTRIBUTE, _MORE, _SYMBOLS, _ATTRIBUTE_INFO = 12, 16, 17, 21
_HEADER = struct.Struct("<B7xI4x")
_MESSAGE = struct.Struct("<HHB3x")
_ATTRIBUTE_HEAD = struct.Struct("<BB3H")
_SHARED = 2
#: The first byte of version 2 of an object's header, which begins with "OHDR".
_NEWER_HEADER = ord("O")
#: The widths in bytes that HDF5 allows for offsets and lengths.
_WIDTHS = {2, 4, 8, 16, 32}
_REFUSED = {
    _LINK_INFO: "external links or other links of newer HDF5",
    _LINK: "external, soft or other links of newer HDF5",
    _EXTERNAL: "data in external files",
    _FILTERS: "filters (compression)",
    _ATTRIBUTE_INFO: "attributes of newer HDF5",
}
#: The attributes that are read; all others are skipped. Long lists continue in attributes with a number.
_WANTED = re.compile(rb"(?:layer_names|weight_names)[0-9]{0,6}|model_config|name|dtype|keras_version")

#: Attribute name -> its texts: one for a scalar, none for an empty list.
Attributes = Mapping[str, tuple[str, ...]]


@dataclasses.dataclass(frozen=True, slots=True)
class Dataset:
    """An array in an HDF5 file: `nbytes` from `offset` in the file, in C order.

    `dtype_name` is the type that Keras 3 notes for arrays whose type HDF5 does not have, such as `bfloat16`.
    """

    path: str
    data_type: DataType
    big_endian: bool
    shape: tuple[int, ...]
    offset: int
    nbytes: int
    dtype_name: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Contents:
    """All datasets by path, without a slash at the start, and the attributes of each group, the root's under ""."""

    datasets: Mapping[str, Dataset]
    groups: Mapping[str, Attributes]


def read_contents(source: ByteSource, limits: Limits, prefetch: Prefetch | None = None) -> Contents:
    """Read the structures of a file, without its data, and check that each dataset has its own bytes in it.

    `prefetch` fetches ranges of a remote file: the objects of all groups on one level are fetched together.
    Raises `UnsupportedFeatureError` for what Keras does not write, and `CorruptionError` for a damaged file.
    """
    with error_context(path=source.name):
        contents = _Walk(source, limits, prefetch).run()
        _check_overlaps(contents.datasets)
        return contents


class _Walk:
    """The walk through all objects of a file."""

    def __init__(self, source: ByteSource, limits: Limits, prefetch: Prefetch | None) -> None:
        self._claims = Claims(source, prefetch)
        self._texts = Texts(self._claims)
        self._limits = limits_of_table(limits, source.size)
        self._seen: set[int] = set()
        self._path_bytes = 0

    def run(self) -> Contents:
        datasets: dict[str, Dataset] = {}
        groups: dict[str, Attributes] = {}
        root = _find_root(self._claims)
        self._seen.add(root)
        level = [("", root)]
        depth = 0
        while level:
            if depth > MAX_DEPTH:
                raise UnsupportedFeatureError(f"groups more than {MAX_DEPTH} deep", offset=level[0][1])
            members: list[tuple[str, int]] = []
            for number, (path, offset) in enumerate(level):
                if number % _BATCH == 0:
                    self._claims.expect(offset for _, offset in level[number : number + _BATCH])
                found = self._read_object(path, offset)
                if isinstance(found, Dataset):
                    datasets[path] = found
                    continue
                groups[path], tree, heap = found
                members += self._list_members(path, tree, heap)
            level = members
            depth += 1
        return Contents(datasets, groups)

    def _list_members(self, path: str, tree: int, heap: int) -> Iterator[tuple[str, int]]:
        """Yield the path and the offset of each object in a group, none of which may have been met before."""
        for name, offset in read_members(self._claims, tree, heap):
            inner = f"{path}/{name}" if path else name
            if offset in self._seen:
                raise UnsupportedFeatureError(
                    f"{abridged(inner)!r} is a second name of an object (a hard link), which is not supported; "
                    f"{SAVE_AGAIN}",
                    offset=offset,
                )
            self._seen.add(offset)
            check_limit(self._limits, "max_entries", len(self._seen), "too many objects")
            self._path_bytes += len(inner)
            check_limit(self._limits, "max_key_bytes", self._path_bytes, "too many bytes of names")
            yield inner, offset

    def _read_object(self, path: str, offset: int) -> Dataset | tuple[Attributes, int, int]:
        """Return a dataset, or the attributes of a group and the offsets of its tree and its names."""
        shape: tuple[int, ...] | None = None
        stored: StoredType | None = None
        layout: tuple[int, int] | None = None
        group: tuple[int, int] | None = None
        attributes: dict[str, tuple[str, ...]] = {}
        for kind, fields in self._iterate_messages(path, offset):
            if kind == _DATASPACE:
                shape = decode_dataspace(fields)
            elif kind == _DATATYPE:
                stored = decode_datatype(fields)
            elif kind == _LAYOUT:
                layout = decode_layout(fields)
            elif kind == _SYMBOLS:
                group = fields.number(8), fields.number(8)
            elif kind == _ATTRIBUTE:
                attributes.update(self._read_attribute(fields))
        if group is not None and layout is None:
            return attributes, *group
        if shape is None or stored is None or layout is None or group is not None:
            raise UnsupportedFeatureError(
                f"the object {abridged(path)!r} is neither a group nor a dataset", offset=offset
            )
        if stored.data_type is None:
            what = "variable-length data" if stored.is_variable else "text"
            raise UnsupportedFeatureError(
                f"the dataset {abridged(path)!r} holds {what}, which is not supported", offset=offset
            )
        with error_context(tensor=path):
            check_data(stored, shape, *layout, self._claims.size)
        names = attributes.get("dtype", ())
        return Dataset(path, stored.data_type, stored.big_endian, shape, *layout, names[0] if names else None)

    def _iterate_messages(self, path: str, offset: int) -> Iterator[tuple[int, Fields]]:
        """Yield the type and the data of each message of an object."""
        what = "header of an object"
        version, length = Fields(self._claims.read(offset, 16, what), offset, what).unpack(_HEADER)
        if version == _NEWER_HEADER:
            raise UnsupportedFeatureError(f"{abridged(path)!r} is an object of newer HDF5; {SAVE_AGAIN}", offset=offset)
        if version != 1:
            raise CorruptionError(f"object header version {version}, expected 1", offset=offset)
        blocks = collections.deque([(offset + 16, length)])
        while blocks:
            start, size = blocks.popleft()
            block = Fields(self._claims.read(start, size, what), start, what)
            while block.left >= 8:
                kind, length, flags = block.unpack(_MESSAGE)
                fields = block.inside(length, "message of an object")
                if kind in _REFUSED:
                    raise UnsupportedFeatureError(
                        f"{abridged(path)!r} has {_REFUSED[kind]}, which Keras does not write; "
                        f"{REPACK if kind in (_EXTERNAL, _FILTERS) else SAVE_AGAIN}",
                        offset=start,
                    )
                if kind == _MORE:
                    blocks.append((fields.number(8), fields.number(8)))
                elif kind in (_DATASPACE, _DATATYPE, _LAYOUT, _SYMBOLS, _ATTRIBUTE):
                    if flags & _SHARED:
                        raise UnsupportedFeatureError(
                            f"{abridged(path)!r} shares a message with another object", offset=start
                        )
                    yield kind, fields

    def _read_attribute(self, fields: Fields) -> dict[str, tuple[str, ...]]:
        """Return the texts of an attribute by its name, nothing for attributes that nobody needs."""
        start = fields.offset
        version, flags, *sizes = fields.unpack(_ATTRIBUTE_HEAD)
        if version not in (1, 2, 3):
            raise UnsupportedFeatureError(f"attribute version {version}, expected 1 to 3", offset=start)
        if version == 3:
            fields.skip(1)
        padded = [-(-size // 8) * 8 if version == 1 else size for size in sizes]
        name = bytes(fields.take(padded[0])).partition(b"\0")[0]
        if not _WANTED.fullmatch(name):
            return {}
        if flags and version > 1:
            raise UnsupportedFeatureError(f"the attribute {name!r} shares its type with another object", offset=start)
        stored = decode_datatype(fields.inside(padded[1], "type of an attribute"))
        shape = decode_dataspace(fields.inside(padded[2], "shape of an attribute"))
        count = 1
        for size in shape:
            count *= size
        if stored.data_type is not None:
            if count:
                raise CorruptionError(f"the attribute {name!r} holds numbers, expected text", offset=start)
            return {name.decode(): ()}
        if not stored.itemsize or count * stored.itemsize > fields.left:
            raise CorruptionError(f"the attribute {name!r} is larger than its message", offset=start)
        return {name.decode(): tuple(self._read_text(fields, stored) for _ in range(count))}

    def _read_text(self, fields: Fields, stored: StoredType) -> str:
        if not stored.is_variable:
            return decode_name(bytes(fields.take(stored.itemsize)).partition(b"\0")[0])
        if stored.itemsize != 16:
            raise CorruptionError(f"a reference to text of {stored.itemsize} bytes, expected 16", offset=fields.offset)
        length, heap, index = fields.number(4), fields.number(8), fields.number(4)
        return decode_name(self._texts.read(heap, index, length).partition(b"\0")[0])


def _find_root(claims: Claims) -> int:
    """Return the offset of the root group, after checking the superblock."""
    fields = Fields(claims.read(0, _SUPERBLOCK_BYTES, "superblock"), 0, "superblock")
    fields.skip(len(MAGIC))
    version = fields.number(1)
    if version:
        raise UnsupportedFeatureError(f"HDF5 superblock version {version}, expected 0; {REPACK}", offset=8)
    fields.skip(4)
    widths = fields.number(1), fields.number(1)
    if not set(widths) <= _WIDTHS:
        raise CorruptionError(f"superblock with offsets of {widths[0]} and lengths of {widths[1]} bytes", offset=13)
    if widths != (8, 8):
        raise UnsupportedFeatureError("offsets and lengths of other than 8 bytes", offset=13)
    fields.skip(9)
    base, _, end, _ = (fields.number(8) for _ in range(4))
    if base:
        raise UnsupportedFeatureError(f"HDF5 data that begins at byte {base} of a file", offset=24)
    if end > claims.size:
        raise TruncatedError(
            f"the file is cut off: it has {claims.size:,} of {end:,} bytes; download it again",
            needed=end,
            available=claims.size,
            offset=40,
        )
    fields.skip(8)
    return fields.number(8)


def _check_overlaps(datasets: Mapping[str, Dataset]) -> None:
    """Raise `CorruptionError` if two datasets share bytes: HDF5 never writes that, and it would claim any amount."""
    end, last = 0, ""
    for dataset in sorted((one for one in datasets.values() if one.nbytes), key=lambda one: one.offset):
        if dataset.offset < end:
            raise CorruptionError(
                f"its data overlaps that of {abridged(last)!r}", tensor=dataset.path, offset=dataset.offset
            )
        end, last = dataset.offset + dataset.nbytes, dataset.path
