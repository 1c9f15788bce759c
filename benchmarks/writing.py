"""Writing checkpoints, compared with `cp` of the same bytes and with TensorFlow's saver."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator

import numpy as np

import tfckpt
from tfckpt.coding.crc32c import crc32c

from . import tensorflow_side
from .measure import Result, best_of_each, peak_anonymous_memory

_TENSORS = 64
_MEBIBYTES_EACH = 8
_THEIRS = """\
import sys, time
import numpy as np
import tensorflow as tf
count, mebibytes, prefix = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
tensors = {f"layer_{i}/kernel": tf.constant(np.full(mebibytes << 18, i, np.float32)) for i in range(count)}
times = []
for run in range(6):
    started = time.perf_counter()
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=list(tensors), shape_and_slices=[""] * count,
                      tensors=list(tensors.values()))
    times.append(time.perf_counter() - started)
print(min(times[1:]))
"""


def writing(tensorflow: str | None) -> Iterator[Result]:
    """Time writing 512 MiB in 64 tensors.

    Neither `cp` nor TensorFlow waits for the disk, so they are compared with `durable=False`;
    durable writing is compared with `cp` and fsync.
    """
    tensors = {
        f"layer_{number}/kernel": np.full(_MEBIBYTES_EACH << 18, number, np.float32) for number in range(_TENSORS)
    }
    total = sum(array.nbytes for array in tensors.values())
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        tfckpt.save(tensors, folder / "source", checkpoint_state=False)
        data = folder / "source.data-00000-of-00001"
        quick, durable, copied, synced, sums = best_of_each(
            _into_empty(folder / "quick", lambda to: _save(tensors, to, durable=False)),
            _into_empty(folder / "durable", lambda to: _save(tensors, to, durable=True)),
            _into_empty(folder / "copied", lambda to: _copy(data, to, durable=False)),
            _into_empty(folder / "synced", lambda to: _copy(data, to, durable=True)),
            lambda: [crc32c(array.view(np.uint8).data) for array in tensors.values()],
        )
        rate = f"{total / quick / 1e9:.1f} GB/s"
        yield Result("save 512 MiB, durable=False", (copied + sums) / quick, 0.8, False, "of cp and checksums", rate)
        rate = f"{total / durable / 1e9:.1f} GB/s"
        yield Result("save 512 MiB, durable", (synced + sums) / durable, 0.8, False, "of cp, fsync and checksums", rate)
        with peak_anonymous_memory() as peak:
            _save(((name, array.reshape(2, -1).T) for name, array in tensors.items()), folder, durable=False)
        yield Result("anonymous memory while saving 512 MiB", peak[0] / 2**20, 64.0, True, "MiB")
        if tensorflow is not None:
            result = subprocess.run(
                [tensorflow, "-c", _THEIRS, str(_TENSORS), str(_MEBIBYTES_EACH), str(folder / "theirs")],
                check=True,
                capture_output=True,
                text=True,
                env=tensorflow_side.environment(),
            )
            yield Result("save 512 MiB, durable=False", float(result.stdout) / quick, 1.5, False, "x TensorFlow's rate")


def _into_empty(folder: pathlib.Path, write: Callable[[pathlib.Path], object]) -> Callable[[], object]:
    """Return a function that empties the folder, which takes next to no time, and writes into it."""

    def run() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write(folder)

    return run


def _save(tensors: object, folder: pathlib.Path, *, durable: bool) -> None:
    tfckpt.save(tensors, folder / "ckpt", checkpoint_state=False, durable=durable)  # type: ignore[arg-type]  # a mapping or pairs


def _copy(source: pathlib.Path, folder: pathlib.Path, *, durable: bool) -> None:
    subprocess.run(["cp", str(source), str(folder)], check=True)
    if durable:
        descriptor = os.open(folder / source.name, os.O_RDWR)
        os.fsync(descriptor)
        os.close(descriptor)
