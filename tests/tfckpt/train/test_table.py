"""`tfckpt.train` and the stand-in give the results of TensorFlow 2.21, except for the differences listed here."""

from __future__ import annotations

import inspect
import json
import pathlib
from typing import Any

import numpy as np
import pytest

from tests.arrays import digest
from tfckpt.tensorflow_stub.contents import build_modules
from tfckpt.tensorflow_stub.errors import NotOfferedError
from tfckpt.train.dtypes import DType

FOLDER = pathlib.Path(__file__).parents[2] / "data" / "tensorflow"
TABLE: dict[str, Any] = json.loads((FOLDER / "train-api" / "expected.json").read_text(encoding="utf-8"))
ROWS = {
    row["expression"]: row
    for part in ("opening", "reading", "tensors", "shortcuts", "dtype_expressions", "files")
    for row in TABLE[part]
}
LOAD = "tf.train.load_checkpoint"
THREE = f"{LOAD}('sharded/three')"

#: TensorFlow opens an index file as a checkpoint without tensors, and the header as a tensor with an empty name.
#: Both would hide data, so we refuse them.
STRICTER = {
    f"{LOAD}('dtypes/ckpt.index').get_variable_to_shape_map()": "NotFoundError",
    f"{LOAD}('dtypes/ckpt.index').get_tensor('float32/scalar')": "NotFoundError",
    f"{THREE}.get_tensor('')": "NotFoundError",
    f"{THREE}.has_tensor('')": False,
}
#: Tensors that only TensorFlow's restore operation reads, not its reader: case, prefix and name of the recorded value.
BEYOND = {
    f"{LOAD}('v1/spread-?????-of-00003').get_tensor('split')": ("v1", "spread-?????-of-00003", "split"),
    f"{LOAD}('v1/sliced').get_tensor('float32')": ("v1", "sliced", "float32"),
    f"{LOAD}('bigendian/ckpt').get_tensor('int4/grid')": ("bigendian", "ckpt", "int4/grid"),
    f"{LOAD}('slices/ckpt').get_tensor('exact/float16')": ("slices", "ckpt", "exact/float16"),
} | {
    f"{LOAD}('v1/types').get_tensor('{name}/{kind}')": ("v1", "types", f"{name}/{kind}")
    for name in ("float16", "complex64", "qint8", "uint16")
    for kind in ("scalar", "grid", "none")
}
#: Names of TF1 that 2.21 no longer has, for old scripts.
OLDER = {
    "tf.train.NewCheckpointReader('sharded/three')": "CheckpointReader",
    "tf.train.checkpoint_exists('dtypes/ckpt')": True,
    "tf.pywrap_tensorflow": "StandInModule",
    "tf.contrib": "StandInModule",
    "tf.gfile": "StandInModule",
}
#: Names that are not for reading checkpoints.
NOT_OFFERED = {
    "tf.train.CheckpointManager",
    "tf.train.checkpoints_iterator",
    "tf.train.get_checkpoint_mtimes",
    "tf.float8_e5m2",
    "tf.int4",
}
#: Messages of Python's own errors contain the class, or the first invalid name, which depends on the order.
OWN_WORDS = {
    f"{THREE}['counter']",
    f"len({THREE})",
    f"'counter' in {THREE}",
    f"{THREE}.close()",
    f"{LOAD}('non-utf8-name/ckpt').get_variable_to_shape_map()",
    f"{LOAD}('non-utf8-name/ckpt').get_variable_to_dtype_map()",
}
#: Names are sorted, there is only one object for each dtype, and fewer names are offered.
OTHER = {
    f"list({THREE}.get_variable_to_shape_map()) == sorted({THREE}.get_variable_to_shape_map())": True,
    f"{THREE}.get_variable_to_dtype_map()['b/kernel'] is tf.float32": True,
    f"sorted(n for n in dir({THREE}) if not n.startswith('_'))": [
        "debug_string",
        "get_tensor",
        "get_variable_to_dtype_map",
        "get_variable_to_shape_map",
        "has_tensor",
    ],
    "sorted(n for n in dir(tf.io.gfile) if not n.startswith('_'))": [
        *("GFile", "copy", "exists", "glob", "isdir", "join", "listdir", "makedirs", "mkdir", "remove", "rename"),
        *("rmtree", "stat", "walk"),
    ],
}
DIFFERENT = {*STRICTER, *BEYOND, *OLDER, *NOT_OFFERED, *OWN_WORDS, *OTHER}


