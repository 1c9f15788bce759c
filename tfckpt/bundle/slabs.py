"""The order in which a partitioned tensor is read in bounded memory, whatever the axes that its slices divide.

::

    slices   A A B B B      slabs   1 1 1 1 1       a slab is a run of the tensor in C order; each slice has
             A A B B B              2 2 2 2 2       one run of bytes for it, and the runs of a slice follow
             C C C D D              3 3 3 3 3       each other, so that its checksum can be computed as they come

"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence

#: Most bytes of a slab. Larger ones need fewer requests: each slice of a slab is one.
SLAB_BYTES = 32 << 20

#: The (start, stop) of a slice along each axis.
Box = Sequence[tuple[int, int]]


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """A run of a slice in a slab: the number of the slice, its first element and shape, and where the run goes."""

    number: int
    first: int
    shape: tuple[int, ...]
    target: tuple[slice, ...]

    @property
    def count(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


@dataclasses.dataclass(frozen=True, slots=True)
class Slab:
    """A run of the tensor: its shape, without the axes of which it has one element, and the runs that fill it."""

    shape: tuple[int, ...]
    runs: tuple[Run, ...]


def iterate_slabs(shape: Sequence[int], boxes: Sequence[Box], itemsize: int, slab_bytes: int) -> Iterator[Slab]:
    """Yield the slabs of a tensor in C order; the boxes cover it, and no dimension is 0."""
    axis = _find_axis(shape, itemsize, slab_bytes)
    inner = tuple(shape[axis + 1 :])
    step = max(1, slab_bytes // (math.prod(inner) * itemsize))
    for outer in itertools.product(*map(range, shape[:axis])):
        near = [
            (number, box)
            for number, box in enumerate(boxes)
            if all(start <= at < stop for at, (start, stop) in zip(outer, box, strict=False))
        ]
        for start in range(0, shape[axis], step):
            stop = min(start + step, shape[axis])
            runs = tuple(
                _make_run(number, box, outer, start, stop) for number, box in near if _meets(box[axis], start, stop)
            )
            yield Slab((stop - start, *inner), runs)


def _find_axis(shape: Sequence[int], itemsize: int, slab_bytes: int) -> int:
    """Return the axis that slabs divide: the first whose elements fit into a slab."""
    for axis in range(len(shape)):
        if math.prod(shape[axis + 1 :]) * itemsize <= slab_bytes:
            return axis
    return len(shape) - 1


def _meets(extent: tuple[int, int], start: int, stop: int) -> bool:
    return extent[0] < stop and start < extent[1]


def _make_run(number: int, box: Box, outer: Sequence[int], start: int, stop: int) -> Run:
    axis = len(outer)
    sizes = [end - begin for begin, end in box]
    first, last = max(start, box[axis][0]), min(stop, box[axis][1])
    position = 0
    for size, at, (begin, _) in zip(sizes, (*outer, first), box, strict=False):
        position = position * size + at - begin
    inner = box[axis + 1 :]
    return Run(
        number,
        position * math.prod(sizes[axis + 1 :]),
        (last - first, *sizes[axis + 1 :]),
        (slice(first - start, last - start), *(slice(begin, end) for begin, end in inner)),
    )
