"""The messages in the header of an HDF5 object that describe a dataset (HDF5 File Format Specification 3.0, IV.A.2).

::

    dataspace   version 1 | rank 1 | flags 1 | reserved 5 | size 8 x rank | largest size 8 x rank, if flags & 1
                version 2 | rank 1 | flags 1 | kind 1     | size 8 x rank | ...      kind: 0 scalar, 1 simple, 2 null
    datatype    class and version 1 | bits 3 | bytes of an element 4 | properties
      integer     bits: 1 big-endian, 8 signed            properties: bit offset 2, precision 2
      float       bits: 1 big-endian, 0x20 implied 1,     properties: bit offset 2, precision 2, exponent's position 1
                  0x40 VAX; second byte: sign's position    and size 1, mantissa's position 1 and size 1, bias 4
      enum        bits: number of members 2               properties: integer, names, values
      variable    bits: 1 in the lowest 4 is text         properties: the type of an element
    layout      version 3 | class 1 | offset 8 | bytes 8      for class 1, contiguous

All numbers are little-endian.
"""

from __future__ import annotations

import dataclasses
import math
import struct

from ..errors import CorruptionError, UnsupportedFeatureError
from ..tensors.dense import check_shape
from ..tensors.dtypes import DataType, data_type_named
from .claims import Fields

#: The address of data that does not exist.
UNDEFINED = (1 << 64) - 1
#: What to do with a file that uses more of HDF5 than Keras does.
SAVE_AGAIN = "save it again with Keras"
#: The same if only the form of its data differs, which h5repack can change.
REPACK = f"{SAVE_AGAIN}, or convert it with h5repack -l CONTI -f NONE"

#: A type without a name: two bytes an element, which Keras writes for bfloat16.
OPAQUE_16 = DataType(0, "invalid", "", 2, 2)

_DATASPACE = struct.Struct("<4B")
_DATATYPE = struct.Struct("<3BxI")
_FLOAT_PROPERTIES = struct.Struct("<HH4BI")
_MAX_RANK = 32
_INTEGER, _FLOAT, _TEXT, _OPAQUE, _ENUM, _VARIABLE = 0, 1, 3, 5, 8, 9
_CLASS_NAMES = {2: "times", 4: "bit fields", 6: "compound values", 7: "references", 10: "arrays"}
_LAYOUT_NAMES = {0: "compact", 2: "chunked", 3: "virtual"}

#: (bytes, bit offset, precision, exponent's position and size, mantissa's position and size, bias, sign's position).
_FLOATS: dict[tuple[int, ...], str] = {
    (2, 0, 16, 10, 5, 0, 10, 15, 15): "float16",
    (4, 0, 32, 23, 8, 0, 23, 127, 31): "float32",
    (8, 0, 64, 52, 11, 0, 52, 1023, 63): "float64",
    (2, 0, 16, 7, 8, 0, 7, 127, 15): "bfloat16",
}
_IMPLIED_ONE = 0x20


@dataclasses.dataclass(frozen=True, slots=True)
class StoredType:
    """The type of the elements of a dataset or an attribute.

    `data_type` is None for text, whose elements take `itemsize` bytes or, if `is_variable`, are in a heap.
    """

    data_type: DataType | None
    itemsize: int
    big_endian: bool = False
    is_variable: bool = False


def decode_dataspace(fields: Fields) -> tuple[int, ...]:
    """Return the shape in a dataspace message; `CorruptionError` for one that no tensor has."""
    start = fields.offset
    version, rank, flags, kind = fields.unpack(_DATASPACE)
    if version not in (1, 2):
        raise UnsupportedFeatureError(f"dataspace version {version}, expected 1 or 2", offset=start)
    if version == 2 and kind == 2:
        raise UnsupportedFeatureError("a dataset without a shape (a null dataspace) is not supported", offset=start)
    if rank > _MAX_RANK:
        raise CorruptionError(f"shape of {rank} dimensions; HDF5 allows at most {_MAX_RANK}", offset=start)
    if version == 1:
        fields.skip(4)
    shape = tuple(fields.number(8) for _ in range(rank))
    if flags & 1:
        fields.skip(8 * rank)
    check_shape(shape)
    return shape


