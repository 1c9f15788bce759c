"""Graphs in every form and place: text, TensorFlow.js, TF-Hub, archives and addresses."""

from __future__ import annotations

import copy
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter.engine import graph_module, load_graph
from converter.engine.values import Array
from converter.errors import GraphError
from tfckpt.errors import CheckpointNotFoundError, CorruptionError, LimitExceededError
from tfckpt.limits import Limits

from .graphs import constant, graph, node, placeholder, write_frozen
from .test_fixtures import DATA, load_arrays

TEXT = """
# A comment with "quotes and DT_FLOAT
node {
  name: "x" op: "Placeholder" device: "/cpu:0"
  attr { key: "dtype" value { type: DT_FLOAT } }
  attr { key: "shape" value { shape { dim { size: -1 } } } }
  experimental_debug_info { original_node_names: "DT_HALF" }
}
node { name: "DT_FLOAT" op: "Neg" input: "x" attr { key: "T" value { type: DT_FLOAT_REF } } }
versions { producer: 440 }
"""
ONES = np.ones(2, np.float32)


def test_graph_in_text_form_runs(tmp_path: Path) -> None:
    """Names of data types are numbers only outside of strings, and unknown fields are skipped."""
    (tmp_path / "graph.pbtxt").write_text(TEXT)

    loaded = load_graph(tmp_path / "graph.pbtxt")

    assert loaded.run("DT_FLOAT", {"x": ONES}).tolist() == [-1, -1]
    assert loaded.graph["DT_FLOAT"].attributes["T"] == "unknown_101"


@pytest.mark.parametrize("content", [b"", b"graph: 1", b"\xff\xfe", b"node { op: }", b"<html>"])
def test_text_that_is_no_graph_is_corrupt(tmp_path: Path, content: bytes) -> None:
    """The error names the file."""
    (tmp_path / "graph.pbtxt").write_bytes(content)

    with pytest.raises(CorruptionError, match=r"graph\.pbtxt"):
        load_graph(tmp_path / "graph.pbtxt")


def attribute(kind: str, value: Any) -> dict[str, Any]:
    """Return an attribute in the JSON form."""
    return {kind: value}


def constant_node(name: str, dtype: str = "DT_FLOAT") -> dict[str, Any]:
    """Return a constant whose value is in the shards."""
    return {"name": name, "op": "Const", "attr": {"dtype": {"type": dtype}, "value": {"tensor": {"dtype": dtype}}}}


def weight(name: str, kind: str, *shape: int, **quantization: Any) -> dict[str, Any]:
    """Return an entry of the manifest."""
    entry: dict[str, Any] = {"name": name, "shape": list(shape), "dtype": kind}
    return {**entry, "quantization": quantization} if quantization else entry


WEIGHTS: dict[str, tuple[dict[str, Any], bytes, Array]] = {
    "plain": (weight("plain", "float32", 2), np.array([1, 2], "<f4").tobytes(), np.array([1, 2], np.float32)),
    "small": (weight("small", "float32", 2, dtype="float16"), np.array([3, 4], "<f2").tobytes(), np.float32([3, 4])),
    "byte": (
        weight("byte", "float32", 2, dtype="uint8", scale=0.5, min=-1.0),
        bytes([0, 255]),
        np.float32([-1, 126.5]),
    ),
    "word": (
        weight("word", "int32", 2, dtype="uint16", scale=0.5, min=-3),
        np.array([1, 8], "<u2").tobytes(),
        np.int32([-2, 1]),
    ),
    "flag": (weight("flag", "bool", 1), b"\x01", np.array([True])),
    "text": (weight("text", "string", 2), b"\x01\0\0\0a\0\0\0\0", np.array([b"a", b""], object)),
}


