"""What real TensorFlow computes for the graphs that `layout.py` laid out; run in an environment with TensorFlow.

Usage: python tests/graph_survey/record.py FOLDER [PART-OF-A-PATH ...]

For each signature of a SavedModel, and for the ends of a `.meta` graph or a frozen graph, the inputs are made up and
TensorFlow's outputs are stored: FOLDER/recorded/NAME.npz, with a description in JSON. Graphs run in processes of their
own with limits of time and memory. What is recorded already is left alone.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import pathlib
import resource
import sys
import traceback
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

tf1 = tf.compat.v1
#: What one graph may take: seconds, and bytes of memory.
SECONDS = 120
BYTES = 6 << 30
#: Ends of graphs that are not results: of training, savers, summaries and initialization.
SKIPPED = ("save", "gradients", "train", "adam", "init", "summar", "report_uninit", "metrics", "optimi", "group_deps")
UPDATES = ("Apply", "Assign", "Scatter", "ResourceApply", "ResourceScatter", "SparseApply")
MOST_ENDS = 3
#: Sizes that a graph leaves open: that of the batch, and any other one.
BATCH, OPEN = 2, 33


def main() -> None:
    """Record every graph, one after the other."""
    folder = pathlib.Path(sys.argv[1])
    (folder / "recorded").mkdir(exist_ok=True)
    for path in find_graphs(folder):
        name = str(path.relative_to(folder))
        if sys.argv[2:] and not any(part in name for part in sys.argv[2:]):
            continue
        target = folder / "recorded" / (hashlib.sha256(name.encode()).hexdigest()[:16] + ".json")
        if target.exists():
            continue
        process = multiprocessing.get_context("fork").Process(target=record, args=(path, name, target))
        process.start()
        process.join(SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
        if not target.exists():
            how = f"no result within {SECONDS} seconds" if process.exitcode == -9 else f"exit code {process.exitcode}"
            target.write_text(json.dumps({"graph": name, "error": how, "cases": []}))
        result = json.loads(target.read_text())
        print(name, result["error"] or [case["error"] or "ok" for case in result["cases"]], flush=True)


def find_graphs(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return SavedModel folders, `.meta` files and frozen graphs; lowered graphs of TensorFlow.js are `.pb` files."""
    # A pattern of two parts, since `rglob` does not follow the links of `layout.py` in every release of Python.
    found = [path.parent for path in (folder / "savedmodel").glob("*/saved_model.pb")]
    found += list((folder / "meta").rglob("*.meta"))
    found += list((folder / "frozen").rglob("*.pb"))
    found += list((folder / "tfjs-lowered").rglob("*.pb"))
    return sorted(found)


def record(path: pathlib.Path, name: str, target: pathlib.Path) -> None:
    """Record one graph; what goes wrong is part of the record."""
    cases: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    error = ""
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
    try:
        with tf1.Session(graph=tf.Graph()) as session:
            for label, inputs, outputs in load(session, path):
                cases.append({"label": label, **run(session, inputs, outputs, arrays, len(cases))})
    except Exception as problem:
        traceback.print_exc(limit=1)
        error = f"{type(problem).__name__}: {problem}"[:300]
    np.savez(target.with_suffix(".npz"), **arrays)
    target.write_text(json.dumps({"graph": name, "error": error, "cases": cases}))


def load(session: Any, path: pathlib.Path) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Load a graph, and return a label, the inputs and the outputs of each thing to run: tensors by key."""
    graph = session.graph
    with graph.as_default():
        if path.is_dir():
            message = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
            tags = [list(meta.meta_info_def.tags) for meta in message.meta_graphs]
            chosen = next((each for each in tags if each == ["serve"]), tags[0])
            meta = tf1.saved_model.load(session, chosen, str(path))
            found = []
            for key, signature in sorted(meta.signature_def.items()):
                if not key.startswith("__") and not any(not info.name for info in signature.inputs.values()):
                    sides = [
                        {name: graph.get_tensor_by_name(info.name) for name, info in side.items() if info.name}
                        for side in (signature.inputs, signature.outputs)
                    ]
                    found.append((key, replace_examples(sides[0]), sides[1]))
            return found
        if path.suffix == ".meta":
            saver = tf1.train.import_meta_graph(str(path), clear_devices=True)
            saver.restore(session, str(path.with_suffix("")))
        else:
            definition = tf1.GraphDef()
            definition.ParseFromString(path.read_bytes())
            for node in definition.node:
                node.device = ""
            tf.graph_util.import_graph_def(definition, name="")
        return find_ends(graph)


def replace_examples(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return what a parser returns in the place of serialized examples."""
    replaced = {}
    for key, tensor in inputs.items():
        parsers = [consumer for consumer in tensor.consumers() if consumer.type.startswith("ParseExample")]
        replaced |= {output.name: output for parser in parsers for output in parser.outputs} or {key: tensor}
    return replaced


