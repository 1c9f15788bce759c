"""Read a whole checkpoint in a separate process, and print the outcome and the resources it took.

`python -m tests.hostile.measure PREFIX` prints JSON: the class of the error or null, the limit it names or null, the
number of findings, the time in seconds, and the peak of resident memory in bytes, above that of a process that has
read a small checkpoint.
With `--verify` before the prefix the checkpoint is verified instead.
"""

from __future__ import annotations

import json
import pathlib
import resource
import sys
import tempfile
import time

import tfckpt
from tests import builders


def read_all(prefix: str) -> None:
    """Open, list, describe and read every tensor, and look for missing files."""
    with tfckpt.open(prefix) as checkpoint:
        for _ in checkpoint.infos():
            pass
        checkpoint.missing_files()
        for name in checkpoint:
            checkpoint[name]


def peak_memory() -> int:
    """Return the peak of resident memory so far, in bytes."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():  # getrusage on Linux includes the parent's memory at the time of the fork
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def main() -> None:
    """Warm up, measure, and print the result."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = builders.Bundle().add("w", builders.FLOAT, [1], bytes(4)).add_strings("s", [b"a"])
        read_all(str(bundle.write(pathlib.Path(folder), index=bundle.index(framer=builders.snappy_frame))))
    before, start = peak_memory(), time.perf_counter()
    error: tfckpt.CheckpointError | None = None
    findings = 0
    try:
        if sys.argv[1] == "--verify":
            with tfckpt.open(sys.argv[2]) as checkpoint:
                findings = len(tfckpt.verify(checkpoint).errors)
        else:
            read_all(sys.argv[1])
    except tfckpt.CheckpointError as caught:
        error = caught
    json.dump(
        {
            "error": None if error is None else type(error).__name__,
            "limit": getattr(error, "limit", None),
            "findings": findings,
            "bytes": peak_memory() - before,
            "seconds": time.perf_counter() - start,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