def make_model() -> dict[str, Any]:
    """Return a model that adds all floating-point weights to its input."""
    types = {"word": "DT_INT32", "flag": "DT_BOOL", "text": "DT_STRING"}
    shape = {"dim": [{"size": "-1"}]}
    nodes = [
        {"name": "x", "op": "Placeholder", "attr": {"dtype": {"type": "DT_FLOAT"}, "shape": {"shape": shape}}},
        *(constant_node(name, types.get(name, "DT_FLOAT")) for name in WEIGHTS),
        {"name": "sum", "op": "AddN", "input": ["x", "plain", "small", "byte"], "attr": {"N": {"i": "4"}}},
    ]
    info = {"name": "x:0", "dtype": "DT_FLOAT", "tensorShape": shape}
    signature = {"inputs": {"image": info}, "outputs": {"total": {**info, "name": "sum:0"}}}
    weights = [entry for entry, _, _ in WEIGHTS.values()]
    return {
        "format": "graph-model",
        "modelTopology": {"node": nodes, "versions": {"producer": 1}},
        "signature": signature,
        "weightsManifest": [{"paths": ["group1-shard1of2.bin", "group1-shard2of2.bin"], "weights": weights}],
    }


def write_model(folder: Path, model: Any) -> Path:
    """Write a model with its shards, and return the path of its JSON file."""
    folder.mkdir(exist_ok=True)
    data = b"".join(content for _, content, _ in WEIGHTS.values())
    (folder / "group1-shard1of2.bin").write_bytes(data[:7])
    (folder / "group1-shard2of2.bin").write_bytes(data[7:])
    path = folder / "model.json"
    path.write_text(json.dumps(model))
    return path


def test_model_of_tensorflow_js_has_its_weights_and_its_signature(tmp_path: Path) -> None:
    """Quantized ones in the dtype of the model; a weight may cross the border of two shards."""
    path = write_model(tmp_path, make_model())

    with load_graph(tmp_path) as by_folder, load_graph(path) as loaded:
        assert by_folder.path == loaded.path
        for name, (_, _, expected) in WEIGHTS.items():
            value = loaded.graph[name].attributes["value"]
            assert isinstance(value, np.ndarray) and value.dtype == expected.dtype, name
            np.testing.assert_array_equal(value, expected)
        module = graph_module(loaded)
    assert module(image=ONES)["total"].tolist() == [4, 133.5]
    assert {name for name, _ in module.named_parameters()} == {"plain", "small", "byte"}


def test_model_without_a_signature_has_its_placeholders_and_ends(tmp_path: Path) -> None:
    """As TensorFlow.js itself takes them."""
    model = make_model()
    del model["signature"]

    module = graph_module(write_model(tmp_path, model))

    assert [port.key for port in module.inputs] == ["x"]
    assert [port.key for port in module.outputs] == ["sum"]


def test_model_of_the_first_converters_is_read(tmp_path: Path) -> None:
    """The graph is binary, and the manifest is a file of its own."""
    write_frozen(
        tmp_path / "tensorflowjs_model.pb", placeholder("x", -1), constant("plain", 0.0), node("y", "Add", "x", "plain")
    )
    model = make_model()
    write_model(tmp_path, model)
    (tmp_path / "model.json").unlink()
    (tmp_path / "weights_manifest.json").write_text(json.dumps(model["weightsManifest"]))

    assert load_graph(tmp_path / "tensorflowjs_model.pb").run("y", {"x": ONES}).tolist() == [2, 3]


def _change(path: tuple[Any, ...], value: Any) -> Callable[[dict[str, Any]], None]:
    def change(model: dict[str, Any]) -> None:
        inner: Any = model
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value

    return change


