"""Control dependencies that change a variable are refused if the variable is read afterwards, never ignored."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from converter.engine import graph_module, load_graph
from converter.errors import GraphError

from .graphs import PLACEHOLDER, call, function, graph, node
from .test_fixtures import DATA

FOLDER = DATA / "tensorflow" / "graph-writes"
#: What a TensorFlow session returned for each fetch, with x = 2.
FETCHES: dict[str, float] = json.loads((FOLDER / "expected.json").read_text())["fetches"]


@pytest.mark.parametrize("name", [name for name in FETCHES if name.endswith("_before")])
def test_write_that_comes_after_the_reads_or_not_at_all_is_left_out(name: str) -> None:
    """A training step that the loss waits for, another variable, and a branch not taken change nothing."""
    with load_graph(FOLDER / "model.ckpt") as loaded:
        assert loaded.run(name, {"x": 2.0}) == np.float32(FETCHES[name])


@pytest.mark.parametrize("name", [name for name in FETCHES if name.endswith("_after")])
def test_read_after_a_write_is_refused(name: str) -> None:
    """The value would be that without the write: assignments, groups, optimizers, branches, functions and loops."""
    with load_graph(FOLDER / "model.ckpt") as loaded:
        with pytest.raises(GraphError) as caught:
            loaded.run(name, {"x": 2.0})
        with pytest.raises(GraphError):
            graph_module(loaded, inputs="x", outputs=name)

    assert caught.value.node is not None


def test_read_that_is_fed_needs_no_write() -> None:
    """A fed tensor is not computed, so nothing runs before it."""
    with load_graph(FOLDER / "model.ckpt") as loaded:
        value = loaded.run("ref/assign_after", {"x": 2.0, "ref/read": 10.0})

    assert value == np.float32(FETCHES["ref/assign_after"])


def test_operations_of_a_refused_read_can_be_listed() -> None:
    """Listing runs nothing."""
    with load_graph(FOLDER / "model.ckpt") as loaded:
        names = [operation.name for operation in loaded.operations(["ref/assign_after"])]

    assert "ref/read" in names


def test_write_before_the_call_of_a_function_is_found() -> None:
    """What runs before a call runs before everything in the function."""
    parts = (
        node("v", "VarHandleOp"),
        node("x", "Placeholder", attributes=PLACEHOLDER),
        node("write", "AssignVariableOp", "v", "x"),
        call("outer", "passes", "v", "^write"),
        function("reads", node("r", "ReadVariableOp", "x"), returns="r:value:0"),
    )
    passes = function("passes", call("inner", "reads", "x"), returns="inner:output:0")

    with pytest.raises(GraphError) as caught:
        graph(*parts, passes).run("outer", {"x": np.float32(1)})

    assert (caught.value.node, caught.value.op) == ("outer/inner/r", "ReadVariableOp")


def test_control_dependencies_of_a_call_cost_no_more_than_their_number() -> None:
    """What runs before a call is not listed for each operation in its function."""
    names = [f"n{number}" for number in range(3000)]
    body = [node(name, "Neg", before) for before, name in zip(["x", *(f"{n}:y:0" for n in names)], names, strict=False)]
    parts = (
        node("v", "VarHandleOp"),
        *(node(name, "NoOp") for name in names),
        node("r", "ReadVariableOp", "v"),
        call("c", "long", "r", *(f"^{name}" for name in names)),
        function("long", *body, returns=f"{names[-1]}:y:0"),
    )
    loaded = graph(*parts)
    tracemalloc.start()

    loaded.plan(["c"], {})

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 << 20
