"""Record what real TensorFlow computes for every operation the oracle runs.

Usage, in an environment with TensorFlow 2.21: `python tests/data/ops/generate.py [family ...]`

Each module in `cases/` is a family, and gives one file FAMILY.npz beside this script with two arrays:
`index`, JSON as bytes, and `data`, the bytes of every graph and array one after the other.
A case is a graph, values for its placeholders, the tensors to fetch, and what TensorFlow computed for them.
Cases run in float64 wherever TensorFlow can; `precision` says what the recorded values are good for.
"""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

FOLDER = pathlib.Path(__file__).parent
FAMILIES = tuple(sorted(path.stem for path in (FOLDER / "cases").glob("*.py") if path.stem != "__init__"))

Builder = Callable[..., Any]


class Recorder:
    """Collects the cases of one family."""

    def __init__(self) -> None:
        self.cases: list[dict[str, Any]] = []
        self.data = bytearray()

    def __call__(
        self,
        name: str,
        build: Builder,
        *inputs: np.ndarray,
        exact: Builder | None = None,
        precision: str | None = None,
        unknown_shapes: bool = False,
    ) -> None:
        """Record a case.

        `build` makes the graph from placeholders. `exact` computes the expected values instead of the graph, in float64
        and from other operations, where TensorFlow cannot run the graph itself on a CPU or in float64.
        """
        graph = tf.Graph()
        with graph.as_default():
            placeholders = [
                tf.compat.v1.placeholder(
                    array.dtype if array.dtype != object else tf.string,
                    None if unknown_shapes else array.shape,
                    name=f"input_{n}",
                )
                for n, array in enumerate(inputs)
            ]
            fetches = _flat(build(*placeholders))
        feeds = dict(zip((placeholder.name for placeholder in placeholders), inputs, strict=True))
        if exact is None:
            with tf.compat.v1.Session(graph=graph) as session:
                outputs = session.run(fetches, feeds)
        else:
            wide = [array.astype(np.float64) if array.dtype == np.float32 else array for array in inputs]
            with tf.Graph().as_default() as other, tf.compat.v1.Session(graph=other) as session:
                outputs = session.run(_flat(exact(*map(tf.constant, wide))))
        is_single = any(tensor.dtype in (tf.float32,) for tensor in fetches) and exact is None
        self.cases.append(
            {
                "name": name,
                "precision": precision or ("float32" if is_single else "float64"),
                "graph": self._bytes(_stripped(graph)),
                "feeds": {key: self._array(np.asarray(value)) for key, value in feeds.items()},
                "fetches": [tensor.name for tensor in fetches],
                "outputs": [self._array(np.asarray(value)) for value in outputs],
            }
        )

    def _bytes(self, content: bytes) -> list[int]:
        start = len(self.data)
        self.data += content
        return [start, len(content)]

    def _array(self, array: np.ndarray) -> dict[str, Any]:
        if array.dtype.kind in "OS":
            array = array.astype(object)
            return {"dtype": "object", "shape": list(array.shape), "items": [_text(item) for item in array.ravel()]}
        kind = array.dtype.name
        return {"dtype": kind, "shape": list(array.shape), "bytes": self._bytes(np.ascontiguousarray(array).tobytes())}

    def save(self, path: pathlib.Path) -> None:
        """Write the family's file."""
        index = np.frombuffer(json.dumps(self.cases, separators=(",", ":")).encode(), np.uint8)
        np.savez_compressed(path, index=index, data=np.frombuffer(bytes(self.data), np.uint8))


def _text(item: bytes) -> str:
    return item.decode("utf-8", "surrogateescape")


def _flat(outputs: Any) -> list[Any]:
    if isinstance(outputs, tf.Tensor):
        return [outputs]
    if isinstance(outputs, Sequence):
        return [tensor for output in outputs for tensor in _flat(output)]
    raise TypeError(f"a case gives tensors and not {type(outputs).__name__}")


def _stripped(graph: tf.Graph) -> bytes:
    """The graph without what only TensorFlow's own tools look at."""
    definition = graph.as_graph_def()
    for nodes in (definition.node, *(function.node_def for function in definition.library.function)):
        for node in nodes:
            for key in [key for key in node.attr if key.startswith("_") and key != "_num_original_outputs"]:
                del node.attr[key]
            node.ClearField("experimental_debug_info")
    return definition.SerializeToString(deterministic=True)


def main(names: Sequence[str]) -> None:
    """Record the families, all unless some are named."""
    sys.path.insert(0, str(FOLDER))
    for family in names or FAMILIES:
        recorder = Recorder()
        importlib.import_module(f"cases.{family}").record(recorder)
        path = FOLDER / f"{family}.npz"
        recorder.save(path)
        print(f"{family}: {len(recorder.cases)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
