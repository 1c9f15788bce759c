"""The stand-in for TensorFlow: what it offers, what it says to everything else, and how it comes and goes."""

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


def test_program_reads_a_checkpoint_through_the_stand_in(digits: pathlib.Path) -> None:
    """The names are those of `tfckpt.train`."""
    with tfckpt.stand_in() as module:
        import tensorflow as tf

        assert tf is module
        assert tf.train.load_variable(str(digits), "global_step") == 322
        assert tf.train.list_variables is tfckpt.train.list_variables
        assert tf.train.load_checkpoint(str(digits)).get_variable_to_dtype_map()["global_step"] == tf.int64
        assert tf.io.gfile.exists(f"{digits}.index")
        assert tf.__version__ == tf.version.VERSION == "2.21.0"


def test_modules_are_as_before_afterwards() -> None:
    """Also when the program fails."""
    modules, finders = dict(sys.modules), list(sys.meta_path)

    with pytest.raises(ZeroDivisionError), tfckpt.stand_in():
        assert "tensorflow" in sys.modules
        raise ZeroDivisionError

    assert sys.modules == modules
    assert sys.meta_path == finders
    with pytest.raises(ModuleNotFoundError, match="No module named 'tensorflow'"):
        importlib.import_module("tensorflow")


def test_stand_in_within_itself_is_the_same_one() -> None:
    """The inner end leaves the outer one in place."""
    with tfckpt.stand_in() as outer:
        with tfckpt.stand_in() as inner:
            assert inner is outer

        assert sys.modules["tensorflow"] is outer

    assert "tensorflow" not in sys.modules


@pytest.mark.parametrize("name", ["tensorflow", "tensorflow.python"])
def test_stand_in_refuses_beside_the_real_tensorflow(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of its modules is enough; a package that only has the word in its name is not."""
    monkeypatch.setitem(sys.modules, "tensorflow_other", types.ModuleType("tensorflow_other"))
    with tfckpt.stand_in():
        pass
    monkeypatch.setitem(sys.modules, name, types.ModuleType(name))

    with (
        pytest.raises(tfckpt.TensorFlowImportedError, match="the real TensorFlow is imported already"),
        tfckpt.stand_in(),
    ):
        pytest.fail("the stand-in must not start")

    assert sys.modules[name].__class__ is types.ModuleType


def test_module_that_the_program_puts_in_its_place_stays() -> None:
    """Only the stand-in's own modules are taken away."""
    other = types.ModuleType("tensorflow.extra")
    try:
        with tfckpt.stand_in():
            sys.modules["tensorflow.extra"] = other

        assert sys.modules["tensorflow.extra"] is other
    finally:
        del sys.modules["tensorflow.extra"]


def test_attribute_that_is_not_offered_is_an_error_that_names_it_and_the_line() -> None:
    """`hasattr` and `getattr` with a default work as programs expect."""
    with tfckpt.stand_in() as tf:
        with pytest.raises(tfckpt.NotOfferedError) as caught:
            tf.compat.v1.train.Saver()
        line = int(str(caught.tb.tb_lineno))

        assert caught.value.attribute == "tensorflow.compat.v1.train.Saver"
        assert (caught.value.file, caught.value.line) == (__file__, line)
        assert str(caught.value) == (
            "module 'tensorflow.compat.v1.train' has no attribute 'Saver': the stand-in for TensorFlow offers only "
            f"what reads checkpoints, and {__file__}, line {line}, asks for tensorflow.compat.v1.train.Saver"
        )
        assert isinstance(caught.value, AttributeError)
        assert isinstance(caught.value, tfckpt.UnsupportedFeatureError)
        assert not hasattr(tf, "keras")
        assert getattr(tf, "Session", None) is None
        assert hasattr(tf, "train")


@pytest.mark.parametrize("statement", ["tensorflow.keras", "__import__('tensorflow.keras')"])
def test_error_of_what_is_not_offered_survives_pickling(statement: str) -> None:
    """Programs hand errors from one process to another."""
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
def test_module_that_is_not_offered_is_an_import_error_that_names_it(statement: str) -> None:
    """Programs that can do without it go on."""
    with tfckpt.stand_in(), pytest.raises(ModuleNotFoundError) as caught:
        exec(compile(f"\n\n{statement}", "some_script.py", "exec"), {})

    assert str(caught.value) == (
        "no module named 'tensorflow.keras': the stand-in for TensorFlow offers only what reads checkpoints, "
        "and some_script.py, line 3, imports it"
    )


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
        "from tensorflow import *; f = train.load_checkpoint",
    ],
)
def test_programs_reach_the_functions_by_every_usual_path(statement: str) -> None:
    """Of TF2, of TF1 under `compat`, and of TF1 itself."""
    namespace: dict[str, object] = {}

    with tfckpt.stand_in():
        exec(statement, namespace)

    assert callable(namespace["f"])


def test_tests_for_an_installed_tensorflow_say_yes() -> None:
    """Libraries ask for the module's specification and for the package's version before they import it."""
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("tensorflow")

    with tfckpt.stand_in():
        specification = importlib.util.find_spec("tensorflow")
        assert specification is not None
        assert specification.name == "tensorflow"
        assert importlib.util.find_spec("tensorflow.train") is not None
        assert importlib.metadata.version("tensorflow") == "2.21.0"
        assert importlib.metadata.packages_distributions()["tensorflow"] == ["tensorflow"]
        assert importlib.metadata.version("numpy") != "2.21.0"

    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("tensorflow")


@pytest.mark.parametrize(
    "name", ["tensorflow.keras", "tensorflow.python.keras", "tensorflow_hub", "tensorflow.nothing"]
)
def test_tests_for_other_modules_say_no(name: str) -> None:
    """A question is no import, so it is no error."""
    with tfckpt.stand_in():
        assert importlib.util.find_spec(name) is None


def test_module_lists_what_it_offers() -> None:
    """Nothing of it is a promise it does not keep."""
    with tfckpt.stand_in() as tf:
        names = dir(tf)

        assert {"__version__", "compat", "dtypes", "errors", "float32", "io", "train"} <= set(names)
        assert all(getattr(tf, name) is not None for name in names)


@pytest.mark.parametrize("argument", ["positional", "named"])
def test_file_functions_of_tf1_take_the_arguments_of_tf1(digits: pathlib.Path, argument: str) -> None:
    """Their argument was called `filename` or `dirname`."""
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


def test_importing_the_package_neither_needs_nor_makes_the_stand_in() -> None:
    """It is built when it is asked for."""
    code = (
        "import sys, tfckpt; assert 'tfckpt.tensorflow_stub' not in sys.modules; "
        "assert 'tfckpt.train' not in sys.modules; "
        "tfckpt.stand_in; tfckpt.train.load_checkpoint; assert 'tensorflow' not in sys.modules"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
