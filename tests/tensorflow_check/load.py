"""Load the checkpoints of `write.py` with TensorFlow, and compare every value.

    TENSORFLOW_PYTHON tests/tensorflow_check/load.py FOLDER [RECORDED]

If everything is correct, the checksums of the files and a list of the checks are written to RECORDED.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(CUDA_VISIBLE_DEVICES="", TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="0", TF_USE_LEGACY_KERAS="1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "data"))

import json  # after the environment and the path are set
import shutil

import numpy as np
import tensorflow as tf
import tf_keras
from regenerate.objects import GRAPH_KEY, network, train
from regenerate.recording import digest, restore

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
DATA = Path(__file__).resolve().parents[1] / "data"
DIGITS = DATA / "digits" / "efficientnetv2-digits"


def main(folder: Path, recorded: Path | None) -> int:
    """Check all cases and return the exit code."""
    manifest = json.loads((folder / "manifest.json").read_text())
    results = {}
    failures = []
    for case in manifest["cases"]:
        try:
            checks = check(folder, case)
            results[case["prefix"]] = {"what": case["what"], "files": case["files"], "checks": checks}
            print(f"{case['prefix']:16} correct: {', '.join(checks)}", flush=True)
        except Exception as error:  # TensorFlow may raise anything
            failures.append(case["prefix"])
            print(f"{case['prefix']:16} WRONG: {type(error).__name__}: {str(error)[:600]}", flush=True)
    try:
        check_state(folder)
    except AssertionError as error:
        failures.append("state file")
        print(f"state file WRONG: {error}")
    print(f"{len(results)} of {len(manifest['cases'])} checkpoints correct, TensorFlow {tf.__version__}")
    if recorded is not None and not failures:
        record = {"tensorflow": tf.__version__, "cases": results}
        recorded.write_text(json.dumps(record, indent=1) + "\n")
        shutil.copy(folder / "reverted.tensorflow.npz", DATA / "reverted" / "logits.npz")
    return 1 if failures else 0


def check(folder: Path, case: dict[str, Any]) -> list[str]:
    """Check the listing, every tensor and the objects of a checkpoint, and return descriptions of the checks."""
    prefix = str(folder / case["prefix"])
    listed = dict(tf.train.list_variables(prefix))
    expected = {entry["name"]: entry["shape"] for entry in case["tensors"]}
    if listed != expected:
        raise AssertionError(f"{len(listed)} tensors are listed, expected {len(expected)}, or shapes differ")
    restored = [entry for entry in case["tensors"] if entry["name"] not in case["skipped"]]
    for entry in restored:
        array = restore(prefix, entry["name"], entry["dtype"])
        if digest(array) != entry["sha256"] or list(array.shape) != entry["shape"]:
            raise AssertionError(f"{entry['name']}: values differ")
    checks = [f"{len(listed)} tensors listed", f"{len(restored)} restored"]
    if case["objects"] is not None:
        values = {entry["name"]: restore(prefix, entry["name"], entry["dtype"]) for entry in restored}
        checks.append(OBJECTS[case["objects"]](prefix, values))
    return checks


def restore_network(prefix: str, values: dict[str, Any]) -> str:
    """Restore modules, a list and a step with `tf.train.Checkpoint.restore`."""
    model, step = network(), tf.Variable(0, dtype=tf.int64)
    tf.train.Checkpoint(net=model, step=step).restore(prefix).assert_consumed()
    compare_network(model, prefix)
    check_equal(step, values["step" + VALUE])
    return "restore(...).assert_consumed() of modules"


def restore_renamed_optimizer(prefix: str, values: dict[str, Any]) -> str:
    """Restore the network under a new name."""
    return restore_legacy_optimizer(prefix, values, name="model")


def restore_layer(prefix: str, values: dict[str, Any]) -> str:
    """Restore a layer of the network as an object of its own."""
    layer = network().layers[1]
    tf.train.Checkpoint(net=layer).restore(prefix).assert_consumed()
    check_equal(layer.kernel, values["net/kernel" + VALUE])
    check_equal(layer.bias, values["net/bias" + VALUE])
    return "restore(...).assert_consumed() of a layer"


def restore_legacy_optimizer(prefix: str, values: dict[str, Any], name: str = "net") -> str:
    """Restore the slot variables of a legacy Keras optimizer, created before or after the call."""
    for has_slots in (True, False):
        model, optimizer = network(), tf_keras.optimizers.legacy.Adam(0.125)
        step = tf.Variable(0, dtype=tf.int64)
        if has_slots:
            train(model, optimizer, 1)
        status = tf.train.Checkpoint(**{name: model}, optimizer=optimizer, step=step).restore(prefix)
        if not has_slots:
            optimizer._create_all_weights(
                [variable for layer in model.layers for variable in (layer.kernel, layer.bias)]
            )
        status.assert_consumed()
        compare_network(model, prefix, name)
        for number, layer in enumerate(model.layers):
            for slot in ("m", "v"):
                key = f"{name}/layers/{number}/bias/.OPTIMIZER_SLOT/optimizer/{slot}{VALUE}"
                check_equal(optimizer.get_slot(layer.bias, slot), values[key])
        check_equal(optimizer.iterations, values["optimizer/iter" + VALUE])
    return "restore(...).assert_consumed() with slot variables"


def compare_network(model: tf.Module, prefix: str, root: str = "net") -> None:
    """Compare the variables of the small network with the values of their keys in the object graph."""
    graph = tf.train.load_checkpoint(prefix).get_tensor(GRAPH_KEY)
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    nodes = trackable_object_graph_pb2.TrackableObjectGraph.FromString(graph).nodes
    for number, layer in enumerate(model.layers):
        for name in ("kernel", "bias"):
            node = nodes[0]
            for part in (root, "layers", str(number), name):
                node = nodes[next(child.node_id for child in node.children if child.local_name == part)]
            check_equal(getattr(layer, name), restore(prefix, node.attributes[0].checkpoint_key, "float32"))


def restore_keras(prefix: str, values: dict[str, Any]) -> str:
    """Restore a Keras model by the names of its layers with weights."""
    model = tf_keras.Sequential([tf_keras.layers.Dense(4, input_shape=(3,)), tf_keras.layers.Dense(2)])
    tf.train.Checkpoint(model=model).restore(prefix).assert_consumed()
    for number, layer in enumerate(model.layers):
        check_equal(layer.kernel, values[f"model/layer_with_weights-{number}/kernel{VALUE}"])
        check_equal(layer.bias, values[f"model/layer_with_weights-{number}/bias{VALUE}"])
    return "restore(...).assert_consumed() of a Keras model"


def restore_escaped(prefix: str, values: dict[str, Any]) -> str:
    """Restore objects whose names have dots and slashes."""
    root = tf.train.Checkpoint()
    names = ["a.b", "a/b", "größe", ".", "/"]
    for name in names:
        setattr(root, name, tf.train.Checkpoint(**{name: tf.Variable(-1)}))
    root.restore(prefix).assert_consumed()
    for number, name in enumerate(names):
        check_equal(getattr(getattr(root, name), name), np.int32(number))
    return "restore(...).assert_consumed() of escaped names"


def restore_saver(prefix: str, values: dict[str, Any]) -> str:
    """Restore by name with the TF1 Saver in a separate graph."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = {
            name: tf.compat.v1.Variable(tf.zeros(value.shape, value.dtype), name=name.replace(":", "_"))
            for name, value in values.items()
        }
        tf.compat.v1.train.Saver(variables).restore(session, prefix)
        for name, variable in variables.items():
            if not np.array_equal(session.run(variable), values[name]):
                raise AssertionError(name)
    return f"Saver.restore of {len(variables)} variables"


