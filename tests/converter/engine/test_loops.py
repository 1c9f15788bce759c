"""Loops of TensorFlow 1: variables in them, exports, and frames that are not loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from converter.engine import ReferenceGraph, graph_module
from converter.engine.limits import ReferenceLimits
from converter.errors import ConversionError, GraphError, UnsupportedOpError

from .graphs import constant, graph, integers, node, placeholder

ONES = np.ones(2, np.float32)


def loop(prefix: str, start: str, *, count: int = 3, body: tuple[str, ...] = (), result: str = "") -> list[str]:
    """Return the nodes of a loop that counts, and doubles its variable unless a body is given."""
    enter, merge, switch, result = (f"{prefix}{name}" for name in ("enter", "merge", "switch", result or "double"))
    return [
        integers(f"{prefix}zero", 0),
        integers(f"{prefix}count", count),
        node(f"{prefix}i_enter", "Enter", f"{prefix}zero"),
        node(f"{prefix}n_enter", "Enter", f"{prefix}count"),
        node(f"{prefix}i_merge", "Merge", f"{prefix}i_enter", f"{prefix}i_next"),
        node(f"{prefix}less", "Less", f"{prefix}i_merge", f"{prefix}n_enter"),
        node(f"{prefix}condition", "LoopCond", f"{prefix}less"),
        node(f"{prefix}i_switch", "Switch", f"{prefix}i_merge", f"{prefix}condition"),
        integers(f"{prefix}one", 1),
        node(f"{prefix}i_add", "Add", f"{prefix}i_switch:1", f"{prefix}one"),
        node(f"{prefix}i_next", "NextIteration", f"{prefix}i_add"),
        node(enter, "Enter", start),
        node(merge, "Merge", enter, f"{prefix}next"),
        node(switch, "Switch", merge, f"{prefix}condition"),
        *(body or (node(f"{prefix}double", "Add", f"{switch}:1", f"{switch}:1"),)),
        node(f"{prefix}next", "NextIteration", result),
        node(f"{prefix}exit", "Exit", switch),
    ]


def test_loop_is_a_while_whose_constants_are_its_own() -> None:
    """The predicate is a vector of one element here, as some programs have it."""
    loaded = graph(placeholder("x", -1), *loop("a/", "x"))

    assert loaded.run("a/exit", {"x": ONES}).tolist() == [8, 8]
    assert {operation.op for operation in loaded.operations(["a/exit"])} >= {"While"}


def test_loop_with_a_known_length_is_unrolled_in_an_export() -> None:
    """The exported program has no loop."""
    module = graph_module(graph(placeholder("x", -1), *loop("a/", "x")), inputs="x", outputs="a/exit")

    program = torch.export.export(module, (torch.ones(2),), dynamic_shapes={"x": {0: torch.export.Dim.DYNAMIC}})

    assert program.module()(torch.ones(5)).tolist() == [8] * 5


@pytest.mark.parametrize("depth", [40, 300])
def test_nested_loops_are_converted_as_deep_as_programs_have_them(depth: int) -> None:
    """A hostile depth is an error and not the end of Python's stack."""
    parts = [placeholder("x", -1)]
    for level in range(depth):
        start = f"{level - 1}/switch:1" if level else "x"
        inner = f"{level + 1}/exit"
        parts += loop(f"{level}/", start, count=1, body=(node(f"{level}/pass", "Neg", inner),), result="pass")
    parts += loop(f"{depth}/", f"{depth - 1}/switch:1", count=1)
    loaded = graph(*parts)

    if depth == 40:
        assert np.abs(loaded.run("0/exit", {"x": ONES})).tolist() == [2, 2]
    else:
        with pytest.raises(ConversionError):
            loaded.run("0/exit", {"x": ONES})


def _broken() -> dict[str, ReferenceGraph]:
    good = [placeholder("x", -1), *loop("a/", "x")]

    def changed(old: str, new: str) -> ReferenceGraph:
        parts = [part.replace(old, new) for part in good]
        assert parts != good
        return graph(*parts)

    return {
        "variable without an end": changed('"a/next" op: "NextIteration"', '"a/next" op: "Identity"'),
        "condition on its own result": changed('"LoopCond" input: "a/less"', '"LoopCond" input: "a/exit"'),
        "condition on the next turn": changed('"LoopCond" input: "a/less"', '"LoopCond" input: "a/next"'),
        "exit without a loop": changed(
            '"Switch" input: "a/merge" input: "a/condition"', '"Switch" input: "a/merge" input: "a/less"'
        ),
        "value after the loop inside of it": changed('"Add" input: "a/switch:1"', '"Add" input: "a/switch"'),
        "merge of one input": changed('"Merge" input: "a/enter" input: "a/next"', '"Merge" input: "a/next"'),
        "node that does not exist": changed('"Add" input: "a/switch:1"', '"Add" input: "a/nothing"'),
    }


@pytest.mark.parametrize("case", _broken())
def test_frames_that_are_no_loop_are_refused(case: str) -> None:
    """One error of the family, and never another value."""
    with pytest.raises((GraphError, UnsupportedOpError)):
        _broken()[case].run("a/exit", {"x": ONES})


def test_tensor_inside_of_a_loop_cannot_be_fetched() -> None:
    """It has a value for each turn."""
    with pytest.raises(ConversionError):
        graph(placeholder("x", -1), *loop("a/", "x")).run("a/double", {"x": ONES})


def test_loop_that_changes_a_variable_it_reads_is_refused() -> None:
    """The value would be that of the checkpoint in every turn."""
    body = (
        node("v_enter", "RefEnter", "v"),
        node("read", "Identity", "v_enter", "^assign"),
        node("assign", "AssignAdd", "v_enter", "a/switch:1"),
        node("a/sum", "Add", "assign", "read"),
    )
    variable = node("v", "VariableV2", attributes='attr { key: "shape" value { shape { dim { size: 2 } } } }')
    loaded = graph(placeholder("x", -1), variable, *loop("a/", "x", body=body, result="sum"))

    with pytest.raises(ConversionError):
        loaded.run("a/exit", {"x": ONES})


def test_endless_loop_ends_at_the_limit() -> None:
    """The error names the limit."""
    parts = [part.replace('"Less"', '"LessEqual"').replace("int_val: 1", "int_val: 0") for part in loop("a/", "x")]

    endless = graph(placeholder("x", -1), constant("c", 1.0), *parts, limits=ReferenceLimits(max_loop_iterations=1000))

    with pytest.raises(GraphError, match="max_loop_iterations"):
        endless.run("a/exit", {"x": np.zeros(1, np.float32)})
