"""Object graphs: nodes, paths, escapes, slots, and tensors asked for by path and full name."""

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
    """Every object-based checkpoint that TensorFlow wrote, with its nodes."""
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
    """A TrackableObject; `variable` is the key of its value."""
    pairs = children.items() if isinstance(children, dict) else children or []
    out = b"".join(field_bytes(1, field_varint(1, number) + field_bytes(2, name.encode())) for name, number in pairs)
    if variable is not None:
        attribute = field_bytes(1, b"VARIABLE_VALUE") + field_bytes(2, full_name.encode())
        out += field_bytes(2, attribute + field_bytes(3, variable.encode()))
    for original, name, slot in slots:
        out += field_bytes(3, field_varint(1, original) + field_bytes(2, name.encode()) + field_varint(3, slot))
    return out


def graph(*nodes: bytes, limits: Limits | None = None) -> ObjectGraph:
    """The graph of these nodes."""
    data = b"".join(field_bytes(1, one) for one in nodes)
    return decode_object_graph(data) if limits is None else decode_object_graph(data, limits)


def stored(folder: Path, nodes: list[bytes], **tensors: int) -> Path:
    """A bundle with a graph and scalar tensors under these keys; gives its prefix."""
    bundle = Bundle().add_strings(GRAPH_KEY, [b"".join(field_bytes(1, one) for one in nodes)], [])
    for key, value in tensors.items():
        bundle.add(key, INT32, [], value.to_bytes(4, "little"))
    return bundle.write(folder)


def paths(found: ObjectGraph) -> list[str | None]:
    """The path of every node."""
    return [one.path for one in found.nodes]


# What TensorFlow wrote


@pytest.mark.parametrize(("prefix", "case"), recorded(), ids=[prefix for prefix, _ in recorded()])
def test_object_graph_is_tensorflows(prefix: str, case: Record) -> None:
    """Children, attributes, slots of every node."""
    with tfckpt.open(TENSORFLOW / prefix) as checkpoint:
        found = checkpoint.object_graph

    assert found is not None
    assert [_as_record(one) for one in found.nodes] == [_normal(one) for one in case["nodes"]]


def _as_record(one: tfckpt.ObjectNode) -> Record:
    return {
        "children": dict(one.children),
        "attributes": [(a.name, a.full_name, a.checkpoint_key) for a in one.attributes],
        "slots": [(s.variable, s.slot_name, s.slot_variable) for s in one.slot_variables],
        "has_checkpoint_values": one.has_checkpoint_values,
    }


def _normal(one: Record) -> Record:
    """A recorded node, with what JSON leaves out at its default."""
    return {
        "children": {child["local_name"]: child.get("node_id", 0) for child in one.get("children", [])},
        "attributes": [(a["name"], a.get("full_name", ""), a["checkpoint_key"]) for a in one.get("attributes", [])],
        "slots": [
            (s["original_variable_node_id"], s["slot_name"], s["slot_variable_node_id"])
            for s in one.get("slot_variables", [])
        ],
        "has_checkpoint_values": one.get("has_checkpoint_values"),
    }


@pytest.mark.parametrize(("prefix", "case"), recorded(), ids=[prefix for prefix, _ in recorded()])
def test_paths_give_the_keys_tensorflow_stored(prefix: str, case: Record) -> None:
    """The path of a node with its attribute is its key; taken apart and walked, the key leads back to the attribute."""
    with tfckpt.open(TENSORFLOW / prefix) as checkpoint:
        found = checkpoint.object_graph

    assert found is not None
    attributes = [(one, attribute) for one in found.nodes for attribute in one.attributes]
    assert len(attributes) == sum(len(one.get("attributes", [])) for one in case["nodes"])
    for one, attribute in attributes:
        key = attribute.checkpoint_key
        assert f"{one.path}/.ATTRIBUTES/{escape(attribute.name)}" == key
        assert found.attributes_at(key) == (attribute,)
        assert parse_key(key).attribute == attribute.name


