"""Shapes of rules: the targets that a rule makes of its sources, and the moves of their parts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..errors import Mismatch, Shape
from .layout import Layout, get_layout
from .matching import Use
from .moves import Move, Part

#: A source of a rule: its name, the name to show, and its shape.
NamedShape = tuple[str, str, Shape]


def derive_shapes(use: Use, shapes: Sequence[Shape]) -> list[Shape]:
    """Return the shapes of a rule's targets for the shapes of its sources; parts that are cut are equal.

    If the shapes do not match the rule, the result is the source's shape.
    """
    rule, layout = use.rule, use.rule.full_layout
    try:
        if rule.cut is not None:
            axis = layout.source.index(rule.cut)
            size = shapes[0][axis] // len(use.targets)
            return [layout.target_shape(Part(axis, 0, size).shape_in(shapes[0]))] * len(use.targets)
        first = layout.target_shape(shapes[0])
        if rule.join is None:
            return [first]
        axis = layout.target.index(rule.join)
        total = sum(layout.target_shape(shape)[axis] for shape in shapes)
        return [Part(axis, 0, total).shape_in(first)]
    except (ValueError, IndexError):
        return [shapes[0]] * len(use.targets)


def make_moves(use: Use, sources: Sequence[NamedShape], targets: Mapping[str, Shape]) -> list[Move] | Mismatch:
    """Return the moves of a rule, or why the shapes of its sources and targets do not match."""
    if use.rule.cut is not None:
        return _cut(use, sources[0], targets)
    if use.rule.join is not None:
        return _join(use, sources, targets[use.targets[0]])
    (name, shown, shape), layout, target = sources[0], use.rule.full_layout, use.targets[0]
    expected = targets[target]
    found = _convert_shape(layout, shape)
    if found != expected:
        return Mismatch(shown, shape, layout.name, target, found, expected, _find_problem(layout, shape))
    return [Move(name, shape, layout.name, target, expected)]


def _cut(use: Use, source: NamedShape, targets: Mapping[str, Shape]) -> list[Move] | Mismatch:
    """Return a move of a part of the source for each target; the targets' shapes determine the sizes of the parts."""
    name, shown, shape = source
    layout, letter = use.rule.full_layout, use.rule.cut
    assert letter is not None, "the rule cuts"
    first = targets[use.targets[0]]
    if len(shape) != layout.rank:
        return Mismatch(shown, shape, layout.name, use.targets[0], None, first)
    axis = layout.source.index(letter)
    moves: list[Move] = []
    start = 0
    for target in use.targets:
        expected = targets[target]
        # A part of size 1 may lose its axis, as the two biases in one tensor of a GRU do.
        is_dropped = letter in layout.target and len(expected) == len(layout.target) - 1
        own = layout.without(letter) if is_dropped else layout
        size = _find_part_size(own, letter, shape, expected)
        part = Part(axis, start, start + size)
        found = _convert_shape(own, part.shape_in(shape))
        if found != expected:
            cut = part.shape_in(shape)
            reason = _find_problem(own, cut) or f"becomes {list(found or ())}"
            problem = f"has the part {list(cut)} along {letter}, which {reason}"
            return Mismatch(shown, shape, own.name, target, found, expected, problem)
        moves.append(Move(name, shape, own.name, target, expected, source_part=part))
        start += size
    if start != shape[axis]:
        sizes = " + ".join(str(move.source_part.stop - move.source_part.start) for move in moves if move.source_part)
        problem = f"has size {shape[axis]} along {letter}, but is cut into {sizes}"
        return Mismatch(shown, shape, layout.name, use.targets[0], None, first, problem)
    return moves


def _find_part_size(layout: Layout, letter: str, shape: Shape, expected: Shape) -> int:
    """Return the size along a letter of the part that becomes this shape; 1 if the target lacks the axis."""
    position = next((index for index, merged in enumerate(layout.target) if letter in merged), None)
    if position is None or position >= len(expected):
        return 1
    sizes = dict(zip(layout.source, shape, strict=True))
    others = math.prod(sizes[other] for other in layout.target[position] if other != letter)
    return expected[position] // others if others else 0


def _join(use: Use, sources: Sequence[NamedShape], expected: Shape) -> list[Move] | Mismatch:
    """Return a move of each source to its part of the target."""
    layout, letter, target = use.rule.full_layout, use.rule.join, use.targets[0]
    assert letter is not None, "the rule joins"
    axis = layout.target.index(letter)
    moves: list[Move] = []
    start = 0
    for name, shown, shape in sources:
        found = _convert_shape(layout, shape)
        if found is None or len(found) != len(expected):
            return Mismatch(shown, shape, layout.name, target, found, expected, _find_problem(layout, shape))
        part = Part(axis, start, start + found[axis])
        if found != part.shape_in(expected):
            problem = f"becomes {list(found)}, which differs outside the joined axis {letter}"
            return Mismatch(shown, shape, layout.name, target, found, expected, problem)
        moves.append(Move(name, shape, layout.name, target, expected, target_part=part))
        start += found[axis]
    if start != expected[axis]:
        problem = f"and the sources joined to it along {letter} make {start}, expected {expected[axis]}"
        return Mismatch(sources[0][1], sources[0][2], layout.name, target, None, expected, problem)
    return moves


def _convert_shape(layout: Layout, shape: Shape) -> Shape | None:
    try:
        return get_layout(layout.name).target_shape(shape)
    except ValueError:
        return None


def _find_problem(layout: Layout, shape: Shape) -> str | None:
    """Return why a layout does not accept a shape, unless it has another number of axes."""
    try:
        layout.check_shape(shape)
    except ValueError as error:
        return None if len(shape) != layout.rank else f"does not fit: {error}"
    return None
