"""How TensorFlow's functions for reading checkpoints behave, as expressions and what they give.

An expression is Python source; `tf`, `np` and `pathlib` are what it may use, and tests/data/tensorflow is the working
directory it expects.
An answer says the type and the value, or the class, its bases and the message of what was raised.
"""

from __future__ import annotations

import inspect
import os
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from regenerate.recording import Record, digest, write_json
from regenerate.train_api_expressions import DTYPE_EXPRESSIONS, FILES, LOAD, OPENING, READING, SHORTCUTS
from regenerate.values import DTYPES, STORABLE

ATTRIBUTES = [
    "name",
    "as_datatype_enum",
    "as_numpy_dtype",
    "size",
    "base_dtype",
    "real_dtype",
    "is_bool",
    "is_complex",
    "is_floating",
    "is_integer",
    "is_numeric",
    "is_numpy_compatible",
    "is_quantized",
    "is_unsigned",
    "min",
    "max",
    "limits",
]


def make_train_api() -> None:
    """The table, made from the folder that holds all cases."""
    os.chdir("..")
    tensors = [
        f"{LOAD}('dtypes/ckpt').get_tensor('{name}/{kind}')"
        for name in [*STORABLE, "string"]
        for kind in ("scalar", "grid", "none", "hollow")
    ]
    old = [
        f"{LOAD}('v1/types').get_tensor('{name}/{kind}')"
        for name in ["float32", "int32", "bool", "string", "float16", "complex64", "qint8", "uint16", "int8"]
        for kind in ("scalar", "grid", "none")
    ]
    sliced = [
        f"{LOAD}('slices/ckpt').get_tensor('{name}')" for name in ["grid", "int4", "exact/float16", "partial/hole"]
    ]
    write_json(
        "train-api/expected.json",
        {
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
            "opening": answers(OPENING),
            "reading": answers(READING),
            "tensors": answers(tensors + old + sliced),
            "shortcuts": answers(SHORTCUTS),
            "dtype_expressions": answers(DTYPE_EXPRESSIONS),
            "dtypes": {name: attributes(dtype) for name, dtype in DTYPES.items()},
            "files": answers(FILES),
            "signatures": signatures(),
            "names": {
                "tf.train": public(tf.train),
                "tf.compat.v1.train": public(tf.compat.v1.train),
                "tf.dtypes": public(tf.dtypes),
                "tf.errors": public(tf.errors),
            },
        },
    )


def answers(expressions: Iterable[str]) -> list[Record]:
    """Every expression with what it gives."""
    return [{"expression": expression, **evaluate(expression)} for expression in expressions]


def evaluate(expression: str) -> Record:
    """What an expression gives or raises."""
    try:
        return {"gives": describe(eval(expression, {"tf": tf, "np": np, "pathlib": pathlib}))}
    except Exception as error:
        found: Record = {
            "raises": type(error).__name__,
            "bases": [base.__name__ for base in type(error).__mro__[1:-1]],
            "message": str(error),
        }
        if isinstance(error, tf.errors.OpError):
            found |= {"error_code": error.error_code, "op_message": error.message}
        return found


def describe(value: Any) -> Any:
    """An answer: text, numbers, truth values and None as they are, everything else as a record of type and value.

    The items of a dictionary stand in the order of their keys; TensorFlow's own order is that of a hash table.
    """
    kind = type(value).__name__
    if isinstance(value, np.ndarray | np.generic):
        return describe_array(value)
    if isinstance(value, bool | int | str | None):
        return value
    if isinstance(value, tf.DType):
        return {"type": "DType", "repr": repr(value)}
    if isinstance(value, bytes):
        return {"type": kind, "hex": value.hex()}
    if isinstance(value, dict):
        return {"type": kind, "items": [[describe(key), describe(item)] for key, item in sorted(value.items())]}
    if isinstance(value, list | tuple):
        return {"type": kind, "items": [describe(item) for item in value]}
    if isinstance(value, float):
        return {"type": kind, "repr": repr(value)}
    return {"type": kind}


def describe_array(value: Any) -> Record:
    """The type, dtype, shape and digest of an array or a NumPy scalar, and whether an array may be written to."""
    array = np.asarray(value)
    entry: Record = {"type": f"numpy.{type(value).__name__}", "dtype": str(array.dtype), "shape": list(array.shape)}
    if array.dtype == object:
        entry["elements"] = sorted({type(item).__name__ for item in array.ravel().tolist()})
    if isinstance(value, np.ndarray):
        entry |= {"writeable": value.flags.writeable, "owns_data": value.flags.owndata}
    return entry | {"sha256": digest(array)}


def attributes(dtype: tf.DType) -> dict[str, str]:
    """What every attribute of a dtype gives, as text."""
    found = {"str": str(dtype), "repr": repr(dtype)}
    for name in ATTRIBUTES:
        try:
            found[name] = repr(getattr(dtype, name))
        except Exception as error:
            found[name] = f"raises {type(error).__name__}: {error}"
    return found


def signatures() -> dict[str, str]:
    """The parameters of the functions, as `inspect` tells them."""
    functions = {
        "tf.train.load_checkpoint": tf.train.load_checkpoint,
        "tf.train.load_variable": tf.train.load_variable,
        "tf.train.list_variables": tf.train.list_variables,
        "tf.train.latest_checkpoint": tf.train.latest_checkpoint,
        "tf.train.get_checkpoint_state": tf.train.get_checkpoint_state,
        "tf.train.checkpoints_iterator": tf.train.checkpoints_iterator,
        "tf.compat.v1.train.NewCheckpointReader": tf.compat.v1.train.NewCheckpointReader,
        "tf.compat.v1.train.checkpoint_exists": tf.compat.v1.train.checkpoint_exists,
        "tf.io.gfile.exists": tf.io.gfile.exists,
        "tf.io.gfile.isdir": tf.io.gfile.isdir,
        "tf.io.gfile.glob": tf.io.gfile.glob,
        "tf.io.gfile.listdir": tf.io.gfile.listdir,
        "tf.io.gfile.GFile": tf.io.gfile.GFile,
        "tf.as_dtype": tf.as_dtype,
    }
    return {name: str(inspect.signature(function)) for name, function in functions.items()}


def public(module: Any) -> list[str]:
    """The names of a module that do not begin with an underscore."""
    return sorted(name for name in dir(module) if not name.startswith("_"))
