"""What scripts call before they read: logging, flags, options, and graphs of different names."""

from __future__ import annotations

import contextlib
import logging
import pathlib
import random
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

import tfckpt
from tfckpt.cli import main
from tfckpt.tensorflow_stub.errors import NotComputedError
from tfckpt.tensorflow_stub.flags import MissingAbslError
from tfckpt.tensorflow_stub.symbols import SymbolicTensor

FLAGS = """\
import tensorflow as tf
flags = tf.flags
flags.DEFINE_string("name", "nobody", "A name.")
flags.DEFINE_integer("count", 1, "A number.")
FLAGS = flags.FLAGS
def main(_):
    print(FLAGS.name, FLAGS.count)
if __name__ == "__main__":
    {start}
"""


@pytest.mark.parametrize("start", ["tf.app.run()", "tf.compat.v1.app.run(main)", "main([])"])
def test_flags_are_parsed_by_absl(tmp_path: pathlib.Path, start: str) -> None:
    """By `app.run`, or when the first flag is read."""
    pytest.importorskip("absl", reason="the package that has the flags")
    script = tmp_path / "script.py"
    script.write_text(FLAGS.format(start=start), encoding="utf-8")

    command = [sys.executable, "-m", "tfckpt", "run", str(script), "--name=x", "--count", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "x 3\n"), done.stderr


def test_flags_without_absl_name_the_package(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing TensorFlow alone does not need it."""
    monkeypatch.setitem(sys.modules, "absl", None)
    script = tmp_path / "script.py"
    script.write_text(FLAGS.format(start="pass"), encoding="utf-8")

    with tfckpt.stand_in() as tf, pytest.raises(MissingAbslError):
        _ = tf.flags.DEFINE_string
    assert main(["run", str(script)]) == 5


def test_log_messages_go_to_the_logger(caplog: pytest.LogCaptureFixture) -> None:
    """With the levels of TensorFlow; the first of every two messages of a counted kind is written."""
    with tfckpt.stand_in() as tf, caplog.at_level(logging.INFO, "tensorflow"):
        tf.logging.info("read %s", "x")
        tf.logging.debug("not this")
        tf.compat.v1.logging.warn("careful")
        for _ in range(3):
            tf.logging.log_every_n(tf.logging.ERROR, "often", 2)
            tf.logging.log_first_n(tf.logging.ERROR, "once", 1)

    assert [record.getMessage() for record in caplog.records] == ["read x", "careful", "often", "once", "often"]


def test_options_take_every_field() -> None:
    """They have no effect."""
    with tfckpt.stand_in() as tf:
        config = tf.ConfigProto(allow_soft_placement=True)
        config.gpu_options.allow_growth = True

        with tf.Session(config=config), tf.device("/gpu:0"):
            assert config.gpu_options.allow_growth is True
            assert config.allow_soft_placement is True


@pytest.fixture
def restored(data: pathlib.Path) -> Any:
    """A function that imports and restores a graph, and returns the modules and the session."""

    def restore(tf: ModuleType) -> Any:
        session = tf.Session()
        saver = tf.train.import_meta_graph(str(data / "digits-train" / "model.ckpt-322.meta"))
        saver.restore(session, str(data / "digits-train" / "model.ckpt-322"))
        return session

    return restore


def test_initializer_takes_the_restored_values_away(restored: Any) -> None:
    """TensorFlow would draw random ones; those would be a wrong network."""
    with tfckpt.stand_in() as tf:
        session = restored(tf)
        variable = tf.global_variables()[0]
        assert session.run(variable).shape == variable.shape

        session.run(tf.global_variables_initializer())

        with pytest.raises(NotComputedError):
            session.run(variable)


def test_graph_is_imported_under_a_scope(data: pathlib.Path, restored: Any) -> None:
    """The names in the checkpoint stay the same; without a scope, the names of two imports would clash."""
    meta = str(data / "digits-train" / "model.ckpt-322.meta")
    with tfckpt.stand_in() as tf:
        session = restored(tf)
        plain = tf.global_variables()[0]
        saver = tf.train.import_meta_graph(meta, import_scope="again")
        saver.restore(session, meta.removesuffix(".meta"))
        (scoped,) = tf.get_collection(tf.GraphKeys.GLOBAL_VARIABLES, scope=f"again/{plain.op.name}$|again/{plain.name}")

        assert (session.run(scoped) == session.run(plain)).all()
        with pytest.raises(ValueError, match="already"):
            tf.train.import_meta_graph(meta)


def test_state_ends_with_the_stand_in(restored: Any) -> None:
    """The next program begins with an empty graph."""
    with tfckpt.stand_in() as tf:
        restored(tf)
        assert tf.global_variables()
    with tfckpt.stand_in() as tf:
        assert tf.global_variables() == []
        assert tf.get_default_session() is None
        assert tf.executing_eagerly()


@pytest.mark.parametrize("seed", range(3))
def test_mutated_graph_gives_values_or_an_error_of_ours(seed: int, data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Names, types, shapes and inputs in a graph are claims of a file."""
    chance = random.Random(seed)
    prefix = data / "tensorflow" / "partitioned" / "model.ckpt-12"
    original = pathlib.Path(f"{prefix}.meta").read_bytes()
    path = tmp_path / "mutated.meta"
    for _ in range(60):
        mutated = bytearray(original)
        for _ in range(chance.choice([1, 2, 4])):
            mutated[chance.randrange(len(mutated))] = chance.randrange(256)
        path.write_bytes(mutated)
        with tfckpt.stand_in() as tf, contextlib.suppress(tfckpt.CheckpointError):
            session = tf.Session()
            saver = tf.train.import_meta_graph(str(path))
            if saver is not None:
                saver.restore(session, str(prefix))
                session.run(tf.global_variables())
            for operation in tf.get_default_graph().get_operations():
                repr(SymbolicTensor(operation))
                with contextlib.suppress(tfckpt.CheckpointError):
                    if operation.type in ("NoOp", "Assign"):
                        session.run(operation)


@pytest.mark.parametrize("damage", [b"", b"\xff" * 40, b"\x0a\x05"], ids=["empty", "no message", "cut off"])
def test_damaged_graph_is_an_error_of_tensorflow(damage: bytes, tmp_path: pathlib.Path) -> None:
    """An empty file is an empty graph, in which there is nothing to save."""
    path = tmp_path / "x.meta"
    path.write_bytes(damage)

    with tfckpt.stand_in() as tf:
        if not damage:
            assert tf.train.import_meta_graph(str(path)) is None
        else:
            with pytest.raises(tf.errors.DataLossError):
                tf.train.import_meta_graph(str(path))
            with pytest.raises(tf.errors.DataLossError):
                (tmp_path / "saved_model.pb").write_bytes(damage)
                tf.saved_model.load(str(tmp_path))
