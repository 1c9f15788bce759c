"""Conversion of state dicts back to TensorFlow's names and layouts: the rules, applied backwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfckpt.errors import printable

from .._typing import Array
from ..errors import ConversionError, Shape
from .layout import Layout
from .matching import Table, Use
from .moves import Move, Part, group_by_source, restore_source
from .report import ConversionReport
from .rules import RuleSet


def reverse(state_dict: Mapping[str, Any], rules: RuleSet | ConversionReport) -> dict[str, Array]:
    """Return TensorFlow's arrays by name, in the order of the state dict.

    Arrays are in C order, and views of the state dict's memory where that allows it.

    With the rules of a conversion (`ConversionResult.rules`, or from a file) the names are those that rules match; if
    several rules produce a target, the first is used. The channel multiplier of a depthwise kernel is assumed to be 1,
    and sources that were joined are assumed to have equal sizes. With a conversion report, names and shapes are exactly
    the checkpoint's.
    Values are arrays or PyTorch tensors in memory. Constants and tied targets have no source and are left out.
    Raises `ConversionError` listing all tensors that no rule produces, whose shape does not match their layout, of
    which a part is missing, or that differ from the tensor that they are tied to.
    """
    arrays = reverse_to_views(state_dict, rules)
    return {name: array if array.flags.c_contiguous else array.copy(order="C") for name, array in arrays.items()}


def reverse_to_views(state_dict: Mapping[str, Any], rules: RuleSet | ConversionReport) -> dict[str, Array]:
    """Reverse like `reverse`, but leave the arrays with the strides that the layouts gave them: nothing is copied."""
    values = {name: np.asarray(value) for name, value in state_dict.items()}
    problems: list[str] = []
    if isinstance(rules, ConversionReport):
        moves = _list_recorded_moves(values, rules, problems)
    else:
        moves = _list_moves(values, rules, problems)
    arrays: dict[str, Array] = {}
    for name, group in group_by_source(moves).items():
        missing = [move.target for move in group if move.target not in values]
        if missing:
            names = ", ".join(map(printable, missing))
            problems.append(f"{printable(name)}: its other parts are missing: {names}")
            continue
        try:
            arrays[name] = restore_source(group, values)
        except ValueError as error:
            problems.append(f"{printable(group[0].target)}: {error}")
    if problems:
        raise ConversionError("\n  ".join(["the rules cannot convert these tensors back:", *problems]))
    return arrays


def _list_recorded_moves(values: Mapping[str, Array], report: ConversionReport, problems: list[str]) -> list[Move]:
    """Return the moves of a conversion that made some of the values."""
    ties = {record.target: record.to for record in report.tied}
    known = {record.target for record in report.tensors} | {record.target for record in report.constants}
    for target in values:
        if target in ties:
            problems += _compare_tied(target, ties[target], values)
        elif target not in known:
            problems.append(f"{printable(target)}: not a target of the conversion")
    used = {record.source for record in report.tensors if record.target in values}
    return [record.move for record in report.tensors if record.source in used]


def _list_moves(values: Mapping[str, Array], rules: RuleSet, problems: list[str]) -> list[Move]:
    """Return the moves by which rules would have made the values."""
    table = Table(rules)
    uses: dict[Use, str] = {}
    alone = []
    for target in values:
        if table.find_constants(target):
            continue
        found = table.find_uses(target)
        if found:
            uses.setdefault(found[0], target)
        elif table.find_ties(target):
            for to in table.find_ties(target):
                problems += _compare_tied(target, to, values)
        else:
            alone.append(target)
    memory = {_locate(values[target]) for use in uses for target in use.targets if target in values}
    problems += [
        f"{printable(target)}: no rule has this target"
        for target in alone
        if not values[target].size or _locate(values[target]) not in memory  # else one tensor under two names
    ]
    moves: list[Move] = []
    claimed: dict[str, str] = {}
    for use, target in uses.items():
        missing = [name for name in use.targets if name not in values]
        twice = [name for name in use.sources if name in claimed]
        if twice and all(_locate(values[target]) == _locate(values[claimed[name]]) for name in twice):
            continue  # one tensor under two names, each with a rule
        claimed |= dict.fromkeys(use.sources, target)
        problems += (
            [f"{printable(target)}: the parts {', '.join(map(printable, missing))} are missing"] if missing else []
        )
        problems += [f"{printable(target)}: another target has the source {printable(name)} too" for name in twice]
        if missing or twice:
            continue
        try:
            moves += _make_moves(use, [values[name].shape for name in use.targets])
        except ValueError as error:
            problems.append(f"{printable(target)}: {error}")
    return moves


def _make_moves(use: Use, shapes: Sequence[Shape]) -> list[Move]:
    """Return the moves that make targets of these shapes; raise `ValueError` if there are none."""
    rule, layout = use.rule, use.rule.full_layout
    if rule.cut is not None:
        return _make_cut(use, layout, rule.cut, shapes)
    target, shape = use.targets[0], shapes[0]
    if rule.join is None:
        return [Move(use.sources[0], layout.source_shape(shape), layout.name, target, shape)]
    axis, count = layout.target.index(rule.join), len(use.sources)
    if axis >= len(shape) or shape[axis] % count:
        raise ValueError(f"shape {list(shape)} does not divide along {rule.join} into {count} equal sources")
    size = shape[axis] // count
    parts = [Part(axis, number * size, (number + 1) * size) for number in range(count)]
    return [
        Move(source, layout.source_shape(part.shape_in(shape)), layout.name, target, shape, target_part=part)
        for source, part in zip(use.sources, parts, strict=True)
    ]


def _make_cut(use: Use, layout: Layout, letter: str, shapes: Sequence[Shape]) -> list[Move]:
    axis = layout.source.index(letter)
    is_dropped = letter in layout.target and len(shapes[0]) == len(layout.target) - 1
    own = layout.without(letter) if is_dropped else layout
    sources = [own.source_shape(shape) for shape in shapes]
    sizes = [source[axis] for source in sources]
    whole = Part(axis, 0, sum(sizes)).shape_in(sources[0])
    if any(Part(axis, 0, sum(sizes)).shape_in(source) != whole for source in sources):
        raise ValueError(f"its parts {' and '.join(str(list(shape)) for shape in shapes)} do not fit together")
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    return [
        Move(use.sources[0], whole, own.name, target, shape, source_part=Part(axis, start, start + size))
        for target, shape, start, size in zip(use.targets, shapes, starts, sizes, strict=True)
    ]


def _compare_tied(target: str, to: str, values: Mapping[str, Array]) -> list[str]:
    """Return a problem if a tied target is not equal to the tensor that it is tied to."""
    if to not in values:
        return []
    one, other = values[target], values[to]
    if one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes():
        return []
    return [f"{printable(target)}: tied to {printable(to)}, but the two differ"]


def _locate(array: Array) -> tuple[int, Shape]:
    """Return the address of an array's memory, and its shape."""
    return int(array.__array_interface__["data"][0]), array.shape
