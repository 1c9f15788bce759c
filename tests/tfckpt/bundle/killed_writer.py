"""A program that kills a writer before each of its file operations and reports which checkpoint can be read then.

Usage: python -m tests.tfckpt.bundle.killed_writer FOLDER OLD NEW
OLD and NEW are numbers of data shards; OLD 0 means that there is no old checkpoint.
It prints one line of JSON per step: its number, whether the writer was killed, the state, and the state and the files
after a second writer has finished.
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
    """Wraps functions, and ends the process before a certain number of calls."""

    def __init__(self, number: int) -> None:
        self.calls_left = number

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.calls_left -= 1
            if self.calls_left < 0:
                os._exit(9)
            return call(*arguments, **options)

        return wrapped


def write(prefix: str, tensors: dict[str, Any], shards: int) -> None:
    save(tensors, prefix, shards=shards, overwrite=True)


def write_and_kill(number: int, prefix: str, shards: int) -> bool:
    """Write in a child process and kill it before system call `number`; return whether it was killed."""
    child = os.fork()
    if child == 0:
        killer = Killer(number)
        for name in STEPS:
            setattr(os, name, killer.wrap(getattr(os, name)))
        write(prefix, NEW, shards)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def state_of(prefix: str) -> str:
    """Return which complete checkpoint the prefix refers to: "old", "new", "none", or what is wrong."""
    if not os.path.exists(prefix + ".index"):
        return "none"
    try:
        with tfckpt.open(prefix) as checkpoint:
            tensors = dict(checkpoint)
            missing = list(checkpoint.missing_files())
    except tfckpt.CheckpointError as error:
        return f"damaged: {error}"
    for name, expected in (("old", OLD), ("new", NEW)):
        if not missing and tensors.keys() == expected.keys():
            return name if all(np.array_equal(tensors[key], expected[key]) for key in tensors) else "mixed"
    return f"mixed: {sorted(tensors)}, missing {missing}"


def main(folder: pathlib.Path, old_shards: int, new_shards: int) -> None:
    number = 0
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        prefix = str(folder / "ckpt")
        if old_shards:
            write(prefix, OLD, old_shards)
        killed = write_and_kill(number, prefix, new_shards)
        state = state_of(prefix)
        write(prefix, NEW, new_shards)
        step = {
            "step": number,
            "killed": killed,
            "state": state,
            "after_second_writer": state_of(prefix),
            "files": sorted(path.name for path in folder.iterdir()),
        }
        print(json.dumps(step))
        if not killed:
            return
        number += 1


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
