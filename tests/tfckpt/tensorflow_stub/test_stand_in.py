"""The stand-in for TensorFlow: its contents, its errors, and how it is installed and removed."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import pathlib
import pickle
import subprocess
import sys
import types

import pytest

import tfckpt
from tfckpt.tensorflow_stub.errors import ModuleNotOfferedError


def test_program_reads_a_checkpoint_through_the_stand_in(digits: pathlib.Path) -> None:
    """Its functions are those of `tfckpt.train`."""
    with tfckpt.stand_in() as module:
        import tensorflow as tf

        assert tf is module
        assert tf.train.load_variable(str(digits), "global_step") == 322
        assert tf.train.list_variables is tfckpt.train.list_variables
        assert tf.train.load_checkpoint(str(digits)).get_variable_to_dtype_map()["global_step"] == tf.int64
        assert tf.io.gfile.exists(f"{digits}.index")
        assert tf.__version__ == tf.version.VERSION == "2.21.0"


def test_modules_are_restored_at_the_end() -> None:
    """Also if the program raises an exception."""
    modules, finders = dict(sys.modules), list(sys.meta_path)

    with pytest.raises(ZeroDivisionError), tfckpt.stand_in():
        assert "tensorflow" in sys.modules
        raise ZeroDivisionError

    assert sys.modules == modules
    assert sys.meta_path == finders
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module("tensorflow")
    assert caught.value.name == "tensorflow"


def test_nested_stand_in_is_the_same_module() -> None:
    """The end of the inner block does not remove it."""
    with tfckpt.stand_in() as outer:
        with tfckpt.stand_in() as inner:
            assert inner is outer

        assert sys.modules["tensorflow"] is outer

    assert "tensorflow" not in sys.modules


@pytest.mark.parametrize("name", ["tensorflow", "tensorflow.python", "tensorflow.core.framework.graph_pb2"])
def test_stand_in_is_refused_if_tensorflow_is_imported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of its modules is enough; a package with a similar name does not matter."""
    monkeypatch.setitem(sys.modules, "tensorflow_other", types.ModuleType("tensorflow_other"))
    with tfckpt.stand_in():
        pass
    monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "tensorflow.python.framework", types.ModuleType("tensorflow.python.framework"))

    with pytest.raises(tfckpt.TensorFlowImportedError), tfckpt.stand_in():
        pytest.fail("the stand-in must not start")

    assert sys.modules[name].__class__ is types.ModuleType


def test_module_that_the_program_adds_is_kept() -> None:
    """Only the modules of the stand-in are removed."""
    other = types.ModuleType("tensorflow.extra")
    try:
        with tfckpt.stand_in():
            sys.modules["tensorflow.extra"] = other

        assert sys.modules["tensorflow.extra"] is other
    finally:
        del sys.modules["tensorflow.extra"]


def test_error_for_another_attribute_has_its_name_and_the_line() -> None:
    """`hasattr` and `getattr` with a default work as usual."""
    with tfckpt.stand_in() as tf:
        with pytest.raises(tfckpt.NotOfferedError) as caught:
            tf.compat.v1.train.AdamOptimizer()
        line = int(str(caught.tb.tb_lineno))

        assert caught.value.attribute == "tensorflow.compat.v1.train.AdamOptimizer"
        assert (caught.value.file, caught.value.line) == (__file__, line)
        assert isinstance(caught.value, AttributeError)
        assert isinstance(caught.value, tfckpt.UnsupportedFeatureError)
        assert not hasattr(tf, "keras")
        assert getattr(tf, "gradients", None) is None
        assert hasattr(tf, "train")


@pytest.mark.parametrize("statement", ["tensorflow.keras", "__import__('tensorflow.keras')"])
def test_errors_of_the_stand_in_can_be_pickled(statement: str) -> None:
    """Programs pass errors between processes."""
    with tfckpt.stand_in() as tf, pytest.raises(tfckpt.UnsupportedFeatureError) as caught:
        eval(statement, {"tensorflow": tf})

    again = pickle.loads(pickle.dumps(caught.value))

    assert type(again) is type(caught.value)
    assert str(again) == str(caught.value)
    assert (again.attribute, again.file, again.line) == ("tensorflow.keras", "<string>", 1)


