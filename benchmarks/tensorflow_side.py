"""TensorFlow's side of a comparison, in a process of the Python that has it.

Run as a script it prints the seconds of the quickest of several reads of a whole checkpoint, after one that warms up.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time

_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1", "CUDA_VISIBLE_DEVICES": ""}


def read_with_tensorflow(python: str, prefix: pathlib.Path) -> float:
    """Seconds TensorFlow takes to read every tensor, its import not counted."""
    result = subprocess.run(
        [python, __file__, str(prefix)], check=True, capture_output=True, text=True, env=os.environ | _QUIET
    )
    return float(result.stdout)


def command(python: str, prefix: pathlib.Path) -> list[str]:
    """A command that imports TensorFlow and reads every tensor once, as a whole process."""
    return [python, __file__, str(prefix), "once"]


def environment() -> dict[str, str]:
    """An environment in which TensorFlow is quiet."""
    return dict(os.environ | _QUIET)


def _read(prefix: str) -> float:
    import tensorflow as tf  # type: ignore[import-not-found, unused-ignore]  # there in its own interpreter only

    started = time.perf_counter()
    reader = tf.train.load_checkpoint(prefix)
    for name in reader.get_variable_to_shape_map():
        reader.get_tensor(name)
    return time.perf_counter() - started


if __name__ == "__main__":
    runs = 1 if sys.argv[2:] == ["once"] else 6
    times = [_read(sys.argv[1]) for _ in range(runs)]
    print(min(times[1:] or times))
