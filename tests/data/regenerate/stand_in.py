"""The answers of TensorFlow to the programs of `stand_in_programs`."""

from __future__ import annotations

import contextlib
import os
import pathlib
import tempfile
from typing import Any

import numpy as np
import tensorflow as tf

from regenerate.recording import Record, write_json
from regenerate.stand_in_programs import COMPUTED, FILES, GRAPHS, LOADED, VALUES
from regenerate.train_api import describe

DATA = pathlib.Path(__file__).parents[1] / "tensorflow"


def make_stand_in() -> None:
    """The table."""
    here = os.getcwd()
    values = [run(f"answer = {expression}") | {"program": expression} for expression in VALUES]
    parts = {"values": values, "files": list(map(run, FILES)), "loaded": list(map(run, LOADED))}
    parts["graphs"] = [run(program, in_graph=True) for program in GRAPHS]
    parts["computed"] = [compute(program) for program in COMPUTED]
    os.chdir(here)
    write_json("expected.json", {"tensorflow": tf.__version__, "numpy": np.__version__, **parts})


def run(program: str, *, in_graph: bool = False) -> Record:
    """What a program answers or raises, in an empty folder."""
    names: dict[str, Any] = {
        "tf": tf,
        "tf1": tf.compat.v1,
        "np": np,
        "pathlib": pathlib,
        "data": str(DATA),
        "answer": "nothing",
    }
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            if in_graph:
                with tf.Graph().as_default():
                    exec(program, names)
                    found: Record = {"gives": describe_more(names["answer"])}
            else:
                exec(program, names)
                found = {"gives": describe_more(names["answer"])}
        except Exception as error:
            found = {"raises": type(error).__name__, "bases": [base.__name__ for base in type(error).__mro__[1:-1]]}
        finally:
            os.chdir("/")
    return {"program": program, **found}


def compute(program: str) -> Record:
    """The numbers that a program computes."""
    names: dict[str, Any] = {"tf": tf, "tf1": tf.compat.v1, "np": np, "data": str(DATA)}
    with contextlib.nullcontext() if "saved_model" in program else tf.Graph().as_default():
        exec(program, names)
    return {"program": program, "numbers": np.asarray(names["answer"]).tolist()}


def describe_more(value: Any) -> Any:
    """An answer, also one with tensors, variables and shapes."""
    if isinstance(value, tf.Variable):
        return {"type": "Variable", "name": value.name, "dtype": value.dtype.name, "value": describe(value.numpy())}
    if tf.is_tensor(value):
        return {
            "type": "Tensor",
            "dtype": value.dtype.name,
            "shape": str(value.shape),
            "value": describe(value.numpy()),
        }
    if isinstance(value, tf.TensorShape):
        return {"type": "TensorShape", "repr": repr(value)}
    if isinstance(value, dict):
        return {"type": "dict", "items": [[key, describe_more(item)] for key, item in sorted(value.items())]}
    if isinstance(value, list | tuple):
        return {"type": type(value).__name__, "items": [describe_more(item) for item in value]}
    if isinstance(value, str):
        return value.replace(str(DATA), "{data}")
    return describe(value)
