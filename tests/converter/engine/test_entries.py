"""Parsers of examples and iterators are cut off: what they return are inputs, by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from converter.engine import graph_module
from converter.errors import GraphError, UnsupportedOpError

from .graphs import constant, graph, integers, node, placeholder
from .test_interface import with_signature


def strings(name: str, *values: str, scalar: bool = False) -> str:
    """Return a constant of strings."""
    shape = "" if scalar else f"dim {{ size: {len(values)} }}"
    items = " ".join(f'string_val: "{value}"' for value in values)
    tensor = f"tensor {{ dtype: 7 tensor_shape {{ {shape} }} {items} }}"
    return node(name, "Const", attributes=f'attr {{ key: "value" value {{ {tensor} }} }}')


COMMON = (
    node("examples", "Placeholder", attributes='attr { key: "dtype" value { type: 7 } }'),
    strings("names"),
    strings("age", "age", scalar=True),
    strings("words", "words", scalar=True),
    constant("default", 0.0),
    placeholder("factor"),
)
SHAPES = 'attr { key: "dense_shapes" value { list { shape { dim { size: 3 } } } } }'
TYPES = (
    'attr { key: "Tdense" value { list { type: 1 } } } attr { key: "sparse_types" value { list { type: 9 } } }'
    f"{SHAPES}"
)
PARSERS = {
    "ParseExample": (
        node(
            "parse",
            "ParseExample",
            *("examples", "names", "words", "age", "default"),
            attributes=f'{TYPES} attr {{ key: "Nsparse" value {{ i: 1 }} }} attr {{ key: "Ndense" value {{ i: 1 }} }}',
        ),
    ),
    "ParseExampleV2": (
        strings("dense_keys", "age"),
        strings("sparse_keys", "words"),
        node(
            "parse",
            "ParseExampleV2",
            *("examples", "names", "sparse_keys", "dense_keys", "names", "default"),
            attributes=f'{TYPES} attr {{ key: "num_sparse" value {{ i: 1 }} }}',
        ),
    ),
}
USE = (
    node("scaled", "Mul", "parse:3", "factor"),
    integers("axis", 0),
    node("count", "Size", "parse:1"),
    node("y", "Neg", "scaled"),
)


@pytest.mark.parametrize("op", PARSERS)
def test_features_of_a_parser_are_inputs_by_their_names(op: str) -> None:
    """The serialized examples are no input any more, and other inputs of the signature are."""
    loaded = graph(*COMMON, *PARSERS[op], *USE)
    signed = with_signature(loaded, {"examples": "examples:0", "factor": "factor:0"}, {"y": "y:0", "n": "count:0"})

    module = graph_module(signed)

    described = {port.key: (port.tensor, port.dtype, port.shape) for port in module.inputs}
    assert described == {
        "factor": ("factor:0", "float32", (-1,)),
        "words/values": ("parse:1", "int64", (-1,)),
        "age": ("parse:3", "float32", (-1, 3)),
    }
    result = module(factor=torch.tensor(2.0), age=torch.ones(2, 3), words_values=torch.tensor([4, 5, 6]))
    assert result["y"].tolist() == [[-2, -2, -2]] * 2
    assert int(result["n"]) == 3


def test_parser_that_is_asked_for_is_unsupported() -> None:
    """Naming the serialized examples as an input means to parse them."""
    with pytest.raises(UnsupportedOpError):
        graph_module(graph(*COMMON, *PARSERS["ParseExample"], *USE), inputs=["examples", "factor"], outputs="y")


def test_results_of_an_iterator_are_inputs() -> None:
    """A training graph begins with them."""
    types = 'attr { key: "output_types" value { list { type: 1 type: 3 } } }'
    shapes = 'attr { key: "output_shapes" value { list { shape { dim { size: -1 } } shape { unknown_rank: true } } } }'
    loaded = graph(
        node("iterator", "IteratorV2"),
        node("next", "IteratorGetNext", "iterator", attributes=f"{types} {shapes}"),
        node("y", "Neg", "next:0"),
    )

    module = graph_module(loaded, outputs="y")

    (port,) = module.inputs
    assert (port.tensor, port.dtype, port.shape) == ("next:0", "float32", (-1,))
    assert module(np.ones(2, np.float32)).tolist() == [-1, -1]
    with pytest.raises(GraphError):
        module(np.array(["a"], object))
