"""The cases recorded from real TensorFlow by `tests/data/ops/generate.py`."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np

from converter.engine import ReferenceGraph
from converter.engine.values import Array
from tfckpt import protos
from tfckpt.graphs.graph import decode_graph

FOLDER = Path(__file__).parents[2] / "data" / "ops"
FAMILIES = tuple(sorted(path.stem for path in FOLDER.glob("*.npz")))


@dataclasses.dataclass(frozen=True)
class Case:
    """A graph, its feeds, and TensorFlow's outputs; `precision` is the least precise dtype in the computation."""

    name: str
    precision: str
    graph: ReferenceGraph
    ops: frozenset[str]
    feeds: dict[str, Array]
    outputs: dict[str, Array]


@functools.cache
def cases_of(family: str) -> tuple[Case, ...]:
    """Return every case of one family of operations."""
    with np.load(FOLDER / f"{family}.npz") as archive:
        index, data = json.loads(archive["index"].tobytes()), archive["data"].tobytes()
    return tuple(_case(record, data) for record in index)


def _case(record: dict[str, Any], data: bytes) -> Case:
    start, length = record["graph"]
    message = protos.parse("GraphDef", data[start : start + length])
    bodies = [message.node, *(function.node_def for function in message.library.function)]
    outputs = [array_of(value, data) for value in record["outputs"]]
    return Case(
        record["name"],
        record["precision"],
        ReferenceGraph(decode_graph(message), path=record["name"]),
        frozenset(node.op for nodes in bodies for node in nodes),
        {name: array_of(value, data) for name, value in record["feeds"].items()},
        dict(zip(record["fetches"], outputs, strict=True)),
    )


def array_of(record: dict[str, Any], data: bytes) -> Array:
    """Return one recorded array."""
    if record["dtype"] == "object":
        return np.array([item.encode("utf-8", "surrogateescape") for item in record["items"]], object).reshape(
            record["shape"]
        )
    dtype = np.dtype(record["dtype"]) if record["dtype"] != "bfloat16" else _bfloat16()
    start, length = record["bytes"]
    return np.frombuffer(data[start : start + length], dtype).reshape(record["shape"])


def _bfloat16() -> np.dtype[Any]:
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)
