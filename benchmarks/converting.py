"""Conversion to safetensors, as whole processes and in Python."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import converter

from . import checkpoints
from .measure import Result, best_of_each, process
from .tensorflow_side import command, environment

#: Converts in its own process, then prints the exit code, the growth of anonymous memory, and whether torch was loaded.
_MEMORY_SCRIPT = """
import sys
from benchmarks.measure import peak_anonymous_memory
from converter.cli import main
with peak_anonymous_memory() as peak:
    code = main(["convert", sys.argv[1], "-o", sys.argv[2], "--force"])
print(code, peak[0], "torch" in sys.modules)
"""


def converting(tensorflow: str | None) -> Iterator[Result]:
    """Compare B0 with the start of TensorFlow, and L with a copy of the same bytes."""
    with tempfile.TemporaryDirectory(dir=checkpoints.FOLDER) as folder:
        out = pathlib.Path(folder) / "out.safetensors"
        small = checkpoints.network("efficientnetv2-b0")
        convert = [sys.executable, "-m", "converter", "convert", str(small), "-o", str(out), "--force"]
        if tensorflow is not None:
            read = command(tensorflow, small)
            env = environment()
            run = lambda: subprocess.run(read, check=True, env=env, capture_output=True)  # noqa: E731  # like `process`, with an environment
            ours, other = best_of_each(process(convert), run, runs=3)
            yield Result(
                "convert B0 to safetensors, whole process", ours / other, 0.3, True, "x TensorFlow's import and read"
            )
        large = checkpoints.network("efficientnetv2-l")
        convert = [sys.executable, "-m", "converter", "convert", str(large), "-o", str(out), "--force"]
        copy = pathlib.Path(folder) / "copy"
        process(convert)()
        kept = pathlib.Path(folder) / "kept"
        out.rename(kept)

        def remove() -> None:
            """Remove both outputs, because freeing the pages of an old file would count as writing."""
            for path in (out, copy):
                path.unlink(missing_ok=True)

        ours, unproved, cp, synced = best_of_each(
            process(convert),
            process([*convert, "--no-proof"]),
            process(["cp", str(kept), str(copy)]),
            process(["sh", "-c", 'cp "$0" "$1" && sync "$1"', str(kept), str(copy)]),
            runs=7,
            before=remove,
        )
        size = os.path.getsize(kept)
        in_python, cp_again = best_of_each(
            lambda: converter.export(converter.convert(large), out),
            process(["cp", str(kept), str(copy)]),
            runs=7,
            before=remove,
        )
        for how, seconds, other in (("in Python", in_python, cp_again), ("whole process", ours, cp)):
            rate = f"{size / seconds / 1e9:.2f} GB/s, including sync"
            yield Result(f"convert L with averages (1 GB), {how}", other / seconds, 0.35, False, "of cp's rate", rate)
        beside = "of cp and sync's rate"
        yield Result("the same, compared with cp and sync", synced / ours, 0.35, False, beside)
        yield Result("the same with --no-proof, compared with cp and sync", synced / unproved, 0.35, False, beside)
        remove()
        yield from _memory(large, out)
        yield from _ready(pathlib.Path(folder))


def _ready(folder: pathlib.Path) -> Iterator[Result]:
    """Compare BERT-base's conversion with a copy of its bytes, which reads and writes as much."""
    prefix = checkpoints.bert_base()
    data = prefix.with_name(prefix.name + ".data-00000-of-00001")
    out, copy = folder / "bert", folder / "copy"
    command = [sys.executable, "-m", "converter", "convert", str(prefix), "-o", str(out)]

    def remove() -> None:
        copy.unlink(missing_ok=True)
        shutil.rmtree(out, ignore_errors=True)

    ours, cp = best_of_each(
        process(command),
        process(["sh", "-c", 'cp "$0" "$1" && sync "$1"', str(data), str(copy)]),
        runs=5,
        before=remove,
    )
    size = f"{os.path.getsize(data) / 1e6:.0f} MB, {ours:.2f} s with reading and writing"
    yield Result("convert BERT-base to a folder, beyond cp and sync", ours - cp, 3.0, True, "s", size)
    remove()
    _, loads_torch = _convert_alone(prefix, out)
    yield Result("torch loaded by it", float(loads_torch), 0.0, True, "times")


def _memory(prefix: pathlib.Path, out: pathlib.Path) -> Iterator[Result]:
    peak, loads_torch = _convert_alone(prefix, out)
    largest = 4 * 3 * 3 * 96 * 384  # bytes of the largest kernel of L: 3 x 3 x 96 -> 384
    limit = (64 << 20) + 2 * largest
    yield Result("anonymous memory of that conversion", peak / 1e6, limit / 1e6, True, "MB")
    yield Result("torch loaded by it", float(loads_torch), 0.0, True, "times")


def _convert_alone(prefix: pathlib.Path, out: pathlib.Path) -> tuple[int, bool]:
    """Convert in a process, and return the growth of its anonymous memory in bytes, and whether it loaded torch."""
    result = subprocess.run(
        [sys.executable, "-c", _MEMORY_SCRIPT, str(prefix), str(out)], check=True, capture_output=True, text=True
    )
    code, peak, torch_loaded = result.stdout.split()[-3:]
    if code != "0":
        raise RuntimeError(f"the conversion ended with exit code {code}")
    return int(peak), torch_loaded == "True"
