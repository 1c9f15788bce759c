"""Batch norms of training run with their moving statistics, wherever the graph says which variables these are.

tests/data/batch-norms was written by real TensorFlow: graphs of training, and what the layers give in evaluation.
"""

from __future__ import annotations

import io
import pathlib
import tarfile
from typing import Any

import numpy as np
import pytest

from converter.engine import load_graph
from converter.engine.bodies import Body
from converter.engine.statistics import use_moving_statistics
from tests.arrays import distance

from .graphs import constant, graph, node

CASES = pathlib.Path(__file__).parents[2] / "data" / "batch-norms"
NORM = node("norm", "FusedBatchNormV3", "x", "scale", "offset", "empty", "empty")


def read_truth(path: pathlib.Path) -> Any:
    """Return the input and TensorFlow's values in evaluation."""
    with tarfile.open(path) as archive:
        member = archive.extractfile("truth.npz")
        assert member is not None
        return np.load(io.BytesIO(member.read()))


@pytest.mark.parametrize("name", ["layers-fused", "layers-plain", "keras2-fused", "keras2-plain", "keras3"])
def test_batch_norm_of_training_gives_the_values_of_evaluation(name: str) -> None:
    """Fused or not, in the main graph with variables of TensorFlow 1 and in functions of Keras 2 and 3."""
    truth = read_truth(CASES / f"{name}.tgz")

    with load_graph(CASES / f"{name}.tgz", moving_statistics=True) as moving:
        signatures = moving.signatures
        output = moving.signature().outputs["output"].name if signatures else "output"
        feed = moving.signature().inputs["images"].name if signatures else "images"
        evaluated = moving.run(output, {feed: truth["input"]})
    with load_graph(CASES / f"{name}.tgz") as plain:
        trained = plain.run(output, {feed: truth["input"]})

    assert distance(evaluated, truth["output"]) < 1e-6
    assert distance(trained, truth["output"]) > 0.1
    assert moving.has_moving_statistics and not plain.has_moving_statistics


def update(variable: str, statistic: str) -> tuple[str, ...]:
    """Return the nodes that let a variable follow a statistic."""
    return (
        node(variable, "VarHandleOp"),
        node(f"{variable}/read", "ReadVariableOp", variable),
        node(f"{variable}/sub", "Sub", f"{variable}/read", statistic),
        node(f"{variable}/mul", "Mul", f"{variable}/sub", "rate"),
        node(f"{variable}/assign", "AssignSubVariableOp", variable, f"{variable}/mul"),
    )


@pytest.mark.parametrize(
    ("parts", "is_replaced"),
    [
        ((*update("mean", "norm:1"), *update("variance", "norm:2")), True),
        ((), False),
        (update("mean", "norm:1"), False),
        ((*update("mean", "norm:1"), *update("variance", "norm:2"), *update("other", "norm:2")), False),
        ((*update("mean", "weight/read"), *update("variance", "weight/read")), False),
        ((*update("mean", "norm"), *update("variance", "norm:2")), False),
    ],
    ids=["both", "none", "only the mean", "two variances", "averages of weights", "average of the map"],
)
def test_batch_norm_stays_as_it_is_unless_the_updates_are_certain(parts: tuple[str, ...], is_replaced: bool) -> None:
    """One variable must follow the mean and one the variance."""
    weight = (node("weight", "VarHandleOp"), node("weight/read", "ReadVariableOp", "weight"))
    made = graph(constant("rate", 0.1), *weight, NORM, *parts).graph
    body = Body("", made.nodes, {})

    nodes = {one.name: one for one in use_moving_statistics(body.nodes, body.parse)}

    norm = nodes["norm"]
    assert (norm.attributes.get("is_training", True) is False) == is_replaced
    handles = [nodes[name].inputs for name in norm.inputs[3:]] if is_replaced else []
    assert handles == ([("mean",), ("variance",)] if is_replaced else [])
    assert set(nodes) >= {one.name for one in made.nodes}
