"""Libraries that compute with TensorFlow if it is installed do not notice the stand-in."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

WRITER = """\
import sys
import tensorflow as tf
tf.constant(1)
import torch
from torch.utils.tensorboard import SummaryWriter
with SummaryWriter(sys.argv[1]) as writer:
    writer.add_scalar("loss", 0.5, 1)
    writer.add_histogram("weights", torch.arange(4.0), 1)
"""
SEED = """\
import tensorflow as tf
tf.constant(1)
import torch, transformers
transformers.set_seed(3)
drawn = torch.rand(4)
torch.manual_seed(3)
assert (drawn == torch.rand(4)).all()
"""


@pytest.mark.parametrize(
    ("script", "packages"),
    [
        pytest.param(WRITER, ("torch", "tensorboard"), id="tensorboard", marks=pytest.mark.slow),
        pytest.param(SEED, ("torch", "transformers"), id="transformers", marks=pytest.mark.slow),
    ],
)
def test_library_works_after_the_script_has_imported_tensorflow(
    script: str, packages: tuple[str, ...], tmp_path: pathlib.Path
) -> None:
    """The writer of TensorBoard, which does not ask whether TensorFlow is installed, and a function that asks."""
    for package in packages:
        pytest.importorskip(package, reason="one of the libraries")
    path = tmp_path / "script.py"
    path.write_text(script, encoding="utf-8")

    command = [sys.executable, "-W", "ignore", "-m", "tfckpt", "run", str(path), str(tmp_path / "events")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert script != WRITER or any((tmp_path / "events").iterdir())


def test_tensorboard_takes_its_own_files_and_not_the_stand_in() -> None:
    """By the switch of its build without TensorFlow, also if the script has imported TensorFlow."""
    pytest.importorskip("tensorboard", reason="the library")
    program = (
        "import tfckpt\n"
        "with tfckpt.stand_in() as module:\n"
        "    import tensorflow\n"
        "    from tensorboard.compat import tf\n"
        "    assert tf.io.gfile.__name__ == 'tensorboard.compat.tensorflow_stub.io.gfile', tf.io.gfile\n"
    )

    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
