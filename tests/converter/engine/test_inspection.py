"""What the inspection of a graph says: interface, weights, unsupported operations, and where a cut helps."""

from __future__ import annotations

import pytest

from converter.engine import graph_module, inspect_graph, load_graph
from converter.errors import TensorNameError
from tfckpt.graphs.meta_graph import Signature, SignatureTensor

from .graphs import constant, function, function_attribute, graph, node, placeholder
from .test_fixtures import DATA
from .test_interface import FROZEN, with_signature


def test_saved_model_shows_its_signature_and_numbers() -> None:
    """The signature that TensorFlow adds for itself is left out."""
    with load_graph(DATA / "savedmodel") as loaded:
        inspection = inspect_graph(loaded)
        module = graph_module(loaded)

    (part,) = inspection.parts
    assert (inspection.kind, inspection.tags) == ("SavedModel", ("serve",))
    assert (part.name, part.is_supported, part.cuts) == ("serving_default", True, ())
    assert part.inputs == module.inputs
    assert [(port.key, port.dtype, port.shape) for port in part.outputs] == [("logits", "float32", (-1, 7))]
    assert part.parameters == sum(parameter.numel() for parameter in module.parameters())
    assert part.statistics == sum(buffer.numel() for name, buffer in module.state_dict().items() if "moving" in name)


def test_meta_graph_without_signature_shows_its_ends() -> None:
    """They are the candidates for outputs; placeholders are those for inputs."""
    with load_graph(DATA / "digits" / "efficientnetv2-digits") as loaded:
        inspection = inspect_graph(loaded)

    assert inspection.kind == "MetaGraph"
    assert ("input", (-1, 32, 32, 3)) in [(port.tensor, port.shape) for port in inspection.placeholders]
    assert inspection.ends


def test_weights_of_a_frozen_graph_are_counted() -> None:
    """The formula's numbers are not."""
    (part,) = inspect_graph(graph(*FROZEN), outputs="y").parts

    assert (part.parameters, part.statistics) == (9, 0)


def test_all_unsupported_operations_are_listed_and_the_cuts_around_them() -> None:
    """Naming the tensors after them as inputs, or those before them as outputs, makes a part that runs."""
    loaded = graph(
        placeholder("x", -1),
        node("a", "Exp", "x"),
        node("b", "FirstStrange", "a"),
        node("c", "SecondStrange", "b:1", "a"),
        node("d", "Mul", "c", "a"),
        node("e", "Exp", "d"),
    )

    (part,) = inspect_graph(loaded, outputs="e").parts

    assert [(each.node, each.op) for each in part.unsupported] == [("b", "FirstStrange"), ("c", "SecondStrange")]
    (after, before) = part.cuts
    assert (after.inputs, after.outputs, after.operations) == (("c", "a"), None, 2)
    assert (before.inputs, before.outputs, before.operations) == (None, ("a",), 1)
    graph_module(loaded, inputs=after.inputs, outputs="e")
    graph_module(loaded, outputs=before.outputs)


def test_unsupported_operation_in_a_branch_belongs_to_its_node() -> None:
    """The cut is around the node that runs the branch."""
    branches = f"{function_attribute('then_branch', 'f')} {function_attribute('else_branch', 'f')}"
    loaded = graph(
        placeholder("x", -1),
        node("p", "Placeholder", attributes='attr { key: "dtype" value { type: 10 } }'),
        node("a", "Exp", "x"),
        node("b", "If", "p", "a", attributes=branches),
        node("c", "Exp", "b"),
        function("f", node("inner", "Strange", "x"), returns="inner:y:0"),
    )

    (part,) = inspect_graph(loaded, outputs="c").parts

    assert [each.node for each in part.unsupported] == ["f/inner"]
    assert [cut.inputs for cut in part.cuts] == [("b",), None]


def test_signature_that_cannot_be_used_has_a_problem_and_the_others_are_shown() -> None:
    """A tensor that is missing or sparse is no reason to say nothing."""
    loaded = with_signature(
        graph(placeholder("x"), constant("c", 2.0), node("y", "Mul", "x", "c")), {"x": "x"}, {"y": "y"}
    )
    loaded.signatures["wrong"] = Signature("wrong", {}, {"z": SignatureTensor("z:0", "float32", ())}, "")

    good, wrong = inspect_graph(loaded).parts

    assert (good.is_supported, wrong.is_supported) == (True, False)
    assert wrong.problem is not None and "z:0" in wrong.problem
    with pytest.raises(TensorNameError):
        inspect_graph(loaded, signature="none")
