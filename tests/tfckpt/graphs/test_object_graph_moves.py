"""Objects move to the paths in their new keys; what TensorFlow restores of them is in tests/tensorflow_check."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

import tfckpt
from tfckpt.graphs.object_graph import GRAPH_KEY, VALUE_SUFFIX

#: Each tensor holds a number of its own.
NUMBERS = {"model/d/w": 1, "model/d/l/w": 2, "model/g/w": 3, "step": 4}


@pytest.fixture
def source(tmp_path: pathlib.Path) -> pathlib.Path:
    """An object-based checkpoint with two networks and a step."""
    tfckpt.save({name: np.int32(number) for name, number in NUMBERS.items()}, tmp_path / "source", object_graph=True)
    return tmp_path / "source"


def paths(prefix: pathlib.Path) -> dict[str, int]:
    """Return the number of each variable by its path in the object graph, which is also that of its key."""
    with tfckpt.open(prefix) as checkpoint:
        graph = checkpoint.object_graph
        assert graph is not None
        found = {}
        for node in graph.nodes:
            for attribute in node.attributes:
                if node.path is not None and attribute.checkpoint_key in checkpoint:
                    assert attribute.checkpoint_key == node.path + VALUE_SUFFIX
                    found[node.path] = int(checkpoint[attribute.checkpoint_key])
        return {path: number for path, number in sorted(found.items()) if path != "save_counter"}


@pytest.mark.parametrize(
    ("include", "rename", "expected"),
    [
        ("model/d/*", [("^model/d", "model")], {"model/l/w": 2, "model/w": 1}),
        ("model/d/*", [("^model/d/", "")], {"l/w": 2, "w": 1}),
        ("*", [("^model/d", "model")], {"model/g/w": 3, "model/l/w": 2, "model/w": 1, "step": 4}),
        ("*", [("^", "all/")], {"all/model/d/l/w": 2, "all/model/d/w": 1, "all/model/g/w": 3, "all/step": 4}),
        (
            "*",
            [("/d/", "/x/"), ("/g/", "/d/"), ("/x/", "/g/")],
            {"model/d/w": 3, "model/g/l/w": 2, "model/g/w": 1, "step": 4},
        ),
        ("*", [("/w/", "/v/")], {"model/d/l/v": 2, "model/d/v": 1, "model/g/v": 3, "step": 4}),
        ("*", [("/l/w/", "/new/inner/w/")], {"model/d/new/inner/w": 2, "model/d/w": 1, "model/g/w": 3, "step": 4}),
        ("*", [("/l/w/", "/a..b.Sc/")], {"model/d/a..b.Sc": 2, "model/d/w": 1, "model/g/w": 3, "step": 4}),
    ],
    ids=["subtree", "to the root", "joined", "wrapped", "swapped", "leaves", "created", "escaped"],
)
def test_objects_move_with_their_keys(
    include: str,
    rename: list[tuple[str, str]],
    expected: dict[str, int],
    source: pathlib.Path,
    tmp_path: pathlib.Path,
) -> None:
    """Paths and keys agree afterwards, and every variable has its value."""
    tfckpt.copy(source, tmp_path / "a", include=[include], exclude=["save_counter*"], rename=rename)

    assert paths(tmp_path / "a") == expected


@pytest.mark.parametrize(
    "rename",
    [("w/.ATTRIBUTES/.*", "w"), ("VARIABLE_VALUE", "other"), ("/d/", "/d.x/"), ("/d/", "//")],
    ids=["no key", "other attribute", "not escaped", "empty name"],
)
def test_new_name_that_is_not_a_key_is_refused(
    rename: tuple[str, str], source: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """TensorFlow could not find the value; nothing is written."""
    with pytest.raises(ValueError, match="object-based"):
        tfckpt.copy(source, tmp_path / "a", rename=[rename])

    assert not list(tmp_path.glob("a.*"))


@pytest.mark.parametrize("rename", [("^model/d/l/w/", "step/w/"), ("^step", "model/d")], ids=["inside", "same path"])
def test_object_in_the_place_of_another_is_refused(
    rename: tuple[str, str], source: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """A tensor cannot have children."""
    with pytest.raises(ValueError, match=r"tensor|more than one object"):
        tfckpt.copy(source, tmp_path / "a", rename=[rename])


def test_renames_without_the_object_graph_are_free(source: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A copy without the graph is name-based."""
    tfckpt.copy(source, tmp_path / "a", exclude=[GRAPH_KEY], rename=[("/.ATTRIBUTES/.*", "")])

    with tfckpt.open(tmp_path / "a") as copy:
        assert set(copy) == {*NUMBERS, "save_counter"}


def test_hash_table_moves_with_its_tensors(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The key of its attribute is the common part of the keys of its two tensors."""
    source = data / "tensorflow" / "objects-more" / "tables"
    with tfckpt.open(source) as original:
        (key, *_) = [name for name in original if name.endswith("-keys")]
        before = original[key].tolist()
    path = key.partition("/.ATTRIBUTES")[0]

    tfckpt.copy(source, tmp_path / "a", rename=[(f"^{path}/", "moved/here/")])

    with tfckpt.open(tmp_path / "a") as copy:
        graph = copy.object_graph
        assert graph is not None
        node = graph.find("moved/here")
        assert node is not None
        assert copy[node.attributes[0].checkpoint_key + "-keys"].tolist() == before
