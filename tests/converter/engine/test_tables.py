"""Lookup tables: where their content comes from, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from converter.engine import ReferenceGraph, graph_module
from converter.errors import GraphError

from .graphs import function, graph, integers, node, placeholder
from .test_entries import strings

KINDS = 'attr { key: "key_dtype" value { type: 3 } } attr { key: "value_dtype" value { type: 3 } }'
SHARED = 'attr { key: "shared_name" value { s: "words" } }'
INT = 'attr { key: "dtype" value { type: 3 } }'
FIND = (
    node("x", "Placeholder", attributes=f'{INT} attr {{ key: "shape" value {{ shape {{ dim {{ size: -1 }} }} }} }}'),
    integers("default", -1),
    node("table", "HashTableV2", attributes=f"{KINDS} {SHARED}"),
    node("y", "LookupTableFindV2", "table", "x", "default"),
)
X = np.array([3, 0, 9], np.int32)


def filled(*parts: str) -> ReferenceGraph:
    """Return the graph with a table and what fills it."""
    return graph(*FIND, *parts)


def test_keys_may_be_computed_from_constants() -> None:
    """As those of a table from numbers to words, which are a range."""
    scalars = [part.replace("dim { size: 1 }", "") for part in (integers("a", 0), integers("b", 4), integers("c", 1))]
    parts = (*scalars, node("keys", "Range", "a", "b", "c"), integers("values", 5, 6, 7, 8))

    loaded = filled(*parts, node("fill", "LookupTableImportV2", "table", "keys", "values"))

    assert loaded.run("y", {"x": X}).tolist() == [8, 5, -1]


def test_table_of_a_function_is_found_by_its_shared_name() -> None:
    """Functions that initialize a SavedModel make the table again."""
    body = (
        node("again", "HashTableV2", attributes=f"{KINDS} {SHARED}"),
        integers("keys", 0, 3),
        integers("values", 5, 8),
        node("fill", "LookupTableImportV2", "again:table_handle:0", "keys:output:0", "values:output:0"),
    )
    call = node(
        "init", "StatefulPartitionedCall", "default", attributes='attr { key: "f" value { func { name: "f" } } }'
    )

    loaded = filled(call, function("f", *body, returns="x"))

    assert loaded.run("y", {"x": X}).tolist() == [8, 5, -1]


def test_table_of_numbers_is_exported() -> None:
    """The content is a part of the program."""
    loaded = filled(
        integers("keys", 3, 0), integers("values", 8, 5), node("f", "LookupTableImportV2", "table", "keys", "values")
    )
    module = graph_module(loaded, inputs="x", outputs="y")
    x = torch.tensor(X)

    program = torch.export.export(module, (x,), dynamic_shapes={"x": {0: torch.export.Dim.DYNAMIC}}).module()

    assert program(torch.cat([x, x])).tolist() == [8, 5, -1] * 2


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (strings("file", "words.txt"), node("fill", "InitializeTableFromTextFileV2", "table", "file")),
        (placeholder("fed", -1), integers("values", 1), node("fill", "LookupTableImportV2", "table", "fed", "values")),
        (integers("keys", 1, 2), integers("values", 1), node("fill", "LookupTableImportV2", "table", "keys", "values")),
        (
            integers("keys", 1),
            node("values", "LookupTableFindV2", "table", "keys", "default"),
            node("fill", "LookupTableImportV2", "table", "keys", "values"),
        ),
    ],
    ids=["never", "from a file", "from an input", "of two lengths", "from itself"],
)
def test_table_that_is_filled_otherwise_is_refused(parts: tuple[str, ...]) -> None:
    """One error that names a node, and never the default for every key."""
    with pytest.raises(GraphError) as caught:
        filled(*parts).run("y", {"x": X})

    assert caught.value.node is not None
