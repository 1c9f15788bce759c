"""Object graphs for new checkpoints: built from names, copied, or with other keys."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

import tfckpt
import tfckpt.writing.writer
from tfckpt.graphs.object_graph import GRAPH_KEY, VALUE_SUFFIX, read_graph_payload
from tfckpt.graphs.object_graph_writer import BuiltGraph, parse_graph, rename_keys

NET = {
    "net/layers/0/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "net/layers/0/bias": np.zeros(3, np.float32),
    "step": np.int64(7),
}


def tree(message: Any) -> list[tuple[dict[str, int], list[str]]]:
    """Return the children and the keys of each node."""
    return [
        ({child.local_name: child.node_id for child in node.children}, [a.checkpoint_key for a in node.attributes])
        for node in message.nodes
    ]


def test_graph_built_from_names_has_a_node_for_each_part(tmp_path: pathlib.Path) -> None:
    """Nodes are numbered breadth first, and the counter that TensorFlow's `restore` expects is added."""
    tfckpt.save(NET, tmp_path / "ckpt", object_graph=True)

    with tfckpt.open(tmp_path / "ckpt") as checkpoint:
        message = parse_graph(read_graph_payload(checkpoint.reader, checkpoint.prefix))
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


def test_given_save_counter_is_kept(tmp_path: pathlib.Path) -> None:
    """It may be given as an object path or as a key."""
    tfckpt.save({"save_counter": np.int64(5)}, tmp_path / "a", object_graph=True)
    tfckpt.save({"save_counter" + VALUE_SUFFIX: np.int64(6)}, tmp_path / "b", object_graph=True)

    with tfckpt.open(tmp_path / "a") as a, tfckpt.open(tmp_path / "b") as b:
        assert (a["save_counter"], b["save_counter"]) == (5, 6)
        assert list(a) == list(b) == [GRAPH_KEY, "save_counter" + VALUE_SUFFIX]


def test_slot_variables_are_built_from_names() -> None:
    """Their nodes are the last ones, and only the optimizer refers to them."""
    graph = BuiltGraph()
    for name in ("net/w", "net/w/.OPTIMIZER_SLOT/train/optimizer/m", "train/optimizer/iter"):
        graph.add(name)

    payload = graph.finish()[GRAPH_KEY]

    assert isinstance(payload, bytes)
    nodes = parse_graph(payload).nodes
    (optimizer,) = (node for node in nodes if node.slot_variables)
    (slot,) = optimizer.slot_variables
    assert slot.slot_name == "m"
    assert nodes[slot.original_variable_node_id].attributes[0].checkpoint_key == "net/w" + VALUE_SUFFIX
    assert slot.slot_variable_node_id == len(nodes) - 1
    assert nodes[-1].attributes[0].checkpoint_key == "net/w/.OPTIMIZER_SLOT/train/optimizer/m" + VALUE_SUFFIX


def test_escaped_parts_become_local_names() -> None:
    """In a path a dot is written twice and a slash as .S; the node has the unescaped name."""
    graph = BuiltGraph()

    assert graph.add("a..b/c.Sd") == "a..b/c.Sd" + VALUE_SUFFIX
    payload = graph.finish()[GRAPH_KEY]
    assert isinstance(payload, bytes)
    assert [list(children) for children, _ in tree(parse_graph(payload))][:2] == [["a.b", "save_counter"], ["c/d"]]


@pytest.mark.parametrize(
    "names",
    [
        ["a//b"],
        ["/a"],
        [""],
        ["a.b"],
        ["a/.ATTRIBUTES/OTHER"],
        ["a", "a/b"],
        ["a/.OPTIMIZER_SLOT/m"],
        ["a/.OPTIMIZER_SLOT/opt/m"],
    ],
    ids=[
        "empty part",
        "leading slash",
        "empty",
        "dot",
        "attribute",
        "tensor with children",
        "no optimizer",
        "lone slot",
    ],
)
def test_name_that_is_not_an_object_path_is_refused(names: list[str], tmp_path: pathlib.Path) -> None:
    """Nothing is written; similar valid paths are accepted."""
    with pytest.raises(ValueError):
        tfckpt.save({name: np.zeros(1) for name in names}, tmp_path / "ckpt", object_graph=True)
    assert list(tmp_path.iterdir()) == []

    tfckpt.save({name: np.zeros(1) for name in ("a/b", "c..d")}, tmp_path / "ckpt", object_graph=True)