GROUP = ("weightsManifest", 0)
DAMAGED = {
    "a shard too many": _change((*GROUP, "paths"), ["group1-shard1of2.bin", *["group1-shard2of2.bin"] * 2]),
    "a shard too few": _change((*GROUP, "paths"), ["group1-shard1of2.bin"]),
    "a huge weight": _change((*GROUP, "weights", 0, "shape"), [1 << 40, 1 << 40]),
    "a negative size": _change((*GROUP, "weights", 0, "shape"), [-2]),
    "an unknown dtype": _change((*GROUP, "weights", 0, "dtype"), "O"),
    "an unknown quantization": _change((*GROUP, "weights", 1, "quantization", "dtype"), "float8"),
    "a scale that is no number": _change((*GROUP, "weights", 2, "quantization", "scale"), "2"),
    "many strings": _change((*GROUP, "weights", 5, "shape"), [4000000]),
    "a weight without a name": _change((*GROUP, "weights", 0), {}),
    "a group of another kind": _change(GROUP, 3),
    "a path above": _change((*GROUP, "paths"), ["../secret.bin"]),
    "an absolute path": _change((*GROUP, "paths"), ["/etc/passwd"]),
    "an unknown data type": _change(("modelTopology", "node", 0, "attr", "dtype", "type"), "DT_NOTHING"),
    "an attribute of another kind": _change(("modelTopology", "node", 0, "attr"), [1]),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_model_is_corrupt(tmp_path: Path, damage: str) -> None:
    """Wrong shards, claims and names are one error of the family, and nothing outside the folder is read."""
    model = copy.deepcopy(make_model())
    (tmp_path / "secret.bin").write_bytes(b"secret")
    load_graph(write_model(tmp_path / "model", model))
    DAMAGED[damage](model)

    with pytest.raises(CorruptionError, match=r"model\.json"):
        load_graph(write_model(tmp_path / "model", model))


def test_missing_shard_is_named(tmp_path: Path) -> None:
    """The error is that of a file that does not exist."""
    path = write_model(tmp_path, make_model())
    (tmp_path / "group1-shard2of2.bin").unlink()

    with pytest.raises(CheckpointNotFoundError, match="shard2of2"):
        load_graph(path)


def test_shards_over_the_limit_are_refused(tmp_path: Path) -> None:
    """All of them together count."""
    path = write_model(tmp_path, make_model())
    size = path.stat().st_size

    load_graph(path, file_limits=Limits(max_graph_bytes=size))
    (tmp_path / "group1-shard2of2.bin").write_bytes(bytes(size))
    with pytest.raises(LimitExceededError):
        load_graph(path, file_limits=Limits(max_graph_bytes=size))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"format": "layers-model", "modelTopology": {}}', GraphError),
        ('{"modelTopology": {"model_config": {}}}', GraphError),
        ("{}", GraphError),
        ("[1]", GraphError),
        ("{", CorruptionError),
        ("[" * 100000, CorruptionError),
        (
            '{"modelTopology": {"node": [{"attr": {"a": '
            + '{"func": {"attr": {"a": ' * 300
            + "{}"
            + "}}}" * 300
            + "}}]}}",
            CorruptionError,
        ),
    ],
    ids=["layers", "layers of the first converters", "nothing", "a list", "damaged", "nested", "nested attributes"],
)
def test_json_that_is_no_graph_model_is_refused(tmp_path: Path, text: str, error: type[Exception]) -> None:
    """A model of layers is none, and neither is anything else in JSON."""
    (tmp_path / "model.json").write_text(text)

    with pytest.raises(error, match=r"model\.json"):
        load_graph(tmp_path / "model.json")


@pytest.mark.parametrize("inside", ["", "!deep/saved/saved_model.pb", "!deep/saved"])
def test_saved_model_in_an_archive_runs_with_its_variables(tmp_path: Path, inside: str) -> None:
    """The whole archive, the file and the folder are the same graph."""
    archive = tmp_path / "model.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in (DATA / "savedmodel").rglob("*"):
            if path.is_file() and path.suffix != ".npz":
                file.write(path, f"deep/saved/{path.relative_to(DATA / 'savedmodel')}")
        file.writestr("deep/notes.txt", "")
    golden = load_arrays("savedmodel/golden.npz")

    with load_graph(f"{archive}{inside}") as loaded:
        signature = loaded.signature()
        logits = loaded.run(signature.outputs["logits"].name, {signature.inputs["image"].name: golden["input"]})

    assert np.abs(logits - golden["logits"]).max() < 1e-4


