"""Locks and computed properties across a fork, and readers in children forked while other threads read."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

import tfckpt
from tests import builders
from tests.builders import Bundle
from tfckpt._threads import Lock, cached_property

ROOT = pathlib.Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def run_in_child(action: Callable[[], object], *, seconds: float = 20) -> int | None:
    """Run an action in a forked child and return its exit code; None if it had to be stopped."""
    child = os.fork()
    if not child:
        code = 1
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        finished, status = os.waitpid(child, os.WNOHANG)
        if finished:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def test_lock_that_another_thread_holds_is_free_in_a_forked_child() -> None:
    """The thread that would release it does not exist there; in the parent the lock is still held."""
    lock, held, finish = Lock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            finish.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    def use() -> None:
        with lock:
            pass

    code = run_in_child(use)
    assert lock._lock.locked()
    finish.set()
    thread.join()

    assert code == 0
    assert not lock._lock.locked()


def test_property_that_another_thread_computes_can_be_computed_in_a_forked_child() -> None:
    """`functools.cached_property` holds a lock meanwhile before Python 3.12."""
    started, finish = threading.Event(), threading.Event()

    class Listing:
        calls = 0

        @cached_property
        def names(self) -> list[str]:
            self.calls += 1
            if self.calls == 1:
                started.set()
                finish.wait()
            return ["a"]

    listing = Listing()
    thread = threading.Thread(target=lambda: listing.names)
    thread.start()
    started.wait()

    code = run_in_child(lambda: listing.names)
    finish.set()
    thread.join()

    assert code == 0
    assert listing.names is listing.names
    assert listing.calls == 1


@pytest.mark.parametrize("mmap", [True, False], ids=["mapped", "read"])
def test_children_forked_while_threads_read_can_read(tmp_path: pathlib.Path, mmap: bool, run_all: bool) -> None:
    """In a process of its own: children under load, each with ten seconds; one that hangs is stopped and counted."""
    bundle = Bundle(num_shards=4)
    for number in range(64):
        bundle.add(f"w{number}", builders.FLOAT, [64], np.full(64, number, "<f4").tobytes(), shard_id=number % 4)
    prefix = bundle.write(tmp_path, index=bundle.index(per_block=2))
    program = (
        "import os, sys, threading, tfckpt\n"
        "from tests.tfckpt.test_threads import run_in_child\n"
        "path, mmap, count = sys.argv[1], sys.argv[2] == 'True', int(sys.argv[3])\n"
        "current = [tfckpt.open(path, mmap=mmap)]\n"
        "stopped = threading.Event()\n"
        "def load():\n"
        "    while not stopped.is_set():\n"
        "        list(current[0]); [current[0][f'w{n}'] for n in range(64)]\n"
        "threads = [threading.Thread(target=load) for _ in range(4)]\n"
        "[thread.start() for thread in threads]\n"
        "def use():\n"
        "    assert len(list(current[0])) == 64\n"
        "    assert [current[0][f'w{n}'][0] for n in range(64)] == list(range(64))\n"
        "codes = []\n"
        "for _ in range(count):\n"
        "    current[0] = tfckpt.open(path, mmap=mmap)\n"
        "    codes.append(run_in_child(use, seconds=10))\n"
        "    if None in codes: break\n"
        "stopped.set()\n"
        "[thread.join() for thread in threads]\n"
        "print(len(codes), set(codes))\n"
    )

    count = 60 if run_all else 15

    done = subprocess.run(
        [sys.executable, "-c", program, str(prefix), str(mmap), str(count)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, f"{count} {{0}}\n", "")


def test_errors_of_a_child_reach_the_parent() -> None:
    """The helper above: a failing child is not taken for a successful one."""

    def fail() -> None:
        raise tfckpt.StorageError("x")

    assert run_in_child(fail) == 1