@pytest.fixture(autouse=True)
def in_the_folder_of_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Change to the folder of the cases, because the expressions have relative paths."""
    monkeypatch.chdir(FOLDER)


def evaluate(expression: str) -> Any:
    """Evaluate an expression of the table with the stand-in."""
    return eval(expression, {"tf": build_modules()["tensorflow"], "np": np, "pathlib": pathlib})


def describe(value: Any) -> Any:
    """Describe a value in the form of the table, without the owner of an array's memory."""
    kind = type(value).__name__.removesuffix("_")  # numpy.bool_ in NumPy 1
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        described: dict[str, Any] = {"type": f"numpy.{kind}", "dtype": str(array.dtype), "shape": list(array.shape)}
        if array.dtype == object:
            described["elements"] = sorted({type(item).__name__ for item in array.ravel().tolist()})
        if isinstance(value, np.ndarray):
            described["writeable"] = value.flags.writeable
        return described | {"sha256": digest(array)}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, DType):
        return {"type": "DType", "repr": repr(value)}
    if isinstance(value, bytes):
        return {"type": kind, "hex": value.hex()}
    if isinstance(value, dict):
        return {"type": kind, "items": [[describe(key), describe(item)] for key, item in sorted(value.items())]}
    if isinstance(value, list | tuple):
        return {"type": kind, "items": [describe(item) for item in value]}
    return {"type": kind, "repr": repr(value)} if isinstance(value, float) else {"type": kind}


def without_owner(recorded: Any) -> Any:
    """Return a result in the table without the owner of the memory."""
    if not isinstance(recorded, dict):
        return recorded
    return {key: item for key, item in recorded.items() if key != "owns_data"}


@pytest.mark.parametrize("expression", [key for key in ROWS if key not in DIFFERENT])
def test_expression_has_the_result_of_tensorflow(expression: str) -> None:
    """Type, value and order; for an error its class, bases, message and code."""
    row = ROWS[expression]

    if "gives" in row:
        assert describe(evaluate(expression)) == without_owner(row["gives"])
    else:
        with pytest.raises(Exception) as caught:
            evaluate(expression)
        names = [base.__name__ for base in type(caught.value).__mro__]
        assert row["raises"] in names
        assert [name for name in names if name in row["bases"]] == row["bases"]
        assert str(caught.value) == row["message"]
        assert getattr(caught.value, "error_code", None) == row.get("error_code")


@pytest.mark.parametrize("expression", STRICTER)
def test_expression_that_would_hide_data_is_refused(expression: str) -> None:
    """An index file as a prefix, and the empty name."""
    expected = STRICTER[expression]

    if expected is False:
        assert ROWS[expression]["gives"] is True
        assert evaluate(expression) is False
    else:
        with pytest.raises(Exception) as caught:
            evaluate(expression)
        assert type(caught.value).__name__ == expected


@pytest.mark.parametrize("expression", BEYOND)
def test_tensor_that_only_tensorflows_restore_operation_reads_is_read(expression: str) -> None:
    """The expected value comes from that operation, or from the program that wrote it."""
    case, prefix, name = BEYOND[expression]
    record = json.loads((FOLDER / case / "expected.json").read_text(encoding="utf-8"))
    (tensors,) = [
        checkpoint["tensors"]
        for checkpoint in record["checkpoints"]
        if prefix in (checkpoint["prefix"], *checkpoint.get("also", ()))
    ]
    (expected,) = [tensor for tensor in tensors if tensor["name"] == name]

    value = evaluate(expression)

    assert "raises" in ROWS[expression]
    assert list(np.shape(value)) == expected["shape"]
    assert digest(np.asarray(value)) == expected["sha256"]


