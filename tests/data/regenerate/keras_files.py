"""Write the Keras files of tests/data/keras-files with Keras 3 and tf_keras, and hostile HDF5 files with h5py.

Run from the root of the repository::

    .tensorflow/bin/python tests/data/regenerate/keras_files.py

`expected.json` has what h5py and Keras themselves say: for each file the name, type, shape and SHA-256 of every tensor,
and for those whose layers can be named, the SHA-256 of every variable of the model by `layer/variable`.
Keras writes random object ids and times, so other files of the same content are written every time.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import h5py
import keras
import numpy as np
import tf_keras
from tf_keras.src.saving.legacy import hdf5_format

TARGET = Path(__file__).resolve().parents[1] / "keras-files"
TYPES = {"|V2": "DT_BFLOAT16", "<f2": "DT_HALF", "<f4": "DT_FLOAT", "<i4": "DT_INT32", "<i8": "DT_INT64"}
KINDS = {"keras3": keras, "tf_keras": tf_keras}


def build(k: Any, *, nested: bool = True) -> Any:
    """A network with several layers of one class, two of them without the default name, one nested model, and state."""
    k.utils.set_random_seed(7)
    inputs = k.Input((6, 6, 2))
    x = k.layers.Conv2D(3, 3)(inputs)
    x = k.layers.BatchNormalization()(x)
    x = k.layers.Conv2D(4, 2, name="second.conv")(x)
    x = k.layers.DepthwiseConv2D(2, use_bias=False)(x)
    x = k.layers.Conv2D(4, 1, use_bias=False)(x)
    x = k.layers.GlobalAveragePooling2D()(x)
    x = k.layers.Dropout(0.2)(x)
    if nested:
        first = k.Input((4,))
        inner = k.Model(first, k.layers.Dense(2)(k.layers.Dense(5)(first)), name="inner")
        x = inner(x)
    return k.Model(inputs, k.layers.Dense(2, name="answer")(x))


def train(model: Any) -> Any:
    model.compile("adam", "mse")
    model.fit(np.ones((4, 6, 6, 2), "f4"), np.ones((4, 2), "f4"), verbose=0)
    return model


def in_precision(k: Any, policy: str) -> Any:
    set_policy = k.mixed_precision.set_global_policy if k is tf_keras else k.config.set_dtype_policy
    set_policy(policy)
    try:
        return build(k, nested=False)
    finally:
        set_policy("float32")


def variables_of(model: Any, prefix: str = "") -> dict[str, str]:
    """The digest of every variable of the model, by the names of its layers and its own."""
    found: dict[str, str] = {}
    for layer in model.layers:
        if hasattr(layer, "layers"):
            found |= variables_of(layer, f"{prefix}{layer.name}/")
            continue
        for variable in layer.weights:
            last = variable.name.removesuffix(":0").rpartition("/")[2].replace("depthwise_kernel", "kernel")
            if not last.startswith("seed_generator"):
                found[f"{prefix}{layer.name}/{last}"] = digest(np.asarray(variable))
    return found


def digest(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def repeated() -> Any:
    """Two layers that own one variable, as models of Hugging Face have them, and a variable of the model itself."""

    class Owner(tf_keras.layers.Layer):
        def __init__(self, table: Any, name: str) -> None:
            super().__init__(name=name)
            self.table = table
            self.dense = tf_keras.layers.Dense(2, name="dense")

        def call(self, x: Any) -> Any:
            return self.dense(tf_keras.backend.dot(x, self.table))

    class Whole(tf_keras.Model):
        def __init__(self) -> None:
            super().__init__(name="whole")
            self.table = self.add_weight("table", (3, 4))
            self.own = self.add_weight("own", (2,))
            self.first, self.second = Owner(self.table, "first"), Owner(self.table, "second")

        def call(self, x: Any) -> Any:
            return self.first(x) + self.second(x) + self.own

    tf_keras.utils.set_random_seed(7)
    model = Whole()
    model(np.ones((1, 3), "f4"))
    return model


def make_files(folder: Path) -> dict[str, dict[str, str]]:
    """Write every kind of file; return the variables of those models whose layers a file can name."""
    named: dict[str, dict[str, str]] = {}
    for title, k in KINDS.items():
        k.backend.clear_session()
        model = build(k)
        endings = {"": (".weights.h5", ".keras", ".h5"), "-optimizer": (".weights.h5", ".keras", ".h5")}
        for state, names in endings.items():
            if state:
                train(model)
            for ending in names:
                path = f"{title}{state}{ending}"
                (model.save_weights if ending == ".weights.h5" else model.save)(folder / path)
                named[path] = variables_of(model)
        if k is keras:
            model.save_weights(folder / "keras3-sharded.weights.json", max_shard_size=7e-7)
            named["keras3-sharded.weights.json"] = variables_of(model)
        else:
            model.save_weights(folder / "tf_keras-legacy.h5")
            limit, hdf5_format.HDF5_OBJECT_HEADER_LIMIT = hdf5_format.HDF5_OBJECT_HEADER_LIMIT, 80
            model.save_weights(folder / "tf_keras-long-lists.h5")
            hdf5_format.HDF5_OBJECT_HEADER_LIMIT = limit
            k.backend.clear_session()
            repeated().save_weights(folder / "tf_keras-repeated.h5")
        for policy in ("float16", "bfloat16"):
            k.backend.clear_session()
            model = in_precision(k, policy)
            for ending in (".weights.h5", ".keras", ".h5") if policy == "bfloat16" else (".weights.h5", ".h5"):
                path = f"{title}-{policy}{ending}"
                (model.save_weights if ending == ".weights.h5" else model.save)(folder / path)
                named[path] = variables_of(model)
    for path in [*named]:
        if path.startswith("tf_keras") and path.endswith(".weights.h5"):
            del named[path]  # no names of layers anywhere
    return named


def open_hdf5(path: Path) -> h5py.File:
    if path.suffix == ".keras":
        return h5py.File(io.BytesIO(zipfile.ZipFile(path).read("model.weights.h5")))
    return h5py.File(path)


def read_list(attributes: Any, name: str) -> list[str] | None:
    """A list of names as Keras's loader reads it."""
    if name in attributes:
        items = list(attributes[name])
    elif f"{name}0" in attributes:
        items, number = [], 0
        while f"{name}{number}" in attributes:
            items += list(attributes[f"{name}{number}"])
            number += 1
    else:
        return None
    return [item.decode() if isinstance(item, bytes) else str(item) for item in items]


