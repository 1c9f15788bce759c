"""What workers run in tests, in a module that they import quickly."""

from __future__ import annotations

import os
import pathlib
import signal
import time


def kill_first(folder: str, number: int) -> int:
    """Count the run, kill the own process in the first run of 1, and let 2 run until that was noticed."""
    with open(pathlib.Path(folder) / "runs", "a") as file:
        file.write(f"{number}\n")
    runs = pathlib.Path(folder) / "runs"
    if number == 1 and runs.read_text().splitlines().count("1") == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 2:
        deadline = time.monotonic() + 30
        while runs.read_text().splitlines().count("1") < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    return number * number


def kill_always(number: int) -> int:
    """Kill the own process."""
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def fail_in_ways(way: str) -> object:
    """Return or raise something that another process cannot get."""
    if way == "result":
        return lambda: None
    raise ZeroDivisionError("a bug")
