"""The memory use of a conversion: tensors are views of the file, and are written one at a time."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import numpy as np
import pytest

import tfckpt
from tests.conftest import slow

from . import networks

MIB = 1 << 20
#: Enough for the interpreter, NumPy and the index.
ALLOWED = 64 * MIB

PROGRAM = """
import sys, threading, time

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))

peak, done = 0, False

def watch():
    global peak
    while not done:
        peak = max(peak, anonymous())
        time.sleep(0.001)

watcher = threading.Thread(target=watch)
watcher.start()
from converter.cli import main
code = main(["convert", *sys.argv[1:]])
done = True
watcher.join()
print(code, max(peak, anonymous()), file=sys.stderr)
"""


@pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("report", [slow(None), "s.html"], ids=["weights", "weights and report"])
def test_conversion_needs_little_memory_beyond_its_largest_tensors(tmp_path: pathlib.Path, report: str | None) -> None:
    """Writing 86 MB of EfficientNetV2-S as safetensors, with a report, takes 64 MB and twice the largest tensor."""
    arrays = {name: np.array(array) for name, array in networks.arrays("efficientnetv2-s", averages=False).items()}
    tfckpt.save(arrays, tmp_path / "model.ckpt", durable=False)
    largest = max(array.nbytes for array in arrays.values())
    total = sum(array.nbytes for array in arrays.values())
    output = tmp_path / "s.safetensors"
    wanted = [] if report is None else ["--report", str(tmp_path / report)]

    shown = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "model.ckpt"), "-o", str(output), *wanted],
        check=True,
        capture_output=True,
        text=True,
    ).stderr

    code, peak = map(int, shown.split())
    assert code == 0
    assert total > 80 * MIB
    assert output.stat().st_size > total
    assert peak < ALLOWED + 2 * largest
