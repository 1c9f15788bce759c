"""Write the networks of tests/data/keras and tests/data/bert with real TensorFlow and tf_keras, values and outputs.

Run from the root of the repository, in the environment that regenerate.py describes::

    TF_USE_LEGACY_KERAS=1 .tensorflow/bin/python tests/data/regenerate/keras_networks.py [NAME ...]

README.md in tests/data/keras tells what every case is.
Networks are those of tf_keras.applications, narrow and shallow; their values are random, and their outputs were
computed by TensorFlow, in float32 and once more in float64.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow.core.protobuf import trackable_object_graph_pb2
from tf_keras.src.applications import efficientnet, efficientnet_v2

TARGET = Path(__file__).resolve().parent.parent / "keras"
GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
V2_NAMES = ("B0", "B1", "B2", "B3", "S", "M", "L")
V1_NAMES = ("B0", "B1", "B2", "B3", "B4", "B5", "B6", "B7")


def v2(*, classes: int = 5, top: bool = True, name: str = "efficientnetv2-b0") -> Any:
    """EfficientNetV2-B0 at an eighth of its width, with one block a stage."""
    return efficientnet_v2.EfficientNetV2(
        width_coefficient=0.125,
        depth_coefficient=0.1,
        default_size=48,
        model_name=name,
        include_top=top,
        weights=None,
        input_shape=(45, 45, 3),
        classes=classes,
        classifier_activation=None,
        include_preprocessing=False,
    )


def v1() -> Any:
    """EfficientNet-B0 at an eighth of its width, with one block a stage; its preprocessing is part of it."""
    return efficientnet.EfficientNet(
        width_coefficient=0.125,
        depth_coefficient=0.1,
        default_size=48,
        weights=None,
        input_shape=(45, 45, 3),
        classes=5,
        classifier_activation=None,
    )


def nested(optimizer: Any | None = None) -> Any:
    """A classifier of 151 classes around a nested backbone."""
    image = tf_keras.Input((45, 45, 3))
    features = v2(top=False)(image)
    pooled = tf_keras.layers.GlobalAveragePooling2D()(features)
    dropped = tf_keras.layers.Dropout(0.3)(pooled)
    model = tf_keras.Model(image, tf_keras.layers.Dense(151, name="breeds")(dropped))
    if optimizer is not None:
        model.compile(optimizer, tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def fill(model: Any, seed: int) -> None:
    """Random values of a size that keeps activations near one."""
    generator = np.random.default_rng(seed)
    values = []
    for variable in model.weights:
        last, shape = variable.name.split("/")[-1].split(":")[0], tuple(variable.shape)
        if last in ("gamma", "moving_variance"):
            value = generator.uniform(0.5, 1.5, shape)
        elif last == "mean":
            value = np.array([0.485, 0.456, 0.406])
        elif last == "variance":
            value = np.array([0.229, 0.224, 0.225])
        elif last == "count":
            value = np.zeros(shape)
        elif last in ("kernel", "depthwise_kernel"):
            fan_in = shape[0] * shape[1] if last == "depthwise_kernel" else np.prod(shape[:-1])
            value = generator.normal(0, np.sqrt(2 / fan_in), shape)
        else:
            value = generator.normal(0, 0.1, shape)
        values.append(value.astype(np.float32))
    model.set_weights(values)


def golden(build: Callable[[], Any], model: Any, path: Path, *, pixels: bool = False) -> None:
    """An input and what TensorFlow gives for it, also by the same network built in float64."""
    generator = np.random.default_rng(11)
    shape = (2, 45, 45, 3)
    images = generator.integers(0, 256, shape) if pixels else generator.normal(0, 1, shape)
    images = images.astype(np.float32)
    logits = model(images, training=False).numpy()
    tf_keras.backend.set_floatx("float64")
    tf_keras.backend.clear_session()
    exact = build()
    exact.set_weights([value.astype(np.float64) for value in model.get_weights()])
    logits64 = exact(images.astype(np.float64), training=False).numpy()
    tf_keras.backend.set_floatx("float32")
    assert logits64.dtype == np.float64
    np.savez_compressed(path, input=images, logits=logits, logits64=logits64)


def make_applications(folder: Path, build: Callable[[], Any], *, pixels: bool) -> None:
    """One network in three forms, and its outputs."""
    model = build()
    fill(model, 1)
    model.save_weights(str(folder / "save_weights" / "weights"))
    tf.train.Checkpoint(model=model, step=tf.Variable(3, dtype=tf.int64)).save(str(folder / "checkpoint" / "ckpt"))
    signature = tf.function(lambda image: {"logits": model(image, training=False)}).get_concrete_function(
        tf.TensorSpec((None, 45, 45, 3), tf.float32, "image")
    )
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(model, str(folder / "saved_model"), {"serving_default": signature}, options)
    golden(build, model, folder / "golden.npz", pixels=pixels)


def make_v2(folder: Path) -> None:
    """Keras's EfficientNetV2."""
    make_applications(folder, v2, pixels=False)


