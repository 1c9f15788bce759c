"""Optimizer state in checkpoints of every generation of optimizers."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest

import tfckpt
from tfckpt.checks.summary import summarize
from tfckpt.graphs.object_graph import GRAPH_KEY, VALUE_SUFFIX, decode_object_graph, read_graph_payload
from tfckpt.graphs.object_graph_writer import parse_graph
from tfckpt.graphs.training_state import (
    AVERAGE_SUFFIX,
    OptimizerState,
    model_paths,
    moving_averages,
    optimizer_state,
)

FOLDER = pathlib.Path(__file__).parents[2] / "data" / "tensorflow" / "optimizers"
CASES: list[dict[str, Any]] = json.loads((FOLDER / "expected.json").read_text())["checkpoints"]
#: Tensors that belong neither to a model nor to an optimizer.
OTHERS = {GRAPH_KEY, "global_step"}


def state_of(prefix: pathlib.Path) -> dict[str, OptimizerState]:
    """Return the optimizer state in a checkpoint."""
    with tfckpt.open(prefix) as checkpoint:
        return optimizer_state(checkpoint, checkpoint.object_graph)


recorded = pytest.mark.parametrize("case", CASES, ids=lambda case: case["prefix"].partition("/")[0])


@recorded
def test_state_is_everything_except_the_models_variables(case: dict[str, Any]) -> None:
    """The record lists the keys of the model's variables."""
    names = {tensor["name"] for tensor in case["tensors"]}

    assert state_of(FOLDER / case["prefix"]).keys() == names - set(case["model"]) - OTHERS


@recorded
def test_copy_without_optimizer_keeps_exactly_the_model(case: dict[str, Any], tmp_path: pathlib.Path) -> None:
    """The object graph has no other keys either."""
    tfckpt.copy(FOLDER / case["prefix"], tmp_path / "copy", no_optimizer=True)

    with tfckpt.open(tmp_path / "copy") as copy:
        assert set(copy) - OTHERS == set(case["model"])
        if copy.object_graph is not None:
            attributes = [attribute for node in copy.object_graph.nodes for attribute in node.attributes]
            assert {attribute.checkpoint_key for attribute in attributes} == set(case["model"])


@recorded
def test_summary_counts_optimizer_state_separately(case: dict[str, Any]) -> None:
    """Only the variables of the model count as parameters; averages in an optimizer count as averages."""
    with tfckpt.open(FOLDER / case["prefix"]) as checkpoint:
        summary = summarize(checkpoint)
        parameters = sum(checkpoint.info(name).size for name in case["model"])
        others = OTHERS & set(checkpoint)

    assert summary.parameters == parameters
    assert summary.average_tensors == (2 if "keras2-sgd" in case["prefix"] else 0)
    assert summary.optimizer_tensors + summary.average_tensors == summary.tensors - len(case["model"]) - len(others)


def test_state_has_the_optimizer_and_the_slot() -> None:
    """An optimizer is its path in the object graph or its class in TensorFlow 1."""
    objects = state_of(FOLDER / "legacy-momentum" / "ckpt")
    names = state_of(FOLDER / "tf1-names" / "model.ckpt-1")

    slot = f"model/dense/bias/.OPTIMIZER_SLOT/optimizer/momentum{VALUE_SUFFIX}"
    assert objects[slot] == OptimizerState("optimizer", "momentum")
    assert objects["optimizer/momentum" + VALUE_SUFFIX] == OptimizerState("optimizer")
    assert names["rmsprop/bias/RMSProp_2"] == OptimizerState("RMSProp", "")
    assert names["beta1_power"] == OptimizerState("Adam")


