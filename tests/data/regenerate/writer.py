"""Bundles for an independent writer: given the same tensors in the same order, it can aim at the same bytes.

Every tensor's record carries its `position` in the order TensorFlow's writer got them.
The values are in the bundle itself.
The cases dtypes, names, many, slices and sharded carry positions too.
"""

from __future__ import annotations

import itertools

import numpy as np
import tensorflow as tf

from regenerate.objects import network, object_based
from regenerate.recording import (
    Item,
    Record,
    at,
    checkpoint,
    positions_by_offset,
    record,
    restore,
    restored,
    save,
    write_expected,
)
from regenerate.values import numpy_dtype, strings, tensor

PLAIN = [
    ("float32", (2, 3)),
    ("int64", ()),
    ("uint8", (5,)),
    ("bfloat16", (2, 2)),
    ("complex64", (3,)),
    ("float16", (1, 1, 1, 4)),
    ("int32", (0, 7)),
    ("float64", (130, 2)),
    ("uint16", (300,)),
    ("float32", ()),
]
"""Types and shapes of the tensors of `small`, number i holding the numbers i, i + 1, ... in C order."""

TEXTS = {
    "empty_scalar": ([b""], ()),
    "none": ([], (0, 4)),
    "one_byte_lengths": ([b"a" * 127], (1,)),
    "two_byte_lengths": ([b"b" * 128, b"c" * 300], (2,)),
    "three_byte_lengths": ([b"d" * 16384], ()),
    "grid": ([b"0", b"", b"22", b"\x00\xff", "é".encode(), b"5" * 5], (3, 2)),
}
"""String tensors: elements and shape."""


def make_writer() -> None:
    """Mixed types, strings, keys that share much of their bytes, a bundle of one entry, and an object graph."""
    write_expected([small(), texts(), shared_keys(), single(), object_graph()])


def small() -> Record:
    """Mixed types; each record has the recipe of its values."""
    items: list[Item] = []
    recipes = {}
    for i, (dtype, shape) in enumerate(PLAIN):
        name = f"{'zyxwvutsrq'[i]}/{dtype}"
        count = int(np.prod(shape, dtype=np.int64))
        array = (np.arange(count) + i).astype(numpy_dtype(dtype)).reshape(shape)
        items.append((name, "", tensor(dtype, array)))
        recipes[name] = f"(numpy.arange({count}) + {i}).astype({dtype!r}).reshape({shape})"
    tensors = [entry | {"recipe": recipes[entry["name"]]} for entry in restored("small", save("small", items))]
    return checkpoint("small", tensors)


def texts() -> Record:
    """Strings whose lengths take one, two and three bytes."""
    items: list[Item] = [(name, "", tensor("string", strings(*case))) for name, case in TEXTS.items()]
    return checkpoint("strings", restored("strings", save("strings", items)))


def shared_keys() -> Record:
    """Keys with long common beginnings over several restart points, and keys that are beginnings of others."""
    names = [f"net/layer_{i // 10}/unit_{i % 10}/kernel" for i in range(50)]
    names += ["net", "net/", "net/layer_1", "a", "aa", "aaa", "\x00", "\x7f", "é"]
    items: list[Item] = [(name, "", tensor("int32", np.array(i, np.int32))) for i, name in enumerate(names)]
    return checkpoint("shared_keys", restored("shared_keys", save("shared_keys", items)))


def single() -> Record:
    """A bundle of one tensor."""
    written = save("single", [("w", "", tensor("float32", np.array([[1, 2], [3, 4]], np.float32)))])
    return checkpoint("single", restored("single", written))


def object_graph() -> Record:
    """An object graph; its serialized form is the value of its entry and goes in as it is."""
    model, step = network(), tf.Variable(4, dtype=tf.int64, name="step")
    prefix = tf.train.Checkpoint(net=model, step=step).write("objects")
    entry = object_based(prefix)
    written = positions_by_offset(prefix)
    entry["tensors"] = [item | at(written, item["name"]) for item in entry["tensors"]]
    return entry


LONG_KEYS: dict[str, list[bytes]] = {
    "separators": [
        b"a" * 100_000,
        b"a" * 100_001,
        b"a" * 99_999 + b"b",
        b"b" * 150_000,
        b"b" * 149_999 + b"d",
        b"c" + b"\xff" * 130_000,
        b"c" + b"\xff" * 130_001,
        b"d" * 140_000,
        b"d" * 10 + b"f" + b"x" * 140_000,
        b"e" * 140_000 + b"\xff",
        b"e" * 140_000 + b"\xff\xff",
        b"f" * 270_000,
        b"f" * 270_000 + b"g",
        b"\xff" * 140_000,
        b"\xff" * 140_001,
    ],
    "beyond_a_block": [b"a", b"b" * 600_000, b"c", b"d" * 524_200, b"e" * 524_288, b"f" * 524_300, b"zebra"],
    "just_full": [bytes([97 + i // 26, 97 + i % 26]) + b"k" * (5_000 + i) for i in range(130)],
}
"""Keys long enough that a few of them fill an index block, so that every rule for separators is used."""


def make_long_keys() -> None:
    """Indexes of several blocks made of few long keys, written in reverse key order."""
    checkpoints = []
    for prefix, names in LONG_KEYS.items():
        ordered = sorted(names, reverse=True)
        written = save(prefix, [(name, "", tensor("int32", np.array(i, np.int32))) for i, name in enumerate(ordered)])
        tensors = [
            {"name_runs": runs(name)} | record("", "int32", restore(prefix, name, "int32"), **at(written, name))
            for name in sorted(names)
        ]
        for entry in tensors:
            del entry["name"]
        checkpoints.append(checkpoint(prefix, tensors))
    write_expected(checkpoints)


def runs(name: bytes) -> list[list[int]]:
    """A name as (byte, how many times) pairs, for names too long to write out."""
    return [[byte, len(list(group))] for byte, group in itertools.groupby(name)]
