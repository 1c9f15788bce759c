"""Whether TensorFlow seems to be installed, and programs that bring along a package of its messages."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

import tfckpt

NAMES = ["tensorflow", "tensorflow-cpu", "tensorflow_cpu", "tf-nightly"]


@pytest.fixture
def installed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package on the path that looks like an installed TensorFlow 2.15, without being imported."""
    package = tmp_path / "tensorflow"
    (package / "python").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('the real one must not be imported')\n")
    (package / "python" / "__init__.py").write_text("")
    for name in NAMES:
        folder = tmp_path / f"{name.replace('-', '_')}-2.15.0.dist-info"
        folder.mkdir(exist_ok=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.15.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_tensorflow_seems_absent_before_and_after_it_is_imported() -> None:
    """Libraries that ask first do not compute with the stand-in; other packages are found as usual."""
    with tfckpt.stand_in():
        for _ in range(2):
            assert importlib.util.find_spec("tensorflow") is None
            assert importlib.util.find_spec("tensorflow.train") is None
            assert importlib.util.find_spec(".train", "tensorflow") is None
            assert importlib.util.find_spec("numpy") is not None
            assert importlib.metadata.version("numpy")
            for name in NAMES:
                with pytest.raises(importlib.metadata.PackageNotFoundError):
                    importlib.metadata.version(name)
            importlib.import_module("tensorflow.train")


@pytest.mark.usefixtures("installed")
def test_installed_tensorflow_seems_absent_too() -> None:
    """Only inside the block, and `import tensorflow` never runs it there."""
    assert importlib.metadata.version("tensorflow") == "2.15.0"

    with tfckpt.stand_in() as module:
        assert importlib.util.find_spec("tensorflow") is None
        for name in NAMES:
            with pytest.raises(importlib.metadata.PackageNotFoundError):
                importlib.metadata.metadata(name)
        assert importlib.import_module("tensorflow") is module

    assert importlib.metadata.version("tensorflow-cpu") == "2.15.0"
    assert importlib.util.find_spec("tensorflow") is not None


def test_tensorflow_seems_installed_on_request() -> None:
    """With `seem_installed`, module and package have the version of the stand-in."""
    with tfckpt.stand_in(seem_installed=True):
        specification = importlib.util.find_spec("tensorflow")
        assert specification is not None
        assert specification.name == "tensorflow"
        assert importlib.util.find_spec("tensorflow.train") is not None
        assert importlib.metadata.version("tensorflow") == "2.21.0"
        assert importlib.metadata.packages_distributions()["tensorflow"] == ["tensorflow"]
        assert importlib.metadata.version("numpy") != "2.21.0"

    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("tensorflow")


def test_functions_that_answer_are_restored() -> None:
    """Also after an error."""
    before = importlib.util.find_spec, importlib.metadata.Distribution.from_name, dict(sys.modules)

    with pytest.raises(ZeroDivisionError), tfckpt.stand_in():
        assert importlib.util.find_spec is not before[0]
        raise ZeroDivisionError

    assert importlib.util.find_spec is before[0]
    assert importlib.metadata.Distribution.from_name == before[1]
    assert sys.modules == before[2]


@pytest.fixture
def messages(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with a package `tensorflow` of two modules of messages, as some programs bring along."""
    framework = tmp_path / "tensorflow" / "core" / "framework"
    framework.mkdir(parents=True)
    for folder in (framework, framework.parent, framework.parents[1]):
        (folder / "__init__.py").write_text("")
    (framework / "graph_pb2.py").write_text("OWNER = 'the program'\n")
    (framework / "later_pb2.py").write_text("OWNER = 'the program'\n")
    return tmp_path


@pytest.mark.parametrize("is_imported", [True, False], ids=["imported before", "only on the path"])
def test_messages_of_a_program_are_let_through(messages: pathlib.Path, is_imported: bool) -> None:
    """The stand-in takes the place of the package, and its modules stay what they were, before and afterwards."""
    before = "from tensorflow.core.framework import graph_pb2\nimport tensorflow as real" if is_imported else ""
    after = (
        "assert sys.modules['tensorflow'] is real and real.core.framework.graph_pb2 is graph_pb2"
        if is_imported
        else "assert 'tensorflow' not in sys.modules"
    )
    program = f"""
import sys
import tfckpt
{before}
with tfckpt.stand_in() as module:
    import tensorflow as tf
    assert tf is module and tf.train.load_checkpoint
    from tensorflow.core.framework import graph_pb2, later_pb2
    import tensorflow.core.framework.graph_pb2 as again
    assert again is graph_pb2 and graph_pb2.OWNER == later_pb2.OWNER == 'the program'
    assert not hasattr(tf, 'keras')
{after}
"""

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=messages,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(pathlib.Path(tfckpt.__file__).parents[1])},
    )

    assert done.returncode == 0, done.stderr
