"""Parts of a tensor: what a NumPy index selects, and which bytes and which slices of the tensor that takes.

An index selects elements inside a box, one range per dimension.
A reader fetches the box and applies what is left of the index to it::

    tensor [1000, 64], index [10:20:3, 5]
    box      ((10, 20), (5, 6))
    rest     [0:10:3, 0]
    rows     elements 10 * 64 to 20 * 64 in C order: the contiguous run that holds the box

Every reader of tensors, whatever its format, selects with `select`, and gathers a tensor from its slices with `gather`.
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

#: What `read(name, index=...)` takes: an int, a slice, an Ellipsis, or a tuple of these.
Index: TypeAlias = Any
_Part = TypeVar("_Part")


@dataclasses.dataclass(frozen=True, slots=True)
class Selection:
    """The elements an index selects of a tensor of shape `shape`.

    `box` is a (start, stop) per dimension that holds them; `rest` is the index into the box that gives exactly them.
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
        """Whether nothing is selected, so that nothing needs to be read."""
        return any(start == stop for start, stop in self.box)

    @property
    def box_shape(self) -> tuple[int, ...]:
        """The shape of the box."""
        return tuple(stop - start for start, stop in self.box)

    def rows(self) -> tuple[int, tuple[int, ...]]:
        """The contiguous run of elements in C order that holds the box: its first element, and its shape.

        The run keeps the tensor's rank; dimensions after the first that is longer than 1 are whole in it.
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
        """The box in an array of the run that `rows` described; a view."""
        whole = slice(None)
        index = tuple(
            whole if have == stop - start else slice(start, stop)
            for have, (start, stop) in zip(run.shape, self.box, strict=True)
        )
        return run[index]

    def within_whole(self, full: Array) -> Array:
        """The box in an array of the whole tensor; a view."""
        index: tuple[slice | EllipsisType, ...]
        index = (*(slice(start, stop) for start, stop in self.box), Ellipsis)  # with it a 0-d array stays one
        return full[index]

    def finish(self, box: Array) -> Array:
        """The selected elements of an array of the box; a read-only view, 0-d where one element is selected."""
        index = (*self.rest, Ellipsis)
        part: Array = box[index]
        part.flags.writeable = False
        return part

    def overlap(self, piece: TensorSlice) -> tuple[Selection, tuple[slice, ...]] | None:
        """Of a slice of the tensor: the part of it inside the box, and that part's place in the box; None if none."""
        ranges = piece.resolve(self.shape)
        inside, place = [], []
        for (start, stop), (low, high) in zip(ranges, self.box, strict=True):
            first, last = max(start, low), min(stop, high)
            if first >= last:
                return None
            inside.append((first - start, last - start))
            place.append(slice(first - low, last - low))
        return Selection(piece.shape(self.shape), tuple(inside), ()), tuple(place)


def select(shape: Sequence[int], index: Index = None) -> Selection:
    """What an index selects of a tensor of this shape; None and Ellipsis select all of it.

    Ints, slices, Ellipsis and tuples of these mean what they mean to NumPy.
    `TypeError` for anything else, such as lists, arrays, booleans and None inside a tuple;
    `IndexError` for an int outside its dimension and for more items than dimensions.
    """
    shape = tuple(shape)
    if index is None:
        return Selection(shape, tuple((0, size) for size in shape), (slice(None),) * len(shape))
    box: list[tuple[int, int]] = []
    rest: list[int | slice] = []
    for axis, (item, size) in enumerate(zip(_expand(index, len(shape)), shape, strict=True)):
        if isinstance(item, slice):
            chosen = range(*item.indices(size))
            if not chosen:
                box.append((0, 0))
                rest.append(slice(None))
                continue
            box.append((min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1]) + 1))
            # From the end of the box backwards, or from its start forwards: both ends are selected.
            rest.append(slice(None, None, chosen.step))
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
    """The selected elements of a tensor that is stored in slices, as a read-only copy.

    `read` gives the box of a selection of one part; it is called only for parts that hold selected elements.
    The caller has checked that the slices cover the tensor once, and that the bytes of the selected parts are there,
    since memory for the box is allocated first.
    """
    check_rank(selection.shape)
    box = np.empty(selection.box_shape, dtype)
    if not selection.is_empty:
        for piece, part in parts:
            overlap = selection.overlap(piece)
            if overlap is not None:
                inside, place = overlap
                box[place] = read(part, inside)
    return selection.finish(box)


def _expand(index: Index, rank: int) -> list[int | slice]:
    """One int or slice per dimension."""
    items = list(index) if isinstance(index, tuple) else [index]
    ellipses = sum(item is Ellipsis for item in items)
    if ellipses > 1:
        raise IndexError("an index can have only one Ellipsis")
    given = len(items) - ellipses
    if given > rank:
        raise IndexError(f"too many indices: the tensor has {rank} dimensions, {given} were given")
    expanded: list[int | slice] = []
    for item in items if ellipses else [*items, Ellipsis]:
        if item is Ellipsis:
            expanded.extend([slice(None)] * (rank - given))
        else:
            expanded.append(_checked(item))
    return expanded


def _checked(item: int | slice | EllipsisType | object) -> int | slice:
    if isinstance(item, slice):
        return item
    if not isinstance(item, bool | np.bool_ | np.ndarray):
        try:
            return operator.index(item)  # type: ignore[arg-type]  # whatever has no __index__ raises here
        except TypeError:
            pass
    raise TypeError(
        f"a part of a tensor is selected with ints, slices and Ellipsis, not with {type(item).__name__}; "
        "read more than you need and index the array for anything else"
    )
