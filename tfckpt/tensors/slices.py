"""Tensor slices: the pieces of a partitioned variable (TensorFlow `framework/tensor_slice.cc`).

A slice has one extent per dimension: either a start and a length in elements, or the whole dimension.
The key of a slice in a table is an ordered code (TensorFlow `util/saved_tensor_slice_util.cc`)::

    N(0) | S(name) | N(rank) | for each dimension: I(start) | I(length)      a whole dimension: start 0, length -1

All these keys begin with a zero byte, so they sort before ordinary names.
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

#: The length that means a whole dimension, as in TensorFlow.
FULL = -1
#: Limits the memory of `check_cover`; real variables are divided along one or two dimensions.
_MAX_CORNERS = 1 << 20
_EXTENT = re.compile(r"-|([0-9]+),([1-9][0-9]*)")


@dataclasses.dataclass(frozen=True, slots=True)
class TensorSlice:
    """A piece of a tensor: a (start, length) in elements per dimension, where length -1 means the whole dimension."""

    extents: tuple[tuple[int, int], ...]

    @classmethod
    def from_proto(cls, message: Any) -> TensorSlice:
        """Create a slice from a TensorSliceProto; `CorruptionError` for negative starts and lengths below 1."""
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
        """Return the slice that is a whole tensor of `rank` dimensions."""
        return cls(((0, FULL),) * rank)

    @classmethod
    def parse(cls, text: str) -> TensorSlice:
        """Create a slice from its text form, such as `0,2:-`; `ValueError` if the text is not valid."""
        extents = []
        for part in text.split(":") if text else []:
            match = _EXTENT.fullmatch(part)
            if match is None:
                raise ValueError(f"{text!r} is not a tensor slice; expected `-` or `start,length` for each dimension")
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
        """Return (start, stop) per dimension; `CorruptionError` if the slice does not fit the shape."""
        if len(self.extents) != len(full_shape):
            raise CorruptionError(f"tensor slice {self} has a different rank than the shape {list(full_shape)}")
        ranges = []
        for (start, length), size in zip(self.extents, full_shape, strict=True):
            stop = size if length == FULL else start + length
            if stop > size:
                raise CorruptionError(f"tensor slice {self} extends past the shape {list(full_shape)}")
            ranges.append((start, stop))
        return tuple(ranges)

    def shape(self, full_shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the slice."""
        return tuple(stop - start for start, stop in self.resolve(full_shape))

    def index(self, full_shape: Sequence[int]) -> tuple[slice, ...]:
        """Return the NumPy index of the slice in the full tensor."""
        return tuple(slice(start, stop) for start, stop in self.resolve(full_shape))

    def key(self, name: bytes) -> bytes:
        """Return the key of this slice of the tensor `name`."""
        head = ordered_code.encode_number(0) + ordered_code.encode_string(name)
        head += ordered_code.encode_number(len(self.extents))
        return head + b"".join(
            ordered_code.encode_signed(start) + ordered_code.encode_signed(length) for start, length in self.extents
        )

    def __str__(self) -> str:
        """Return TensorFlow's text form: `-` for a whole dimension or `start,length`, joined by colons."""
        return ":".join("-" if length == FULL else f"{start},{length}" for start, length in self.extents)


def check_cover(slices: Sequence[TensorSlice], full_shape: Sequence[int]) -> None:
    """Raise `CorruptionError` unless the slices cover every element of the tensor exactly once."""
    boxes = [piece.resolve(full_shape) for piece in slices]
    covered = sum(math.prod(stop - start for start, stop in box) for box in boxes)
    total = math.prod(full_shape)
    if covered < total:
        raise CorruptionError(f"tensor slices hold {covered} of {total} elements: some are missing")
    if covered > total or not _is_tiling(boxes, full_shape):
        raise CorruptionError(f"tensor slices overlap: {len(boxes)} slices hold {covered} of {total} elements")


def _is_tiling(boxes: Sequence[tuple[tuple[int, int], ...]], full_shape: Sequence[int]) -> bool:
    """Return whether the boxes cover every element of the shape exactly once.

    Each corner of a box has a sign, as in the integral of a density over the box. The boxes tile the shape if and only
    if all corners cancel, except those of the whole shape. The time is linear in the number of corners; comparing
    pairs of boxes would be quadratic.
    """
    whole = [(0, size) for size in full_shape]
    axes = [axis for axis, extent in enumerate(whole) if any(box[axis] != extent for box in boxes)]
    if len(boxes) << len(axes) > _MAX_CORNERS:
        raise UnsupportedFeatureError(f"{len(boxes)} tensor slices that divide {len(axes)} dimensions are too complex")
    edges = np.array([[box[axis] for axis in axes] for box in (*boxes, whole)], np.int64)
    edges = edges.reshape(len(boxes) + 1, len(axes), 2)  # np.array drops the last axis if no dimension is divided
    signs = np.ones((len(edges), 1))
    signs[-1] = -1
    corners: Array = np.zeros((len(edges), 1), np.int64)  # shape (boxes + 1, corners so far): an id of each position
    for axis in range(len(axes)):
        positions, ids = np.unique(edges[:, axis], return_inverse=True)
        ids = ids.reshape(-1, 1, 2)
        corners = (corners[:, :, None] * len(positions) + ids).reshape(len(edges), -1)
        corners = np.unique(corners.reshape(-1), return_inverse=True)[1].reshape(corners.shape)
        signs = (signs[:, :, None] * np.array([1.0, -1.0])).reshape(len(edges), -1)
    return not np.bincount(corners.reshape(-1), signs.reshape(-1)).any()
