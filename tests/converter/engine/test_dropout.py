"""Dropout is recognised in the forms that TensorFlow writes, and left out or active on request."""

from __future__ import annotations

import pytest
import torch

from converter.engine import graph_module

from .graphs import call, constant, function, graph, integers, node, placeholder

FLOAT = 'attr { key: "dtype" value { type: 1 } }'
CAST = 'attr { key: "SrcT" value { type: 10 } } attr { key: "DstT" value { type: 1 } }'
COMMON = (placeholder("x", -1), integers("shape", 1000), node("u", "RandomUniform", "shape", attributes=FLOAT))
#: In each `r` is the probability of the formula; 0.25 of the elements are dropped.
FORMS = {
    "floor": (
        constant("r", 0.75),
        constant("min", 0.0),
        constant("one", 1.0),
        node("range", "Sub", "one", "min"),
        node("scaled", "Mul", "u", "range"),
        node("uniform", "Add", "scaled", "min"),
        node("sum", "Add", "r", "uniform"),
        node("mask", "Floor", "sum"),
        node("div", "RealDiv", "x", "r"),
        node("y", "Mul", "div", "mask"),
    ),
    "cast": (
        constant("r", 0.25),
        constant("one", 1.0),
        node("kept", "Sub", "one", "r"),
        node("factor", "RealDiv", "one", "kept"),
        node("scaled", "Mul", "x", "factor"),
        node("keep", "GreaterEqual", "u", "r"),
        node("mask", "Cast", "keep", attributes=CAST),
        node("y", "Mul", "scaled", "mask"),
    ),
    "select": (
        constant("r", 0.25),
        constant("factor", 1.3333334),
        constant("zero", 0.0),
        node("scaled", "Mul", "x", "factor"),
        node("keep", "GreaterEqual", "u", "r"),
        node("y", "SelectV2", "keep", "scaled", "zero"),
    ),
}
X = torch.arange(1.0, 1001.0)


@pytest.mark.parametrize("form", FORMS)
def test_dropout_is_left_out_by_default(form: str) -> None:
    """The output is the input, in training mode too, and the random numbers are not even planned."""
    module = graph_module(graph(*COMMON, *FORMS[form]), inputs="x", outputs="y")

    assert torch.equal(module.train()(X), X)
    assert "RandomUniform" not in {step.node.op for step in module._runnable.plan.steps}


@pytest.mark.parametrize("form", FORMS)
def test_dropout_is_active_in_training_mode_on_request(form: str) -> None:
    """A quarter of the elements is dropped, the others are scaled up; in evaluation mode nothing is."""
    torch.manual_seed(0)
    module = graph_module(graph(*COMMON, *FORMS[form]), inputs="x", outputs="y", dropout=True)

    y = module.train()(X)

    kept = y != 0
    assert 180 < int((~kept).sum()) < 320
    torch.testing.assert_close(y[kept], X[kept] / 0.75)
    assert torch.equal(module.eval()(X), X)


def test_probability_may_be_an_input() -> None:
    """Programs of TensorFlow 1 feed the probability to keep an element."""
    form = [placeholder("r"), *FORMS["floor"][1:]]
    module = graph_module(graph(*COMMON, *form), inputs=["x", "r"], outputs="y", dropout=True)

    assert torch.equal(module.train()(X, torch.tensor(1.0)), X)
    assert int((module(X, torch.tensor(0.25)) == 0).sum()) > 600


def test_dropout_in_a_function_is_recognised() -> None:
    """References in functions have another form."""
    inner = [text.replace('"u"', '"u:output:0"').replace('"keep"]', '"keep"') for text in FORMS["select"]]
    body = [node("u", "RandomUniform", "shape:output:0", attributes=FLOAT), integers("shape", 1000), *inner]
    loaded = graph(placeholder("x", -1), call("y", "f", "x"), function("f", *body, returns="y:output:0"))

    assert torch.equal(graph_module(loaded, inputs="x", outputs="y")(X), X)


@pytest.mark.parametrize(
    ("old", "new"),
    [("1.3333334", "1.5"), ('"keep" input: "scaled" input: "zero"', '"keep" input: "scaled" input: "r"')],
    ids=["another factor", "another value"],
)
def test_what_only_looks_like_dropout_stays(old: str, new: str) -> None:
    """If the factor does not agree with the probability, or the dropped elements are not zero, it is not dropout."""
    parts = [part.replace(old, new) for part in FORMS["select"]]
    assert parts != list(FORMS["select"])

    names = {operation.op for operation in graph(*COMMON, *parts).operations(["y"])}

    assert "RandomUniform" in names