def decode_datatype(fields: Fields) -> StoredType:
    """Return the type in a datatype message; `UnsupportedFeatureError` for one that Keras does not write."""
    start = fields.offset
    first, bits, sign_position, itemsize = fields.unpack(_DATATYPE)
    kind, version = first & 15, first >> 4
    if version not in (1, 2, 3):
        raise UnsupportedFeatureError(f"datatype version {version}, expected 1 to 3", offset=start)
    if kind == _INTEGER:
        position, precision = fields.number(2), fields.number(2)
        if itemsize in (1, 2, 4, 8) and (position, precision) == (0, 8 * itemsize):
            name = f"{'int' if bits & 8 else 'uint'}{precision}"
            return StoredType(data_type_named(name), itemsize, bool(bits & 1))
        raise UnsupportedFeatureError(f"integers of {precision} bits in {itemsize} bytes", offset=start)
    if kind == _FLOAT:
        numbers = fields.unpack(_FLOAT_PROPERTIES)
        known = _FLOATS.get((itemsize, *numbers, sign_position))
        if known is None or bits & ~1 != _IMPLIED_ONE:
            raise UnsupportedFeatureError(f"floating-point numbers of an unknown form, {itemsize} bytes", offset=start)
        return StoredType(data_type_named(known), itemsize, bool(bits & 1))
    if kind == _ENUM:
        return _decode_enum(fields, bits | sign_position << 8, version, start)
    if kind == _OPAQUE and itemsize == OPAQUE_16.itemsize:
        return StoredType(OPAQUE_16, itemsize)
    if kind == _TEXT:
        return StoredType(None, itemsize)
    if kind == _VARIABLE and bits & 15 == 1:
        return StoredType(None, itemsize, is_variable=True)
    what = {_OPAQUE: f"opaque values of {itemsize} bytes", _VARIABLE: "variable-length data"}.get(
        kind, _CLASS_NAMES.get(kind, f"type class {kind}")
    )
    raise UnsupportedFeatureError(f"{what} are not supported; {SAVE_AGAIN}", offset=start)


def _decode_enum(fields: Fields, members: int, version: int, start: int) -> StoredType:
    """Return bool for the enumeration that h5py stores bool arrays as: FALSE 0 and TRUE 1, in a byte each."""
    base = decode_datatype(fields)
    if members == 2 and base.itemsize == 1 and base.data_type is not None:
        padding = 8 if version < 3 else 1
        names = [_take_name(fields, padding) for _ in range(2)]
        if (names, bytes(fields.take(2))) == ([b"FALSE", b"TRUE"], b"\0\1"):
            return StoredType(data_type_named("bool"), 1)
    raise UnsupportedFeatureError("enumerations other than bool are not supported", offset=start)


def _take_name(fields: Fields, padding: int) -> bytes:
    """Return the name of a member, which ends in a zero byte and is padded to a multiple of `padding` bytes."""
    name = bytearray()
    while byte := fields.number(1):
        name.append(byte)
    fields.skip(-(len(name) + 1) % padding)
    return bytes(name)


def decode_layout(fields: Fields) -> tuple[int, int]:
    """Return the offset and the size of contiguous data; `UnsupportedFeatureError` for any other layout."""
    start = fields.offset
    version, kind = fields.number(1), fields.number(1)
    if version < 3:
        kind = fields.number(1)
    if kind != 1 or version not in (3, 4):
        name = _LAYOUT_NAMES.get(kind, f"version {version}")
        raise UnsupportedFeatureError(f"{name} storage of a dataset is not supported; {REPACK}", offset=start)
    return fields.number(8), fields.number(8)


def check_data(stored: StoredType, shape: tuple[int, ...], offset: int, nbytes: int, file_size: int) -> None:
    """Raise unless shape, type and layout of a dataset agree, and the file has its data."""
    expected = math.prod(shape) * stored.itemsize
    if expected and offset == UNDEFINED:
        raise UnsupportedFeatureError("a dataset whose values were never written is not supported")
    if nbytes != expected:
        raise CorruptionError(f"shape {list(shape)} takes {expected} bytes, but the layout says {nbytes}")
    if expected and offset + nbytes > file_size:
        raise CorruptionError(
            f"the data of a dataset is outside the file: {nbytes} bytes at {offset}, in a file of {file_size}"
        )
