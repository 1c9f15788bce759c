"""Running graphs: what is computed, what is kept, and what callers get."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from converter.engine import Operation
from converter.engine.evaluator import Run
from converter.engine.values import Tensor, Value
from converter.errors import FeedError
from tfckpt.graphs.graph import Node

from .graphs import call, constant, function, graph, integers, node, placeholder

FIVE = np.arange(5, dtype=np.float32)


def test_fetches_are_returned_in_the_requested_order() -> None:
    """A list of names returns a list, a single name an array."""
    pair = graph(placeholder("x", -1), node("a", "Neg", "x"), node("b", "Square", "a"))

    b, x, a = pair.run(["b", "x", "a:0"], {"x": FIVE})

    np.testing.assert_array_equal(a, -FIVE)
    np.testing.assert_array_equal(b, FIVE**2)
    np.testing.assert_array_equal(x, FIVE)
    np.testing.assert_array_equal(pair.run("b", {"x": FIVE}), FIVE**2)


def test_values_are_released_after_their_last_use() -> None:
    """In a chain of operations at most two values are alive at a time."""
    chain = [node(f"n{n}", "Square", f"n{n - 1}" if n else "x") for n in range(50)]
    evaluator = graph(placeholder("x", -1), *chain).evaluator()
    runnable = evaluator.runnable(["n49"], {"x": None})
    seen: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def watch(name: str, step: Node, outputs: Sequence[Value]) -> None:
        seen.extend(weakref.ref(value) for value in outputs if isinstance(value, Tensor))
        alive.append(sum(reference() is not None for reference in seen))

    runnable.run(Run({}, {}, watch), {("x", 0): torch.ones(5)})

    assert len(seen) == 50
    assert max(alive) <= 2


def test_fetched_value_is_kept() -> None:
    """A fetch in the middle of a chain is not released by the operations after it."""
    chain = graph(placeholder("x", -1), node("a", "Neg", "x"), node("b", "Neg", "a"), node("c", "Neg", "b"))

    a, c = chain.run(["a", "c"], {"x": FIVE})

    np.testing.assert_array_equal(a, -FIVE)
    np.testing.assert_array_equal(c, -FIVE)


def test_intermediates_are_all_tensors_that_a_fetch_needs() -> None:
    """They are ordered and named, second outputs with their index; tensors that are not needed are left out."""
    parts = graph(
        placeholder("x", -1),
        integers("k", 2),
        node("count", "Squeeze", "k"),
        node("top", "TopKV2", "x", "count"),
        node("y", "Neg", "top"),
        node("z", "Neg", "y"),
    )

    tensors = parts.evaluator().intermediates("y", {"x": FIVE})

    assert list(tensors) == ["k", "count", "top", "top:1", "y"]
    assert tensors["top:1"].tolist() == [4, 3]


def test_operations_are_listed_without_running() -> None:
    """The list has names, inputs and order; nodes of functions are named after their calls."""
    parts = graph(
        placeholder("x"),
        call("a", "f", "x"),
        node("b", "Neg", "a"),
        node("unused", "Neg", "b"),
        function("f", node("s", "Square", "x"), returns="s:y:0"),
    )

    assert parts.operations(["b"], ["x"]) == (
        Operation("a/s", "Square", ("x",), None),
        Operation("b", "Neg", ("a/s",), None),
    )


def test_float64_is_computed_in_float64() -> None:
    """A third has more digits in float64 than in float32; integers keep their dtype."""
    third = graph(placeholder("x"), constant("three", 3.0), node("y", "RealDiv", "x", "three"), integers("n", 7))

    narrow, wide = (third.run(["y", "n"], {"x": 1.0}, dtype=dtype) for dtype in ("float32", "float64"))

    assert (narrow[0].dtype, wide[0].dtype) == (np.float32, np.float64)
    assert wide[0].item() == 1 / 3 != narrow[0].item()
    assert narrow[1].dtype == wide[1].dtype == np.int32


def test_results_do_not_change_with_the_next_run() -> None:
    """Returned arrays are copies, which the caller may change."""
    parts = graph(placeholder("x", -1), node("y", "Identity", "x"), constant("c", 2.0, 3))
    fed = FIVE.copy()

    first, constant_value = parts.run(["y", "c"], {"x": fed})
    first += 1
    constant_value += 1

    np.testing.assert_array_equal(fed, FIVE)
    assert parts.run("c").tolist() == [2, 2, 2]


def test_expanded_names_can_be_fed() -> None:
    """A tensor inside a function is fed by the name that it has after expansion."""
    parts = graph(
        placeholder("x"),
        call("a", "f", "x"),
        function("f", node("s", "Square", "x"), node("t", "Neg", "s:y:0"), returns="t:y:0"),
    )

    assert parts.run("a", {"a/s": 5.0}) == -5
    assert parts.run("a", {"a": 3.0}) == 3


@pytest.mark.parametrize(("producer", "is_unknown"), [(8, True), (21, True), (22, False)])
def test_placeholder_without_dimensions_takes_any_shape_in_old_graphs(producer: int, is_unknown: bool) -> None:
    """Before TensorFlow 1.0 an unknown shape was stored so; `import_graph_def` of 2.21 takes the same feeds."""
    loaded = graph(placeholder("x"), node("y", "Neg", "x"), f"versions {{ producer: {producer} }}")

    if is_unknown:
        assert loaded.run("y", {"x": np.ones((2, 3), np.float32)}).tolist() == [[-1] * 3] * 2
    else:
        with pytest.raises(FeedError):
            loaded.run("y", {"x": np.ones((2, 3), np.float32)})
    assert loaded.run("y", {"x": 1.0}) == -1