def test_models_in_archives_and_at_addresses_run(tmp_path: Path) -> None:
    """A model of TensorFlow.js with its shards, and a frozen graph."""
    fsspec = pytest.importorskip("fsspec", reason="addresses are opened by fsspec")
    write_model(tmp_path / "js", make_model())
    frozen = write_frozen(tmp_path / "frozen.pb", placeholder("x", -1), node("y", "Neg", "x"))
    shutil.make_archive(str(tmp_path / "js"), "gztar", tmp_path / "js")
    memory = fsspec.filesystem("memory")
    for path in (tmp_path / "js").iterdir():
        memory.pipe(f"/graphs/{path.name}", path.read_bytes())
    memory.pipe("/graphs/frozen.pb", frozen.read_bytes())
    memory.pipe("/graphs/js.tar.gz", (tmp_path / "js.tar.gz").read_bytes())
    try:
        for place in (tmp_path / "js.tar.gz", "memory://graphs/model.json", "memory://graphs/js.tar.gz"):
            assert graph_module(place)(ONES)["total"].tolist() == [4, 133.5], place
        assert load_graph("memory://graphs/frozen.pb").run("y", {"x": ONES}).tolist() == [-1, -1]
    finally:
        memory.rm("/graphs", recursive=True)


def test_archive_with_several_graphs_asks_for_the_path_of_one(tmp_path: Path) -> None:
    """Nothing is guessed; the path inside the archive decides."""
    frozen = write_frozen(tmp_path / "frozen.pb", placeholder("x", -1), node("y", "Neg", "x"))
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.write(frozen, "a/first.pb")
        archive.write(frozen, "b/second.pb")

    with pytest.raises(GraphError, match=r"first\.pb"):
        load_graph(tmp_path / "two.zip")
    assert "y" in load_graph(f"{tmp_path / 'two.zip'}!b/second.pb").graph


def test_operations_of_tensorflow_js_compute_what_they_are_made_of() -> None:
    """TensorFlow has no Prelu and no fused depthwise convolution; the engine has their parts from recorded cases."""
    strings = " ".join(f's: "{name}"' for name in ("BiasAdd", "Prelu"))
    window = (
        'attr { key: "strides" value { list { i: 1 i: 1 i: 1 i: 1 } } } attr { key: "padding" value { s: "SAME" } }'
    )
    fused = f'{window} attr {{ key: "fused_ops" value {{ list {{ {strings} }} }} }}'
    parts = (
        placeholder("x", -1, -1, -1, 2),
        *(placeholder(name, *sizes) for name, sizes in (("k", (3, 3, 2, 2)), ("b", (4,)), ("a", (4,)))),
        node("y", "FusedDepthwiseConv2dNative", "x", "k", "b", "a", attributes=fused),
        node("convolved", "DepthwiseConv2dNative", "x", "k", attributes=window),
        node("sum", "BiasAdd", "convolved", "b"),
        node("z", "Prelu", "sum", "a"),
        node("positive", "Relu", "sum"),
        node("minus", "Sub", "sum", "positive"),
        node("scaled", "Mul", "minus", "a"),
        node("expected", "AddV2", "positive", "scaled"),
    )
    generator = np.random.default_rng(0)
    shapes = {"x": (1, 4, 5, 2), "k": (3, 3, 2, 2), "b": (4,), "a": (4,)}
    feeds = {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}

    y, z, expected = graph(*parts).run(["y", "z", "expected"], feeds)

    np.testing.assert_allclose(y, expected, atol=1e-6)
    np.testing.assert_allclose(z, expected, atol=1e-6)


def test_unknown_fused_operation_is_refused() -> None:
    """It is named, and nothing is guessed."""
    fused = 'attr { key: "fused_ops" value { list { s: "Strange" } } }'
    loaded = graph(placeholder("x", 1, 1), node("y", "_FusedMatMul", "x", "x", attributes=fused))

    with pytest.raises(GraphError, match="Strange"):
        loaded.run("y", {"x": np.ones((1, 1), np.float32)})
