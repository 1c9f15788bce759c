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
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._typing import Array
from ..coding import ordered_code
from ..errors import CorruptionError, UnsupportedFeatureError

#: In memory a whole dimension has this length, as in TensorFlow.
FULL = -1
#: Slices of real variables divide one dimension or two.
_MAX_CORNERS = 1 << 20
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
    def whole(cls, rank: int) -> TensorSlice:
        """All of a tensor of `rank` dimensions."""
        return cls(((0, FULL),) * rank)

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
    covered = sum(math.prod(stop - start for start, stop in box) for box in boxes)
    total = math.prod(full_shape)
    if covered < total:
        raise CorruptionError(f"tensor slices hold {covered} of {total} elements: some are missing")
    if covered > total or not _tile(boxes, full_shape):
        raise CorruptionError(f"tensor slices overlap: {len(boxes)} of them hold {covered} of {total} elements")


def _tile(boxes: Sequence[tuple[tuple[int, int], ...]], full_shape: Sequence[int]) -> bool:
    """Whether the boxes fill the shape once everywhere.

    They do if and only if their corners, each with the sign that integrating over the box gives it, cancel but for the
    corners of the whole. That takes time in proportion to the corners, where comparing pairs of boxes would not.
    """
    whole = [(0, size) for size in full_shape]
    axes = [axis for axis, extent in enumerate(whole) if any(box[axis] != extent for box in boxes)]
    if len(boxes) << len(axes) > _MAX_CORNERS:
        raise UnsupportedFeatureError(f"{len(boxes)} tensor slices that divide {len(axes)} dimensions")
    edges = np.array([[box[axis] for axis in axes] for box in (*boxes, whole)], np.int64)
    edges = edges.reshape(len(boxes) + 1, len(axes), 2)  # also where no dimension is divided
    signs = np.ones((len(edges), 1))
    signs[-1] = -1
    corners: Array = np.zeros((len(edges), 1), np.int64)  # shape (boxes + 1, corners so far): a number for each place
    for axis in range(len(axes)):
        places, numbers = np.unique(edges[:, axis], return_inverse=True)
        numbers = numbers.reshape(-1, 1, 2)
        corners = (corners[:, :, None] * len(places) + numbers).reshape(len(edges), -1)
        corners = np.unique(corners.reshape(-1), return_inverse=True)[1].reshape(corners.shape)
        signs = (signs[:, :, None] * np.array([1.0, -1.0])).reshape(len(edges), -1)
    return not np.bincount(corners.reshape(-1), signs.reshape(-1)).any()
