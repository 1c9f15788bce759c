"""Plain V2 bundles written by the save operation itself: dtypes, variants, names, and very many entries."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from regenerate.recording import (
    Item,
    Record,
    at,
    checkpoint,
    record,
    restore,
    restored,
    save,
    write_expected,
)
from regenerate.values import DTYPES, STORABLE, every_value, numpy_dtype, strings, tensor, values

STRING_CASES = {
    "string/scalar": ([b"a scalar string"], ()),
    "string/scalar_empty": ([b""], ()),
    "string/grid": ([b"first", b"second", b"", b"fourth", "fünf".encode(), b"\x00\x01\x00"], (2, 3)),
    "string/none": ([], (0,)),
    "string/hollow": ([], (3, 0, 2)),
    "string/all_empty": ([b""] * 5, (5,)),
    "string/not_utf8": ([b"\xff\xfe\x80", bytes(range(256)), b"\xc3("], (3,)),
    "string/lengths": ([b"x" * 127, b"y" * 128, b"z" * 16383, b"w" * 16384], (4,)),
    "string/long": ([bytes(i * i % 251 for i in range(50_000))], ()),
}
"""String tensors: elements and shape; `lengths` stands on both sides of where a length takes one byte more."""


def make_dtypes() -> None:
    """Every storable type as a scalar, a grid, empty tensors of two shapes, and all values of the small types."""
    items = []
    for seed, name in enumerate(STORABLE):
        arrays = {
            "scalar": values(name, (), 1000 + seed),
            "grid": values(name, (2, 3, 5), 2000 + seed),
            "none": values(name, (0,), 0),
            "hollow": values(name, (3, 0, 2), 0),
        }
        if numpy_dtype(name).itemsize == 1:
            arrays["every"] = every_value(name)
        items += [(f"{name}/{kind}", "", tensor(name, array)) for kind, array in arrays.items()]
    items += [(name, "", tensor("string", strings(*case))) for name, case in STRING_CASES.items()]
    written = save("ckpt", items)
    numbers = {name: dtype.as_datatype_enum for name, dtype in DTYPES.items()}
    write_expected([checkpoint("ckpt", restored("ckpt", written))], datatype_numbers=numbers)


def make_variant() -> None:
    """Variant tensors: lists of tensors, a ragged tensor, an empty one, between ordinary tensors."""
    first = tf.raw_ops.TensorListFromTensor(
        tensor=tf.constant(np.arange(6, dtype=np.float32).reshape(3, 2)), element_shape=tf.constant([2])
    )
    second = tf.raw_ops.TensorListFromTensor(
        tensor=tf.constant([b"one", b"", b"three"]), element_shape=tf.constant([], tf.int32)
    )
    unset = tf.raw_ops.TensorListReserve(element_shape=tf.constant(-1), num_elements=4, element_dtype=tf.int16)
    ragged = tf.ragged.constant([[1, 2, 3], [], [4]], dtype=tf.int64)._to_variant()
    items = [
        ("before", "", tf.constant(values("int32", (4,), 2))),
        ("variant/list", "", first),
        ("variant/strings", "", second),
        ("variant/unset", "", unset),
        ("variant/ragged", "", ragged),
        ("variant/grid", "", tf.reshape(tf.stack([first, second, unset, ragged]), [2, 2])),
        ("variant/none", "", tf.reshape(tf.stack([first])[:0], [0])),
        ("zafter", "", tf.constant([b"after"])),
    ]
    written = save("ckpt", items)
    tensors = [record("before", "int32", restore("ckpt", "before", "int32"), **at(written, "before"))]
    for name, _, given in items[1:-1]:
        (value,) = tf.raw_ops.RestoreV2(prefix="ckpt", tensor_names=[name], shape_and_slices=[""], dtypes=[tf.variant])
        elements = variant_elements(value)
        if elements != variant_elements(given):
            raise AssertionError(f"{name}: restored differently from what was written")
        tensors.append(
            {
                "name": name,
                "dtype": "variant",
                "shape": value.shape.as_list(),
                "elements": elements,
                "source": "restored",
                **at(written, name),
            }
        )
    tensors.append(record("zafter", "string", restore("ckpt", "zafter", "string"), **at(written, "zafter")))
    write_expected([checkpoint("ckpt", tensors)])


def variant_elements(value: tf.Tensor) -> list[Record]:
    """Each element's VariantTensorDataProto: type name, metadata, and the tensors inside it."""
    proto = tensor_pb2.TensorProto.FromString(tf.io.serialize_tensor(value).numpy())
    content = io.BytesIO(proto.tensor_content)
    lengths = [read_varint(content) for _ in range(value.shape.num_elements())]
    elements = [tensor_pb2.VariantTensorDataProto.FromString(content.read(length)) for length in lengths]
    return [
        {
            "type_name": element.type_name,
            "metadata_hex": element.metadata.hex(),
            "tensors": [inner(item) for item in element.tensors],
        }
        for element in elements
    ]


