"""Tensor slices: the pieces in which a partitioned variable is stored (TensorFlow `framework/tensor_slice.cc`).

A slice has one extent per dimension, a start and a length in elements, or the whole dimension.
Its key in a table is an ordered code (TensorFlow `util/saved_tensor_slice_util.cc`)::

    N(0) | S(name) | N(rank) | for each dimension: I(start) | I(length)      a whole dimension: start 0, length -1

All such keys begin with a zero byte, so they stand before ordinary names.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ..coding import ordered_code
from ..errors import CorruptionError

#: In memory a whole dimension has this length, as in TensorFlow.
FULL = -1
_EXTENT = re.compile(r"-|([0-9]+),([1-9][0-9]*)")


@dataclasses.dataclass(frozen=True, slots=True)
class TensorSlice:
    """One piece of a tensor: a (start, length) per dimension, in elements; length -1 is the whole dimension."""

    extents: tuple[tuple[int, int], ...]

    @classmethod
    def from_proto(cls, message: Any) -> TensorSlice:
        """From a TensorSliceProto; refuses negative starts and lengths below 1, which TensorFlow never writes."""
        extents = []
        for extent in message.extent:
            if extent.HasField("length"):
                if extent.start < 0 or extent.length < 1:
                    raise CorruptionError(f"tensor slice with start {extent.start} and length {extent.length}")
                extents.append((extent.start, extent.length))
            else:
                extents.append((0, FULL))
        return cls(tuple(extents))

    @classmethod
    def parse(cls, text: str) -> TensorSlice:
        """From the text that `str` gives, such as `0,2:-`; `ValueError` for another one."""
        extents = []
        for part in text.split(":") if text else []:
            match = _EXTENT.fullmatch(part)
            if match is None:
                raise ValueError(f"{text!r} is no tensor slice; it has `-` or `start,length` for each dimension")
            extents.append((int(match[1]), int(match[2])) if match[1] else (0, FULL))
        return cls(tuple(extents))

    def to_proto(self, message: Any) -> None:
        """Fill a TensorSliceProto."""
        for start, length in self.extents:
            extent = message.extent.add()
            if length != FULL:
                extent.start = start
                extent.length = length

    @property
    def is_full(self) -> bool:
        """Whether every dimension is whole."""
        return all(length == FULL for _, length in self.extents)

    def resolve(self, full_shape: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """(start, stop) per dimension of a tensor of this shape; `CorruptionError` where the slice does not fit it."""
        if len(self.extents) != len(full_shape):
            raise CorruptionError(f"tensor slice {self} has another rank than the shape {list(full_shape)}")
        ranges = []
        for (start, length), size in zip(self.extents, full_shape, strict=True):
            stop = size if length == FULL else start + length
            if stop > size:
                raise CorruptionError(f"tensor slice {self} reaches past the shape {list(full_shape)}")
            ranges.append((start, stop))
        return tuple(ranges)

    def shape(self, full_shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of the piece."""
        return tuple(stop - start for start, stop in self.resolve(full_shape))

    def index(self, full_shape: Sequence[int]) -> tuple[slice, ...]:
        """The NumPy index of the piece in the full tensor."""
        return tuple(slice(start, stop) for start, stop in self.resolve(full_shape))

    def key(self, name: bytes) -> bytes:
        """The key under which this piece of the tensor `name` is stored."""
        head = ordered_code.encode_number(0) + ordered_code.encode_string(name)
        head += ordered_code.encode_number(len(self.extents))
        return head + b"".join(
            ordered_code.encode_signed(start) + ordered_code.encode_signed(length) for start, length in self.extents
        )

    def __str__(self) -> str:
        """As TensorFlow writes it: `-` for a whole dimension, else `start,length`, joined by colons."""
        return ":".join("-" if length == FULL else f"{start},{length}" for start, length in self.extents)


def check_cover(slices: Sequence[TensorSlice], full_shape: Sequence[int]) -> None:
    """Refuse slices that overlap, repeat, reach past the shape, or leave a part of the tensor out."""
    boxes = [piece.resolve(full_shape) for piece in slices]
    first, second = _overlap(boxes) or (None, None)
    if first is not None and second is not None:
        raise CorruptionError(f"tensor slices {slices[first]} and {slices[second]} overlap")
    covered = sum(math.prod(stop - start for start, stop in box) for box in boxes)
    total = math.prod(full_shape)
    if covered != total:
        raise CorruptionError(f"tensor slices hold {covered} of {total} elements: some are missing")


def _overlap(boxes: Sequence[tuple[tuple[int, int], ...]]) -> tuple[int, int] | None:
    """Two boxes that share an element, by a sweep along the dimension with the most distinct starts."""
    if len(boxes) < 2:
        return None
    rank = len(boxes[0])
    if rank == 0:
        return 0, 1
    axis = max(range(rank), key=lambda d: len({box[d][0] for box in boxes}))
    open_boxes: list[int] = []
    for number in sorted(range(len(boxes)), key=lambda n: boxes[n][axis][0]):
        start = boxes[number][axis][0]
        open_boxes = [other for other in open_boxes if boxes[other][axis][1] > start]
        for other in open_boxes:
            if _intersect(boxes[number], boxes[other]):
                return other, number
        open_boxes.append(number)
    return None


def _intersect(a: Iterable[tuple[int, int]], b: Iterable[tuple[int, int]]) -> bool:
    return all(max(x[0], y[0]) < min(x[1], y[1]) for x, y in zip(a, b, strict=True))