def tensors_of(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Every dataset by the name that tfckpt should give it."""
    found: dict[str, h5py.Dataset] = {}
    root = file.get("model_weights", file)
    layers = read_list(root.attrs, "layer_names")
    if layers is None:
        file.visititems(lambda path, item: found.__setitem__(path, item) if isinstance(item, h5py.Dataset) else None)
        return found
    for layer in [*layers, *(["top_level_model_weights"] if "top_level_model_weights" in root else [])]:
        for weight in read_list(root[layer].attrs, "weight_names") or []:
            found[weight.removesuffix(":0")] = root[layer][weight]
    if "optimizer_weights" in file:
        for weight in read_list(file["optimizer_weights"].attrs, "weight_names") or []:
            found[f"optimizer_weights/{weight.removesuffix(':0')}"] = file["optimizer_weights"][weight]
    return found


def record(path: Path) -> list[dict[str, Any]]:
    rows = []
    names = [path]
    if path.suffix == ".json":
        shards = json.loads(path.read_text())["weight_map"].values()
        names = sorted({path.parent / name for one in shards for name in ([one] if isinstance(one, str) else one)})
    is_known = path.name != "tf_keras-bfloat16.weights.h5"  # no type in the file, and no configuration
    for name in names:
        with open_hdf5(name) as file:
            for tensor, dataset in tensors_of(file).items():
                value = dataset[()]
                kind = TYPES[value.dtype.str]
                row = {"name": tensor, "dtype": kind, "shape": list(value.shape)}
                if is_known or kind != "DT_BFLOAT16":
                    row["sha256"] = digest(value)
                else:
                    row["dtype"] = "DT_INVALID"
                rows.append(row)
    return sorted(rows, key=lambda row: row["name"].encode())


def make_hostile(folder: Path) -> None:
    """Write a plain file, and one for each part of HDF5 that must be refused, which differs in that part only."""
    values = np.arange(12, dtype="<f4").reshape(3, 4)
    (folder / "elsewhere.raw").write_bytes(values.tobytes())

    def write(name: str, change: Any, **options: Any) -> None:
        with h5py.File(folder / f"{name}.h5", "w", **options) as file:
            file["group/kernel"] = values
            change(file)

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout(shape=(3, 4), dtype="<f4")
        layout[...] = h5py.VirtualSource("plain.h5", "group/kernel", shape=(3, 4))
        file.create_virtual_dataset("group/virtual", layout)

    def deep(levels: int) -> Any:
        return lambda file: file.create_group("/".join(["g"] * levels))

    def compact(file: h5py.File) -> None:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((3, 4))
        h5py.h5d.create(file.id, b"compact", h5py.h5t.IEEE_F32LE, space, properties).write(
            h5py.h5s.ALL, h5py.h5s.ALL, values
        )

    def committed(file: h5py.File) -> None:
        file["type"] = np.dtype("<f4")
        file.create_dataset("shared", data=values, dtype=file["type"])

    def set_link(file: h5py.File, link: Any) -> None:
        file["group/link"] = link

    text = h5py.string_dtype()
    write("plain", lambda file: None)
    write("plain-deep", deep(64))
    write("external-link", lambda file: set_link(file, h5py.ExternalLink("plain.h5", "group/kernel")))
    write("soft-link", lambda file: set_link(file, h5py.SoftLink("/group/kernel")))
    write("hard-link", lambda file: set_link(file, file["group/kernel"]))
    write("cycle", lambda file: set_link(file, file["/"]))
    external = [("elsewhere.raw", 0, 48)]
    write("external-data", lambda file: file.create_dataset("raw", (3, 4), "<f4", external=external))
    write("virtual", virtual)
    write("chunked", lambda file: file.create_dataset("chunked", data=values, chunks=(1, 4)))
    write("filtered", lambda file: file.create_dataset("gzip", data=values, compression="gzip"))
    write("variable-length", lambda file: file.create_dataset("text", data=["a", "b"], dtype=text))
    write("fixed-text", lambda file: file.create_dataset("text", data=np.array([b"a", b"b"])))
    write("compact", compact)
    write("committed-type", committed)
    write("compound", lambda file: file.create_dataset("pair", data=np.zeros(2, [("a", "<f4"), ("b", "<i4")])))
    write("never-written", lambda file: file.create_dataset("hole", (3, 4), "<f4"))
    write("deep", deep(65))
    write("newer-links", lambda file: file.create_group("ordered", track_order=True))
    write("superblock-2", lambda file: None, libver=("v108", "v108"))
    write("superblock-3", lambda file: None, libver="latest")
    plain = (folder / "plain.h5").read_bytes()
    at = plain.index((48).to_bytes(8, "little"), plain.index(b"\x03\x01")) - 8  # the layout message: offset, size
    outside = plain[:at] + (len(plain) - 8).to_bytes(8, "little") + plain[at + 8 :]
    (folder / "outside.h5").write_bytes(outside)


def pack(folder: Path, target: Path) -> None:
    with tarfile.open(target, "w:xz", preset=9) as archive:
        for path in sorted(folder.iterdir()):
            member = tarfile.TarInfo(path.name)
            member.size = path.stat().st_size
            with path.open("rb") as file:
                archive.addfile(member, file)


def main() -> None:
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        files, hostile = Path(temporary) / "files", Path(temporary) / "hostile"
        files.mkdir()
        hostile.mkdir()
        named = make_files(files)
        shards = {path for path in files.iterdir() if "_0" in path.name}
        rows = [
            {"file": path.name, "variables": named.get(path.name, {}), "tensors": record(path)}
            for path in sorted({*files.iterdir()} - shards)
        ]
        make_hostile(hostile)
        pack(files, TARGET / "files.tar.xz")
        pack(hostile, TARGET / "hostile.tar.xz")
    versions = {"keras": keras.__version__, "tf_keras": tf_keras.__version__, "h5py": h5py.__version__}
    lines = json.dumps({"versions": versions, "files": rows}, separators=(", ", ": "))
    (TARGET / "expected.json").write_text(lines.replace('{"name"', '\n{"name"').replace('{"file"', '\n{"file"') + "\n")


if __name__ == "__main__":
    main()