def read_varint(stream: io.BytesIO) -> int:
    """The next LEB128 number of a stream."""
    result = shift = 0
    while True:
        byte = stream.read(1)[0]
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result
        shift += 7


def inner(proto: tensor_pb2.TensorProto) -> dict[str, Any]:
    """A tensor inside a variant, with its values."""
    array = tf.make_ndarray(proto)
    found = array.ravel().tolist()
    return {
        "dtype": tf.as_dtype(proto.dtype).name,
        "shape": list(array.shape),
        "values": [item.hex() if isinstance(item, bytes) else item for item in found],
    }


NAMES = [
    "plain",
    "a/b/c:0",
    "with space",
    " leading and trailing ",
    "tab\tand\nnewline\r\n",
    "quote\"s and 'apostrophes' and \\backslash",
    "..",
    ".",
    "/",
    "//",
    "../../outside",
    "/absolute",
    "C:\\windows\\path",
    "*?[glob]",
    "%s %d {0} ${HOME}",
    "-dash",
    "umlaute/äöüß",
    "日本語/変数",
    "emoji/🐍🧪",
    "e\u0301 combining",
    "\u202eright to left",
    "\ufeffbyte order mark",
    "\x1b[31mterminal escape\x1b[0m",
    "\x7f",
    "null\x00inside",
    "\x00leading null",
    "\x00w\x00\x01\x00",
    "w",
    "x" * 5000,
    "x" * 4999 + "y",
    "x" * 5001,
    "_CHECKPOINTABLE_OBJECT_GRAPH/not",
    "\U0010ffff",
]
"""Names that are hard to list or print; the one before `w` is the key the only slice of a scalar `w` would have."""


def make_names() -> None:
    """Names with spaces, controls, paths, escapes, NUL and 5000 bytes, each a scalar with its place in the list."""
    written = save("ckpt", [(name, "", tf.constant(i, tf.int32)) for i, name in enumerate(NAMES)])
    write_expected([checkpoint("ckpt", restored("ckpt", written))])


def make_non_utf8_name() -> None:
    """Names that are not UTF-8; TensorFlow's own listing fails on them, so they are restored by name."""
    names = ["fine", b"latin\xe91", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80 surrogate"]
    written = save("ckpt", [(name, "", tf.constant(i, tf.int32)) for i, name in enumerate(names)])
    tensors = [
        record(name, "int32", restore("ckpt", name, "int32"), **at(written, name))
        for name in sorted(names, key=as_bytes)
    ]
    try:
        failure = str(tf.train.list_variables("ckpt"))
    except UnicodeDecodeError as error:
        failure = f"UnicodeDecodeError: {error}"
    write_expected([checkpoint("ckpt", tensors, tensorflow_listing=failure)])


def as_bytes(name: str | bytes) -> bytes:
    return name if isinstance(name, bytes) else name.encode()


MANY = 20_000


def many_items() -> list[Item]:
    """The entries of `many` in the order they are written: from the last name to the first."""
    items: list[Item] = []
    for i in reversed(range(MANY)):
        name = f"network/unit_{i:05d}/depthwise_convolution/kernel/ExponentialMovingAverage"
        kind = ("int32", "float32", "uint8", "int64")[i % 4]
        shape = ((), (2,), (3, 1))[i % 3]
        count = int(np.prod(shape, dtype=np.int64))
        array = (np.arange(count) + i % 250).astype(numpy_dtype(kind)).reshape(shape)
        items.append((name, "", tensor(kind, array)))
    return items


def make_many() -> None:
    """20 000 small tensors whose index takes several blocks; one digest over all, and 50 of them one by one."""
    tensors = restored("ckpt", save("ckpt", many_items()))
    lines = [f"{item['name']}\t{item['dtype']}\t{item['shape']}\t{item['sha256']}\n" for item in tensors]
    write_expected(
        [
            checkpoint(
                "ckpt",
                tensors[:: MANY // 50],
                count=len(tensors),
                digest_of_all=hashlib.sha256("".join(lines).encode()).hexdigest(),
            )
        ]
    )
