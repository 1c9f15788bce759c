"""The objects of a SavedModel, and their variables in its checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

import tfckpt
from tfckpt import protos
from tfckpt.errors import CorruptionError
from tfckpt.graphs.saved_objects import decode_saved_objects

SAVED_MODEL = Path(__file__).parents[2] / "data" / "savedmodel"
GOOD = """
nodes { children { node_id: 1 local_name: "v" } }
nodes { variable { dtype: 1 shape { dim { size: 3 } } trainable: true name: "w" } }
concrete_functions { key: "f" value { bound_inputs: 1 } }
"""


def test_each_variable_of_a_saved_model_has_a_key_in_its_checkpoint() -> None:
    """The same local names lead from both roots to the same variable."""
    with tfckpt.open(SAVED_MODEL) as checkpoint:
        assert checkpoint.meta_graph is not None and checkpoint.object_graph is not None
        objects = checkpoint.meta_graph.objects
        assert objects is not None

        keys = objects.checkpoint_keys(checkpoint.object_graph)

        assert keys.keys() == objects.variables.keys()
        for number, key in keys.items():
            assert objects.variables[number].shape == checkpoint.info(key).shape


def test_objects_are_decoded() -> None:
    """Children, variables and the captured inputs of each function."""
    objects = decode_saved_objects(protos.parse_text("SavedObjectGraph", GOOD))

    assert objects.children == ({"v": 1}, {})
    assert objects.bound_inputs == {"f": (1,)}
    variable = objects.variables[1]
    assert (variable.name, variable.dtype, variable.shape, variable.trainable) == ("w", "float32", (3,), True)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("node_id: 1", "node_id: 2", "child 'v' of node 0"),
        ("bound_inputs: 1", "bound_inputs: 2", "input of f"),
        (GOOD, "", "no nodes"),
    ],
    ids=["child", "captured input", "no nodes"],
)
def test_reference_to_a_missing_node_is_refused(old: str, new: str, place: str) -> None:
    """The error says which child or captured input does not exist."""
    with pytest.raises(CorruptionError, match=place):
        decode_saved_objects(protos.parse_text("SavedObjectGraph", GOOD.replace(old, new)))
