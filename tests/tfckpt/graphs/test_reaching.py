"""Operations that reach outside a graph: files, the network and Python code."""

from __future__ import annotations

from typing import Any

import pytest

from tfckpt import protos
from tfckpt.graphs.graph import Graph, decode_graph
from tfckpt.graphs.reaching import count_outside_operations, find_outside_operations


def add(nodes: Any, name: str, op: str, *inputs: str, **attributes: object) -> None:
    """Add a node; the value of an attribute is bytes, a list of bytes, or the name of a function."""
    node = nodes.add()
    node.name, node.op = name, op
    node.input.extend(inputs)
    for key, value in attributes.items():
        attribute = node.attr[key]
        if isinstance(value, bytes) and key == "value":
            attribute.tensor.dtype = 7
            attribute.tensor.string_val.append(value)
        elif isinstance(value, bytes):
            attribute.s = value
        elif isinstance(value, str):
            attribute.func.name = value
        else:
            assert isinstance(value, list)
            attribute.list.s.extend(value)


def make_graph(
    *rows: tuple[Any, ...], functions: dict[str, tuple[list[str], list[tuple[Any, ...]]]] | None = None
) -> Graph:
    """Make a graph of rows (name, op, *inputs, attributes), with functions by name: arguments and rows."""
    message = protos.message_class("GraphDef")()
    message.versions.producer = 1000
    for *row, attributes in rows:
        add(message.node, *row, **attributes)
    for name, (arguments, body) in (functions or {}).items():
        function = message.library.function.add()
        function.signature.name = name
        for argument in arguments:
            function.signature.input_arg.add(name=argument, type=7)
        for *row, attributes in body:
            add(function.node_def, *row, **attributes)
    return decode_graph(message)


@pytest.mark.parametrize(
    ("op", "attributes", "reach"),
    [
        ("ReadFile", {}, "reads files"),
        ("MatchMul", {}, None),
        ("WriteFile", {}, "writes files"),
        ("PyFunc", {}, "python"),
        ("DataServiceDatasetV4", {}, "network"),
        ("PrintV2", {"output_stream": b"file:///etc/x"}, "writes files"),
        ("PrintV2", {"output_stream": b"stderr"}, None),
        ("DebugIdentity", {"debug_urls": [b"grpc://host:1"]}, "network"),
        ("DebugIdentity", {"debug_urls": []}, None),
        ("DecodeProtoV2", {"descriptor_source": b"/etc/x"}, "reads files"),
        ("DecodeProtoV2", {"descriptor_source": b"local://"}, None),
    ],
)
def test_an_operation_counts_by_its_name_and_attributes(
    op: str, attributes: dict[str, object], reach: str | None
) -> None:
    """In the graph, and in a function alike."""
    here = make_graph(("a", op, attributes))
    inside = make_graph(functions={"f": ([], [("a", op, attributes)])})

    assert [found.reach for found in find_outside_operations(here)] == ([] if reach is None else [reach])
    assert [(found.function, found.node) for found in find_outside_operations(inside)] == (
        [] if reach is None else [("f", "a")]
    )


SAVE = ("save", "SaveV2", "name", "names", "slices", {})


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        ([("name", "Placeholder", {})], 0),
        ([("name", "Const", {"value": b"/etc/x"})], 1),
        ([("name", "Const", {"value": b"model"})], 0),
        ([("name", "PlaceholderWithDefault", "c", {}), ("c", "Const", {"value": b"model"})], 0),
        ([("name", "PlaceholderWithDefault", "c", {}), ("c", "Const", {"value": b"/etc/x"})], 1),
        ([("name", "StringJoin", "p", "c", {}), ("p", "Placeholder", {}), ("c", "Const", {"value": b"_temp"})], 0),
        ([("name", "StringJoin", "c", "p", {}), ("p", "Placeholder", {}), ("c", "Const", {"value": b"/etc/"})], 1),
        ([("name", "Select", "s", "p", "c", {}), ("p", "Placeholder", {}), ("c", "Const", {"value": b"/etc/"})], 1),
        ([("name", "ReadVariableOp", "p", {}), ("p", "Placeholder", {})], 1),
        ([("name", "Identity", "name", {})], 0),
        ([], 1),
    ],
    ids=[
        "placeholder",
        "constant",
        "default",
        "fed",
        "fed-constant",
        "join",
        "join-constant",
        "select",
        "other",
        "loop",
        "missing",
    ],
)
def test_a_saver_counts_unless_it_is_told_the_name(rows: list[tuple[Any, ...]], count: int) -> None:
    """The beginning of the name decides."""
    assert count_outside_operations([make_graph(SAVE, *rows)]) == ({"SaveV2": 1} if count else {})


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        ([], 0),
        ([("p", "Placeholder", {}), ("call", "StatefulPartitionedCall", "p", {"f": "f"})], 0),
        ([("c", "Const", {"value": b"/etc/x"}), ("call", "StatefulPartitionedCall", "c", {"f": "f"})], 1),
        ([("c", "Const", {"value": b"/etc/x"}), ("call", "f", "c", {})], 1),
        ([("c", "Const", {"value": b"/etc/x"}), ("if", "If", "t", "c", {"then_branch": "f", "else_branch": "g"})], 1),
        ([("p", "Placeholder", {}), ("if", "If", "t", "p", {"then_branch": "f", "else_branch": "g"})], 0),
    ],
    ids=["argument", "placeholder", "constant", "direct", "branch", "branch-placeholder"],
)
def test_arguments_of_functions_are_followed_to_their_calls(rows: list[tuple[Any, ...]], count: int) -> None:
    """A constant outside a function is a constant."""
    body = [("restore", "RestoreV2", "name", "names:output:0", "slices:output:0", {})]

    assert len(list(find_outside_operations(make_graph(*rows, functions={"f": (["name"], body)})))) == count


def test_a_cache_in_memory_is_not_a_file() -> None:
    """Its name is the empty constant."""
    rows = [("data", "Placeholder", {}), ("cache", "CacheDataset", "data", "name", {})]

    assert count_outside_operations([make_graph(*rows, ("name", "Const", {"value": b""}))]) == {}
    assert count_outside_operations([make_graph(*rows, ("name", "Const", {"value": b"x"}))]) == {"CacheDataset": 1}


def test_functions_that_call_each_other_end() -> None:
    """Each name is followed once."""
    body = [("call", "PartitionedCall", "name", {"f": "f"}), ("save", "SaveV2", "name", "a", "b", {})]

    assert count_outside_operations([make_graph(functions={"f": (["name"], body)})]) == {}