def make_v1(folder: Path) -> None:
    """Keras's EfficientNet, whose Rescaling and Normalization layers take pixels."""
    make_applications(folder, v1, pixels=True)


def make_nested(folder: Path) -> None:
    """A nested backbone with the slots of a legacy optimizer, saved by `save_weights` after a step of training."""
    model = nested(tf_keras.optimizers.legacy.Adam(1e-3))
    fill(model, 2)
    model.fit(np.ones((2, 45, 45, 3), np.float32), np.array([3, 150]), verbose=0)
    model.save_weights(str(folder / "weights"))
    golden(nested, model, folder / "golden.npz")


def make_nested_newer(folder: Path) -> None:
    """The same with an optimizer of the newer kind, whose slots are variables of its own."""
    model = nested(tf_keras.optimizers.Adam(1e-3))
    fill(model, 2)
    model.fit(np.ones((2, 45, 45, 3), np.float32), np.array([3, 150]), verbose=0)
    model.save_weights(str(folder / "weights"))


def make_names(folder: Path) -> None:
    """Key, full name and shape of every variable of the published sizes."""
    tables = {}
    builders = {f"EfficientNetV2{name}": efficientnet_v2 for name in V2_NAMES}
    builders |= {f"EfficientNet{name}": efficientnet for name in V1_NAMES}
    for name, module in builders.items():
        tf_keras.backend.clear_session()
        model = getattr(module, name)(weights=None)
        with tempfile.TemporaryDirectory() as temporary:
            prefix = f"{temporary}/w"
            model.save_weights(prefix)
            tables[name] = {"parameters": model.count_params(), "variables": listed(prefix)}
        print(name, len(tables[name]["variables"]), flush=True)
    data = json.dumps(tables, separators=(",", ":")).encode()
    (folder / "published.json.gz").write_bytes(gzip.compress(data, 9, mtime=0))


def listed(prefix: str) -> list[list[Any]]:
    """Key, full name and shape of every variable of an object-based checkpoint."""
    reader = tf.train.load_checkpoint(prefix)
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(GRAPH_KEY))
    shapes = reader.get_variable_to_shape_map()
    return [
        [attribute.checkpoint_key, attribute.full_name, shapes[attribute.checkpoint_key]]
        for node in graph.nodes
        for attribute in node.attributes
        if attribute.checkpoint_key in shapes
    ]


def v2_of_keras3(**changes: Any) -> Any:
    """The `v2` network with its values in Keras 3, which calls every kernel a kernel."""
    from keras.src.applications import efficientnet_v2 as of_keras3

    model = of_keras3.EfficientNetV2(
        width_coefficient=0.125,
        depth_coefficient=0.1,
        default_size=48,
        name="efficientnetv2-b0",
        weights=None,
        input_shape=(45, 45, 3),
        classes=5,
        classifier_activation=None,
        include_preprocessing=False,
        **changes,
    )
    reference = v2()
    fill(reference, 1)
    values = {variable.name.removesuffix(":0"): variable.numpy() for variable in reference.weights}
    for variable in model.weights:
        variable.assign(values[variable.path.replace("dwconv2/kernel", "dwconv2/depthwise_kernel")])
    return model


def make_keras3(folder: Path) -> None:
    """The network of Keras 3, which exports variables twice."""
    model = v2_of_keras3()
    tf.train.Checkpoint(model=model).write(str(folder / "checkpoint" / "ckpt"))
    model.export(str(folder / "exported"), verbose=False)
    with np.load(folder.parent / "v2" / "golden.npz") as recorded:
        logits = model(recorded["input"], training=False).numpy()
        assert np.abs(logits - recorded["logits"]).max() < 1e-5


def make_keras3_relu(folder: Path) -> None:
    """The network of Keras 3 with relu, which is an operation of its own there, and its logits in float64."""
    import keras

    model = v2_of_keras3(activation="relu")
    values = [np.round(variable.numpy() * 64) / 64 for variable in model.weights]  # few bits, for a small archive
    values = [
        np.maximum(value, 1 / 64) if "variance" in v.path else value
        for value, v in zip(values, model.weights, strict=True)
    ]
    for variable, value in zip(model.weights, values, strict=True):
        variable.assign(value)
    with tempfile.TemporaryDirectory() as temporary:
        model.export(f"{temporary}/exported", verbose=False)
        pack(Path(temporary), folder / "exported.tgz")
    keras.config.set_dtype_policy("float64")
    exact = v2_of_keras3(activation="relu")
    keras.config.set_dtype_policy("float32")
    for variable, value in zip(exact.weights, values, strict=True):
        variable.assign(value.astype(np.float64))
    images = (np.random.default_rng(5).integers(-128, 129, (1, 45, 45, 3)) / 64).astype(np.float32)
    logits = np.asarray(exact(images.astype(np.float64), training=False))
    narrow = np.asarray(model(images, training=False))
    np.savez_compressed(folder / "golden.npz", input=images, logits=narrow, logits64=logits)