@pytest.mark.parametrize(("prefix", "case"), recorded(), ids=[prefix for prefix, _ in recorded()])
def test_every_variable_is_listed_once_with_its_names(prefix: str, case: Record) -> None:
    """A row for each value that no optimizer keeps as a slot; each of its names finds the tensor."""
    slots = {slot["slot_variable_node_id"] for one in case["nodes"] for slot in one.get("slot_variables", [])}
    wanted = sorted(
        (attribute["checkpoint_key"].encode(), attribute.get("full_name", ""))
        for number, one in enumerate(case["nodes"])
        for attribute in one.get("attributes", [])
        if attribute["name"] == "VARIABLE_VALUE" and number not in slots
    )

    with tfckpt.open(TENSORFLOW / prefix) as checkpoint:
        rows = checkpoint.variables()
        assert [(row.key.encode(), row.full_name) for row in rows] == wanted
        for row in rows:
            assert row.path is not None
            assert row.key == f"{row.path}/.ATTRIBUTES/VARIABLE_VALUE"
            assert checkpoint.info(row.path) == checkpoint.info(row.key) == row.info
            if sum(other.full_name == row.full_name for other in rows) == 1:
                assert checkpoint.info(row.full_name) == row.info


def test_slots_stand_in_the_row_of_their_variable() -> None:
    """By name, with the optimizer that keeps them; their own paths find them too."""
    with tfckpt.open(TENSORFLOW / "objects-more" / "legacy_optimizer" / "ckpt-1") as checkpoint:
        row = next(row for row in checkpoint.variables() if row.full_name == "layer_0/kernel")

        assert [(slot.name, slot.optimizer) for slot in row.slots] == [("m", "optimizer"), ("v", "optimizer")]
        key = "net/layers/0/kernel/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE"
        assert row.slots[0].key == key
        assert checkpoint.info("net/layers/0/kernel/.OPTIMIZER_SLOT/optimizer/m").name == key
        assert "net/layers/0/kernel/.OPTIMIZER_SLOT/optimizer/w" not in checkpoint


def test_variable_is_found_by_every_path_to_it() -> None:
    """A node that several names lead to, also round a cycle."""
    with tfckpt.open(TENSORFLOW / "objects-more" / "graph" / "ckpt") as checkpoint:
        values = [checkpoint[path].tolist() for path in ("alias", "second/value", "first/back/second/back/alias")]

    assert values == [[1.0, 2.0]] * 3


def test_hash_table_names_the_tensors_it_is_stored_as() -> None:
    """Its attribute's own key is not in the bundle, so the object is no variable and no tensor."""
    with tfckpt.open(TENSORFLOW / "objects-more" / "tables" / "ckpt") as checkpoint:
        assert [row.path for row in checkpoint.variables()] == ["plain"]
        assert "words" not in checkpoint
        with pytest.raises(TensorNotFoundError, match=r"words/.ATTRIBUTES/table-keys, words/.ATTRIBUTES/table-values"):
            checkpoint["words"]


def test_python_state_is_found_by_its_path() -> None:
    """An object with one attribute that is no variable."""
    with tfckpt.open(TENSORFLOW / "objects-more" / "python_state" / "ckpt") as checkpoint:
        assert checkpoint["position"].item() == b'{"epoch": 3, "seed": "ab"}'


def test_released_checkpoint_is_read_by_full_name(data: Path) -> None:
    """The names that graph code knows, of a network saved as objects."""
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
    """And leaves no slash in it."""
    assert unescape(escape(name)) == name
    assert "/" not in escape(name)


@given(st.text(alphabet=".S/ab", max_size=8))
def test_unescape_gives_a_name_or_refuses(text: str) -> None:
    """What it takes is what `escape` makes, but for slashes, which a component has not."""
    try:
        name = unescape(text)
    except ValueError:
        return
    assert escape(name).replace("/", ".S") == text.replace("/", ".S")


