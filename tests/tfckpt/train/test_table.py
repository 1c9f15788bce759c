"""`tfckpt.train` and the stand-in answer every expression of a table as TensorFlow 2.21 did, but for what is listed."""

from __future__ import annotations

import inspect
import json
import pathlib
from typing import Any

import numpy as np
import pytest

from tests.arrays import digest
from tfckpt.tensorflow_stub.modules import build
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

#: TensorFlow opens an index file given as a prefix as a checkpoint without tensors, and takes the header for a tensor
#: under the empty name. Neither gives data, so both are refused.
STRICTER = {
    f"{LOAD}('dtypes/ckpt.index').get_variable_to_shape_map()": "NotFoundError",
    f"{LOAD}('dtypes/ckpt.index').get_tensor('float32/scalar')": "NotFoundError",
    f"{THREE}.get_tensor('')": "NotFoundError",
    f"{THREE}.has_tensor('')": False,
}
#: TensorFlow's reader refuses what its restore operation reads: the case and the tensor whose value is recorded there.
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
#: Names of TF1 that 2.21 no longer has, kept for old scripts.
OLDER = {
    "tf.train.NewCheckpointReader('sharded/three')": "CheckpointReader",
    "tf.train.checkpoint_exists('dtypes/ckpt')": True,
    "tf.pywrap_tensorflow": "StandInModule",
    "tf.contrib": "StandInModule",
    "tf.gfile": "StandInModule",
}
#: Names that do not read checkpoints. Those TensorFlow lacks too are an AttributeError in both.
NOT_OFFERED = {
    "tf.train.CheckpointManager",
    "tf.train.checkpoints_iterator",
    "tf.train.get_checkpoint_mtimes",
    "tf.float8_e5m2",
    "tf.int4",
}
#: Python's own errors name the class, and which name is the first that is not UTF-8 depends on the order.
OWN_WORDS = {
    f"{THREE}['counter']",
    f"len({THREE})",
    f"'counter' in {THREE}",
    f"{THREE}.close()",
    f"{LOAD}('non-utf8-name/ckpt').get_variable_to_shape_map()",
    f"{LOAD}('non-utf8-name/ckpt').get_variable_to_dtype_map()",
}
#: Names come in order and not in that of a hash table; there is one object for each dtype; fewer names are offered.
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
    "sorted(n for n in dir(tf.io.gfile) if not n.startswith('_'))": ["GFile", "exists", "glob", "isdir", "listdir"],
}
DIFFERENT = {*STRICTER, *BEYOND, *OLDER, *NOT_OFFERED, *OWN_WORDS, *OTHER}


@pytest.fixture(autouse=True)
def in_the_folder_of_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """The expressions name the cases by relative paths."""
    monkeypatch.chdir(FOLDER)


def evaluate(expression: str) -> Any:
    """What an expression of the table gives."""
    return eval(expression, {"tf": build()["tensorflow"], "np": np, "pathlib": pathlib})


def describe(value: Any) -> Any:
    """A value as the table describes it; who owns an array's memory is left out."""
    kind = type(value).__name__.removesuffix("_")  # numpy.bool_ in NumPy 1
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        found: dict[str, Any] = {"type": f"numpy.{kind}", "dtype": str(array.dtype), "shape": list(array.shape)}
        if array.dtype == object:
            found["elements"] = sorted({type(item).__name__ for item in array.ravel().tolist()})
        if isinstance(value, np.ndarray):
            found["writeable"] = value.flags.writeable
        return found | {"sha256": digest(array)}
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


def without_owner(given: Any) -> Any:
    """An answer of the table without who owns the memory."""
    return {key: item for key, item in given.items() if key != "owns_data"} if isinstance(given, dict) else given


@pytest.mark.parametrize("expression", [key for key in ROWS if key not in DIFFERENT])
def test_expression_gives_what_tensorflow_gives(expression: str) -> None:
    """Types, values, order, and class, bases, message and code of what is raised."""
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
def test_what_would_lose_data_silently_is_refused(expression: str) -> None:
    """An index file as a prefix, and the empty name."""
    ours = STRICTER[expression]

    if ours is False:
        assert ROWS[expression]["gives"] is True
        assert evaluate(expression) is False
    else:
        with pytest.raises(Exception) as caught:
            evaluate(expression)
        assert type(caught.value).__name__ == ours


