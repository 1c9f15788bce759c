"""Measure one output in a process of its own: `python -m converter.programs.measuring FOLDER`; see `comparing`.

The folder has `job.json`, with `path`, `runtime` (the ending of a program, or `weights`), `batches`, `runs` and
`threads`, and `images.npy` (images, channels, height, width). The script writes `outputs.npy`, one row for each image,
and `answer.json` with the seconds of each pass by batch, or why there are none, and the peak memory of the process.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

#: Images that are classified at once, if the program takes so many.
_BATCH = 32
_WARM_UP = 3


def main(folder: str) -> None:
    """Measure what the job says."""
    with open(os.path.join(folder, "job.json"), encoding="utf-8") as file:
        job = json.load(file)
    images = np.load(os.path.join(folder, "images.npy"), allow_pickle=False)
    run, versions = (_load_weights if job["runtime"] == "weights" else _load_program)(job)
    seconds: dict[str, Any] = {}
    for batch in job["batches"]:
        try:
            seconds[str(batch)] = list(_time(run, np.resize(images, (batch, *images.shape[1:])), job["runs"]))
        except Exception as error:  # a runtime's own error: a program may have a fixed batch
            seconds[str(batch)] = f"{type(error).__name__}: {error}".split("\n")[0]
    np.save(os.path.join(folder, "outputs.npy"), _classify(run, images))
    with open(os.path.join(folder, "answer.json"), "w", encoding="utf-8") as file:
        json.dump({"seconds": seconds, "peak_memory": find_peak_memory(), "versions": versions}, file)


def _load_weights(job: dict[str, Any]) -> tuple[Callable[[Any], Any], dict[str, str]]:
    import torch

    from converter.loading import load_model

    torch.set_num_threads(job["threads"])
    model = load_model(job["path"], **job["options"]).eval()

    def run(images: Any) -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(images)).numpy()

    return run, {"torch": torch.__version__}


def _load_program(job: dict[str, Any]) -> tuple[Callable[[Any], Any], dict[str, str]]:
    from converter.programs.runner import RUNTIMES

    program = {"program": job["path"], "inputs": [], "outputs": [], "by_name": False, "threads": job["threads"]}
    program["double"] = False
    run, versions = RUNTIMES[job["runtime"]](program)
    return lambda images: np.asarray(run([images])[0]), versions


def _time(run: Callable[[Any], Any], images: Any, runs: int) -> Iterator[float]:
    images = np.ascontiguousarray(images)
    for number in range(-_WARM_UP, runs):
        started = time.perf_counter()
        run(images)
        if number >= 0:
            yield time.perf_counter() - started


def _classify(run: Callable[[Any], Any], images: Any) -> Any:
    try:
        parts = [run(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)]
    except Exception:  # a runtime's own error: the batch is fixed at one
        parts = [run(images[at : at + 1]) for at in range(len(images))]
    return np.concatenate(parts)


def find_peak_memory() -> int | None:
    """Return the peak memory of this process in bytes; None if it is unknown.

    `getrusage` counts the memory of the process that started this one, too, so Linux's own record comes first.
    """
    with contextlib.suppress(OSError, ValueError), open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, KiB elsewhere


if __name__ == "__main__":
    main(sys.argv[1])