@pytest.mark.parametrize("text", [".", "a.", ".x", "...", ".ATTRIBUTES"])
def test_unescape_refuses_what_no_name_gives(text: str) -> None:
    """A single dot is followed by a dot or an S."""
    with pytest.raises(ValueError, match="is no escaped name"):
        unescape(text)


def test_key_is_taken_apart() -> None:
    """Attribute of an object, of the root, a name with slashes, a slot, and an attribute that was escaped twice."""
    assert parse_key("net/a.Sb/.ATTRIBUTES/VARIABLE_VALUE") == ObjectKey(("net", "a/b"), "VARIABLE_VALUE")
    assert parse_key("/.ATTRIBUTES/x") == ObjectKey((), "x")
    assert parse_key("v/.OPTIMIZER_SLOT/opt/inner/m/.ATTRIBUTES/VARIABLE_VALUE") == ObjectKey(
        ("v",), "VARIABLE_VALUE", ("opt", "inner"), "m"
    )
    assert parse_key("t/.ATTRIBUTES/k....a..Sb").attribute == "k..a.Sb"
    assert split_path("") == ()


@pytest.mark.parametrize("key", ["kernel", "net/.ATTRIBUTES", "a.b/.ATTRIBUTES/x", "a/.ATTRIBUTES/x/y"])
def test_key_that_is_none_is_refused(key: str) -> None:
    """Names of name-based checkpoints, above all."""
    with pytest.raises(ValueError, match="is no"):
        parse_key(key)


# Graphs made by hand


def test_path_is_the_first_that_a_breadth_first_walk_finds() -> None:
    """A shorter path wins over an earlier child, and of two as short the earlier child wins."""
    found = graph(node({"a": 1, "b": 2, "c": 2}), node({"x": 3}), node({"y": 3, "z": 4}), node(), node())

    assert paths(found) == ["", "a", "b", "a/x", "b/z"]


def test_shared_nodes_and_cycles_are_legal() -> None:
    """A node under two names, a node that is its own child, and a way back to the root."""
    found = graph(node({"a": 1, "b": 1, "root": 0}), node({"self": 1, "back": 0}))

    assert paths(found) == ["", "a"]
    assert found.find("b/self/self/back/a") is found.nodes[1]
    assert found.find("") is found.root is found.nodes[0]


def test_node_that_nothing_leads_to_has_no_path() -> None:
    """It is kept, and a slot that only an optimizer knows has the path of its key."""
    found = graph(node({"v": 1, "opt": 2}), node(), node(slots=((1, "m", 3),)), node(), node())

    assert paths(found) == ["", "v", "opt", "v/.OPTIMIZER_SLOT/opt/m", None]
    assert found.find("v/.OPTIMIZER_SLOT/opt/m") is found.nodes[3]


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        pytest.param([node({"a": 2}), node()], "child 'a' of node 0 is node 2, there are 2", id="dangling child"),
        pytest.param([node({"a": -1}), node()], "child 'a' of node 0 is node -1", id="negative child"),
        pytest.param(
            [node([("a", 1), ("a", 2)]), node(), node()],
            "node 0 has two children 'a', node 1 and node 2",
            id="two children of one name",
        ),
        pytest.param(
            [node({"v": 1}, slots=((1, "m", 2),)), node()], "slot 'm' of node 0 is node 2", id="dangling slot"
        ),
        pytest.param(
            [node({"v": 1}, slots=((7, "m", 1),)), node()],
            "variable of slot 'm' of node 0 is node 7",
            id="slot of a dangling variable",
        ),
        pytest.param(
            [node({"v": 1}, slots=((1, "m", 1),)), node()],
            "slot 'm' of node 0 is its own variable",
            id="slot of itself",
        ),
        pytest.param([], "without nodes", id="no nodes"),
    ],
)
def test_graph_that_is_wrong_is_refused_with_the_node(tmp_path: Path, nodes: list[bytes], message: str) -> None:
    """Keys are read all the same: only what needs the graph fails."""
    prefix = stored(tmp_path, nodes, **{"v/.ATTRIBUTES/VARIABLE_VALUE": 7})

    with tfckpt.open(prefix) as checkpoint:
        assert checkpoint["v/.ATTRIBUTES/VARIABLE_VALUE"] == 7
        with pytest.raises(CorruptionError, match=message) as caught:
            checkpoint.variables()
        assert caught.value.tensor == GRAPH_KEY
        with pytest.raises(CorruptionError, match=message):
            checkpoint["v"]


