"""Partitioned variables: by TF1's own partitioners, and as slices given to the save operation directly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from regenerate.recording import (
    Item,
    Record,
    at,
    checkpoint,
    record,
    refusal,
    restore,
    restored,
    save,
    write_expected,
)
from regenerate.values import Array, strings, tensor, values

Cut = tuple[int, int] | None
"""Start and length along one dimension; None is the whole dimension."""


def spec_of(shape: tuple[int, ...], cuts: tuple[Cut, ...]) -> str:
    """The text TensorFlow wants for a slice: the full shape, then `start,length` or `-` for each dimension."""
    parts = ["-" if cut is None else f"{cut[0]},{cut[1]}" for cut in cuts]
    return " ".join(map(str, shape)) + " " + ":".join(parts)


def part_of(array: Array, cuts: tuple[Cut, ...]) -> Array:
    """The slice of an array."""
    return array[tuple(slice(None) if cut is None else slice(cut[0], cut[0] + cut[1]) for cut in cuts)]


def grid(rows: list[Cut], columns: list[Cut]) -> list[tuple[Cut, ...]]:
    return [(row, column) for row in rows for column in columns]


STITCHED: dict[str, tuple[str, tuple[int, ...], list[tuple[Cut, ...]]]] = {
    "rows": ("float32", (7, 3), [((0, 3), None), ((3, 2), None), ((5, 2), None)]),
    "columns": ("float64", (2, 10), [(None, (6, 4)), (None, (0, 6))]),
    "grid": ("float32", (5, 8), grid([(0, 2), (2, 3)], [(0, 1), (1, 4), (5, 3)])),
    "ragged_grid": ("int32", (4, 6), [((0, 4), (0, 2)), ((0, 1), (2, 4)), ((1, 3), (2, 1)), ((1, 3), (3, 3))]),
    "long": ("int8", (9000, 1), [((0, 64), None), ((64, 8128), None), ((8192, 808), None)]),
    "cube": ("bfloat16", (2, 3, 4), [((0, 1), None, None), ((1, 1), (0, 2), None), ((1, 1), (2, 1), None)]),
    "vector": ("complex64", (6,), [((4, 2),), ((0, 1),), ((1, 3),)]),
    "whole": ("uint8", (3, 3), [(None, None)]),
    "whole_by_numbers": ("uint8", (3, 3), [((0, 3), (0, 3))]),
    "bool": ("bool", (4,), [((0, 2),), ((2, 2),)]),
    "int4": ("int4", (5,), [((0, 2),), ((2, 3),)]),
    "qint8": ("qint8", (5,), [((0, 2),), ((2, 3),)]),
    "complex128": ("complex128", (3, 2), [(None, (0, 1)), (None, (1, 1))]),
}
"""Tensors TensorFlow can put together again: type, full shape, slices in the order they are written."""

EXACT: dict[str, tuple[str, tuple[int, ...], list[tuple[Cut, ...]]]] = {
    f"exact/{name}": (name, (4, 3), [((0, 1), None), ((1, 2), None), ((3, 1), None)])
    for name in ["float16", "uint16", "uint32", "uint64", "float8_e5m2", "float8_e4m3fn", "int2", "qint16", "string"]
}
"""Tensors whose slices TensorFlow writes and reads, but refuses to put together."""

PARTIAL: dict[str, tuple[str, tuple[int, ...], list[tuple[Cut, ...]]]] = {
    "partial/hole": ("float32", (6, 2), [((0, 2), None), ((4, 2), None)]),
    "partial/one": ("float32", (2, 4), [((1, 1), (1, 2))]),
}
"""Tensors with slices missing, which the format allows and a full read must refuse."""


def full_value(name: str, dtype: str, shape: tuple[int, ...]) -> Array:
    """The tensor the slices are cut from."""
    if dtype == "string":
        count = int(np.prod(shape))
        return strings([f"{name} {i}".encode() * (i % 3) for i in range(count)], shape)
    return values(dtype, shape, len(name) + sum(shape))


def make_slices() -> None:
    """Slices in rows, columns and uneven grids; types TensorFlow cannot assemble; tensors with holes."""
    everything = STITCHED | EXACT | PARTIAL
    items: list[Item] = [("ordinary", "", tf.constant(values("float32", (2, 2), 5)))]
    for name, (dtype, shape, slices) in everything.items():
        whole = full_value(name, dtype, shape)
        items += [(name, spec_of(shape, cuts), tensor(dtype, part_of(whole, cuts))) for cuts in slices]
    items.append(("zlast", "", tf.constant(b"the last")))
    written = save("ckpt", items)
    tensors = [
        record(name, dtype, restore("ckpt", name, dtype), **at(written, name))
        for name, dtype in [("ordinary", "float32"), ("zlast", "string")]
    ]
    for name, (dtype, shape, slices) in everything.items():
        parts = [spec_of(shape, cuts) for cuts in slices]
        tensors.append(sliced(name, dtype, full_value(name, dtype, shape), parts, written))
    write_expected([checkpoint("ckpt", sorted(tensors, key=lambda item: item["name"]))])


def sliced(name: str, dtype: str, whole: Array, specs: list[str], written: Any) -> Record:
    """The record of a tensor kept in slices: the whole if TensorFlow gives it, and every slice as it restores it."""
    try:
        entry = record(name, dtype, restore("ckpt", name, dtype))
    except tf.errors.OpError as error:
        entry = record(name, dtype, whole) | {"source": "written", "refusal": refusal(error)}
        if name in PARTIAL:
            del entry["sha256"]
    parts = []
    for spec in specs:
        part = record(spec.split(" ")[-1], dtype, restore("ckpt", name, dtype, spec), **at(written, name, spec))
        parts.append({"spec": part.pop("name"), **part})
    return {**entry, "slices": parts}


PARTITIONERS = {
    "fixed": ((10, 4), lambda: tf.compat.v1.fixed_size_partitioner(3)),
    "fixed_columns": ((3, 8), lambda: tf.compat.v1.fixed_size_partitioner(4, axis=1)),
    "min_max": ((64, 16), lambda: tf.compat.v1.min_max_variable_partitioner(max_partitions=5, min_slice_size=1024)),
    "axis_size": ((40, 8), lambda: tf.compat.v1.variable_axis_size_partitioner(max_shard_bytes=512)),
    "single": ((4, 2), lambda: tf.compat.v1.fixed_size_partitioner(1)),
}
"""Variable name -> full shape and partitioner."""


def cut_from(whole: Array) -> Callable[..., Array]:
    """An initializer that gives each part of a partitioned variable its piece of an array."""

    def initialize(shape: Any, dtype: tf.DType = tf.float32, partition_info: Any = None) -> Array:
        offset = partition_info.var_offset if partition_info else [0] * len(shape)
        piece = whole[tuple(slice(start, start + int(length)) for start, length in zip(offset, shape, strict=True))]
        return piece.astype(dtype.as_numpy_dtype)

    return initialize


def make_partitioned() -> None:
    """TF1 partitioned variables, saved by the Saver in both of its formats, with their graphs."""
    parts: dict[str, list[Record]] = {}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for seed, (name, (shape, partitioner)) in enumerate(PARTITIONERS.items()):
            for kind, scope in [(True, "resource"), (False, "reference")]:
                if scope == "reference" and name != "fixed":
                    continue
                variable = tf.compat.v1.get_variable(
                    f"{scope}/{name}",
                    shape=shape,
                    initializer=cut_from(np.random.default_rng(seed + 10 * kind).normal(size=shape)),
                    partitioner=partitioner(),
                    use_resource=kind,
                )
                parts[f"{scope}/{name}"] = [
                    {"variable": part.name, "spec": info.spec.split(" ")[-1]}
                    for part in variable
                    if (info := part._save_slice_info)
                ]
        tf.compat.v1.get_variable("plain", initializer=tf.constant([1.0, 2.0]))
        session.run(tf.compat.v1.global_variables_initializer())
        saver_class = tf.compat.v1.train.Saver
        saver_class().save(session, "model.ckpt", global_step=12)
        Path("v1").mkdir()
        old = saver_class(write_version=tf.compat.v1.train.SaverDef.V1)
        old.save(session, "v1/model.ckpt", global_step=12, write_meta_graph=False)
    checkpoints = []
    for prefix, version in [("model.ckpt-12", "V2"), ("v1/model.ckpt-12", "V1")]:
        tensors = restored(prefix)
        for entry in tensors:
            if found := parts.get(entry["name"]):
                entry["slices"] = found
        checkpoints.append(checkpoint(prefix, tensors, version=version))
    write_expected(checkpoints)
