"""Workers that kill themselves at a point of a task, once for each point."""

from __future__ import annotations

import os
import pathlib
import signal
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

#: Parts of uploads in these tests: the smallest that S3 takes.
PART_BYTES = 5 << 20
POINTS = ("before the upload", "between parts", "after the commit")


def kill_once(folder: str, point: str) -> None:
    """Kill this process, unless one was killed at this point before."""
    try:
        (pathlib.Path(folder) / point).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def run_and_die(folder: str, function: Callable[[Any], Any], argument: Any) -> Any:
    """Run a function, and count it; its first runs end at each of the points."""
    import s3fs

    from tfckpt.jobs import tasks
    from tfckpt.sinks import objects

    with open(pathlib.Path(folder) / "runs", "a") as file:
        file.write(".")
    objects.PART_BYTES = PART_BYTES
    originals = objects._Upload._open, s3fs.S3File._upload_chunk, tasks.write_record

    def open_upload(upload: Any) -> Any:
        kill_once(folder, POINTS[0])
        return originals[0](upload)

    def upload_chunk(file: Any, *arguments: Any, **options: Any) -> Any:
        if getattr(file, "parts", None):
            kill_once(folder, POINTS[1])
        return originals[1](file, *arguments, **options)

    def write_record(*arguments: Any) -> None:
        kill_once(folder, POINTS[2])
        originals[2](*arguments)

    objects._Upload._open, s3fs.S3File._upload_chunk, tasks.write_record = open_upload, upload_chunk, write_record
    try:
        return function(argument)
    finally:
        objects._Upload._open, s3fs.S3File._upload_chunk, tasks.write_record = originals


class Killing:
    """An executor whose workers are killed at each point."""

    def __init__(self, executor: Any, folder: pathlib.Path) -> None:
        self._executor = executor
        self._folder = folder

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Begin to run a function, and perhaps to die."""
        future: Future[Any] = self._executor.submit(run_and_die, str(self._folder), function, *arguments)
        return future

    @property
    def runs(self) -> int:
        """The number of runs that were begun."""
        return len((self._folder / "runs").read_text())

    @property
    def kills(self) -> int:
        """The number of workers that were killed."""
        return sum((self._folder / point).exists() for point in POINTS)