@pytest.mark.parametrize("expression", OLDER)
def test_names_of_tf1_are_offered(expression: str) -> None:
    """TensorFlow 2.21 no longer has them."""
    value = evaluate(expression)

    assert ROWS[expression]["raises"] == "AttributeError"
    assert value is True or type(value).__name__ == OLDER[expression]


@pytest.mark.parametrize("expression", sorted(NOT_OFFERED))
def test_other_names_are_attribute_errors(expression: str) -> None:
    """The error has the full name of the attribute."""
    with pytest.raises(AttributeError) as caught:
        evaluate(expression)
    assert isinstance(caught.value, NotOfferedError)
    assert caught.value.attribute == expression.replace("tf.", "tensorflow.", 1)


@pytest.mark.parametrize("expression", sorted(OWN_WORDS))
def test_errors_of_python_have_the_same_class(expression: str) -> None:
    """Their messages may differ."""
    with pytest.raises(Exception) as caught:
        evaluate(expression)

    assert type(caught.value).__name__ == ROWS[expression]["raises"]


@pytest.mark.parametrize("expression", OTHER)
def test_other_differences(expression: str) -> None:
    """Order, identity and the names that are offered."""
    assert evaluate(expression) == OTHER[expression]
    assert describe(OTHER[expression]) != ROWS[expression].get("gives")


def test_every_difference_is_a_row_of_the_table() -> None:
    """A misspelled expression would never be compared."""
    assert set(ROWS) >= DIFFERENT


@pytest.mark.parametrize("name", TABLE["dtypes"])
def test_dtype_has_the_attributes_of_tensorflow(name: str) -> None:
    """Every attribute prints the same text or raises the same error.

    Bounds are compared as numbers, because releases of NumPy print them differently.
    """
    dtype = evaluate("tf.as_dtype")(name)
    expected = dict(TABLE["dtypes"][name])
    actual = {"str": str(dtype), "repr": repr(dtype)}
    for attribute, text in TABLE["dtypes"][name].items():
        if attribute in actual:
            continue
        try:
            value = getattr(dtype, attribute)
        except Exception as error:
            actual[attribute] = f"raises {type(error).__name__}: {error}"
            continue
        actual[attribute] = repr(value).replace("numpy.bool_", "numpy.bool")
        if attribute in ("min", "max") and not text.startswith("raises"):
            recorded = np.asarray(eval(text, {"np": np})).astype(dtype.as_numpy_dtype)
            actual[attribute], expected[attribute] = str(np.asarray(value, recorded.dtype)), str(recorded)

    assert actual == expected


@pytest.mark.parametrize("function", [name for name in TABLE["signatures"] if name not in NOT_OFFERED])
def test_function_has_the_signature_of_tensorflow(function: str) -> None:
    """Names, defaults and order of the arguments are the same."""
    signature = inspect.signature(evaluate(function))

    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    assert str(inspect.Signature(plain)) == TABLE["signatures"][function]


def test_every_error_class_and_code_of_tensorflow_is_offered() -> None:
    """Except the one about graphs."""
    offered = set(dir(evaluate("tf.errors")))

    assert set(TABLE["names"]["tf.errors"]) - offered == {"OperatorNotAllowedInGraphError"}


def test_every_dtype_of_tensorflow_is_offered() -> None:
    """Functions on tensors are not."""
    offered = set(dir(evaluate("tf.dtypes")))

    assert set(TABLE["names"]["tf.dtypes"]) - offered == {"QUANTIZED_DTYPES", "complex", "saturate_cast"}
