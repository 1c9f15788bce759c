"""Checkpoints of the V1 format: every type it takes, slices, slices over shards, the TF1 Saver, Snappy blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import snappy
import tensorflow as tf

from regenerate.bundles import STRING_CASES
from regenerate.recording import (
    Item,
    Positions,
    Record,
    also,
    as_text,
    at,
    checkpoint,
    digest,
    listing,
    record,
    refusal,
    restore,
    restored,
    write_expected,
)
from regenerate.slices import part_of, spec_of
from regenerate.tables import read_table, table
from regenerate.values import STORABLE, Array, every_value, numpy_dtype, strings, tensor, values

SLICED_TYPES = ("float32", "int8", "float16", "uint16", "complex64", "string")


def save_slices(path: str, items: list[Item]) -> Positions:
    """Give (name, slice specification, tensor) to TensorFlow's V1 writer in this order."""
    tf.raw_ops.SaveSlices(
        filename=path,
        tensor_names=[name for name, _, _ in items],
        shapes_and_slices=[spec for _, spec, _ in items],
        data=[value for _, _, value in items],
    )
    return {(as_text(name), spec): position for position, (name, spec, _) in enumerate(items)}


def accepted_types() -> tuple[list[str], dict[str, str]]:
    """The types the V1 writer takes, and what it says to the others."""
    accepted, refused = [], {}
    for name in STORABLE:
        try:
            save_slices("probe", [("x", "", tensor(name, values(name, (2,), 1)))])
            accepted.append(name)
        except tf.errors.OpError as error:
            refused[name] = refusal(error)
    for path in Path().glob("probe*"):
        path.unlink()
    return accepted, refused


def make_v1() -> None:
    """One file of every type, one of slices, slices over three shards, a Saver's, and two with Snappy blocks."""
    accepted, refused = accepted_types()
    checkpoints = [types(accepted, refused), sliced(), spread(), saver()]
    for source, target, size in [("types", "types-snappy", 4096), ("sliced", "sliced-snappy", 128)]:
        entries = dict(read_table(Path(source).read_bytes()))
        Path(target).write_bytes(table(entries, block_size=size, compress=snappy.compress))
        original = next(entry for entry in checkpoints if entry["prefix"] == source)
        also(original, target)
    write_expected(checkpoints)


def types(accepted: list[str], refused: dict[str, str]) -> Record:
    """Every type as a scalar, a grid, empty tensors and all values of the small types; strings; odd names."""
    arrays: list[tuple[str, str, Array]] = []
    for seed, name in enumerate(accepted):
        arrays.append((f"{name}/scalar", name, values(name, (), 300 + seed)))
        arrays.append((f"{name}/grid", name, values(name, (2, 3, 5), 400 + seed)))
        arrays.append((f"{name}/none", name, values(name, (0,), 0)))
        arrays.append((f"{name}/hollow", name, values(name, (3, 0, 2), 0)))
        if numpy_dtype(name).itemsize == 1:
            arrays.append((f"{name}/every", name, every_value(name)))
    arrays += [(name, "string", strings(*case)) for name, case in STRING_CASES.items()]
    arrays += [
        (name, "int32", np.array(i, np.int32)) for i, name in enumerate(["w", "a b", "ä/🐍", "nul\0in", "x" * 1000])
    ]
    written = save_slices("types", [(name, "", tensor(dtype, array)) for name, dtype, array in arrays])
    tensors = []
    for name, dtype, array in sorted(arrays):
        found = restore("types", name, dtype)
        entry = record(name, dtype, found, **at(written, name))
        if entry["sha256"] != record(name, dtype, array)["sha256"]:
            entry["note"] = "TensorFlow reads back other bytes than it was given"
        tensors.append(entry)
    return checkpoint("types", tensors, version="V1", refused_types=refused)


def sliced() -> Record:
    """Slices of a matrix in one file, of the types the V2 reader cannot put together as well."""
    cuts: list[Any] = [((0, 1), None), ((1, 3), (2, 3)), ((1, 3), (0, 2))]
    specs = [spec_of((4, 5), cut) for cut in cuts]
    items: list[Item] = []
    for dtype in SLICED_TYPES:
        whole = strings([b"%d" % i for i in range(20)], (4, 5)) if dtype == "string" else values(dtype, (4, 5), 7)
        parts = [tensor(dtype, part_of(whole, cut)) for cut in cuts]
        items += [(dtype, spec, part) for spec, part in zip(specs, parts, strict=True)]
    written = save_slices("sliced", items)
    tensors = []
    for name in sorted(SLICED_TYPES):
        parts = [
            {
                "spec": spec.split(" ")[-1],
                "sha256": digest(restore("sliced", name, name, spec)),
                **at(written, name, spec),
            }
            for spec in specs
        ]
        tensors.append(record(name, name, restore("sliced", name, name), slices=parts))
    return checkpoint("sliced", tensors, version="V1")


def spread() -> Record:
    """One variable in slices over three shards, and an ordinary one in each of them."""
    whole = values("float64", (5, 3), 8)
    tensors = []
    for number, cut in enumerate([((3, 2), None), ((0, 1), None), ((1, 2), None)]):
        own = tensor("int32", np.arange(number, dtype=np.int32))
        items: list[Item] = [
            (f"own_{number}", "", own),
            ("split", spec_of((5, 3), cut), tensor("float64", part_of(whole, cut))),
        ]
        save_slices(f"spread-{number:05d}-of-00003", items)
    prefix = "spread-?????-of-00003"
    for name, dtype, _ in listing(prefix):
        tensors.append(record(name, dtype, restore(prefix, name, dtype)))
    return checkpoint(prefix, tensors, version="V1", shards=3)


def saver() -> Record:
    """What the TF1 Saver writes with write_version=V1, with its graph and state file."""
    Path("saver").mkdir()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        generator = np.random.default_rng(9)
        tf.compat.v1.get_variable("layer/kernel", initializer=generator.normal(size=(4, 3)).astype(np.float32))
        tf.compat.v1.get_variable("layer/bias", initializer=np.zeros(3, np.float32), use_resource=True)
        tf.compat.v1.get_variable("labels", initializer=np.array([b"cat", b"dog"]), dtype=tf.string)
        tf.compat.v1.get_variable("flag", initializer=np.array(True))
        tf.compat.v1.train.create_global_step()
        session.run(tf.compat.v1.global_variables_initializer())
        kept = tf.compat.v1.train.Saver(write_version=tf.compat.v1.train.SaverDef.V1)
        prefix = kept.save(session, "saver/model.ckpt", global_step=0)
    return checkpoint(prefix, restored(prefix), version="V1")
