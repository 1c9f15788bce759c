"""Object graphs: nodes, paths, escapes, slots, and lookups by path and full name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tfckpt
from tests.builders import FLOAT, INT32, Bundle, field_bytes, field_varint
from tests.tfckpt.recorded import TENSORFLOW, Record, expected
from tfckpt.errors import CorruptionError, LimitExceededError, TensorNotFoundError
from tfckpt.graphs.object_graph import (
    GRAPH_KEY,
    ObjectAttribute,
    ObjectGraph,
    ObjectKey,
    decode_object_graph,
    escape,
    parse_key,
    split_path,
    unescape,
)
from tfckpt.limits import Limits

CASES = ("objects-more", "manager", "savedmodel-tf2")


def recorded() -> list[tuple[str, Record]]:
    """Return the prefix and the record of each object-based checkpoint that TensorFlow wrote."""
    return [
        (f"{case}/{checkpoint['prefix']}", checkpoint)
        for case in CASES
        for checkpoint in expected(case)["checkpoints"]
        if "nodes" in checkpoint
    ]


def node(
    children: dict[str, int] | list[tuple[str, int]] | None = None,
    variable: str | None = None,
    full_name: str = "",
    slots: tuple[tuple[int, str, int], ...] = (),
) -> bytes:
    """Encode a TrackableObject; `variable` is the key of its value."""
    pairs = children.items() if isinstance(children, dict) else children or []
    out = b"".join(field_bytes(1, field_varint(1, number) + field_bytes(2, name.encode())) for name, number in pairs)
    if variable is not None:
        attribute = field_bytes(1, b"VARIABLE_VALUE") + field_bytes(2, full_name.encode())
        out += field_bytes(2, attribute + field_bytes(3, variable.encode()))
    for original, name, slot in slots:
        out += field_bytes(3, field_varint(1, original) + field_bytes(2, name.encode()) + field_varint(3, slot))
    return out


def graph(*nodes: bytes, limits: Limits | None = None) -> ObjectGraph:
    """Decode the graph of these nodes."""
    data = b"".join(field_bytes(1, encoded) for encoded in nodes)
    return decode_object_graph(data) if limits is None else decode_object_graph(data, limits)


def write_bundle(folder: Path, nodes: list[bytes], **tensors: int) -> Path:
    """Write a bundle with a graph and scalar tensors under these keys, and return its prefix."""
    bundle = Bundle().add_strings(GRAPH_KEY, [b"".join(field_bytes(1, encoded) for encoded in nodes)], [])
    for key, value in tensors.items():
        bundle.add(key, INT32, [], value.to_bytes(4, "little"))
    return bundle.write(folder)


def paths(example: ObjectGraph) -> list[str | None]:
    """Return the path of each node."""
    return [item.path for item in example.nodes]


# Checkpoints written by TensorFlow


@pytest.mark.parametrize(("prefix", "case"), recorded(), ids=[prefix for prefix, _ in recorded()])
def test_object_graph_equals_tensorflows_record(prefix: str, case: Record) -> None:
    """Children, attributes and slots of each node."""
    with tfckpt.open(TENSORFLOW / prefix) as checkpoint:
        object_graph = checkpoint.object_graph

    assert object_graph is not None
    assert [_as_record(item) for item in object_graph.nodes] == [_with_defaults(record) for record in case["nodes"]]


def _as_record(item: tfckpt.ObjectNode) -> Record:
    return {
        "children": dict(item.children),
        "attributes": [(a.name, a.full_name, a.checkpoint_key) for a in item.attributes],
        "slots": [(s.variable, s.slot_name, s.slot_variable) for s in item.slot_variables],
        "has_checkpoint_values": item.has_checkpoint_values,
    }


def _with_defaults(record: Record) -> Record:
    """Return a recorded node with the default values that JSON leaves out."""
    return {
        "children": {child["local_name"]: child.get("node_id", 0) for child in record.get("children", [])},
        "attributes": [(a["name"], a.get("full_name", ""), a["checkpoint_key"]) for a in record.get("attributes", [])],
        "slots": [
            (s["original_variable_node_id"], s["slot_name"], s["slot_variable_node_id"])
            for s in record.get("slot_variables", [])
        ],
        "has_checkpoint_values": record.get("has_checkpoint_values"),
    }


@pytest.mark.parametrize(("prefix", "case"), recorded(), ids=[prefix for prefix, _ in recorded()])
def test_paths_match_the_keys_that_tensorflow_stored(prefix: str, case: Record) -> None:
    """The path of a node and the name of its attribute make the key, and the key leads back to the attribute."""
    with tfckpt.open(TENSORFLOW / prefix) as checkpoint:
        object_graph = checkpoint.object_graph

    assert object_graph is not None
    attributes = [(item, attribute) for item in object_graph.nodes for attribute in item.attributes]
    assert len(attributes) == sum(len(record.get("attributes", [])) for record in case["nodes"])
    for item, attribute in attributes:
        key = attribute.checkpoint_key
        assert f"{item.path}/.ATTRIBUTES/{escape(attribute.name)}" == key
        assert object_graph.attributes_at(key) == (attribute,)
        assert parse_key(key).attribute == attribute.name


@pytest.mark.parametrize(("prefix", "case"), recorded(), ids=[prefix for prefix, _ in recorded()])
def test_every_variable_is_listed_once_with_its_names(prefix: str, case: Record) -> None:
    """There is one for each value that is not a slot variable, and the tensor is found by each of its names."""
    slots = {slot["slot_variable_node_id"] for record in case["nodes"] for slot in record.get("slot_variables", [])}
    expected_names = sorted(
        (attribute["checkpoint_key"].encode(), attribute.get("full_name", ""))
        for number, record in enumerate(case["nodes"])
        for attribute in record.get("attributes", [])
        if attribute["name"] == "VARIABLE_VALUE" and number not in slots
    )

    with tfckpt.open(TENSORFLOW / prefix) as checkpoint:
        rows = checkpoint.variables()
        assert [(row.key.encode(), row.full_name) for row in rows] == expected_names
        for row in rows:
            assert row.path is not None
            assert row.key == f"{row.path}/.ATTRIBUTES/VARIABLE_VALUE"
            assert checkpoint.info(row.path) == checkpoint.info(row.key) == row.info
            if sum(other.full_name == row.full_name for other in rows) == 1:
                assert checkpoint.info(row.full_name) == row.info


def test_variable_lists_its_slots() -> None:
    """A slot has a name and an optimizer, and is found by its own path as well."""
    with tfckpt.open(TENSORFLOW / "objects-more" / "legacy_optimizer" / "ckpt-1") as checkpoint:
        row = next(row for row in checkpoint.variables() if row.full_name == "layer_0/kernel")

        assert [(slot.name, slot.optimizer) for slot in row.slots] == [("m", "optimizer"), ("v", "optimizer")]
        key = "net/layers/0/kernel/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE"
        assert row.slots[0].key == key
        assert checkpoint.info("net/layers/0/kernel/.OPTIMIZER_SLOT/optimizer/m").name == key
        assert "net/layers/0/kernel/.OPTIMIZER_SLOT/optimizer/w" not in checkpoint


def test_variable_is_found_by_every_path_to_it() -> None:
    """A node may have several names, and a path may go around a cycle."""
    with tfckpt.open(TENSORFLOW / "objects-more" / "graph" / "ckpt") as checkpoint:
        values = [checkpoint[path].tolist() for path in ("alias", "second/value", "first/back/second/back/alias")]

    assert values == [[1.0, 2.0]] * 3


def test_lookup_of_a_hash_table_offers_the_keys_of_its_tensors() -> None:
    """The key of its attribute is not in the bundle, so a hash table is not a variable."""
    with tfckpt.open(TENSORFLOW / "objects-more" / "tables" / "ckpt") as checkpoint:
        assert [row.path for row in checkpoint.variables()] == ["plain"]
        assert "words" not in checkpoint
        with pytest.raises(TensorNotFoundError) as caught:
            checkpoint["words"]
    assert caught.value.close_names == ("words/.ATTRIBUTES/table-keys", "words/.ATTRIBUTES/table-values")


def test_python_state_is_found_by_its_path() -> None:
    """Its attribute is not the value of a variable."""
    with tfckpt.open(TENSORFLOW / "objects-more" / "python_state" / "ckpt") as checkpoint:
        assert checkpoint["position"].item() == b'{"epoch": 3, "seed": "ab"}'


def test_released_checkpoint_is_read_by_full_name(data: Path) -> None:
    """An object-based checkpoint of a network has the full names that TF1 programs use."""
    with tfckpt.open(data / "objects" / "ckpt") as checkpoint:
        row = next(row for row in checkpoint.variables() if row.full_name.endswith("blocks_0/conv2d/kernel"))

        assert row.path == "_blocks/0/_project_conv/kernel"
        assert checkpoint[row.full_name].shape == checkpoint[row.path].shape == row.info.shape


# Escapes


@pytest.mark.parametrize(
    ("name", "escaped"),
    [("a/b", "a.Sb"), ("a.b", "a..b"), ("a.Sb", "a..Sb"), ("", ""), (".ATTRIBUTES", "..ATTRIBUTES"), ("./", "...S")],
)
def test_escape_makes_one_component_of_a_name(name: str, escaped: str) -> None:
    """Dots are doubled first, then slashes become `.S`."""
    assert escape(name) == escaped
    assert unescape(escaped) == name


@given(st.text())
def test_escape_round_trips_any_name(name: str) -> None:
    """The escaped name has no slash."""
    assert unescape(escape(name)) == name
    assert "/" not in escape(name)


@given(st.text(alphabet=".S/ab", max_size=8))
def test_unescape_returns_a_name_or_raises(text: str) -> None:
    """Apart from slashes, it accepts only what `escape` returns."""
    try:
        name = unescape(text)
    except ValueError:
        return
    assert escape(name).replace("/", ".S") == text.replace("/", ".S")


@pytest.mark.parametrize("text", [".", "a.", ".x", "...", ".ATTRIBUTES"])
def test_unescape_refuses_a_text_that_is_not_escaped(text: str) -> None:
    """A dot must be followed by another dot or an S."""
    with pytest.raises(ValueError):
        unescape(text)


def test_key_is_split_into_its_parts() -> None:
    """Attribute of an object, of the root, a name with slashes, a slot, and an attribute that was escaped twice."""
    assert parse_key("net/a.Sb/.ATTRIBUTES/VARIABLE_VALUE") == ObjectKey(("net", "a/b"), "VARIABLE_VALUE")
    assert parse_key("/.ATTRIBUTES/x") == ObjectKey((), "x")
    assert parse_key("v/.OPTIMIZER_SLOT/opt/inner/m/.ATTRIBUTES/VARIABLE_VALUE") == ObjectKey(
        ("v",), "VARIABLE_VALUE", ("opt", "inner"), "m"
    )
    assert parse_key("t/.ATTRIBUTES/k....a..Sb").attribute == "k..a.Sb"
    assert split_path("") == ()


@pytest.mark.parametrize("key", ["kernel", "net/.ATTRIBUTES", "a.b/.ATTRIBUTES/x", "a/.ATTRIBUTES/x/y"])
def test_name_that_is_not_an_attribute_key_is_refused(key: str) -> None:
    """Names of name-based checkpoints are not keys of attributes, for example."""
    with pytest.raises(ValueError):
        parse_key(key)


# Handmade graphs


def test_path_is_the_first_that_a_breadth_first_walk_finds() -> None:
    """A shorter path wins over an earlier child; of two equally short paths the earlier child wins."""
    example = graph(node({"a": 1, "b": 2, "c": 2}), node({"x": 3}), node({"y": 3, "z": 4}), node(), node())

    assert paths(example) == ["", "a", "b", "a/x", "b/z"]


def test_shared_nodes_and_cycles_are_legal() -> None:
    """A node may have two names, be its own child, or lead back to the root."""
    example = graph(node({"a": 1, "b": 1, "root": 0}), node({"self": 1, "back": 0}))

    assert paths(example) == ["", "a"]
    assert example.find("b/self/self/back/a") is example.nodes[1]
    assert example.find("") is example.root is example.nodes[0]


def test_unreachable_node_has_no_path() -> None:
    """It is kept; a slot variable that only the optimizer refers to has the path in its key."""
    example = graph(node({"v": 1, "opt": 2}), node(), node(slots=((1, "m", 3),)), node(), node())

    assert paths(example) == ["", "v", "opt", "v/.OPTIMIZER_SLOT/opt/m", None]
    assert example.find("v/.OPTIMIZER_SLOT/opt/m") is example.nodes[3]


@pytest.mark.parametrize(
    ("nodes", "place"),
    [
        pytest.param([node({"a": 2}), node()], "child 'a' of node 0", id="dangling child"),
        pytest.param([node({"a": -1}), node()], "child 'a' of node 0", id="negative child"),
        pytest.param([node([("a", 1), ("a", 2)]), node(), node()], "node 0", id="two children of one name"),
        pytest.param([node({"v": 1}, slots=((1, "m", 2),)), node()], "slot 'm' of node 0", id="dangling slot"),
        pytest.param([node({"v": 1}, slots=((7, "m", 1),)), node()], "slot 'm' of node 0", id="dangling variable"),
        pytest.param([node({"v": 1}, slots=((1, "m", 1),)), node()], "slot 'm' of node 0", id="slot of itself"),
        pytest.param([], "no nodes", id="no nodes"),
    ],
)
def test_inconsistent_graph_is_refused_with_the_node(tmp_path: Path, nodes: list[bytes], place: str) -> None:
    """A tensor can be read by its key; only paths and full names need the graph."""
    prefix = write_bundle(tmp_path, nodes, **{"v/.ATTRIBUTES/VARIABLE_VALUE": 7})

    with tfckpt.open(prefix) as checkpoint:
        assert checkpoint["v/.ATTRIBUTES/VARIABLE_VALUE"] == 7
        with pytest.raises(CorruptionError, match=place) as caught:
            checkpoint.variables()
        assert caught.value.tensor == GRAPH_KEY
        with pytest.raises(CorruptionError):
            checkpoint["v"]


def test_graph_that_names_a_child_twice_is_legal() -> None:
    """Both children must be the same node."""
    assert paths(graph(node([("a", 1), ("a", 1)]), node())) == ["", "a"]


def test_total_length_of_paths_is_limited() -> None:
    """It grows with the square of the length of a chain, so a small file could claim any amount of memory."""
    chain = [node({"x" * 100: number + 1}) for number in range(99)] + [node()]

    assert len(graph(*chain).nodes[-1].path or "") == 99 * 101 - 1
    with pytest.raises(LimitExceededError) as caught:
        graph(*chain, limits=Limits(max_key_bytes=1000))
    assert (caught.value.limit, caught.value.maximum) == ("max_key_bytes", 1000)


@pytest.mark.parametrize(
    "bundle",
    [
        pytest.param(Bundle().add(GRAPH_KEY, FLOAT, [], bytes(4)), id="number"),
        pytest.param(Bundle().add_strings(GRAPH_KEY, [b"", b""]), id="two strings"),
        pytest.param(Bundle().add_strings(GRAPH_KEY, [b"\xff"], []), id="not a message"),
    ],
)
def test_graph_with_a_wrong_type_or_shape_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    """It must be a single string that parses."""
    with tfckpt.open(bundle.write(tmp_path)) as checkpoint, pytest.raises(CorruptionError) as caught:
        checkpoint.object_graph  # noqa: B018  # reading it is what fails
    assert caught.value.tensor == GRAPH_KEY


# Lookups


def test_key_wins_over_path_and_path_over_full_name(tmp_path: Path) -> None:
    """Three checkpoints in which the same name has different meanings."""
    nodes = [
        node({"w": 1, "u": 2}),
        node(variable="w/.ATTRIBUTES/VARIABLE_VALUE", full_name="name_1"),
        node(variable="u/.ATTRIBUTES/VARIABLE_VALUE", full_name="w"),
    ]
    values = {"w/.ATTRIBUTES/VARIABLE_VALUE": 2, "u/.ATTRIBUTES/VARIABLE_VALUE": 3}

    values_read = []
    for number, tensors in enumerate([{"w": 1, **values}, values, {"u/.ATTRIBUTES/VARIABLE_VALUE": 3}]):
        (tmp_path / str(number)).mkdir()
        with tfckpt.open(write_bundle(tmp_path / str(number), nodes, **tensors)) as checkpoint:
            values_read.append(checkpoint["w"].item())

    assert values_read == [1, 2, 3]


def test_full_name_of_several_variables_is_not_found_and_lists_their_keys(tmp_path: Path) -> None:
    """The error is a KeyError, so `get` returns its default and `in` is False."""
    nodes = [
        node({"a": 1, "b": 2}),
        node(variable="a/.ATTRIBUTES/VARIABLE_VALUE", full_name="Variable"),
        node(variable="b/.ATTRIBUTES/VARIABLE_VALUE", full_name="Variable"),
    ]
    prefix = write_bundle(tmp_path, nodes, **{"a/.ATTRIBUTES/VARIABLE_VALUE": 1, "b/.ATTRIBUTES/VARIABLE_VALUE": 2})

    with tfckpt.open(prefix) as checkpoint:
        assert "Variable" not in checkpoint
        assert checkpoint.get("Variable") is None
        with pytest.raises(KeyError) as caught:
            checkpoint["Variable"]
    assert isinstance(caught.value, TensorNotFoundError)
    assert caught.value.close_names == ("a/.ATTRIBUTES/VARIABLE_VALUE", "b/.ATTRIBUTES/VARIABLE_VALUE")


def test_missing_name_offers_paths_and_full_names() -> None:
    """Close names are keys, paths or full names."""
    with tfckpt.open(TENSORFLOW / "objects-more" / "legacy_optimizer" / "ckpt-1") as checkpoint:
        for wrong, right in (("net/layers/0/kernels", "net/layers/0/kernel"), ("layer_0/kernels", "layer_0/kernel")):
            with pytest.raises(TensorNotFoundError) as caught:
                checkpoint.info(wrong)
            assert caught.value.close_names[0] == right


def test_iteration_is_over_keys() -> None:
    """Paths and full names are found, but they are not listed or counted."""
    with tfckpt.open(TENSORFLOW / "objects-more" / "legacy_optimizer" / "ckpt-1") as checkpoint:
        assert len(list(checkpoint)) == len(checkpoint) == 20
        assert all(name == GRAPH_KEY or name.endswith("VARIABLE_VALUE") for name in checkpoint)
        assert "net/layers/0/kernel" in checkpoint


def test_name_based_checkpoint_lists_every_tensor_as_a_variable(digits: Path) -> None:
    """Without a path; the name of the tensor is both key and full name."""
    with tfckpt.open(digits) as checkpoint:
        rows = checkpoint.variables()

        assert checkpoint.object_graph is None
        assert [row.key for row in rows] == [row.full_name for row in rows] == list(checkpoint)
        assert all(row.path is None and row.slots == () for row in rows)


def test_registered_saver_is_read() -> None:
    """It means that custom code wrote the values."""
    saver = field_bytes(4, field_bytes(1, b"Custom.saver") + field_bytes(2, b"table"))

    example = graph(node({"a": 1}), saver + field_bytes(5, b""))

    assert example.nodes[1].registered_saver == ("Custom.saver", "table")
    assert [item.has_checkpoint_values for item in example.nodes] == [None, False]


def test_path_of_an_object_with_several_tensors_is_ambiguous(tmp_path: Path) -> None:
    """With the name of an attribute at its end it is not."""
    several = b"".join(
        field_bytes(2, field_bytes(1, name.encode()) + field_bytes(3, f"a/.ATTRIBUTES/{escape(name)}".encode()))
        for name in ("x", "y.z")
    )
    prefix = write_bundle(tmp_path, [node({"a": 1}), several], **{"a/.ATTRIBUTES/x": 1, "a/.ATTRIBUTES/y..z": 2})

    with tfckpt.open(prefix) as checkpoint:
        with pytest.raises(TensorNotFoundError) as caught:
            checkpoint["a"]
        assert caught.value.close_names == ("a/.ATTRIBUTES/x", "a/.ATTRIBUTES/y..z")
        assert checkpoint.object_graph is not None
        assert checkpoint.object_graph.attributes_at("a/.ATTRIBUTES/y..z") == (
            ObjectAttribute("y.z", "", "a/.ATTRIBUTES/y..z"),
        )


def test_lookup_of_a_part_of_a_key_finds_nothing() -> None:
    """Names with misplaced separators and marks raise the usual error."""
    odd: list[Any] = [
        "",
        "/",
        "//",
        ".",
        ".OPTIMIZER_SLOT",
        "/.OPTIMIZER_SLOT/",
        "net/",
        "/.ATTRIBUTES/",
        "net/.ATTRIBUTES/x",
    ]
    with tfckpt.open(TENSORFLOW / "objects-more" / "legacy_optimizer" / "ckpt-1") as checkpoint:
        for name in odd:
            with pytest.raises(TensorNotFoundError):
                checkpoint[name]


SOUND = b"".join(
    field_bytes(1, encoded)
    for encoded in (
        node({"a": 1, "b": 2, "root": 0}),
        node({"x": 2}, slots=((2, "m", 3),)),
        node(variable="b/.ATTRIBUTES/VARIABLE_VALUE", full_name="b"),
        node(variable="b/.OPTIMIZER_SLOT/a/m/.ATTRIBUTES/VARIABLE_VALUE"),
    )
)


@given(st.integers(0, len(SOUND)), st.integers(0, 3), st.binary(max_size=3))
def test_damaged_graph_is_consistent_or_refused(start: int, length: int, instead: bytes) -> None:
    """Either each path leads to a node with this path, or decoding raises `CorruptionError`."""
    try:
        damaged = decode_object_graph(SOUND[:start] + instead + SOUND[start + length :])
    except CorruptionError:
        return
    has_nameless = "" in damaged.root.children  # a child of the root without a name has the path of the root
    for item in damaged.nodes:
        if item.path is not None and not has_nameless:
            again = damaged.find(item.path)
            assert again is not None
            assert again.path == item.path
