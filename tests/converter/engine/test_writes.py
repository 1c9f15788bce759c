"""Variables that change during a run: in TensorFlow's order, or refused if nothing determines one."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from converter.engine import graph_module, load_graph
from converter.errors import ExportError, GraphError
from converter.programs.exporting import export_program
from tests.in_process import run_programs_here

from .graphs import PLACEHOLDER, call, function, graph, node
from .test_fixtures import DATA

FOLDER = DATA / "tensorflow" / "graph-writes"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
#: What a TensorFlow session returned for each fetch, with x = 2, and what it returned when it ran the fetch again.
FETCHES: dict[str, float] = EXPECTED["fetches"]
AGAIN: dict[str, float] = EXPECTED["again"]
#: These read what an optimizer of TensorFlow changes, which is not run.
REFUSED = ("ref/optimizer_after", "resource/optimizer_after")


@pytest.mark.parametrize("name", FETCHES)
def test_variables_change_in_tensorflows_order(name: str) -> None:
    """Assignments, groups, branches, functions and loops; a run of the graph begins with the checkpoint's values."""
    with load_graph(FOLDER / "model.ckpt") as loaded:
        if name in REFUSED:
            with pytest.raises(GraphError, match="Momentum") as caught:
                loaded.run(name, {"x": 2.0})
            assert caught.value.node is not None
            return
        values = [loaded.run(name, {"x": 2.0}) for _ in range(2)]

    assert values == [np.float32(FETCHES[name])] * 2


@pytest.mark.parametrize("name", [name for name in FETCHES if name not in REFUSED])
def test_module_keeps_what_a_run_changes(name: str) -> None:
    """The second call returns what the session returned when it ran the fetch again, and a reset begins anew."""
    with load_graph(FOLDER / "model.ckpt") as loaded:
        module = graph_module(loaded, inputs="x", outputs=name)

    values = [float(module(2.0).detach()) for _ in range(2)]

    assert values == pytest.approx([FETCHES[name], AGAIN[name]], rel=1e-6)
    module.reset_state()
    assert float(module(2.0).detach()) == pytest.approx(FETCHES[name], rel=1e-6)
    assert {name for name, _ in module.named_buffers()} >= set(module.state_names)


def test_program_keeps_what_a_run_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The `.pt2` file begins with the checkpoint's value, however often the module was run; other files are refused."""
    name = "f/inside_after"
    with load_graph(FOLDER / "model.ckpt") as loaded:
        module = graph_module(loaded, inputs="x", outputs=name)
    module(2.0)
    run_programs_here(monkeypatch)

    report = export_program(module, tmp_path / "model.pt2")

    assert any("each run changes 1 buffer" in note for note in report.notes)
    program = torch.export.load(report.path).module()
    values = [float(program(x=torch.tensor(2.0)).detach()) for _ in range(2)]
    assert values == pytest.approx([FETCHES[name], AGAIN[name]])
    with pytest.raises(ExportError, match=r"only a \.pt2 file"):
        export_program(module, tmp_path / "model.onnx")


def test_order_that_is_left_to_chance_is_refused() -> None:
    """A read and a write without a dependency between them; with one they run."""
    parts = [
        node("v", "VarHandleOp"),
        node("x", "Placeholder", attributes=PLACEHOLDER),
        node("write", "AssignVariableOp", "v", "x"),
        node("late", "ReadVariableOp", "v", "^write"),
        node("r", "ReadVariableOp", "v"),
        node("y", "Add", "r", "late"),
    ]

    with pytest.raises(GraphError, match="does not determine") as caught:
        graph(*parts).plan(["y"], {})

    assert {caught.value.node} <= {"r", "write"}
    parts[2] = node("write", "AssignVariableOp", "v", "x", "^r")
    assert graph(*parts).plan(["y"], {}).written == {"v"}


def test_change_that_cannot_be_run_is_left_out_if_nothing_reads_it() -> None:
    """A training step after the loss, or a change that needs an input that is not fed; the module says so."""
    parts = [
        node("v", "VarHandleOp"),
        node("x", "Placeholder", attributes=PLACEHOLDER),
        node("r", "ReadVariableOp", "v"),
        node("step", "ResourceApplyGradientDescent", "v", "x", "x", "^r"),
        node("rate", "Placeholder", attributes=PLACEHOLDER),
        node("unfed", "AssignSubVariableOp", "v", "rate", "^step"),
        node("y", "Add", "r", "x", "^unfed"),
    ]

    plan = graph(*parts).plan(["y"], {"x": None}, keeps_state=True)

    assert plan.left_out == ("step (ResourceApplyGradientDescent)", "unfed (AssignSubVariableOp)")
    assert not plan.written
    assert graph(*parts).plan(["y"], {"x": None, "rate": None}, keeps_state=True).written == {"v"}


def test_read_that_is_fed_needs_no_write() -> None:
    """A fed tensor is not computed, so nothing runs before it."""
    with load_graph(FOLDER / "model.ckpt") as loaded:
        value = loaded.run("ref/assign_after", {"x": 2.0, "ref/read": 10.0})

    assert value == np.float32(FETCHES["ref/assign_after"])


def test_operations_of_a_read_after_a_write_can_be_listed() -> None:
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

    steps = [step.name for step in graph(*parts, passes).plan(["outer"], {}).steps]

    assert steps.index("write") < steps.index("outer/inner/r")


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
