"""Builders of valid and invalid V1 checkpoints; like `tests.builders`, they do not use the package's code."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Sequence
from pathlib import Path

from tests.builders import (
    DOUBLE,
    FLOAT,
    INT32,
    INT64,
    STRING,
    Extents,
    Framer,
    field_bytes,
    field_varint,
    plain,
    shape_proto,
    slice_key,
    slice_proto,
    table,
    varint,
)

#: Row 0, and rows 1 and 2, of a matrix of three rows.
ROWS = [[(0, 1), None], [(1, 2), None]]


def packed(number: int, dtype: int, values: Sequence[float]) -> bytes:
    """Return a packed field of a TensorProto."""
    forms = {FLOAT: "f", DOUBLE: "d"}
    if dtype in forms:
        return field_bytes(number, struct.pack(f"<{len(values)}{forms[dtype]}", *values))
    return field_bytes(number, b"".join(varint(int(value)) for value in values))


def values_proto(dtype: int, values: Sequence[object]) -> bytes:
    """Return a TensorProto with only the field for the type."""
    if dtype == STRING:
        return b"".join(field_bytes(8, value) for value in values if isinstance(value, bytes))
    numbers = {FLOAT: 5, DOUBLE: 6, INT32: 7, INT64: 10}
    numeric = [value for value in values if isinstance(value, int | float)]
    return packed(numbers[dtype], dtype, numeric) if numeric else b""


def record_proto(name: bytes, extents: Extents, values: bytes) -> bytes:
    """Return a SavedTensorSlices with `data`: one slice of one tensor."""
    return field_bytes(2, field_bytes(1, name) + field_bytes(2, slice_proto(extents)) + field_bytes(3, values))


def list_proto(tensors: Sequence[bytes], *, producer: int = 1, min_consumer: int = 0, bad_consumer: int = 0) -> bytes:
    """Return a SavedTensorSlices with `meta`: the list of tensors and the version."""
    version = field_varint(1, producer) + field_varint(2, min_consumer) + field_varint(3, bad_consumer)
    return field_bytes(1, b"".join(field_bytes(1, tensor) for tensor in tensors) + field_bytes(2, version))


def tensor_proto(
    name: bytes, dtype: int, shape: Sequence[int], slices: Sequence[Extents], *, unknown_rank: bool = False
) -> bytes:
    """Return a SavedSliceMeta: one tensor of the list."""
    out = field_bytes(1, name) + field_bytes(2, shape_proto(shape, unknown_rank=unknown_rank)) + field_varint(3, dtype)
    return out + b"".join(field_bytes(4, slice_proto(extents)) for extents in slices)


@dataclasses.dataclass
class V1File:
    """A table being built: its list of tensors, and its records.

    `head` replaces the value at the empty key.
    """

    listed: list[bytes] = dataclasses.field(default_factory=list)
    records: dict[bytes, bytes] = dataclasses.field(default_factory=dict)
    head: bytes | None = None

    def add(
        self,
        name: bytes,
        dtype: int,
        shape: Sequence[int],
        values: Sequence[object],
        *,
        proto: bytes | None = None,
    ) -> V1File:
        """Add a tensor in one record; `proto` replaces the TensorProto."""
        return self.add_slices(name, dtype, shape, [([None] * len(shape), values)], proto=proto)

    def add_slices(
        self,
        name: bytes,
        dtype: int,
        shape: Sequence[int],
        pieces: Sequence[tuple[Extents, Sequence[object]]],
        *,
        proto: bytes | None = None,
    ) -> V1File:
        """Add slices of a tensor, each with its values; `proto` replaces their TensorProto."""
        self.listed.append(tensor_proto(name, dtype, shape, [extents for extents, _ in pieces]))
        for extents, values in pieces:
            content = values_proto(dtype, values) if proto is None else proto
            self.records[slice_key(name, extents)] = record_proto(name, extents, content)
        return self

    def bytes(self, *, per_block: int = 1000, framer: Framer = plain) -> bytes:
        """Return the contents of the file."""
        head = list_proto(self.listed) if self.head is None else self.head
        entries = [(b"", head), *sorted(self.records.items())]
        return table(entries, per_block=per_block, frame_data=framer, frame_index=framer)

    def write(self, path: Path) -> Path:
        """Write the file and return its path."""
        path.write_bytes(self.bytes())
        return path


def matrix_file() -> V1File:
    """Return a file with a float matrix `m` of 3 rows and 2 columns, in slices of one and two rows."""
    pieces = [(ROWS[0], [0.0, 1.0]), (ROWS[1], [2.0, 3.0, 4.0, 5.0])]
    return V1File().add_slices(b"m", FLOAT, [3, 2], pieces)
