"""Kill a command with SIGKILL at chosen and at random calls of its run, and print what is then in its output folder.

    python -m tests.hostile.killed_command FOLDER COUNT SEED COMMAND ...

COMMAND is `tfckpt` or `tf2torch` with arguments, in which `OUT` stands for the path of the output.
The command runs in forked children, so that the packages are imported once.
A first run counts the calls of Python and C functions.
The command is killed before the first and the last call of each function that changes the disk, and at COUNT random
calls, half of them in the last tenth of the run, where the output is written.
For each kill a line of JSON is printed: the call, whether the command was still running, and the files with digests.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import pathlib
import random
import shutil
import signal
import sys
from typing import Any

MODULES = {"tfckpt": "tfckpt.cli", "tf2torch": "converter.cli"}

#: C functions that change the disk.
CHANGING = {"close", "fsync", "link", "mkdir", "open", "rename", "replace", "rmdir", "truncate", "unlink", "write"}


class Killer:
    """A profile function that kills the process, without cleanup, at the call with a given number."""

    def __init__(self, number: int | None) -> None:
        self.calls = 0
        self.number = number
        #: The first and the last call of each function that changes the disk.
        self.first: dict[str, int] = {}
        self.last: dict[str, int] = {}

    def __call__(self, frame: Any, event: str, argument: Any) -> None:
        """Count a call, and kill the process if it is the one."""
        self.calls += 1
        if event == "c_call" and (name := argument.__name__) in CHANGING:
            self.first.setdefault(name, self.calls)
            self.last[name] = self.calls
        if self.calls == self.number:
            os.kill(os.getpid(), signal.SIGKILL)


def run(command: list[str], number: int | None) -> Killer:
    """Run a command under a killer, and return the killer."""
    main = importlib.import_module(MODULES[command[0]]).main
    killer = Killer(number)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        sys.setprofile(killer)
        try:
            code = main(command[1:])
        finally:
            sys.setprofile(None)
    assert code == 0
    return killer


def run_and_kill(command: list[str], number: int) -> bool:
    """Run a command in a child that is killed at a call; return False if it ended before."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            run(command, number)
            os._exit(0)
        os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def digest_files(folder: pathlib.Path) -> dict[str, str]:
    """Return the files below a folder, each with its digest."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def main() -> None:
    """Count the calls, then kill the command once for each point."""
    folder, count, generator = pathlib.Path(sys.argv[1]), int(sys.argv[2]), random.Random(sys.argv[3])
    command = [part.replace("OUT", str(folder / "out")) for part in sys.argv[4:]]
    for _ in range(2):  # the first run also imports modules
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        calls = (counter := run(command, None)).calls
    print(json.dumps({"call": None, "calls": calls, "killed": False, "names": digest_files(folder)}))
    points = sorted({*counter.first.values(), *counter.last.values()})
    points += [generator.randint(1, calls) for _ in range(count // 2)]
    points += [generator.randint(calls - calls // 10, calls) for _ in range(count - count // 2)]
    for number in points:
        shutil.rmtree(folder)
        folder.mkdir()
        print(json.dumps({"call": number, "killed": run_and_kill(command, number), "names": digest_files(folder)}))


if __name__ == "__main__":
    main()