def test_graph_is_copied_from_another_checkpoint(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Names may be keys, object paths or full names of the source; the bytes of the graph are equal."""
    source = data / "tensorflow" / "objects-more" / "legacy_optimizer" / "ckpt-1"
    with tfckpt.open(source) as checkpoint:
        paths = {variable.key: variable.path or variable.key for variable in checkpoint.variables()}
        tensors = {paths.get(key, key): checkpoint[key] + 1 for key in checkpoint if key != GRAPH_KEY}
        tfckpt.save(tensors, tmp_path / "ckpt", object_graph=checkpoint)

        with tfckpt.open(tmp_path / "ckpt") as copy:
            assert list(copy) == list(checkpoint)
            assert read_graph_payload(copy.reader, copy.prefix) == read_graph_payload(
                checkpoint.reader, checkpoint.prefix
            )
            assert all(np.array_equal(copy[key], checkpoint[key] + 1) for key in copy if key != GRAPH_KEY)


def test_copied_graph_needs_exactly_its_tensors(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Missing tensors are listed and unknown ones refused; a name-based checkpoint has no graph to copy."""
    with tfckpt.open(data / "tensorflow" / "writer" / "objects") as checkpoint:
        tensors = {key: checkpoint[key] for key in checkpoint if key != GRAPH_KEY}
        name, value = tensors.popitem()
        with pytest.raises(ValueError, match=name):
            tfckpt.save(tensors, tmp_path / "ckpt", object_graph=checkpoint)
        with pytest.raises(tfckpt.TensorNotFoundError):
            tfckpt.save({"more": value}, tmp_path / "ckpt", object_graph=checkpoint)
    with (
        tfckpt.open(data / "tensorflow" / "writer" / "small") as checkpoint,
        pytest.raises(ValueError, match="object graph"),
    ):
        tfckpt.save({}, tmp_path / "ckpt", object_graph=checkpoint)

    assert list(tmp_path.iterdir()) == []


def test_renaming_keys_changes_nothing_else_in_the_graph() -> None:
    """An unknown key changes no byte; a dropped slot variable is removed from its optimizer."""
    graph = BuiltGraph()
    for name in ("w", "w/.OPTIMIZER_SLOT/opt/m", "opt/iter"):
        graph.add(name)
    payload = graph.finish()[GRAPH_KEY]
    assert isinstance(payload, bytes)

    assert rename_keys(payload, {"other": None, "w" + VALUE_SUFFIX: "w" + VALUE_SUFFIX}) is payload
    renamed = parse_graph(rename_keys(payload, {"w" + VALUE_SUFFIX: "v"}))
    dropped = parse_graph(rename_keys(payload, {"w/.OPTIMIZER_SLOT/opt/m" + VALUE_SUFFIX: None}))

    keys = [key for _, node_keys in tree(renamed) for key in node_keys]
    assert keys[0] == "v"
    assert len(keys) == 4
    assert [children for children, _ in tree(dropped)] == [children for children, _ in tree(parse_graph(payload))]
    assert sum(len(node.slot_variables) for node in parse_graph(payload).nodes) == 1
    assert sum(len(node.slot_variables) for node in dropped.nodes) == 0


def test_keys_of_a_graph_with_dangling_node_numbers_can_be_renamed() -> None:
    """Renaming and dropping keys ignores the numbers of nodes that do not exist."""
    graph = BuiltGraph()
    for name in ("w", "w/.OPTIMIZER_SLOT/opt/m"):
        graph.add(name)
    payload = graph.finish()[GRAPH_KEY]
    assert isinstance(payload, bytes)
    message = parse_graph(payload)
    message.nodes[0].children.add(node_id=99, local_name="gone")
    (optimizer,) = (node for node in message.nodes if node.slot_variables)
    optimizer.slot_variables.add(original_variable_node_id=-3, slot_name="v", slot_variable_node_id=-3)
    slot_key = "w/.OPTIMIZER_SLOT/opt/m" + VALUE_SUFFIX

    damaged = message.SerializeToString()

    renamed = parse_graph(rename_keys(damaged, {slot_key: None}))
    assert sum(len(node.slot_variables) for node in renamed.nodes) == 1


@pytest.mark.parametrize(
    "value",
    [np.float32(1), np.array([b"a", b"b"], object), b"\xff"],
    ids=["number", "two strings", "not a message"],
)
def test_copy_with_an_invalid_graph_is_refused(
    value: object, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy without the graph is possible."""
    with monkeypatch.context() as patched:  # our own writer refuses the first two
        patched.setattr(tfckpt.writing.writer, "GRAPH_KEY", "")
        tfckpt.save({GRAPH_KEY: value, "a": np.zeros(1)}, tmp_path / "invalid")

    with pytest.raises(tfckpt.CorruptionError):
        tfckpt.copy(tmp_path / "invalid", tmp_path / "copy")

    tfckpt.copy(tmp_path / "invalid", tmp_path / "copy", exclude=[GRAPH_KEY])
