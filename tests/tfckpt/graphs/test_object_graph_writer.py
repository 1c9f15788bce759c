"""Object graphs for new checkpoints: built from names, copied, and changed with their tensors."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

import tfckpt
from tfckpt.graphs.object_graph import GRAPH_KEY, VALUE_SUFFIX, graph_payload
from tfckpt.graphs.object_graph_writer import BuiltGraph, parse_graph, rename_keys

NET = {
    "net/layers/0/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "net/layers/0/bias": np.zeros(3, np.float32),
    "step": np.int64(7),
}


def tree(message: Any) -> list[tuple[dict[str, int], list[str]]]:
    """Children and keys of every node."""
    return [
        ({child.local_name: child.node_id for child in node.children}, [a.checkpoint_key for a in node.attributes])
        for node in message.nodes
    ]


def test_graph_of_names_has_a_node_for_each_part(tmp_path: pathlib.Path) -> None:
    """Numbered breadth first; the counter that TensorFlow's `restore` looks for is added."""
    tfckpt.save(NET, tmp_path / "ckpt", object_graph=True)

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        message = parse_graph(graph_payload(checkpoint.reader, checkpoint.prefix))
        assert checkpoint["save_counter"] == 1
        assert np.array_equal(checkpoint["net/layers/0/kernel"], NET["net/layers/0/kernel"])
    assert tree(message) == [
        ({"net": 1, "step": 2, "save_counter": 3}, []),
        ({"layers": 4}, []),
        ({}, ["step" + VALUE_SUFFIX]),
        ({}, ["save_counter" + VALUE_SUFFIX]),
        ({"0": 5}, []),
        ({"kernel": 6, "bias": 7}, []),
        ({}, ["net/layers/0/kernel" + VALUE_SUFFIX]),
        ({}, ["net/layers/0/bias" + VALUE_SUFFIX]),
    ]


def test_counter_that_was_given_stays(tmp_path: pathlib.Path) -> None:
    """As a name or as a key."""
    tfckpt.save({"save_counter": np.int64(5)}, tmp_path / "a", object_graph=True)
    tfckpt.save({"save_counter" + VALUE_SUFFIX: np.int64(6)}, tmp_path / "b", object_graph=True)

    with tfckpt.open(tmp_path / "a") as a, tfckpt.open(tmp_path / "b") as b:
        assert (a["save_counter"], b["save_counter"]) == (5, 6)
        assert list(a) == list(b) == [GRAPH_KEY, "save_counter" + VALUE_SUFFIX]


def test_slot_variables_come_from_names_too() -> None:
    """They are nodes of their own at the end, which only the optimizer refers to."""
    graph = BuiltGraph()
    for name in ("net/w", "net/w/.OPTIMIZER_SLOT/train/optimizer/m", "train/optimizer/iter"):
        graph.key(name)

    payload = graph.rest()[GRAPH_KEY]

    assert isinstance(payload, bytes)
    nodes = parse_graph(payload).nodes
    (optimizer,) = (node for node in nodes if node.slot_variables)
    (slot,) = optimizer.slot_variables
    assert slot.slot_name == "m"
    assert nodes[slot.original_variable_node_id].attributes[0].checkpoint_key == "net/w" + VALUE_SUFFIX
    assert slot.slot_variable_node_id == len(nodes) - 1
    assert nodes[-1].attributes[0].checkpoint_key == "net/w/.OPTIMIZER_SLOT/train/optimizer/m" + VALUE_SUFFIX


def test_escaped_parts_become_local_names() -> None:
    """A dot is written twice in a path, a slash as .S; the node has the name itself."""
    graph = BuiltGraph()

    assert graph.key("a..b/c.Sd") == "a..b/c.Sd" + VALUE_SUFFIX
    payload = graph.rest()[GRAPH_KEY]
    assert isinstance(payload, bytes)
    assert [list(children) for children, _ in tree(parse_graph(payload))][:2] == [["a.b", "save_counter"], ["c/d"]]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a//b"], "a part is empty"),
        (["/a"], "a part is empty"),
        ([""], "a part is empty"),
        (["a.b"], "a dot in a name is written .."),
        (["a/.ATTRIBUTES/OTHER"], "no escaped name"),
        (["a", "a/b"], "'a' is a tensor and the beginning of another one's object path"),
        (["a/.OPTIMIZER_SLOT/m"], "names no slot"),
        (["a/.OPTIMIZER_SLOT/opt/m"], "there is a slot for 'a', and no tensor"),
    ],
    ids=["empty part", "slash in front", "empty", "dot", "attribute", "beginning", "no optimizer", "slot of nothing"],
)
def test_name_that_is_no_object_path_is_refused(names: list[str], message: str, tmp_path: pathlib.Path) -> None:
    """With nothing written; the nearest path is taken."""
    with pytest.raises(ValueError, match=message):
        tfckpt.save({name: np.zeros(1) for name in names}, tmp_path / "ckpt", object_graph=True)
    assert list(tmp_path.iterdir()) == []

    tfckpt.save({name: np.zeros(1) for name in ("a/b", "c..d")}, tmp_path / "ckpt", object_graph=True)


