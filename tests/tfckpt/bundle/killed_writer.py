"""Kill a writer at every step it takes on the disk, and see what stands under the prefix then.

Run as a program with a folder: python -m tests.tfckpt.bundle.killed_writer FOLDER OLD NEW
OLD and NEW are numbers of data shards; OLD 0 means that nothing stands there before.
One line of JSON a step: the step's name, what can be read after it, what a following writer leaves.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import tfckpt
from tfckpt.writing.writer import save

OLD = {"kept": np.arange(1000, dtype=np.float32), "w": np.full(3, 1, np.int64)}
NEW = {"w": np.full(5, 2, np.int64), "more": np.arange(2000, dtype=np.float64)}
STEPS = ("open", "fsync", "link", "replace", "unlink", "write")


class Killer:
    """Ends the process before the system call of a number is made."""

    def __init__(self, number: int) -> None:
        self.left = number

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                os._exit(9)
            return call(*arguments, **options)

        return wrapped


def write(prefix: str, tensors: dict[str, Any], shards: int) -> None:
    save(tensors, prefix, shards=shards, overwrite=True)


def killed_at(number: int, prefix: str, shards: int) -> bool:
    """Write in a child that is killed before its system call of this number; False if it ended before."""
    child = os.fork()
    if child == 0:
        killer = Killer(number)
        for name in STEPS:
            setattr(os, name, killer.wrap(getattr(os, name)))
        write(prefix, NEW, shards)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def state_of(prefix: str) -> str:
    """Which checkpoint stands there whole: "old", "new", "none", or what is wrong."""
    if not os.path.exists(prefix + ".index"):
        return "none"
    try:
        with tfckpt.open(prefix) as checkpoint:
            found = dict(checkpoint)
            problems = list(checkpoint.missing_files())
    except tfckpt.CheckpointError as error:
        return f"damaged: {error}"
    for name, expected in (("old", OLD), ("new", NEW)):
        if not problems and found.keys() == expected.keys():
            return name if all(np.array_equal(found[key], expected[key]) for key in found) else "mixed"
    return f"mixed: {sorted(found)}, missing {problems}"


def main(folder: pathlib.Path, old_shards: int, new_shards: int) -> None:
    number = 0
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        prefix = str(folder / "ckpt")
        if old_shards:
            write(prefix, OLD, old_shards)
        killed = killed_at(number, prefix, new_shards)
        state = state_of(prefix)
        write(prefix, NEW, new_shards)
        left = sorted(path.name for path in folder.iterdir())
        print(json.dumps({"step": number, "killed": killed, "state": state, "then": state_of(prefix), "left": left}))
        if not killed:
            return
        number += 1


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
