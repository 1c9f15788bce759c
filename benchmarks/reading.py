"""Import time, and opening, listing and reading checkpoints."""

from __future__ import annotations

import contextlib
import mmap
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import crc32c

import tfckpt
from tfckpt.cli import main

from . import checkpoints
from .measure import Result, best, best_of_each, peak_anonymous_memory, process
from .tensorflow_side import read_with_tensorflow

_MILLISECONDS = 1000


def importing() -> Iterator[Result]:
    """Compare a process that only imports the package with one that only imports NumPy."""
    ours, numpy = best_of_each(
        process([sys.executable, "-c", "import tfckpt"]), process([sys.executable, "-c", "import numpy"]), runs=15
    )
    yield Result("import tfckpt, whole process", ours / numpy, 1.5, True, "x import numpy")


def listing() -> Iterator[Result]:
    """Time opening a checkpoint and describing all its tensors, and reading one tensor by name."""
    for count, limit in ((723, 12.0), (20_000, 60.0)):
        prefix = checkpoints.entries(count)
        seconds = best(lambda prefix=prefix: list_all(prefix), runs=9)
        yield Result(f"open and list {count:,} tensors", seconds * _MILLISECONDS, limit, True, "ms")
    for count, limit in ((20_000, 60.0), (1_000_000, 3000.0)):
        prefix = checkpoints.entries(count)
        seconds = best(lambda prefix=prefix: count_names(prefix), runs=3)
        yield Result(f"names of {count:,} tensors", seconds * _MILLISECONDS, limit, True, "ms")
    for count, limit in ((20_000, 60.0), (1_000_000, 3000.0)):
        prefix = checkpoints.entries(count)
        seconds = best(lambda prefix=prefix: _print_listing(prefix), runs=3)
        yield Result(f"tfckpt ls of {count:,} tensors, in a process", seconds * _MILLISECONDS, limit, True, "ms")
    small, large = (_listing_memory(checkpoints.entries(count)) for count in (20_000, 1_000_000))
    yield Result("memory of tfckpt ls of 1,000,000, beyond 20,000", (large - small) / 2**20, 64.0, True, "MiB")
    prefix = checkpoints.entries(20_000)
    with tfckpt.open(prefix) as checkpoint:
        name = list(checkpoint)[12_345]
    seconds = best(lambda: _read_one(prefix, name), runs=9)
    yield Result("one of 20,000 tensors by name, cold open", seconds * _MILLISECONDS, 15.0, True, "ms")


def reading(tensorflow: str | None) -> Iterator[Result]:
    """Time reading and verifying every tensor, compared with the checksums alone and with TensorFlow."""
    prefix = checkpoints.large(1024, 64)
    with tfckpt.open(prefix) as checkpoint:
        spans = [(info.offset or 0, info.nbytes) for info in checkpoint.infos()]
        data = checkpoint.files[1]
    ours, sums = best_of_each(lambda: _read_all(prefix), lambda: _checksums(data, spans), runs=7)
    detail = f"{os.path.getsize(data) / ours / 1e9:.1f} GB/s"
    yield Result("read 1 GB, verified, one thread", sums / ours, 0.85, False, "of the crc32c package's rate", detail)
    one, two = best_of_each(lambda: _read_all(prefix), lambda: _read_many(prefix), runs=7)
    yield Result("the same with read_many(threads=2)", one / two, 1.5, False, "x one thread")
    with peak_anonymous_memory() as peak:
        tensors = dict(tfckpt.open(prefix))
    yield Result(
        "anonymous memory, all of 1 GB read and held", peak[0] / 1e6, 30.0, True, "MB", f"{len(tensors)} tensors"
    )
    del tensors
    if tensorflow is not None:
        for label, path in (
            ("64 tensors, 1 GB", prefix),
            ("723 tensors, 58 MB", checkpoints.network("efficientnetv2-b0")),
        ):
            theirs = read_with_tensorflow(tensorflow, path)
            ours = best(lambda path=path: _read_all(path), runs=7)
            yield Result(f"read {label}, verified", theirs / ours, 3.0, False, "x TensorFlow's rate")


def count_names(prefix: pathlib.Path) -> int:
    """Open a checkpoint and iterate over its names, which decodes no entry."""
    with tfckpt.open(prefix) as checkpoint:
        return sum(1 for _ in checkpoint)


def list_all(prefix: pathlib.Path) -> None:
    """Open a checkpoint and describe each of its tensors."""
    with tfckpt.open(prefix) as checkpoint:
        for _ in checkpoint.infos():
            pass


def _print_listing(prefix: pathlib.Path) -> None:
    with open(os.devnull, "w", encoding="utf-8") as out, contextlib.redirect_stdout(out):
        main(["ls", str(prefix)])


def _listing_memory(prefix: pathlib.Path) -> int:
    """Return the most memory that a process needs to list the tensors of a checkpoint, in bytes, without the index."""
    script = (
        "import sys; from tfckpt.cli import main; main(['ls', sys.argv[1]]); "
        "sys.stderr.write(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    )
    command = [sys.executable, "-c", script, str(prefix)]
    done = subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return (int(done.stderr.split()[-1]) << 10) - os.path.getsize(f"{prefix}.index")


def _read_one(prefix: pathlib.Path, name: str) -> None:
    with tfckpt.open(prefix) as checkpoint:
        checkpoint[name]


def _read_all(prefix: pathlib.Path) -> None:
    with tfckpt.open(prefix) as checkpoint:
        for name in checkpoint:
            checkpoint[name]


def _read_many(prefix: pathlib.Path) -> None:
    with tfckpt.open(prefix) as checkpoint:
        for _ in checkpoint.read_many(threads=2):
            pass


def _checksums(path: str, spans: list[tuple[int, int]]) -> None:
    """Only compute the checksums of a memory-mapped file with the crc32c package."""
    with open(path, "rb") as file:
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        for offset, length in spans:
            crc32c.crc32c(view[offset : offset + length])