@pytest.mark.parametrize("expression", BEYOND)
def test_what_tensorflow_restores_and_its_reader_refuses_is_read(expression: str) -> None:
    """The value is the one that TensorFlow's restore operation gave, or that was given to its writer."""
    case, prefix, name = BEYOND[expression]
    record = json.loads((FOLDER / case / "expected.json").read_text(encoding="utf-8"))
    (tensors,) = [one["tensors"] for one in record["checkpoints"] if prefix in (one["prefix"], *one.get("also", ()))]
    (expected,) = [one for one in tensors if one["name"] == name]

    value = evaluate(expression)

    assert "raises" in ROWS[expression]
    assert list(np.shape(value)) == expected["shape"]
    assert digest(np.asarray(value)) == expected["sha256"]


@pytest.mark.parametrize("expression", OLDER)
def test_names_of_tf1_are_kept(expression: str) -> None:
    """TensorFlow 2.21 has them no more."""
    given = evaluate(expression)

    assert ROWS[expression]["raises"] == "AttributeError"
    assert given is True or type(given).__name__ == OLDER[expression]


@pytest.mark.parametrize("expression", sorted(NOT_OFFERED))
def test_names_that_do_not_read_checkpoints_are_attribute_errors(expression: str) -> None:
    """The message names the whole attribute."""
    with pytest.raises(AttributeError, match=f"asks for {expression.replace('tf.', 'tensorflow.', 1)}$"):
        evaluate(expression)


@pytest.mark.parametrize("expression", sorted(OWN_WORDS))
def test_errors_of_python_have_the_same_class(expression: str) -> None:
    """Their words are Python's own."""
    with pytest.raises(Exception) as caught:
        evaluate(expression)

    assert type(caught.value).__name__ == ROWS[expression]["raises"]


@pytest.mark.parametrize("expression", OTHER)
def test_other_differences_are_these(expression: str) -> None:
    """Order, identity and the names on offer."""
    assert evaluate(expression) == OTHER[expression]
    assert describe(OTHER[expression]) != ROWS[expression].get("gives")


def test_differences_are_all_rows_of_the_table() -> None:
    """No difference is listed that the table does not have."""
    assert set(ROWS) >= DIFFERENT


@pytest.mark.parametrize("name", TABLE["dtypes"])
def test_dtype_has_the_attributes_of_tensorflows(name: str) -> None:
    """Every attribute prints the same, or raises the same; bounds are compared as numbers, which NumPy's releases print
    in different ways.
    """
    dtype = evaluate("tf.as_dtype")(name)
    expected = dict(TABLE["dtypes"][name])
    found = {"str": str(dtype), "repr": repr(dtype)}
    for attribute, text in TABLE["dtypes"][name].items():
        if attribute in found:
            continue
        try:
            value = getattr(dtype, attribute)
        except Exception as error:
            found[attribute] = f"raises {type(error).__name__}: {error}"
            continue
        found[attribute] = repr(value).replace("numpy.bool_", "numpy.bool")
        if attribute in ("min", "max") and not text.startswith("raises"):
            recorded = np.asarray(eval(text, {"np": np})).astype(dtype.as_numpy_dtype)
            found[attribute], expected[attribute] = str(np.asarray(value, recorded.dtype)), str(recorded)

    assert found == expected


@pytest.mark.parametrize("function", [name for name in TABLE["signatures"] if name not in NOT_OFFERED])
def test_function_takes_the_arguments_of_tensorflows(function: str) -> None:
    """The same names with the same defaults, in the same order."""
    signature = inspect.signature(evaluate(function))

    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    assert str(inspect.Signature(plain)) == TABLE["signatures"][function]


def test_every_error_class_and_code_of_tensorflow_is_there() -> None:
    """But for the one about graphs."""
    offered = set(dir(evaluate("tf.errors")))

    assert set(TABLE["names"]["tf.errors"]) - offered == {"OperatorNotAllowedInGraphError"}


def test_every_dtype_of_tensorflow_is_there() -> None:
    """Functions on tensors are not."""
    offered = set(dir(evaluate("tf.dtypes")))

    assert set(TABLE["names"]["tf.dtypes"]) - offered == {"QUANTIZED_DTYPES", "cast", "complex", "saturate_cast"}
