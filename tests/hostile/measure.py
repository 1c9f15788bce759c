"""Read all of one checkpoint in a process of its own, and print how it ended and what it took at most.

`python -m tests.hostile.measure PREFIX` prints JSON: the class of the error or null, its text, the peak of resident
memory above that of a process that has read a small checkpoint, in bytes, and the seconds.
With `--verify` before the prefix it is verified, and the number of findings is printed too.
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
    """Open, list, describe, look for what is missing, and read every tensor."""
    with tfckpt.open(prefix) as checkpoint:
        for _ in checkpoint.infos():
            pass
        checkpoint.missing_files()
        for name in checkpoint:
            checkpoint[name]


def peak() -> int:
    """Peak of resident memory so far, in bytes."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():  # what getrusage says on Linux includes the parent's memory at the time of the fork
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def main() -> None:
    """Warm up, read, report."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = builders.Bundle().add("w", builders.FLOAT, [1], bytes(4)).add_strings("s", [b"a"])
        read_all(str(bundle.write(pathlib.Path(folder), index=bundle.index(framer=builders.snappy_frame))))
    before, start = peak(), time.perf_counter()
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
            "text": str(error),
            "findings": findings,
            "bytes": peak() - before,
            "seconds": time.perf_counter() - start,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
