"""Sessions and signatures under the stand-in for TensorFlow: what they compute, with this engine and without."""

from __future__ import annotations

import importlib.metadata
import json
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import tfckpt

FOLDER = pathlib.Path(__file__).parents[2] / "data" / "tensorflow"
ROWS: list[dict[str, Any]] = json.loads((FOLDER / "stand-in" / "expected.json").read_text(encoding="utf-8"))["computed"]
#: The largest difference from TensorFlow's float32, whose operations have another order.
TOLERANCE = 1e-4


def run(program: str) -> Any:
    """Run a program as it was run when its answer was recorded, and return the answer."""
    with tfckpt.stand_in() as module:
        tf: Any = module
        names: dict[str, Any] = {"tf": tf, "tf1": tf.compat.v1, "np": np, "data": str(FOLDER)}
        if "saved_model" in program:
            exec(program, names)
        else:
            with tf.Graph().as_default():
                exec(program, names)
    return names["answer"]


@pytest.mark.parametrize("row", ROWS, ids=[f"program {number}" for number in range(len(ROWS))])
def test_program_computes_the_numbers_of_tensorflow(row: dict[str, Any]) -> None:
    """Also with a value that the program assigns to a variable."""
    numbers = np.asarray(run(row["program"]))

    assert numbers.shape == np.shape(row["numbers"])
    assert np.abs(numbers - row["numbers"]).max() <= TOLERANCE


def test_recorded_numbers_differ_between_programs() -> None:
    """An assigned value changes the result."""
    assert ROWS[0]["numbers"] == ROWS[1]["numbers"] != ROWS[2]["numbers"]


@pytest.mark.parametrize("row", [ROWS[0], ROWS[-1]], ids=["session", "signature"])
def test_without_an_engine_the_error_names_the_extra(row: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables can still be restored."""
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: ())

    with pytest.raises(tfckpt.MissingDependencyError) as caught:
        run(row["program"])

    assert caught.value.extra == "torch"
    assert run(ROWS[0]["program"].replace("sess.run('logits:0', {'input:0': x})", "sess.run(tf1.global_variables())"))


def test_restoring_does_not_load_the_engine() -> None:
    """Nor does a whole import of a graph."""
    program = f"""
import sys, tfckpt
with tfckpt.stand_in() as tf:
    tf1 = tf.compat.v1
    with tf.Graph().as_default(), tf1.Session() as sess:
        saver = tf1.train.import_meta_graph({str(FOLDER)!r} + "/../digits-train/model.ckpt-322.meta")
        saver.restore(sess, {str(FOLDER)!r} + "/../digits-train/model.ckpt-322")
        sess.run(tf1.global_variables())
assert "converter" not in sys.modules and "torch" not in sys.modules
"""

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
