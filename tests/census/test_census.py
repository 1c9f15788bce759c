"""The census of public scripts that read checkpoints through TensorFlow, and the script that counts them."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from .names import find_names
from .offers import missing_names

ROOT = pathlib.Path(__file__).parents[2]
#: Found by looking: files of these repositories and packages that call a function that reads checkpoints, and whose
#: name says that they convert, extract, inspect, average, rename or load weights.
SCRIPTS: list[dict[str, Any]] = json.loads((ROOT / "tests" / "census" / "scripts.json").read_text(encoding="utf-8"))
LEAST = 0.6


def test_most_public_scripts_are_covered() -> None:
    """All names that a script itself needs are offered; docs/stand-in.md has the counts."""
    pytest.importorskip("absl", reason="scripts use tf.flags and tf.app, which need absl-py")
    covered = sum(not missing_names(script["needs"]) for script in SCRIPTS)

    assert len(SCRIPTS) >= 95
    assert covered >= LEAST * len(SCRIPTS)
    page = (ROOT / "docs" / "stand-in.md").read_text(encoding="utf-8")
    assert f"{covered} of {len(SCRIPTS)} public scripts" in page


def test_every_script_says_where_it_is() -> None:
    """A repository and a commit, or a package and a version, and the path; no script is listed twice."""
    places = [tuple(value for key, value in sorted(script.items()) if key != "needs") for script in SCRIPTS]

    assert len(set(places)) == len(places)
    assert all(
        {"repository", "commit", "path"} <= set(one) or {"package", "version", "path"} <= set(one) for one in SCRIPTS
    )
    assert all(script["needs"] for script in SCRIPTS)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import tensorflow as tf\ntf.train.Saver().restore(s, p)", {"tensorflow.train.Saver"}),
        ("import tensorflow.compat.v1 as tf\ntf.Session", {"tensorflow.compat.v1.Session"}),
        ("from tensorflow.python import pywrap_tensorflow as p\np.X()", {"tensorflow.python.pywrap_tensorflow.X"}),
        ("from tensorflow import train\ntrain.load_variable", {"tensorflow.train.load_variable"}),
        ("import tensorflow.io\ntensorflow.io.gfile.exists(x)", {"tensorflow.io.gfile.exists"}),
        ("def f():\n import tensorflow as tf\n tf.zeros(1)", {"tensorflow.zeros"}),
        ("try:\n import tensorflow as tf\nexcept ImportError:\n pass\ntf.a", {"tensorflow.a"}),
        ("try:\n import tensorflow.b\nexcept ImportError:\n pass", set()),
        ("import tensorflow_hub as hub\nhub.Module(x)", {"tensorflow_hub.Module"}),
        ("import numpy as tf\ntf.train.Saver", set()),
    ],
)
def test_names_are_the_longest_chains_after_an_import(source: str, names: set[str]) -> None:
    """Wherever the import is; methods of results are not names, and optional imports do not count."""
    assert find_names(source) == names


@pytest.mark.parametrize(
    ("name", "is_offered"),
    [
        ("tensorflow.train.load_checkpoint", True),
        ("tensorflow.GraphKeys.GLOBAL_VARIABLES", True),
        ("tensorflow.GraphKeys.NOTHING", False),
        ("tensorflow.float32.base_dtype.anything", True),
        ("tensorflow.keras.layers.Dense", False),
        ("tensorflow_hub.Module", False),
    ],
)
def test_name_is_offered_up_to_an_object(name: str, is_offered: bool) -> None:
    """Attributes of modules and classes count, those of objects do not."""
    assert (missing_names([name]) == []) is is_offered


def test_folder_of_scripts_is_counted(tmp_path: pathlib.Path) -> None:
    """Scripts without TensorFlow do not count, and those that are not Python 3 are named."""
    (tmp_path / "good.py").write_text("import tensorflow as tf\ntf.Session()\n")
    (tmp_path / "bad.py").write_text("from tensorflow import keras\nkeras.Model()\n")
    (tmp_path / "other.py").write_text("import numpy\n")
    (tmp_path / "old.py").write_text("import tensorflow\nprint 'x'\n")

    command = [sys.executable, "-m", "tests.census", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == [
        "bad.py: tensorflow.keras.Model",
        "good.py: all offered",
        "1 of 2 scripts are covered, 50%",
    ]
    assert done.stderr.startswith("old.py")