def test_slots_of_mesh_tensorflow_are_found_by_name(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Its Adafactor appends the slot to the name of the variable; the model and the step are not optimizer state."""
    prefix = data / "adafactor" / "model.ckpt-1000000"
    with tfckpt.open(prefix) as checkpoint:
        state = optimizer_state(checkpoint, None)
        slots = {name for name in checkpoint if "_slot_" in name}

        assert state.keys() == slots
        assert summarize(checkpoint).optimizer_tensors == len(slots) == 25
        report = tfckpt.copy(checkpoint, tmp_path / "copy", no_optimizer=True)
    assert set(report.dropped) == slots
    layer = "encoder/block_000/layer_000"
    assert state[f"{layer}/SelfAttention/k_slot_vr"] == OptimizerState("Adafactor", "vr")
    assert state[f"{layer}/rms_norm/scale_slot_v"] == OptimizerState("Adafactor", "v")


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("w/adam_m", OptimizerState("AdamWeightDecay", "m")),
        ("w/LARSOptimizer", OptimizerState("LARSOptimizer", "")),
        ("w/Adam_13", OptimizerState("Adam", "")),
        ("w_slot_m", OptimizerState("Adafactor", "m")),
        ("scope/beta2_power_1", OptimizerState("Adam")),
        ("v/.OPTIMIZER_SLOT/a/b/m" + VALUE_SUFFIX, OptimizerState("a/b", "m")),
        ("w/Lion", None),
        ("w/Adam_", None),
        ("w_slot_x", None),
        ("v/Adam", None),
        ("Adam", None),
        ("a/beta3_power", None),
        ("/.OPTIMIZER_SLOT/a/m", None),
    ],
)
def test_names_show_state_only_with_their_variable(name: str, state: OptimizerState | None) -> None:
    """The variable `w` exists, and `v` does not."""
    assert optimizer_state(["w", name], None).get(name) == state


def test_slot_is_recognized_if_only_the_average_of_its_variable_exists() -> None:
    """Some checkpoints store averages instead of the variables."""
    assert optimizer_state(["w" + AVERAGE_SUFFIX, "w/RMSProp"], None) == {"w/RMSProp": OptimizerState("RMSProp", "")}


@pytest.mark.parametrize(
    ("case", "averages"),
    [("averages-keras3", 62), ("averages-slots", 94), ("keras3/checkpoint", 0)],
    ids=["use_ema of Keras 3", "slots", "none"],
)
def test_averages_in_an_optimizer_belong_to_their_variables(data: pathlib.Path, case: str, averages: int) -> None:
    """Each has the shape of its variable, which belongs to the model, and its own values."""
    with tfckpt.open(data / "keras" / case) as checkpoint:
        pairs = moving_averages(checkpoint, checkpoint.object_graph)
        state = optimizer_state(checkpoint, checkpoint.object_graph)

        assert summarize(checkpoint).average_tensors == len(pairs) == len(set(pairs.values())) == averages
        for average, variable in pairs.items():
            assert average in state
            assert variable not in state
            assert checkpoint.info(average).shape == checkpoint.info(variable).shape


def test_averages_of_keras_2_are_found_by_full_name() -> None:
    """The full name of an average contains that of its variable, in another order than the variables."""
    prefix = FOLDER / "keras2-sgd-schedule" / "ckpt"
    with tfckpt.open(prefix) as checkpoint:
        pairs = moving_averages(checkpoint, checkpoint.object_graph)

    assert pairs == {
        f"optimizer/_variables/{number}{VALUE_SUFFIX}": f"model/dense/{name}{VALUE_SUFFIX}"
        for number, name in ((1, "bias"), (2, "kernel"))
    }


@pytest.mark.parametrize("case", ["averages-keras3", "averages-slots"])
def test_copy_moves_averages_from_an_optimizer_to_their_variables(
    data: pathlib.Path, case: str, tmp_path: pathlib.Path
) -> None:
    """The averages themselves are left out, and so is the rest of the optimizer if that is asked for."""
    tfckpt.copy(data / "keras" / case, tmp_path / "copy", ema_to_raw=True, no_optimizer=True)

    with tfckpt.open(data / "keras" / case) as source, tfckpt.open(tmp_path / "copy") as copy:
        averages = {variable: name for name, variable in moving_averages(source, source.object_graph).items()}
        assert len([name for name in copy if name != GRAPH_KEY]) == 94
        assert averages.keys() <= set(copy)
        for name in copy:
            if name != GRAPH_KEY:
                assert np.array_equal(copy[name], source[averages.get(name, name)])
        assert moving_averages(copy, copy.object_graph) == {}


def test_path_of_a_variable_leads_through_the_model() -> None:
    """The shortest path of a trained variable of Keras 3 leads through the optimizer, which lists it."""
    with tfckpt.open(FOLDER / "keras3-adam" / "ckpt") as checkpoint:
        assert checkpoint.object_graph is not None
        paths = model_paths(checkpoint.object_graph)

    key = "optimizer/_trainable_variables/0" + VALUE_SUFFIX
    assert paths[key] == "model/_functional/_operations/1/_kernel"
    assert "optimizer/_variables/2" + VALUE_SUFFIX not in paths


def save_objects(prefix: pathlib.Path, *paths: str) -> pathlib.Path:
    """Write a checkpoint with an object graph of these paths, and return its prefix."""
    tfckpt.save({path: np.zeros(1) for path in paths}, prefix, object_graph=True)
    return prefix


def test_root_is_not_an_optimizer_because_of_its_children(tmp_path: pathlib.Path) -> None:
    """A program may have its own `iter` and `decay`; below the root they belong to an optimizer."""
    root = save_objects(tmp_path / "root", "iter", "decay", "net/w")
    below = save_objects(tmp_path / "below", "o/iter", "o/decay", "net/w", "net/iter")

    assert state_of(root) == {}
    assert state_of(below).keys() == {"o/iter" + VALUE_SUFFIX, "o/decay" + VALUE_SUFFIX}


def test_variable_that_is_reachable_through_the_model_belongs_to_it(tmp_path: pathlib.Path) -> None:
    """Even if it is also a slot variable of an optimizer and has the key of one."""
    prefix = save_objects(tmp_path / "ckpt", "w", "w/.OPTIMIZER_SLOT/o/m", "w/.OPTIMIZER_SLOT/o/v", "o/iter")
    with tfckpt.open(prefix) as checkpoint:
        message = parse_graph(read_graph_payload(checkpoint.reader, checkpoint.prefix))
        (optimizer,) = (node for node in message.nodes if node.slot_variables)
        (slot,) = (item.slot_variable_node_id for item in optimizer.slot_variables if item.slot_name == "m")
        message.nodes[0].children.add(node_id=slot, local_name="also_mine")
        graph = decode_object_graph(message.SerializeToString())

        state = optimizer_state(checkpoint, graph)

    assert state == {
        "o/iter" + VALUE_SUFFIX: OptimizerState("o"),
        "w/.OPTIMIZER_SLOT/o/v" + VALUE_SUFFIX: OptimizerState("o", "v"),
    }