def restore_variants(prefix: str, values: dict[str, Any]) -> str:
    """Restore the tensor list of the case `variant` and compare its length with the original."""
    (handle,) = tf.raw_ops.RestoreV2(
        prefix=prefix, tensor_names=["variant/list"], shape_and_slices=[""], dtypes=[tf.variant]
    )
    original = Path(__file__).resolve().parents[1] / "data" / "tensorflow" / "variant" / "ckpt"
    (expected,) = tf.raw_ops.RestoreV2(
        prefix=str(original), tensor_names=["variant/list"], shape_and_slices=[""], dtypes=[tf.variant]
    )
    lengths = [int(tf.raw_ops.TensorListLength(input_handle=item)) for item in (handle, expected)]
    if lengths[0] != lengths[1] or not lengths[0]:
        raise AssertionError(f"the tensor lists have {lengths} elements")
    return f"tensor list of {lengths[0]} elements"


def restore_digits_graph(prefix: str, values: dict[str, Any]) -> str:
    """Restore the original graph of the digits network with its saver; its logits are those of our PyTorch module."""
    with np.load(f"{prefix}.logits.npz") as ours:
        images, expected = ours["input"], ours["logits"]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        saver = tf.compat.v1.train.import_meta_graph(str(next(DIGITS.glob("*.meta"))))
        saver.restore(session, str(DIGITS / "model.ckpt-322"))
        before = session.run("efficientnetv2-digits/head_1/dense/BiasAdd:0", {"input:0": images})
        saver.restore(session, prefix)
        logits = session.run("efficientnetv2-digits/head_1/dense/BiasAdd:0", {"input:0": images})
        step = session.run("global_step/Read/ReadVariableOp:0")
    check_equal(step, values["global_step"])
    distance = np.abs(logits - expected).max() / np.abs(logits).max()
    if distance > 1e-5 or np.abs(logits - before).max() < 1:
        raise AssertionError(f"logits differ from PyTorch's by {distance:.2g}, relative to the largest")
    np.savez(f"{prefix}.tensorflow.npz", logits=logits)
    return f"{len(logits)} images through import_meta_graph, logits within 1e-5 of PyTorch's"


