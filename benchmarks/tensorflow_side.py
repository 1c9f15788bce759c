"""TensorFlow's side of a comparison, in a process of the Python interpreter that has it.

As a script it reads a whole checkpoint several times and prints the seconds of the fastest read after the first.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time

_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1", "CUDA_VISIBLE_DEVICES": ""}


def read_with_tensorflow(python: str, prefix: pathlib.Path) -> float:
    """Return the seconds that TensorFlow takes to read every tensor, without its import."""
    result = subprocess.run(
        [python, __file__, str(prefix)], check=True, capture_output=True, text=True, env=os.environ | _QUIET
    )
    return float(result.stdout)


def command(python: str, prefix: pathlib.Path) -> list[str]:
    """Return a command that imports TensorFlow and reads every tensor once."""
    return [python, __file__, str(prefix), "once"]


def environment() -> dict[str, str]:
    """Return an environment that makes TensorFlow quiet."""
    return dict(os.environ | _QUIET)


def _read(prefix: str) -> float:
    import tensorflow as tf  # type: ignore[import-not-found, unused-ignore]  # only in an interpreter that has TensorFlow

    started = time.perf_counter()
    reader = tf.train.load_checkpoint(prefix)
    for name in reader.get_variable_to_shape_map():
        reader.get_tensor(name)
    return time.perf_counter() - started


if __name__ == "__main__":
    runs = 1 if sys.argv[2:] == ["once"] else 6
    times = [_read(sys.argv[1]) for _ in range(runs)]
    print(min(times[1:] or times))
