"""Reading parts of a tensor: the elements that a NumPy index selects, and the bytes and slices that contain them.

An index selects elements inside a box, which has one range per dimension.
A reader reads the box and applies the rest of the index to it::

    tensor [1000, 64], index [10:20:3, 5]
    box      ((10, 20), (5, 6))
    rest     [0:10:3, 0]
    rows     elements 10 * 64 to 20 * 64 in C order: the contiguous run that contains the box

The readers of all formats use `select`, and `gather` to assemble a tensor from its slices.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from types import EllipsisType
from typing import Any, TypeAlias, TypeVar

import numpy as np

from .._typing import Array
from .dense import check_rank
from .slices import TensorSlice

#: Type of the argument in `read(name, index=...)`: an int, a slice, an Ellipsis, or a tuple of these.
Index: TypeAlias = Any
_Part = TypeVar("_Part")


@dataclasses.dataclass(frozen=True, slots=True)
class Selection:
    """The elements that an index selects from a tensor of this shape.

    `box` has a (start, stop) per dimension and contains them; `rest` is an index that selects exactly them in the box.
    """

    shape: tuple[int, ...]
    box: tuple[tuple[int, int], ...]
    rest: tuple[int | slice, ...]

    @property
    def is_whole(self) -> bool:
        """Whether the box is the whole tensor."""
        return self.box == tuple((0, size) for size in self.shape)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is selected, and so nothing needs to be read."""
        return any(start == stop for start, stop in self.box)

    @property
    def box_shape(self) -> tuple[int, ...]:
        """The shape of the box."""
        return tuple(stop - start for start, stop in self.box)

    def rows(self) -> tuple[int, tuple[int, ...]]:
        """Return the first element and the shape of the contiguous run, in C order, that contains the box.

        The run has the rank of the tensor. It contains all of every dimension after the first one with more than one
        selected index.
        """
        first, shape, stride = 0, list(self.shape), math.prod(self.shape)
        for axis, (start, stop) in enumerate(self.box):
            stride //= max(self.shape[axis], 1)
            first += start * stride
            shape[axis] = stop - start
            if stop - start != 1:
                break
        return first, tuple(shape)

    def within_rows(self, run: Array) -> Array:
        """Return a view of the box in an array of the run from `rows`."""
        whole = slice(None)
        index = tuple(
            whole if size == stop - start else slice(start, stop)
            for size, (start, stop) in zip(run.shape, self.box, strict=True)
        )
        return run[index]

    def within_whole(self, full: Array) -> Array:
        """Return a view of the box in an array of the whole tensor."""
        index: tuple[slice | EllipsisType, ...]
        index = (*(slice(start, stop) for start, stop in self.box), Ellipsis)  # Ellipsis keeps a 0-d array an array
        return full[index]

    def finish(self, box: Array) -> Array:
        """Return the selected elements of an array of the box, read-only and in C order; 0-d for a single element.

        It is a view if they are contiguous, else a copy.
        """
        index = (*self.rest, Ellipsis)
        part: Array = box[index]
        if not part.flags.c_contiguous:
            part = part.copy()
        part.flags.writeable = False
        return part

    def overlap(self, piece: TensorSlice) -> tuple[Selection, tuple[slice, ...]] | None:
        """Return the part of a tensor slice that is in the box, and its index in the box; None if there is none."""
        ranges = piece.resolve(self.shape)
        inside, target = [], []
        for (start, stop), (low, high) in zip(ranges, self.box, strict=True):
            first, last = max(start, low), min(stop, high)
            if first >= last:
                return None
            inside.append((first - start, last - start))
            target.append(slice(first - low, last - low))
        return Selection(piece.shape(self.shape), tuple(inside), ()), tuple(target)


def select(shape: Sequence[int], index: Index = None) -> Selection:
    """Return what an index selects from a tensor of this shape; None and Ellipsis select everything.

    Ints, slices, Ellipsis and tuples of these have the same meaning as in NumPy.
    Anything else raises `TypeError`, such as lists, arrays, booleans, and None in a tuple.
    Ints out of range and too many items raise `IndexError`.
    """
    shape = tuple(shape)
    if index is None:
        return Selection(shape, tuple((0, size) for size in shape), (slice(None),) * len(shape))
    box: list[tuple[int, int]] = []
    rest: list[int | slice] = []
    for axis, (item, size) in enumerate(zip(_expand(index, len(shape)), shape, strict=True)):
        if isinstance(item, slice):
            selected = range(*item.indices(size))
            if not selected:
                box.append((0, 0))
                rest.append(slice(None))
                continue
            box.append((min(selected[0], selected[-1]), max(selected[0], selected[-1]) + 1))
            # Both ends of the box are selected, so the step alone is enough, also backwards.
            rest.append(slice(None, None, selected.step))
            continue
        position = item + size if item < 0 else item
        if not 0 <= position < size:
            raise IndexError(f"index {item} is out of bounds for dimension {axis} of size {size}")
        box.append((position, position + 1))
        rest.append(0)
    return Selection(shape, tuple(box), tuple(rest))


def gather(
    selection: Selection,
    dtype: np.dtype[Any],
    parts: Iterable[tuple[TensorSlice, _Part]],
    read: Callable[[_Part, Selection], Array],
) -> Array:
    """Return the selected elements of a tensor that is stored in slices, as a read-only copy.

    `read` returns the box of a selection in one part; it is called only for parts that contain selected elements.
    The caller must check that the slices cover the tensor exactly once, and that the files contain the bytes of the
    selected parts, since memory for the whole box is allocated first.
    """
    check_rank(selection.shape)
    box = np.empty(selection.box_shape, dtype)
    if not selection.is_empty:
        for piece, part in parts:
            overlap = selection.overlap(piece)
            if overlap is not None:
                inside, target = overlap
                box[target] = read(part, inside)
    return selection.finish(box)


def _expand(index: Index, rank: int) -> list[int | slice]:
    """Expand an index to one int or slice per dimension."""
    items = list(index) if isinstance(index, tuple) else [index]
    ellipses = sum(item is Ellipsis for item in items)
    if ellipses > 1:
        raise IndexError("an index can contain only one Ellipsis")
    indexed = len(items) - ellipses
    if indexed > rank:
        raise IndexError(f"too many indices: the tensor has {rank} dimensions, but {indexed} were indexed")
    expanded: list[int | slice] = []
    for item in items if ellipses else [*items, Ellipsis]:
        if item is Ellipsis:
            expanded.extend([slice(None)] * (rank - indexed))
        else:
            expanded.append(_check_item(item))
    return expanded


def _check_item(item: int | slice | EllipsisType | object) -> int | slice:
    if isinstance(item, slice):
        return item
    if not isinstance(item, bool | np.bool_ | np.ndarray):
        try:
            return operator.index(item)  # type: ignore[arg-type]  # raises TypeError without __index__
        except TypeError:
            pass
    raise TypeError(
        f"the index of a tensor must consist of ints, slices and Ellipsis, not {type(item).__name__}; "
        "for any other index, read a larger part and index the array"
    )