def make_two(folder: Path) -> None:
    """Two networks in one model, whose layers have the same names, and a dense layer for both."""
    images = tf_keras.Input((45, 45, 3))
    parts = [v2(top=False), v2(top=False)]
    for name, value, part in zip(("left", "right"), (1, 2), parts, strict=True):
        part._name = name
        part.set_weights([np.full(variable.shape, value, np.float32) for variable in part.weights])
    pooled = [tf_keras.layers.GlobalAveragePooling2D()(part(images)) for part in parts]
    model = tf_keras.Model(images, tf_keras.layers.Dense(5, name="both")(tf_keras.layers.Concatenate()(pooled)))
    with tempfile.TemporaryDirectory() as temporary:
        model.save_weights(f"{temporary}/weights")
        pack(Path(temporary), folder / "weights.tgz")


def pack(folder: Path, path: Path) -> None:
    """Write the files of a folder to an archive, the same bytes every time."""
    with gzip.GzipFile(path, "wb", 9, mtime=0) as file, tarfile.open(fileobj=file, mode="w") as archive:
        for member in sorted(folder.rglob("*")):
            if member.is_file():
                entry = tarfile.TarInfo(str(member.relative_to(folder)))
                entry.size = member.stat().st_size
                with member.open("rb") as content:
                    archive.addfile(entry, content)


class Averages(tf_keras.optimizers.legacy.Optimizer):
    """The slots of TensorFlow Addons' MovingAverage and of Model Garden's ExponentialMovingAverage."""

    def __init__(self) -> None:
        super().__init__("MovingAverage")

    def _create_slots(self, var_list: list[Any]) -> None:
        for variable in var_list:
            self.add_slot(variable, "average")


def other_values(variables: list[Any]) -> list[np.ndarray[Any, Any]]:
    """Values near those of the variables, and not equal to them."""
    generator = np.random.default_rng(7)
    return [
        (variable.numpy() * generator.uniform(0.75, 1.25, tuple(variable.shape))).astype(np.float32)
        for variable in variables
    ]


def record_averages(model: Any, averages: list[Any], variables: list[Any], path: Path) -> None:
    """Write the logits of the model with its averages, for the input of `v2`."""
    for variable, average in zip(variables, averages, strict=True):
        variable.assign(average)
    with np.load(TARGET / "v2" / "golden.npz") as recorded:
        np.savez_compressed(path, logits=np.asarray(model(recorded["input"], training=False)))


def make_averages_keras3(folder: Path) -> None:
    """A compiled model of Keras 3 with the averages of `use_ema=True`, saved without naming its optimizer."""
    import keras

    model = v2_of_keras3()
    variables = model.trainable_variables
    model.compile(keras.optimizers.SGD(0.1, use_ema=True), "mse")
    model.optimizer.build(variables)
    values = other_values(variables)
    averages = model.optimizer._model_variables_moving_average
    for average, value in zip(averages, values, strict=True):
        average.assign(value)
    tf.train.Checkpoint(model=model).write(str(folder / "ckpt"))
    record_averages(model, averages, variables, folder / "averages.npz")


def make_averages_slots(folder: Path) -> None:
    """Averages of all weights, moving statistics too, in slots named `average`."""
    model, optimizer = v2(), Averages()
    fill(model, 1)
    optimizer._create_slots(model.weights)
    values = other_values(model.weights)
    averages = [optimizer.get_slot(variable, "average") for variable in model.weights]
    for average, value in zip(averages, values, strict=True):
        average.assign(value)
    tf.train.Checkpoint(model=model, optimizer=optimizer).write(str(folder / "ckpt"))
    record_averages(model, averages, model.weights, folder / "averages.npz")


CASES = {
    "v2": make_v2,
    "v1": make_v1,
    "nested": make_nested,
    "nested-newer": make_nested_newer,
    "published": make_names,
    "keras3": make_keras3,
    "keras3-relu": make_keras3_relu,
    "two": make_two,
    "averages-keras3": make_averages_keras3,
    "averages-slots": make_averages_slots,
}


def main() -> None:
    """Make the named cases, or all."""
    for name in sys.argv[1:] or CASES:
        print(name, flush=True)
        tf_keras.backend.clear_session()
        tf_keras.utils.set_random_seed(5)
        folder = TARGET / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        CASES[name](folder)


if __name__ == "__main__":
    main()
