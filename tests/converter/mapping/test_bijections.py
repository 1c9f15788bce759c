"""Properties: any layout, cut, join and order goes back byte for byte, with the report and with the rules."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from converter.conversion import convert
from converter.mapping.layout import get_layout
from converter.mapping.reversal import reverse
from converter.mapping.rules import Rule, RuleSet

LETTERS = "ABCD"


@st.composite
def layouts(draw: st.DrawFn) -> tuple[str, str]:
    """Draw the two sides of a layout, with axes of size 1 and merged axes."""
    letters = draw(st.permutations(LETTERS[: draw(st.integers(1, 4))]))
    source = _insert_ones(draw, list(letters))
    permuted = draw(st.permutations(letters))
    target: list[str] = []
    for letter in permuted:
        if target and draw(st.booleans()):
            target[-1] += letter
        else:
            target.append(letter)
    spelled = [merged if len(merged) == 1 else f"({merged})" for merged in target]
    return "".join(source), "".join(_insert_ones(draw, spelled))


def _insert_ones(draw: st.DrawFn, axes: list[str]) -> list[str]:
    for position in sorted(draw(st.sets(st.integers(0, len(axes)), max_size=2)), reverse=True):
        axes.insert(position, "1")
    return axes


@st.composite
def orders(draw: st.DrawFn, letter: str) -> tuple[str, int]:
    """Draw an order of an axis, and the number of its parts."""
    parts = [f"g{number}" for number in range(draw(st.integers(1, 4)))]
    return f"{letter}: {' '.join(parts)} -> {' '.join(draw(st.permutations(parts)))}", len(parts)


def make_array(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return an array of different numbers."""
    return np.arange(math.prod(shape), dtype=np.int32).reshape(shape)


@given(layouts(), st.data())
def test_layout_with_order_is_a_bijection(sides: tuple[str, str], data: st.DataObject) -> None:
    """The target has every element once, in the shape that is known before; the inverse restores the source."""
    source, target = sides
    letter = data.draw(st.sampled_from(source.replace("1", "")))
    order, parts = data.draw(orders(letter))
    layout = get_layout(f"{source} -> {target}; {order}")
    sizes = {axis: data.draw(st.integers(0, 3)) * (parts if axis == letter else 1) for axis in LETTERS} | {"1": 1}
    array = make_array(tuple(sizes[axis] for axis in source))

    converted = layout.apply(array)

    assert converted.shape == layout.target_shape(array.shape)
    assert sorted(converted.ravel()) == list(range(array.size))
    assert layout.invert(converted, array.shape).tobytes() == array.tobytes()
    assert get_layout(layout.name) == layout


@given(layouts(), st.lists(st.integers(1, 3), min_size=2, max_size=4), st.data())
def test_cut_and_order_go_back(sides: tuple[str, str], sizes: list[int], data: st.DataObject) -> None:
    """The targets' shapes are all that decides where the source is cut."""
    source, target = sides
    letters = source.replace("1", "")
    cut = data.draw(st.sampled_from(letters))
    order, parts = None, 1
    others = letters.replace(cut, "")
    if others:
        order, parts = data.draw(orders(data.draw(st.sampled_from(others))))
    counts = {axis: data.draw(st.integers(1, 2)) * (parts if order and axis == order[0] else 1) for axis in letters}
    counts |= {cut: sum(sizes), "1": 1}
    names = tuple(f"t{number}" for number in range(len(sizes)))
    rule = Rule("w", names, f"{source} -> {target}", cut=cut, order=order)
    into = {
        name: rule.full_layout.target_shape(tuple({**counts, cut: size}[axis] for axis in source))
        for name, size in zip(names, sizes, strict=True)
    }
    array = make_array(tuple(counts[axis] for axis in source))

    result = convert({"w": array}, rules=RuleSet(name="", version="", rules=(rule,)), into=into)

    assert {name: value.shape for name, value in result.state_dict.items()} == into
    assert reverse(result.state_dict, result.report)["w"].tobytes() == array.tobytes()
    if not any("(" in side for side in sides):  # of merged axes the rules alone do not know the sizes
        assert reverse(result.state_dict, result.rules)["w"].tobytes() == array.tobytes()


@given(layouts(), st.lists(st.integers(1, 3), min_size=2, max_size=4), st.data())
def test_join_goes_back(sides: tuple[str, str], sizes: list[int], data: st.DataObject) -> None:
    """Sources of different sizes along the joined axis become one target, and come back from it."""
    source, target = sides
    own = [axis for axis in target.replace("1", "") if f"({axis}" not in target and axis in source]
    own = [axis for axis in own if get_layout(f"{source} -> {target}").target.count(axis)]
    if not own:
        return
    join = data.draw(st.sampled_from(own))
    counts = {axis: data.draw(st.integers(1, 2)) for axis in source} | {"1": 1}
    names = tuple(f"s{number}" for number in range(len(sizes)))
    rules = RuleSet(name="", version="", rules=(Rule(names, "t", f"{source} -> {target}", join=join),))
    arrays = {
        name: make_array(tuple({**counts, join: size}[axis] for axis in source)) + 100 * number
        for number, (name, size) in enumerate(zip(names, sizes, strict=True))
    }

    result = convert(arrays, rules=rules)

    assert result.state_dict["t"].size == sum(array.size for array in arrays.values())
    back = reverse(result.state_dict, result.report)
    assert {name: value.tobytes() for name, value in back.items()} == {
        name: value.tobytes() for name, value in arrays.items()
    }
