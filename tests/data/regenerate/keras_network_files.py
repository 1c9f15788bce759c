"""Write the networks of tests/data/keras once more, as Keras files of tf_keras and Keras 3.

Run from the root of the repository, after keras_networks.py::

    TF_USE_LEGACY_KERAS=1 PYTHONPATH=tests/data .tensorflow/bin/python tests/data/regenerate/keras_network_files.py

The values are those of the checkpoints, so they are left out: `blank.tar.xz` has the files with zeros in their place,
and `fills.json` says which variable of which checkpoint belongs at which offset, and the SHA-256 of each complete file.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import h5py
import keras
import numpy as np
import tensorflow as tf
import tf_keras

sys.path.insert(0, str(Path(__file__).resolve().parent))

import keras_networks as networks

HERE = Path(__file__).resolve().parent.parent / "keras"
TARGET = HERE / "files"
V2_SIZE = {"width_coefficient": 0.125, "depth_coefficient": 0.1, "default_size": 48, "weights": None}
V2_SIZE |= {"input_shape": (45, 45, 3), "classifier_activation": None}


def values_of(case: str, prefix: str) -> dict[str, np.ndarray[Any, Any]]:
    """The values of a checkpoint by the full names of its variables."""
    path = str(HERE / case / prefix)
    reader = tf.train.load_checkpoint(path)
    return {name: reader.get_tensor(key) for key, name, _ in networks.listed(path) if name and "OPTIMIZER" not in key}


def assign(model: Any, values: dict[str, np.ndarray[Any, Any]]) -> Any:
    """Give a model of Keras 3 or tf_keras these values, by the last two parts of their names."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            assign(layer, values)
            continue
        for variable in layer.weights:
            last = variable.name.removesuffix(":0").rpartition("/")[2]
            names = (f"{layer.name}/{last}", f"{layer.name}/depthwise_{last}")
            found = [values[name] for name in names if name in values]
            if found:
                variable.assign(found[0].reshape(variable.shape))
    return model


def nested_of_keras3() -> Any:
    from keras.src.applications import efficientnet_v2 as of_keras3

    image = keras.Input((45, 45, 3))
    backbone = of_keras3.EfficientNetV2(
        **V2_SIZE, name="efficientnetv2-b0", include_top=False, include_preprocessing=False
    )
    pooled = keras.layers.GlobalAveragePooling2D()(backbone(image))
    dropped = keras.layers.Dropout(0.3)(pooled)
    return keras.Model(image, keras.layers.Dense(151, name="breeds")(dropped))


def v1_of_keras3() -> Any:
    from keras.src.applications import efficientnet as of_keras3

    return of_keras3.EfficientNet(**V2_SIZE, name="efficientnetb0", classes=5)


def build_optimizer(model: Any, optimizer: Any) -> Any:
    """An optimizer whose slots are still zero."""
    model.compile(optimizer, "mse")
    optimizer.build(model.trainable_variables)
    return model


def make_models() -> dict[str, tuple[str, str, Any, tuple[str, ...]]]:
    """Title -> checkpoint's folder and prefix, model, and the endings it is saved with."""
    every = (".weights.h5", ".h5", ".keras")
    v2_place, v1_place, nested_place = (
        ("v2", "save_weights/weights"),
        ("v1", "save_weights/weights"),
        ("nested", "weights"),
    )
    models: dict[str, tuple[str, str, Any, tuple[str, ...]]] = {}
    models["v2-tf_keras"] = (*v2_place, networks.v2(), (*every, "-weights.h5"))
    models["v1-tf_keras"] = (*v1_place, networks.v1(), ("-weights.h5", ".keras"))
    models["nested-tf_keras"] = (
        *nested_place,
        build_optimizer(networks.nested(), tf_keras.optimizers.Adam()),
        every[1:],
    )
    models["v2-keras3"] = (*v2_place, networks.v2_of_keras3(), (*every, ".weights.json"))
    models["v1-keras3"] = (*v1_place, v1_of_keras3(), every[:1])
    models["nested-keras3"] = (*nested_place, build_optimizer(nested_of_keras3(), keras.optimizers.Adam()), every)
    return models


def blank(path: Path, values: dict[str, np.ndarray[Any, Any]]) -> list[list[Any]]:
    """Write zeros over the values of a file that a checkpoint has, and return their offsets and names."""
    data = bytearray(path.read_bytes())
    start = 0
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo("model.weights.h5")
            inner = archive.read(info)
            start = data.index(inner, info.header_offset)
    known = {value.tobytes(): name for name, value in values.items() if value.nbytes >= 16}
    fills: list[list[Any]] = []

    def visit(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and (name := known.get(item[()].tobytes())) is not None:
            fills.append([start + item.id.get_offset(), name])

    with h5py.File(io.BytesIO(bytes(data[start:])) if start else path) as file:
        file.visititems(visit)
    for offset, name in fills:
        size = values[name].nbytes
        assert data[offset : offset + size] == values[name].tobytes()
        data[offset : offset + size] = bytes(size)
    path.write_bytes(data)
    return fills


def main() -> None:
    TARGET.mkdir(exist_ok=True)
    records: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for title, (case, prefix, model, endings) in make_models().items():
            values = values_of(case, prefix)
            assign(model, values)
            before = set(folder.iterdir())
            for ending in endings:
                path = folder / f"{title}{ending}"
                if ending == ".weights.json":
                    model.save_weights(path, max_shard_size=1e-4)
                elif "weights" in ending:
                    model.save_weights(path)
                else:
                    model.save(path)
            for path in sorted(set(folder.iterdir()) - before):
                if path.suffix != ".json":
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    record = {"checkpoint": f"{case}/{prefix}", "sha256": digest, "fills": blank(path, values)}
                    records[path.name] = record
        with tarfile.open(TARGET / "blank.tar.xz", "w:xz", preset=9) as archive:
            for path in sorted(folder.iterdir()):
                member = tarfile.TarInfo(path.name)
                member.size = path.stat().st_size
                with path.open("rb") as file:
                    archive.addfile(member, file)
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(record)}" for name, record in records.items())
    (TARGET / "fills.json").write_text(f"{{\n{rows}\n}}\n")


if __name__ == "__main__":
    main()
