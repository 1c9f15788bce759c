"""The objects of a SavedModel, and their variables in the checkpoint beside it."""

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


def test_variables_of_a_saved_model_have_keys_in_its_checkpoint() -> None:
    """The same local names lead from both roots to the same variable."""
    with tfckpt.open(SAVED_MODEL) as checkpoint:
        assert checkpoint.meta_graph is not None and checkpoint.object_graph is not None
        objects = checkpoint.meta_graph.objects
        assert objects is not None

        keys = objects.checkpoint_keys(checkpoint.object_graph)

        assert keys.keys() == objects.variables.keys()
        for number, key in keys.items():
            assert objects.variables[number].shape == checkpoint.info(key).shape


def test_objects_are_read_as_stored() -> None:
    """Children, variables and what each function captured."""
    objects = decode_saved_objects(protos.parse_text("SavedObjectGraph", GOOD))

    assert objects.children == ({"v": 1}, {})
    assert objects.bound_inputs == {"f": (1,)}
    variable = objects.variables[1]
    assert (variable.name, variable.dtype, variable.shape, variable.trainable) == ("w", "float32", (3,), True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("node_id: 1", "node_id: 2", "child 'v' of node 0 is node 2, there are 2 nodes"),
        ("bound_inputs: 1", "bound_inputs: 2", "a captured input of f is node 2, there are 2 nodes"),
        (GOOD, "", "without nodes"),
    ],
    ids=["child", "captured input", "nothing"],
)
def test_number_of_no_node_is_refused(old: str, new: str, message: str) -> None:
    """A child or a captured input that does not exist is damage."""
    with pytest.raises(CorruptionError, match=message):
        decode_saved_objects(protos.parse_text("SavedObjectGraph", GOOD.replace(old, new)))
