"""Kill a command with SIGKILL at random calls of its run, and say what stands in the folder of its output then.

    python -m tests.hostile.killed_command FOLDER COUNT SEED COMMAND ...

COMMAND is `tfckpt` or `tf2torch` with arguments; `OUT` in them stands for the path of the output.
The command runs in forked children, so that the packages are loaded once.
A first run counts the calls of Python and C functions; the kills are spread over them, half of them over the last
tenth, where the output is written.
Prints a line of JSON a kill: the call, whether it came in time, and the names in the folder with their digests.
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


class Killer:
    """A profile function that ends the process without a chance to clean up at the call of a number."""

    def __init__(self, number: int | None) -> None:
        self.calls = 0
        self.number = number

    def __call__(self, frame: Any, event: str, argument: Any) -> None:
        """Count a call."""
        self.calls += 1
        if self.calls == self.number:
            os.kill(os.getpid(), signal.SIGKILL)


def run(command: list[str], number: int | None) -> int:
    """Run a command under a killer; the number of calls."""
    main = importlib.import_module(MODULES[command[0]]).main
    killer = Killer(number)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        sys.setprofile(killer)
        try:
            code = main(command[1:])
        finally:
            sys.setprofile(None)
    assert code == 0
    return killer.calls


def killed(command: list[str], number: int) -> bool:
    """Run a command in a child that is killed at a call; False if it ended before."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            run(command, number)
            os._exit(0)
        os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def names_in(folder: pathlib.Path) -> dict[str, str]:
    """Names of the files below a folder with a digest of each."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def main() -> None:
    """Count, then kill."""
    folder, count, draw = pathlib.Path(sys.argv[1]), int(sys.argv[2]), random.Random(sys.argv[3])
    command = [part.replace("OUT", str(folder / "out")) for part in sys.argv[4:]]
    for _ in range(2):  # the first run also imports
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        calls = run(command, None)
    print(json.dumps({"call": None, "calls": calls, "killed": False, "names": names_in(folder)}))
    points = [draw.randint(1, calls) for _ in range(count // 2)]
    points += [draw.randint(calls - calls // 10, calls) for _ in range(count - len(points))]
    for number in points:
        shutil.rmtree(folder)
        folder.mkdir()
        print(json.dumps({"call": number, "killed": killed(command, number), "names": names_in(folder)}))


if __name__ == "__main__":
    main()
