"""What TensorFlow reads back, as records for expected.json.

The digest of a fixed-width tensor is the SHA-256 of its bytes in C order, little-endian, one byte an element for the
types narrower than a byte.
The digest of a string tensor is the SHA-256 of its elements in C order, each as its length in 8 little-endian bytes and
then its bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import tensor_bundle_pb2

from regenerate.tables import read_table
from regenerate.values import DTYPES, QUANTIZED, Array, is_narrow

Record = dict[str, Any]
Item = tuple[str | bytes, str, tf.Tensor]
Positions = dict[tuple[str, str], int]

ONE_LINE = {"sha256", "has_checkpoint_values", "last_preserved_timestamp", "expression"}
"""A record with one of these fields is written on one line of JSON."""

SHORT_STRINGS = 400
"""String tensors up to this many bytes are recorded as values too."""


def digest(array: Array) -> str:
    """The SHA-256 of an array as the head of this module defines it."""
    if array.dtype == object:
        return hashlib.sha256(
            b"".join(len(item).to_bytes(8, "little") + item for item in array.ravel().tolist())
        ).hexdigest()
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def record(name: str | bytes, dtype: str, array: Array, **more: Any) -> Record:
    """The record of one tensor."""
    entry: Record = {"name": as_text(name), "dtype": dtype, "shape": list(array.shape), "sha256": digest(array)}
    if array.dtype == object and sum(map(len, array.ravel().tolist())) <= SHORT_STRINGS:
        entry["values_hex"] = [item.hex() for item in array.ravel().tolist()]
    if is_narrow(array.dtype):
        entry["values"] = [float(item) if "float" in dtype else int(item) for item in array.ravel()]
    return entry | {"source": "restored"} | more


def restore(prefix: str, name: str | bytes, dtype: str, spec: str = "") -> Array:
    """One tensor, or one slice of it, as TensorFlow's restore operation gives it."""
    (value,) = tf.raw_ops.RestoreV2(prefix=prefix, tensor_names=[name], shape_and_slices=[spec], dtypes=[DTYPES[dtype]])
    return as_array(value, dtype)


def as_array(value: tf.Tensor, dtype: str) -> Array:
    """A tensor as an array; strings become an object array of bytes, quantized types their integers."""
    if dtype == "string":
        array = np.empty(value.shape.as_list(), dtype=object)
        array[...] = value.numpy()
        return array
    array = np.asarray(value.numpy())
    return array.view(QUANTIZED[dtype]) if dtype in QUANTIZED else array


def save(prefix: str, items: Sequence[Item]) -> Positions:
    """Give (name, slice specification, tensor) to TensorFlow's writer in this order; returns everyone's place in it."""
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=[name for name, _, _ in items],
        shape_and_slices=[spec for _, spec, _ in items],
        tensors=[value for _, _, value in items],
    )
    return {(as_text(name), spec): position for position, (name, spec, _) in enumerate(items)}


def as_text(name: str | bytes) -> str:
    """A name for JSON: stray bytes of one that is not UTF-8 become lone surrogates."""
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name


def listing(prefix: str) -> list[tuple[str, str, list[int]]]:
    """Name, dtype and shape of every tensor, as TensorFlow's checkpoint reader lists them, by name."""
    reader = tf.train.load_checkpoint(prefix)
    shapes = reader.get_variable_to_shape_map()
    dtypes = reader.get_variable_to_dtype_map()
    return [(name, dtypes[name].name, shapes[name]) for name in sorted(shapes)]


def restored(prefix: str, positions: Positions | None = None) -> list[Record]:
    """A record of every tensor the checkpoint reader lists, restored whole, with its place in the writing order."""
    records = []
    for name, dtype, shape in listing(prefix):
        array = restore(prefix, name, dtype)
        if list(array.shape) != shape:
            raise AssertionError(f"{prefix}: {name}: listed as {shape}, restored as {array.shape}")
        records.append(record(name, dtype, array, **at(positions, name)))
    return records


def at(positions: Positions | None, name: str | bytes, spec: str = "") -> Record:
    """The field `position` of what was written under a name and slice specification."""
    return {} if positions is None else {"position": positions[as_text(name), spec]}


def also(original: Record, prefix: str) -> None:
    """Note another prefix with the same tensors, after reading them there too."""
    for entry in original["tensors"]:
        if digest(restore(prefix, entry["name"], entry["dtype"])) != entry["sha256"]:
            raise AssertionError(f"{prefix}: {entry['name']} differs from {original['prefix']}")
    original.setdefault("also", []).append(prefix)


def refusal(error: BaseException) -> str:
    """Class and message of what TensorFlow raised, without the parts that tell where in the runtime it happened."""
    text = error.message if isinstance(error, tf.errors.OpError) else str(error)
    text = re.sub(r"\{\{function_node [^}]*\}\} | \[Op:\w+\]", "", text)
    return f"{type(error).__name__}: {text}"


def positions_by_offset(prefix: str) -> Positions:
    """The order in which a bundle of one shard without slices and without empty tensors was written."""
    offsets = {}
    for key, value in read_table(Path(f"{prefix}.index").read_bytes()):
        if key:
            offsets[key.decode()] = tensor_bundle_pb2.BundleEntryProto.FromString(value).offset
    return {(name, ""): position for position, name in enumerate(sorted(offsets, key=offsets.__getitem__))}


def checkpoint(prefix: str, tensors: list[Record], *, version: str = "V2", **more: Any) -> Record:
    """The record of one checkpoint of a case."""
    return {"prefix": prefix, "format": version, **more, "tensors": tensors}


def write_expected(checkpoints: list[Record], **more: Any) -> None:
    """Write expected.json of the case into the working directory."""
    write_json("expected.json", {"tensorflow": tf.__version__, **more, "checkpoints": checkpoints})


def write_json(name: str, value: Any) -> None:
    """Write JSON with lists of records one record a line, in ASCII."""
    Path(name).write_text(_pretty(value, 0) + "\n", encoding="ascii")


def _pretty(value: Any, depth: int) -> str:
    flat = json.dumps(value)
    children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    divisible = any(
        isinstance(child, list | dict) or (isinstance(child, str) and len(child) > 20) for child in children
    )
    one_line = isinstance(value, dict) and not ONE_LINE.isdisjoint(value) and "slices" not in value
    if len(flat) <= 110 or not divisible or one_line:
        return flat
    indent = "  " * (depth + 1)
    if isinstance(value, dict):
        lines = [f"{json.dumps(key)}: {_pretty(item, depth + 1)}" for key, item in value.items()]
        opening, closing = "{", "}"
    else:
        lines = [_pretty(item, depth + 1) for item in value]
        opening, closing = "[", "]"
    return opening + "\n" + ",\n".join(indent + line for line in lines) + "\n" + "  " * depth + closing


def pack(folder: Path) -> None:
    """Replace a case's folder by a .tgz of it with fixed owners and times."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(folder.iterdir()):
            member = tarfile.TarInfo(f"{folder.name}/{path.name}")
            member.size = path.stat().st_size
            member.mode = 0o644
            with path.open("rb") as source:
                archive.addfile(member, source)
    with folder.with_suffix(".tgz").open("wb") as target, gzip.GzipFile("", "wb", 9, target, 0) as packed:
        packed.write(raw.getvalue())
    shutil.rmtree(folder)
