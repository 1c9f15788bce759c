"""The stand-in gives the answers of TensorFlow 2.21 to recorded programs, except for the differences listed here."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tfckpt
from tests.tfckpt.train.test_table import describe, without_owner
from tfckpt.tensorflow_stub.arrays import Tensor
from tfckpt.tensorflow_stub.saved_models import LoadedVariable
from tfckpt.tensorflow_stub.shapes import TensorShape
from tfckpt.tensorflow_stub.variables import Variable

FOLDER = pathlib.Path(__file__).parents[2] / "data" / "tensorflow"
TABLE: dict[str, Any] = json.loads((FOLDER / "stand-in" / "expected.json").read_text(encoding="utf-8"))
ROWS = {row["program"]: (part, row) for part in ("values", "files", "loaded", "graphs") for row in TABLE[part]}
#: TensorFlow gives a variable a value of another shape than its own, without a word.
STRICTER = {
    program: "InvalidArgumentError"
    for program in ROWS
    if program.endswith("b = tf1.Variable([0.0], name='b'); tf1.train.Saver({'a': b}).restore(sess, './x')")
}


@pytest.fixture
def tf(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The stand-in, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    with tfckpt.stand_in() as module:
        yield module


def run(program: str, part: str, tf: Any) -> Any:
    """Run a program as it was run when its answer was recorded, and return the answer."""
    names: dict[str, Any] = {
        "tf": tf,
        "tf1": tf.compat.v1,
        "np": np,
        "pathlib": pathlib,
        "data": str(FOLDER),
        "answer": "nothing",
    }
    source = f"answer = {program}" if part == "values" else program
    if part != "graphs":
        exec(source, names)
    else:
        with tf.Graph().as_default():
            exec(source, names)
    return names["answer"]


def describe_more(value: Any) -> Any:
    """Describe an answer in the form of the table."""
    if isinstance(value, Variable | LoadedVariable):
        return {"type": "Variable", "name": value.name, "dtype": value.dtype.name, "value": describe(value.numpy())}
    if isinstance(value, Tensor):
        content = describe(value.numpy())
        return {"type": "Tensor", "dtype": value.dtype.name, "shape": str(value.shape), "value": content}
    if isinstance(value, TensorShape):
        return {"type": "TensorShape", "repr": repr(value)}
    if isinstance(value, dict):
        return {"type": "dict", "items": [[key, describe_more(item)] for key, item in sorted(value.items())]}
    if isinstance(value, list | tuple):
        return {"type": type(value).__name__, "items": [describe_more(item) for item in value]}
    if isinstance(value, str):
        return value.replace(str(FOLDER), "{data}")
    return describe(value)


def simplified(recorded: Any) -> Any:
    """Return a recorded answer without the owners of memory."""
    if isinstance(recorded, list):
        return [simplified(item) for item in recorded]
    if isinstance(recorded, dict):
        return {key: simplified(item) for key, item in without_owner(recorded).items()}
    return recorded


@pytest.mark.parametrize("program", [program for program in ROWS if program not in STRICTER])
def test_program_has_the_answer_of_tensorflow(program: str, tf: ModuleType) -> None:
    """Types, values, names and order; for an error its class and those above it."""
    part, row = ROWS[program]

    if "gives" in row:
        assert describe_more(run(program, part, tf)) == simplified(row["gives"])
    else:
        with pytest.raises(Exception) as caught:
            run(program, part, tf)
        names = [base.__name__ for base in type(caught.value).__mro__]
        assert row["raises"] in names
        assert [name for name in names if name in row["bases"]] == row["bases"]


@pytest.mark.parametrize("program", STRICTER)
def test_program_that_would_damage_a_network_is_refused(program: str, tf: ModuleType) -> None:
    """Where TensorFlow raises no error."""
    part, row = ROWS[program]

    with pytest.raises(Exception) as caught:
        run(program, part, tf)

    assert type(caught.value).__name__ == STRICTER[program]
    assert "gives" in row


def test_every_difference_is_a_row_of_the_table() -> None:
    """A misspelled program would never be compared."""
    assert len(STRICTER) == 1