def test_graph_that_names_a_child_twice_is_legal() -> None:
    """The nearest legal neighbour of two children of one name."""
    assert paths(graph(node([("a", 1), ("a", 1)]), node())) == ["", "a"]


def test_graph_of_long_chains_meets_a_limit() -> None:
    """Paths grow with the square of a chain's length, so that a small file could ask for any memory."""
    chain = [node({"x" * 100: number + 1}) for number in range(99)] + [node()]

    assert len(graph(*chain).nodes[-1].path or "") == 99 * 101 - 1
    with pytest.raises(LimitExceededError, match="max_key_bytes"):
        graph(*chain, limits=Limits(max_key_bytes=1000))


@pytest.mark.parametrize(
    "bundle",
    [
        pytest.param(Bundle().add(GRAPH_KEY, FLOAT, [], bytes(4)), id="number"),
        pytest.param(Bundle().add_strings(GRAPH_KEY, [b"", b""]), id="two strings"),
        pytest.param(Bundle().add_strings(GRAPH_KEY, [b"\xff"], []), id="no message"),
    ],
)
def test_graph_that_is_stored_as_something_else_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    """One string, which parses."""
    with tfckpt.open(bundle.write(tmp_path)) as checkpoint, pytest.raises(CorruptionError) as caught:
        checkpoint.object_graph  # noqa: B018  # reading it is what fails
    assert caught.value.tensor == GRAPH_KEY


# Lookups


def test_key_wins_over_path_and_path_over_full_name(tmp_path: Path) -> None:
    """One text that is all three, in three checkpoints."""
    nodes = [
        node({"w": 1, "u": 2}),
        node(variable="w/.ATTRIBUTES/VARIABLE_VALUE", full_name="name_1"),
        node(variable="u/.ATTRIBUTES/VARIABLE_VALUE", full_name="w"),
    ]
    values = {"w/.ATTRIBUTES/VARIABLE_VALUE": 2, "u/.ATTRIBUTES/VARIABLE_VALUE": 3}

    found = []
    for number, tensors in enumerate([{"w": 1, **values}, values, {"u/.ATTRIBUTES/VARIABLE_VALUE": 3}]):
        (tmp_path / str(number)).mkdir()
        with tfckpt.open(stored(tmp_path / str(number), nodes, **tensors)) as checkpoint:
            found.append(checkpoint["w"].item())

    assert found == [1, 2, 3]


def test_full_name_of_several_variables_is_not_found_and_lists_their_keys(tmp_path: Path) -> None:
    """The error is a KeyError, so that `get` gives its default, and `in` says no."""
    nodes = [
        node({"a": 1, "b": 2}),
        node(variable="a/.ATTRIBUTES/VARIABLE_VALUE", full_name="Variable"),
        node(variable="b/.ATTRIBUTES/VARIABLE_VALUE", full_name="Variable"),
    ]
    prefix = stored(tmp_path, nodes, **{"a/.ATTRIBUTES/VARIABLE_VALUE": 1, "b/.ATTRIBUTES/VARIABLE_VALUE": 2})

    with tfckpt.open(prefix) as checkpoint:
        assert "Variable" not in checkpoint
        assert checkpoint.get("Variable") is None
        with pytest.raises(KeyError, match="this means 2 tensors, name one by its key") as caught:
            checkpoint["Variable"]
    assert isinstance(caught.value, TensorNotFoundError)
    assert caught.value.close_names == ("a/.ATTRIBUTES/VARIABLE_VALUE", "b/.ATTRIBUTES/VARIABLE_VALUE")


