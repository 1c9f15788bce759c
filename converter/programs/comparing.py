"""Comparing weights and programs of one network: accuracy, latency, size, memory, and how far outputs are apart.

Each is measured in a process of its own, one after the other, on the same images.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tfckpt.errors import CheckpointNotFoundError

from .._typing import Array
from ..errors import FeedError, ProgramError
from ..verification.comparison import measure, predict_classes
from .destinations import DESTINATIONS

#: Batch sizes that are timed.
BATCHES = (1, 8)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The figures of one output; seconds are by batch size, and missing if the program does not take it.

    `nbytes` is the size of the file, or of all files of the output. `peak_memory` is that of the process, in bytes,
    with the runtime; None if unknown. `difference` is the largest distance of an output from the first one's, relative
    to the first's largest; `changed` counts images with another prediction. `accuracy` is None without labels.
    """

    name: str
    runtime: str
    versions: Mapping[str, str]
    nbytes: int
    median: Mapping[int, float]
    p90: Mapping[int, float]
    peak_memory: int | None
    accuracy: float | None
    difference: float
    changed: int
    images: int

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON; times are in milliseconds."""
        return {
            "name": self.name,
            "runtime": self.runtime,
            "versions": dict(self.versions),
            "nbytes": self.nbytes,
            "median_ms": {str(batch): 1000 * seconds for batch, seconds in self.median.items()},
            "p90_ms": {str(batch): 1000 * seconds for batch, seconds in self.p90.items()},
            "peak_memory_bytes": self.peak_memory,
            "accuracy": self.accuracy,
            "difference": self.difference,
            "changed": self.changed,
            "images": self.images,
        }


def compare_outputs(
    paths: Sequence[str],
    images: Array,
    labels: Array | None,
    *,
    runs: int,
    threads: int,
    options: Mapping[str, Any],
    progress: Callable[[str], None] | None = None,
) -> list[Measured]:
    """Measure each output on the same images, float32 (images, channels, height, width), in their order.

    `options` are those of `load_model` for weights. Raises `ProgramError` if one cannot be run, and
    `MissingDependencyError` if its runtime is not installed.
    """
    runtimes = [find_runtime(path) for path in paths]
    results: list[Measured] = []
    first: Array | None = None
    for path, runtime in zip(paths, runtimes, strict=True):
        if progress is not None:
            progress(path)
        answer, outputs = _measure(path, runtime, images, runs=runs, threads=threads, options=options)
        if first is None:
            first = outputs
        if outputs.shape != first.shape:
            raise FeedError(
                f"{path} gives outputs of shape {list(outputs.shape[1:])}, "
                f"but {paths[0]} of {list(first.shape[1:])}: they are not the same network"
            )
        taken = {int(batch): each for batch, each in answer["seconds"].items() if not isinstance(each, str)}
        is_classes = outputs.ndim == 2
        results.append(
            Measured(
                name=os.path.basename(path.rstrip("/")),
                runtime=DESTINATIONS[runtime].title if runtime in DESTINATIONS else "eager PyTorch",
                versions=answer["versions"],
                nbytes=count_bytes(path),
                median={batch: statistics.median(each) for batch, each in taken.items()},
                p90={batch: sorted(each)[-(-len(each) * 9 // 10) - 1] for batch, each in taken.items()},
                peak_memory=answer["peak_memory"],
                accuracy=float((predict_classes(outputs) == labels).mean())
                if labels is not None and is_classes
                else None,
                difference=measure(outputs, first)[1],
                changed=int((predict_classes(outputs) != predict_classes(first)).sum()) if is_classes else 0,
                images=len(images),
            )
        )
    return results


def find_runtime(path: str) -> str:
    """Return the ending of a program file, or `weights`; raise `MissingDependencyError` without its runtime.

    Raises `CheckpointNotFoundError` if there is no such file or folder.
    """
    if not os.path.exists(path):
        raise CheckpointNotFoundError("file not found", path=path)
    ending = os.path.splitext(path)[1].lower()
    if ending not in DESTINATIONS:
        return "weights"
    DESTINATIONS[ending].require()
    return ending


def count_bytes(path: str) -> int:
    """Return the bytes of an output: a file, the files of a folder, or both files of OpenVINO."""
    if os.path.isdir(path):
        return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names)
    beside = f"{os.path.splitext(path)[0]}.bin" if path.lower().endswith(".xml") else ""
    return os.path.getsize(path) + (os.path.getsize(beside) if beside and os.path.exists(beside) else 0)


def _measure(
    path: str, runtime: str, images: Array, *, runs: int, threads: int, options: Mapping[str, Any]
) -> tuple[dict[str, Any], Array]:
    with tempfile.TemporaryDirectory(prefix="tf2torch-") as folder:
        job = {
            "path": os.path.abspath(path),
            "runtime": runtime,
            "batches": BATCHES,
            "runs": runs,
            "threads": threads,
            "options": dict(options),
        }
        with open(os.path.join(folder, "job.json"), "w", encoding="utf-8") as file:
            json.dump(job, file)
        np.save(os.path.join(folder, "images.npy"), np.ascontiguousarray(images, np.float32))
        # Most runtimes take the number of threads from here.
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, "-m", "converter.programs.measuring", folder]
        finished = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=environment, check=False
        )
        if finished.returncode:
            lines = [line for line in finished.stderr.splitlines() if line.strip()] or ["no message"]
            raise ProgramError(
                f"{path} cannot be run (exit code {finished.returncode}): {lines[-1]}", destination=runtime
            )
        with open(os.path.join(folder, "answer.json"), encoding="utf-8") as file:
            answer: dict[str, Any] = json.load(file)
        return answer, np.load(os.path.join(folder, "outputs.npy"), allow_pickle=False)