def test_graph_is_copied_from_another_checkpoint(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Names may be keys, object paths or full names there; the graph's bytes are the same."""
    source = data / "tensorflow" / "objects-more" / "legacy_optimizer" / "ckpt-1"
    with tfckpt.open(source) as checkpoint:
        paths = {variable.key: variable.path or variable.key for variable in checkpoint.variables()}
        tensors = {paths.get(key, key): checkpoint[key] + 1 for key in checkpoint if key != GRAPH_KEY}
        tfckpt.save(tensors, tmp_path / "ckpt", object_graph=checkpoint)

        with tfckpt.open(tmp_path / "ckpt") as copy:
            assert list(copy) == list(checkpoint)
            assert graph_payload(copy.reader, copy.prefix) == graph_payload(checkpoint.reader, checkpoint.prefix)
            assert all(np.array_equal(copy[key], checkpoint[key] + 1) for key in copy if key != GRAPH_KEY)


def test_copied_graph_needs_exactly_its_tensors(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Missing ones are listed, others are not known there; a name-based checkpoint has no graph to copy."""
    with tfckpt.open(data / "tensorflow" / "writer" / "objects") as checkpoint:
        tensors = {key: checkpoint[key] for key in checkpoint if key != GRAPH_KEY}
        name, value = tensors.popitem()
        with pytest.raises(ValueError, match=f"needs 1 more tensor: {name}"):
            tfckpt.save(tensors, tmp_path / "ckpt", object_graph=checkpoint)
        with pytest.raises(tfckpt.TensorNotFoundError):
            tfckpt.save({"more": value}, tmp_path / "ckpt", object_graph=checkpoint)
    with (
        tfckpt.open(data / "tensorflow" / "writer" / "small") as checkpoint,
        pytest.raises(ValueError, match="not object-based"),
    ):
        tfckpt.save({}, tmp_path / "ckpt", object_graph=checkpoint)

    assert list(tmp_path.iterdir()) == []


def test_renamed_keys_change_in_the_graph_and_nothing_else() -> None:
    """An unknown key changes no byte; a dropped slot variable goes from its optimizer."""
    graph = BuiltGraph()
    for name in ("w", "w/.OPTIMIZER_SLOT/opt/m", "opt/iter"):
        graph.key(name)
    payload = graph.rest()[GRAPH_KEY]
    assert isinstance(payload, bytes)

    assert rename_keys(payload, {"other": None, "w" + VALUE_SUFFIX: "w" + VALUE_SUFFIX}) is payload
    renamed = parse_graph(rename_keys(payload, {"w" + VALUE_SUFFIX: "v"}))
    dropped = parse_graph(rename_keys(payload, {"w/.OPTIMIZER_SLOT/opt/m" + VALUE_SUFFIX: None}))

    keys = [key for _, found in tree(renamed) for key in found]
    assert keys[0] == "v"
    assert len(keys) == 4
    assert [children for children, _ in tree(dropped)] == [children for children, _ in tree(parse_graph(payload))]
    assert sum(len(node.slot_variables) for node in parse_graph(payload).nodes) == 1
    assert sum(len(node.slot_variables) for node in dropped.nodes) == 0


def test_graph_that_names_nodes_which_are_not_there_costs_nothing() -> None:
    """Keys are renamed and dropped without a look at numbers of nodes that do not exist."""
    graph = BuiltGraph()
    for name in ("w", "w/.OPTIMIZER_SLOT/opt/m"):
        graph.key(name)
    payload = graph.rest()[GRAPH_KEY]
    assert isinstance(payload, bytes)
    message = parse_graph(payload)
    message.nodes[0].children.add(node_id=99, local_name="gone")
    (optimizer,) = (node for node in message.nodes if node.slot_variables)
    optimizer.slot_variables.add(original_variable_node_id=-3, slot_name="v", slot_variable_node_id=-3)
    slot_key = "w/.OPTIMIZER_SLOT/opt/m" + VALUE_SUFFIX

    damaged = message.SerializeToString()

    renamed = parse_graph(rename_keys(damaged, {slot_key: None}))
    assert sum(len(node.slot_variables) for node in renamed.nodes) == 1


@pytest.mark.parametrize("value", [np.float32(1), np.array([b"a", b"b"], object)], ids=["number", "two strings"])
def test_graph_that_is_not_one_string_is_corruption(value: object, tmp_path: pathlib.Path) -> None:
    """And so is one that is no message; a copy that drops it is made."""
    tfckpt.save({GRAPH_KEY: value, "a": np.zeros(1)}, tmp_path / "odd")
    tfckpt.save({GRAPH_KEY: b"\xff", "a": np.zeros(1)}, tmp_path / "none")

    for name in ("odd", "none"):
        with pytest.raises(tfckpt.CorruptionError):
            tfckpt.copy(tmp_path / name, tmp_path / "copy")
        tfckpt.copy(tmp_path / name, tmp_path / f"copy_of_{name}", exclude=[GRAPH_KEY])