def restore_any_objects(prefix: str, values: dict[str, Any]) -> str:
    """Create objects from the graph in the checkpoint, and restore them."""
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    graph = tf.train.load_checkpoint(prefix).get_tensor(GRAPH_KEY)
    nodes = trackable_object_graph_pb2.TrackableObjectGraph.FromString(graph).nodes
    objects: list[Any] = []
    for node in nodes:
        keys = [attribute.checkpoint_key for attribute in node.attributes if attribute.name == "VARIABLE_VALUE"]
        objects.append(tf.Variable(tf.zeros_like(values[keys[0]])) if keys else tf.train.Checkpoint())
    for node, item in zip(nodes, objects, strict=True):
        for child in node.children if isinstance(item, tf.train.Checkpoint) else ():
            item._track_trackable(objects[child.node_id], child.local_name)
    objects[0].read(prefix).assert_consumed()
    count = 0
    for node, item in zip(nodes, objects, strict=True):
        for attribute in node.attributes:
            if isinstance(item, tf.Variable):
                check_equal(item, values[attribute.checkpoint_key])
                count += 1
    return f"read(...).assert_consumed() of {count} variables"


OBJECTS: dict[str, Callable[[str, dict[str, Any]], str]] = {
    "network": restore_network,
    "layer": restore_layer,
    "legacy_optimizer": restore_legacy_optimizer,
    "keras": restore_keras,
    "renamed_optimizer": restore_renamed_optimizer,
    "escaped": restore_escaped,
    "saver": restore_saver,
    "variants": restore_variants,
    "digits_graph": restore_digits_graph,
    "any_objects": restore_any_objects,
}


def check_state(folder: Path) -> None:
    """Check the state file, which names two checkpoints."""
    state = tf.train.get_checkpoint_state(str(folder))
    names = [Path(path).name for path in state.all_model_checkpoint_paths]
    latest = tf.train.latest_checkpoint(str(folder))
    if latest != str(folder / "model-2") or names != ["model-1", "model-2"]:
        raise AssertionError(f"the latest checkpoint is {latest}, all are {names}")


def check_equal(actual: Any, expected: Any) -> None:
    """Compare bit for bit, because values may be NaN."""
    if np.asarray(actual).tobytes() != np.asarray(expected).tobytes():
        raise AssertionError("values of the restored object differ")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None))
