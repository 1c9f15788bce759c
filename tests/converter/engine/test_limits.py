"""Graphs that exceed a limit, each tested with one that does not."""

from __future__ import annotations

import pytest

from converter.engine import ReferenceLimits
from converter.errors import GraphLimitError
from tfckpt.errors import LimitExceededError
from tfckpt.limits import Limits

from .graphs import call, constant, function, function_attribute, graph, integers, node, placeholder


def test_huge_constant_is_rejected() -> None:
    """A constant with one stored value can claim any shape, so the claimed size is limited."""
    parts = (constant("x", 1.0, 1000, 1000), node("y", "Neg", "x"))

    assert graph(*parts).run("y").shape == (1000, 1000)
    with pytest.raises(LimitExceededError) as caught:
        graph(*parts, file_limits=Limits(max_constant_bytes=1_000_000)).run("y")
    assert (caught.value.limit, caught.value.claimed) == ("max_constant_bytes", 4_000_000)


@pytest.mark.parametrize("op", ["Fill", "Tile", "BroadcastTo", "Pad", "OneHot", "Range"])
def test_huge_tensor_is_rejected_before_it_is_created(op: str) -> None:
    """An operation whose output size is a number in the graph is limited, and runs below the limit."""

    def parts(size: int) -> tuple[str, ...]:
        scalars = [constant("one", 1.0), constant("row", 1.0, 1)]
        numbers = [integers("size", size), integers("zero", 0), integers("step", 1), integers("pads", 0, size)]
        numbers += [node("pads2", "Reshape", "pads", "two"), integers("two", 1, 2), node("n", "Squeeze", "size")]
        inputs = {
            "Fill": ("size", "one"),
            "Tile": ("row", "size"),
            "BroadcastTo": ("row", "size"),
            "Pad": ("row", "pads2"),
            "OneHot": ("zero", "n", "one", "one"),
            "Range": ("zero", "n", "step"),
        }[op]
        return (*scalars, *numbers, node("y", op, *inputs))

    limits = ReferenceLimits(max_tensor_bytes=4000)
    assert graph(*parts(100), limits=limits).run("y").size >= 100
    with pytest.raises(GraphLimitError) as caught:
        graph(*parts(2_000_000_000), limits=limits).run("y")
    assert (caught.value.limit, caught.value.node) == ("max_tensor_bytes", "y")


def test_function_that_calls_itself_is_rejected() -> None:
    """Endless recursion exceeds a limit; a chain of calls below the limit runs."""
    endless = graph(
        placeholder("x"), call("a", "f", "x"), function("f", call("again", "f", "x"), returns="again:out_0:0")
    )
    chain = [function(f"f{n}", call("next", f"f{n + 1}", "x"), returns="next:out_0:0") for n in range(200)]
    chain.append(function("f200", node("y", "Neg", "x"), returns="y:y:0"))

    assert graph(placeholder("x"), call("a", "f0", "x"), *chain).run("a", {"x": 2.0}) == -2
    with pytest.raises(GraphLimitError) as caught:
        endless.run("a", {"x": 1.0})
    assert (caught.value.limit, caught.value.maximum) == ("max_call_depth", 256)


def test_exponentially_growing_calls_are_rejected() -> None:
    """Two calls in each of thirty functions would be a billion operations."""

    def doubling(depth: int) -> list[str]:
        middle = [
            function(
                f"f{n}",
                call("a", f"f{n + 1}", "x"),
                call("b", f"f{n + 1}", "a:out_0:0"),
                returns="b:out_0:0",
            )
            for n in range(depth)
        ]
        return [
            placeholder("x"),
            call("y", "f0", "x"),
            *middle,
            function(f"f{depth}", node("n", "Neg", "x"), returns="n:y:0"),
        ]

    limits = ReferenceLimits(max_operations=5000)
    assert graph(*doubling(8), limits=limits).run("y", {"x": 2.0}) == 2
    with pytest.raises(GraphLimitError) as caught:
        graph(*doubling(30), limits=limits).run("y", {"x": 2.0})
    assert (caught.value.limit, caught.value.maximum) == ("max_operations", 5000)


def test_graph_with_too_many_operations_is_rejected() -> None:
    """A chain as long as the limit runs, and one operation more is refused before anything runs."""
    names = [f"n{number}" for number in range(1000)]
    parts = [placeholder("n"), *(node(name, "Neg", before) for before, name in zip(["n", *names], names, strict=False))]
    limits = ReferenceLimits(max_operations=1000)

    assert graph(*parts, limits=limits).run("n999", {"n": 2.0}) == 2
    with pytest.raises(GraphLimitError) as caught:
        graph(*parts, node("more", "Neg", "n999"), limits=limits).run("more", {"n": 2.0})
    assert (caught.value.limit, caught.value.claimed) == ("max_operations", 1001)


def make_nested_branches(depth: int) -> list[str]:
    """Return functions that each run the next one with an If."""
    both = [
        f"{function_attribute('then_branch', f'f{n + 1}')} {function_attribute('else_branch', f'f{n + 1}')}"
        for n in range(depth)
    ]
    middle = [
        function(
            f"f{n}",
            node("p", "Greater", "x", "x"),
            node("i", "If", "p:z:0", "x", attributes=both[n]),
            returns="i:output:0",
        )
        for n in range(depth)
    ]
    return [
        placeholder("x"),
        call("y", "f0", "x"),
        *middle,
        function(f"f{depth}", node("n", "Neg", "x"), returns="n:y:0"),
    ]


def test_nested_branches_are_limited() -> None:
    """Each If is evaluated inside the outer one, so their depth has a limit."""
    assert graph(*make_nested_branches(60)).run("y", {"x": 2.0}) == -2
    with pytest.raises(GraphLimitError) as caught:
        graph(*make_nested_branches(100)).run("y", {"x": 2.0})
    assert (caught.value.limit, caught.value.maximum) == ("max_branch_depth", 64)


def make_loop(condition: str) -> list[str]:
    """Return a loop that doubles x while it compares with 1000 as the condition says."""
    functions = f"{function_attribute('cond', 'c')} {function_attribute('body', 'b')}"
    return [
        placeholder("x"),
        node("y", "While", "x", attributes=functions),
        function("c", constant("limit", 1000.0), node("r", condition, "x", "limit:output:0"), returns="r:z:0"),
        function("b", node("r", "Add", "x", "x"), returns="r:z:0"),
    ]


def test_endless_loop_is_stopped() -> None:
    """A loop whose condition is always true exceeds a limit; a loop that ends runs to its end."""
    limits = ReferenceLimits(max_loop_iterations=50)

    assert graph(*make_loop("Less"), limits=limits).run("y", {"x": 1.0}) == 1024
    with pytest.raises(GraphLimitError) as caught:
        graph(*make_loop("NotEqual"), limits=limits).run("y", {"x": 1.0})
    assert (caught.value.node, caught.value.limit, caught.value.claimed) == ("y", "max_loop_iterations", 51)


def test_depth_of_a_graph_is_not_limited() -> None:
    """A chain of ten thousand operations runs without exhausting Python's stack."""
    chain = [node(f"n{n}", "Neg", f"n{n - 1}" if n else "x") for n in range(10_000)]

    assert graph(placeholder("x"), *chain).run("n9999", {"x": 3.0}) == 3