def find_ends(graph: Any) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Return the last numeric tensors that depend on a placeholder, each with the placeholders that it needs."""
    found = []
    for operation in graph.get_operations():
        outputs = [tensor for tensor in operation.outputs if tensor.dtype.is_numpy_compatible]
        if not outputs or any(tensor.consumers() for tensor in operation.outputs):
            continue
        if any(part in operation.name.lower() for part in SKIPPED) or outputs[0].dtype.base_dtype == tf.string:
            continue
        if operation.type.startswith(UPDATES) or "switch_" in operation.name or "/while/" in operation.name:
            continue
        placeholders = needed_placeholders(operation)
        if placeholders:
            found.append((operation.name, placeholders, {operation.name: outputs[0]}))
    return found[-MOST_ENDS:]


def needed_placeholders(operation: Any) -> dict[str, Any]:
    """Return the placeholders that an operation depends on, by name."""
    pending, seen, found = [operation], set(), {}
    while pending:
        current = pending.pop()
        if current.name in seen:
            continue
        seen.add(current.name)
        if current.type == "Placeholder":
            found[current.name] = current.outputs[0]
        pending += [tensor.op for tensor in current.inputs]
    return found


def run(session: Any, inputs: Any, outputs: Any, arrays: dict[str, np.ndarray], number: int) -> Any:
    """Run one case with made-up inputs, twice, so that random results are known."""
    case = {"inputs": {}, "outputs": {}, "error": "", "random": False}
    feeds = {}
    generator = np.random.default_rng(0)
    for place, (key, tensor) in enumerate(inputs.items()):
        value = make_up(generator, tensor)
        feeds[tensor] = value
        case["inputs"][key] = {"tensor": tensor.name, "array": f"{number}-in-{place}", "string": value.dtype == object}
        arrays[f"{number}-in-{place}"] = value.astype("S") if value.dtype == object else value
    try:
        first, second = (session.run(list(outputs.values()), feeds) for _ in range(2))
    except Exception as problem:
        return case | {"error": f"{type(problem).__name__}: {problem}"[:300]}
    for place, (key, tensor) in enumerate(outputs.items()):
        value, again = np.asarray(first[place]), np.asarray(second[place])
        is_string = value.dtype == object
        case["random"] |= value.shape != again.shape or not np.array_equal(value, again, equal_nan=not is_string)
        case["outputs"][key] = {"tensor": tensor.name, "array": f"{number}-out-{place}", "string": is_string}
        arrays[f"{number}-out-{place}"] = value.astype("S") if is_string else value
    return case


def make_up(generator: Any, tensor: Any) -> np.ndarray:
    """Return a value for a placeholder: small numbers, and False."""
    dims = tensor.shape.dims
    unknown = [None] if tensor.dtype == tf.string else []
    sizes = unknown if dims is None else [dim.value for dim in dims]
    shape = [size if size is not None else BATCH if at == 0 else OPEN for at, size in enumerate(sizes)]
    kind = tensor.dtype.base_dtype
    if kind == tf.string:
        value = np.empty(shape, object)
        value[...] = b"a"
        return value
    if kind == tf.bool:
        return np.zeros(shape, bool)
    if kind.is_integer:
        return generator.integers(0, 2, shape).astype(kind.as_numpy_dtype)
    if not shape:
        return np.asarray(1, kind.as_numpy_dtype)  # a probability to keep, or a factor
    return generator.uniform(0, 1, shape).astype(kind.as_numpy_dtype)


if __name__ == "__main__":
    main()