def test_name_that_is_not_there_offers_paths_and_full_names() -> None:
    """Close names are of all three kinds."""
    with tfckpt.open(TENSORFLOW / "objects-more" / "legacy_optimizer" / "ckpt-1") as checkpoint:
        for wrong, right in (("net/layers/0/kernels", "net/layers/0/kernel"), ("layer_0/kernels", "layer_0/kernel")):
            with pytest.raises(TensorNotFoundError) as caught:
                checkpoint.info(wrong)
            assert caught.value.close_names[0] == right


def test_iteration_stays_with_the_keys() -> None:
    """Paths and full names are ways to ask, not members."""
    with tfckpt.open(TENSORFLOW / "objects-more" / "legacy_optimizer" / "ckpt-1") as checkpoint:
        assert len(list(checkpoint)) == len(checkpoint) == 20
        assert all(name == GRAPH_KEY or name.endswith("VARIABLE_VALUE") for name in checkpoint)
        assert "net/layers/0/kernel" in checkpoint


def test_name_based_checkpoint_has_a_row_for_each_tensor(digits: Path) -> None:
    """Without a path; its name is key and full name."""
    with tfckpt.open(digits) as checkpoint:
        rows = checkpoint.variables()

        assert checkpoint.object_graph is None
        assert [row.key for row in rows] == [row.full_name for row in rows] == list(checkpoint)
        assert all(row.path is None and row.slots == () for row in rows)


def test_registered_saver_is_told() -> None:
    """Where a program's own code wrote the values."""
    saver = field_bytes(4, field_bytes(1, b"Custom.saver") + field_bytes(2, b"table"))

    found = graph(node({"a": 1}), saver + field_bytes(5, b""))

    assert found.nodes[1].registered_saver == ("Custom.saver", "table")
    assert [one.has_checkpoint_values for one in found.nodes] == [None, False]


def test_object_with_several_tensors_asks_for_one(tmp_path: Path) -> None:
    """A path to it is ambiguous; with the attribute at its end it is not."""
    several = b"".join(
        field_bytes(2, field_bytes(1, name.encode()) + field_bytes(3, f"a/.ATTRIBUTES/{escape(name)}".encode()))
        for name in ("x", "y.z")
    )
    prefix = stored(tmp_path, [node({"a": 1}), several], **{"a/.ATTRIBUTES/x": 1, "a/.ATTRIBUTES/y..z": 2})

    with tfckpt.open(prefix) as checkpoint:
        with pytest.raises(TensorNotFoundError, match=r"this means 2 tensors.*a/.ATTRIBUTES/x, a/.ATTRIBUTES/y..z"):
            checkpoint["a"]
        assert checkpoint.object_graph is not None
        assert checkpoint.object_graph.attributes_at("a/.ATTRIBUTES/y..z") == (
            ObjectAttribute("y.z", "", "a/.ATTRIBUTES/y..z"),
        )


def test_lookup_of_anything_gives_a_tensor_or_our_error() -> None:
    """Texts that look like parts of keys."""
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
    field_bytes(1, one)
    for one in (
        node({"a": 1, "b": 2, "root": 0}),
        node({"x": 2}, slots=((2, "m", 3),)),
        node(variable="b/.ATTRIBUTES/VARIABLE_VALUE", full_name="b"),
        node(variable="b/.OPTIMIZER_SLOT/a/m/.ATTRIBUTES/VARIABLE_VALUE"),
    )
)


@given(st.integers(0, len(SOUND)), st.integers(0, 3), st.binary(max_size=3))
def test_graph_that_is_damaged_is_walked_or_refused(start: int, length: int, instead: bytes) -> None:
    """Whatever is in it, every path leads to a node of this path, or our error says what is wrong."""
    try:
        found = decode_object_graph(SOUND[:start] + instead + SOUND[start + length :])
    except CorruptionError:
        return
    nameless = "" in found.root.children  # the path of a child without a name is the root's
    for one in found.nodes:
        if one.path is not None and not nameless:
            again = found.find(one.path)
            assert again is not None
            assert again.path == one.path
