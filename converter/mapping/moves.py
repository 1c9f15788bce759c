"""Moves: a part of a source tensor becomes a part of a target tensor, and back.

Most moves are of whole tensors. A rule that cuts a source has a move for each target, and a rule that joins sources has
a move for each source; together they take every element once, so the way back is exact.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .._typing import Array
from ..errors import Shape
from .layout import get_layout


class Part(NamedTuple):
    """A range of an axis, from `start` to before `stop`."""

    axis: int
    start: int
    stop: int

    def of(self, array: Array) -> Array:
        """Return a view of this part of an array."""
        return array[(slice(None),) * self.axis + (slice(self.start, self.stop),)]

    def shape_in(self, shape: Shape) -> Shape:
        """Return the shape of this part of an array of `shape`."""
        return (*shape[: self.axis], self.stop - self.start, *shape[self.axis + 1 :])


class Move(NamedTuple):
    """The conversion of one tensor: source name and shape, layout, target name and shape.

    `source_part` and `target_part` are the parts that move, or None for the whole tensor.
    """

    source: str
    source_shape: Shape
    layout: str
    target: str
    target_shape: Shape
    source_part: Part | None = None
    target_part: Part | None = None

    def apply(self, source: Array) -> Array:
        """Return the part of the target; a view of the source if the layout has no order."""
        part = source if self.source_part is None else self.source_part.of(source)
        return get_layout(self.layout).apply(part)

    def invert(self, target: Array) -> Array:
        """Return the part of the source; raise `ValueError` if the target does not have its shape."""
        if target.shape != self.target_shape:
            raise ValueError(f"shape {list(target.shape)}, expected {list(self.target_shape)}")
        part = target if self.target_part is None else self.target_part.of(target)
        shape = self.source_shape if self.source_part is None else self.source_part.shape_in(self.source_shape)
        return get_layout(self.layout).invert(part, shape)


def group_by_source(moves: Iterable[Move]) -> dict[str, list[Move]]:
    """Return source -> its moves, in the order of their first moves."""
    groups: dict[str, list[Move]] = collections.defaultdict(list)
    for move in moves:
        groups[move.source].append(move)
    return dict(groups)


def group_by_target(moves: Iterable[Move]) -> dict[str, list[Move]]:
    """Return target -> its moves, in the order of their first moves."""
    groups: dict[str, list[Move]] = collections.defaultdict(list)
    for move in moves:
        groups[move.target].append(move)
    return dict(groups)


def join_target(parts: Sequence[tuple[Move, Array]]) -> Array:
    """Return a target from its moves and what they returned, in any order; the only part itself if it is whole."""
    first = parts[0][0].target_part
    if first is None:
        return parts[0][1]
    ordered = sorted(parts, key=lambda part: part[0].target_part or first)
    return np.concatenate([array for _, array in ordered], first.axis)


def restore_source(moves: Sequence[Move], targets: Mapping[str, Array]) -> Array:
    """Return a source from the targets of all its moves; raise `ValueError` if one has a wrong shape."""
    first = moves[0].source_part
    if first is None:
        return moves[0].invert(targets[moves[0].target])
    ordered = sorted(moves, key=lambda move: move.source_part or first)
    return np.concatenate([move.invert(targets[move.target]) for move in ordered], first.axis)
