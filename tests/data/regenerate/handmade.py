"""Bundles TensorFlow reads but does not write: big-endian ones, compressed indexes, aligned tensors."""

from __future__ import annotations

import itertools

import numpy as np
import snappy
import tensorflow as tf

from regenerate.recording import also, checkpoint, record, refusal, restore, restored, write_expected
from regenerate.tables import write_bundle
from regenerate.values import STORABLE, SUB_BYTE, Array, strings, values

OPAQUE = {name for name in STORABLE if name.startswith("float8")} | set(SUB_BYTE)
"""Types TensorFlow refuses in a big-endian bundle, though one byte has no order."""


def mixed() -> list[tuple[str, str, Array]]:
    """Every type as a grid and a scalar, and strings."""
    tensors = [("string/grid", "string", strings([b"one", b"", b"x" * 300, b"\xff\x00"], (2, 2)))]
    tensors += [("string/scalar", "string", strings([b"alone"], ())), ("string/none", "string", strings([], (0,)))]
    for seed, name in enumerate(STORABLE):
        tensors.append((f"{name}/grid", name, values(name, (3, 2), 100 + seed)))
        tensors.append((f"{name}/scalar", name, values(name, (), 200 + seed)))
        tensors.append((f"{name}/none", name, values(name, (2, 0), 0)))
    return tensors


def make_bigendian() -> None:
    """A big-endian bundle of every type; what TensorFlow refuses to read is recorded as written."""
    tensors = mixed()
    write_bundle("ckpt", tensors, big_endian=True)
    records = []
    for name, dtype, array in sorted(tensors):
        try:
            found = restore("ckpt", name, dtype)
        except tf.errors.OpError as error:
            if dtype not in OPAQUE:
                raise
            records.append(record(name, dtype, array) | {"source": "written", "refusal": refusal(error)})
            continue
        if record(name, dtype, found) != record(name, dtype, array):
            raise AssertionError(f"{name}: TensorFlow read other values than were written")
        records.append(record(name, dtype, found))
    write_expected([checkpoint("ckpt", records, made_by="hand")])


def make_snappy() -> None:
    """Indexes with Snappy blocks: one, several small ones, and every second one."""
    tensors = mixed()
    turns = itertools.cycle([True, False])
    write_bundle("one", tensors, compress=snappy.compress)
    write_bundle("small", tensors, compress=snappy.compress, block_size=512)
    write_bundle(
        "second", tensors, compress=lambda data: snappy.compress(data) if next(turns) else data, block_size=512
    )
    entry = checkpoint("one", restored("one"), made_by="hand")
    for prefix in ("small", "second"):
        also(entry, prefix)
    write_expected([entry])


def make_aligned() -> None:
    """Tensors that begin at multiples of 64 bytes, with zeros between them and after the last."""
    tensors = [(f"v{i}", "float32", np.arange(i, dtype=np.float32)) for i in range(20)]
    tensors += [("text", "string", strings([b"some", b"text"])), ("last", "uint8", values("uint8", (65,), 1))]
    write_bundle("ckpt", tensors, alignment=64)
    write_expected([checkpoint("ckpt", restored("ckpt"), made_by="hand", alignment=64)])
