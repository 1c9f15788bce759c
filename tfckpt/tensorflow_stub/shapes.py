"""`tf.TensorShape`: a shape with unknown dimensions, or of unknown rank."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ..train.dtypes import DType


class Dimension(int):
    """A known dimension; TensorFlow 2 has plain ints, TensorFlow 1 objects with a `value`."""

    @property
    def value(self) -> int:
        """The dimension as an int."""
        return int(self)


class TensorShape:
    """A shape; unknown dimensions are None, and `dims` is None if even the rank is unknown."""

    __slots__ = ("_dims",)

    def __init__(self, dims: Any) -> None:
        """Create a shape from an int, a sequence of ints and None, another shape, or None for an unknown rank."""
        self._dims: tuple[Dimension | None, ...] | None
        if dims is None:
            self._dims = None
        elif isinstance(dims, TensorShape):
            self._dims = dims._dims
        elif hasattr(dims, "__iter__"):
            self._dims = tuple(_to_dimension(dim) for dim in dims)
        else:
            self._dims = (_to_dimension(dims),)

    @property
    def rank(self) -> int | None:
        """The number of dimensions, or None."""
        return None if self._dims is None else len(self._dims)

    ndims = rank

    @property
    def dims(self) -> list[Dimension | None] | None:
        """The dimensions, or None."""
        return None if self._dims is None else list(self._dims)

    def as_list(self) -> list[int | None]:
        """Return the dimensions as ints and None; `ValueError` if the rank is unknown."""
        return [None if dim is None else int(dim) for dim in self._known("as_list() is not defined on an")]

    def num_elements(self) -> int | None:
        """Return the number of elements, or None if a dimension is unknown."""
        return math.prod(dim for dim in self._dims or () if dim is not None) if self.is_fully_defined() else None

    def is_fully_defined(self) -> bool:
        """Return whether all dimensions are known."""
        return self._dims is not None and None not in self._dims

    def is_compatible_with(self, other: Any) -> bool:
        """Return whether a tensor could have both shapes."""
        other = TensorShape(other)
        if self._dims is None or other._dims is None:
            return True
        return len(self._dims) == len(other._dims) and all(
            mine is None or theirs is None or mine == theirs
            for mine, theirs in zip(self._dims, other._dims, strict=True)
        )

    def concatenate(self, other: Any) -> TensorShape:
        """Return the dimensions of both shapes, or an unknown shape if one of them is unknown."""
        other = TensorShape(other)
        return TensorShape(None if self._dims is None or other._dims is None else [*self._dims, *other._dims])

    def _known(self, what: str) -> tuple[Dimension | None, ...]:
        if self._dims is None:
            raise ValueError(f"{what} unknown TensorShape.")
        return self._dims

    def __getitem__(self, key: Any) -> Any:
        if self._dims is None:
            return TensorShape(None) if isinstance(key, slice) else None
        return TensorShape(self._dims[key]) if isinstance(key, slice) else self._dims[key]

    def __iter__(self) -> Iterator[Dimension | None]:
        if self._dims is None:
            raise ValueError("Cannot iterate over a shape with unknown rank.")
        return iter(self._dims)

    def __len__(self) -> int:
        if self._dims is None:
            raise ValueError("Cannot take the length of shape with unknown rank.")
        return len(self._dims)

    def __bool__(self) -> bool:
        return self._dims is not None

    def __add__(self, other: Any) -> TensorShape:
        return self.concatenate(other)

    def __eq__(self, other: object) -> bool:
        try:
            return self._dims == TensorShape(other)._dims
        except (TypeError, ValueError):
            return NotImplemented

    def __hash__(self) -> int:
        return hash(self._dims)

    def __str__(self) -> str:
        if self._dims is None:
            return "<unknown>"
        items = ", ".join(map(str, self._dims))
        return f"({items},)" if len(self._dims) == 1 else f"({items})"

    def __repr__(self) -> str:
        return "TensorShape(None)" if self._dims is None else f"TensorShape([{', '.join(map(str, self._dims))}])"


class TensorSpec(NamedTuple):
    """The shape, the type and the name of an argument or a result."""

    shape: TensorShape
    dtype: DType
    name: str | None = None

    def __repr__(self) -> str:
        return f"TensorSpec(shape={self.shape}, dtype={self.dtype!r}, name={self.name!r})"


def from_stored(shape: Iterable[int] | None) -> TensorShape:
    """Return the shape that a graph stores with -1 for an unknown dimension."""
    return TensorShape(None if shape is None else [None if dim < 0 else dim for dim in shape])


def _to_dimension(dim: Any) -> Dimension | None:
    if dim is None:
        return None
    number = dim if isinstance(dim, int) else dim.__index__()
    if number < 0:
        raise ValueError(f"Dimension {number} must be >= 0")
    return Dimension(number)