@pytest.mark.parametrize(
    "statement",
    [
        "import tensorflow.keras",
        "import tensorflow.keras.layers",
        "from tensorflow import keras",
        "from tensorflow.keras import layers",
    ],
)
def test_error_for_another_module_has_its_name_and_the_line(statement: str) -> None:
    """It is a `ModuleNotFoundError`, so programs for which the module is optional continue."""
    with tfckpt.stand_in(), pytest.raises(ModuleNotFoundError) as caught:
        exec(compile(f"\n\n{statement}", "some_script.py", "exec"), {})

    assert isinstance(caught.value, ModuleNotOfferedError)
    assert (caught.value.attribute, caught.value.file, caught.value.line) == ("tensorflow.keras", "some_script.py", 3)


@pytest.mark.parametrize(
    "statement",
    [
        "import tensorflow.compat.v1 as tf; tf.disable_v2_behavior(); f = tf.train.NewCheckpointReader",
        "import tensorflow.compat.v2 as tf; f = tf.train.load_checkpoint",
        "import tensorflow.io.gfile as g; f = g.GFile",
        "from tensorflow import train; f = train.load_variable",
        "from tensorflow.compat.v1 import gfile; f = gfile.Open",
        "from tensorflow.python import pywrap_tensorflow as p; f = p.NewCheckpointReader",
        "from tensorflow.python.training import checkpoint_utils as c; f = c.list_variables",
        "from tensorflow.python.training.py_checkpoint_reader import NewCheckpointReader as f",
        "from tensorflow.python.platform import gfile; f = gfile.FastGFile",
        "import tensorflow as tf; f = tf.contrib.framework.load_variable",
        "import tensorflow as tf; f = tf.errors.NotFoundError",
        "import tensorflow as tf; f = tf.Session",
        "from tensorflow.python.framework import dtypes, errors_impl, meta_graph, tensor_util; f = dtypes.as_dtype",
        "from tensorflow.contrib.framework.python.framework import checkpoint_utils as c; f = c.load_variable",
        "from tensorflow.core.framework import graph_pb2; f = graph_pb2.GraphDef",
        "from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef as f",
        "from tensorflow.python.training.checkpoint_management import latest_checkpoint as f",
        "from tensorflow.python.lib.io import file_io; f = file_io.FileIO",
        "from tensorflow import *; f = train.load_checkpoint",
    ],
)
def test_functions_have_their_usual_import_paths(statement: str) -> None:
    """Those of TF2, of TF1 in `compat`, and of TF1 itself."""
    namespace: dict[str, object] = {}

    with tfckpt.stand_in():
        exec(statement, namespace)

    assert callable(namespace["f"])


@pytest.mark.parametrize(
    "name", ["tensorflow.keras", "tensorflow.python.keras", "tensorflow_hub", "tensorflow.nothing"]
)
def test_other_modules_do_not_seem_to_be_installed(name: str) -> None:
    """`find_spec` is not an import, so it does not raise."""
    with tfckpt.stand_in():
        assert importlib.util.find_spec(name) is None


def test_module_lists_its_contents() -> None:
    """Every listed name can be accessed."""
    with tfckpt.stand_in() as tf:
        names = dir(tf)

        assert {"__version__", "compat", "dtypes", "errors", "float32", "io", "train"} <= set(names)
        assert all(getattr(tf, name) is not None for name in names)


@pytest.mark.parametrize("argument", ["positional", "named"])
def test_file_functions_of_tf1_have_its_argument_names(digits: pathlib.Path, argument: str) -> None:
    """The argument is called `filename` or `dirname`."""
    with tfckpt.stand_in() as tf:
        gfile = tf.gfile
        folder = str(digits.parent)

        if argument == "named":
            assert gfile.Exists(filename=folder)
            assert gfile.IsDirectory(dirname=folder)
            assert gfile.ListDirectory(dirname=folder) == gfile.ListDirectory(folder)
            assert len(gfile.Glob(filename=f"{digits}.*")) > 1
        else:
            assert gfile.Exists(folder)
            assert gfile.IsDirectory(folder)
        with pytest.raises(TypeError):
            gfile.Exists(nonsense=folder)


def test_importing_the_package_does_not_import_the_stand_in() -> None:
    """It is imported on first use."""
    code = (
        "import sys, tfckpt; assert 'tfckpt.tensorflow_stub' not in sys.modules; "
        "assert 'tfckpt.train' not in sys.modules; "
        "tfckpt.stand_in; tfckpt.train.load_checkpoint; assert 'tensorflow' not in sys.modules"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
