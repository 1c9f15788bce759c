"""Commands that are killed, interrupted or stopped, or that find the disk full, leave nothing under the final name."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

import converter.cli
import tfckpt.cli
from tests import builders
from tests.builders import Bundle
from tests.conftest import slow

ROOT = pathlib.Path(__file__).parents[2]
NOBODY = 65534

#: Every command that writes; `OUT` stands for the path of its output and `SRC` for its source.
COMMANDS = {
    # Without the proof, which would start torch once for each kill and changes nothing on the disk.
    "convert": ["tf2torch", "convert", "SRC", "-o", "OUT.safetensors", "--no-proof"],
    "export": ["tfckpt", "export", "SRC", "-o", "OUT.safetensors"],
    "export npz": ["tfckpt", "export", "SRC", "-o", "OUT.npz"],
    "export folder": ["tfckpt", "export", "SRC", "-o", "OUT/", "--include", "*/kernel"],
    "cp": ["tfckpt", "cp", "SRC", "OUT"],
}
#: Files in the folder after each command has succeeded.
WRITTEN = {
    "convert": {"out.safetensors"},
    "export": {"out.safetensors"},
    "export npz": {"out.npz"},
    "export folder": {"out"},
    "cp": {"out.index", "out.data-00000-of-00001"},
}
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def fill_in_paths(name: str, source: pathlib.Path, out: pathlib.Path | str = "OUT") -> list[str]:
    """Return the arguments of a command with its paths filled in."""
    return [part.replace("SRC", str(source)).replace("OUT", str(out)) for part in COMMANDS[name]]


def digest_files(prefix: pathlib.Path) -> str:
    """Return a digest of all files of a checkpoint."""
    parts = sorted(prefix.parent.glob(prefix.name + ".*"))
    return hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()


@needs_fork
@pytest.mark.parametrize(("name", "count"), [("convert", 50), ("export npz", 10), ("export folder", 10)])
def test_killed_command_leaves_all_or_nothing(
    name: str, count: int, run_all: bool, digits: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """After SIGKILL the output is complete or missing, and any other file has a temporary name."""
    before = digest_files(digits)
    folder = tmp_path / "work"
    count = count if run_all else 0  # random points, in addition to the calls that change the disk

    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.hostile.killed_command",
            str(folder),
            str(count),
            "7",
            *fill_in_paths(name, digits),
        ],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    whole, *kills = map(json.loads, done.stdout.splitlines())
    assert len(kills) > count + 5
    assert sum(kill["killed"] for kill in kills) > len(kills) * 0.9
    partial = 0
    for kill in kills:
        final = {path: digest for path, digest in kill["names"].items() if ".writing-" not in path}
        assert final in ({}, whole["names"]), kill["call"]
        partial += final != kill["names"]
    assert partial > 0  # some kills happened while the output was being written
    assert digest_files(digits) == before


INTERRUPTING = """
import os, signal, sys
number, when, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
real = getattr(os, when)
def interrupted(*arguments):
    os.kill(os.getpid(), number)
    return real(*arguments)
setattr(os, when, interrupted)
if command[0] == "tfckpt":
    from tfckpt.cli import main
else:
    from converter.cli import main
sys.exit(main(command[1:]))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of this kind are POSIX")
@pytest.mark.parametrize(
    ("name", "number", "code"),
    [
        slow(name, number, code) if number == signal.SIGTERM and name not in ("convert", "cp") else (name, number, code)
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143))
        for name in COMMANDS
    ],
)
def test_interrupted_command_removes_its_temporary_files(
    name: str, number: int, code: int, digits: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """The signal arrives when the output is on the disk but has no name yet; the message is one line."""
    command = fill_in_paths(name, digits, tmp_path / "out")

    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTING, str(int(number)), "fsync", *command],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"{command[0]}: ")
    assert list(tmp_path.iterdir()) == []


def test_signal_handlers_are_restored_after_a_command(digits: pathlib.Path) -> None:
    """A program that calls `main` keeps its own handlers."""
    before = signal.getsignal(signal.SIGTERM)

    assert tfckpt.cli.main(["info", str(digits)]) == 0

    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture
def small_tmpfs(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file system of 128 KiB, less than any output below needs."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    arguments = ["-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    if sys.platform != "linux" or mount is None or subprocess.run([mount, *arguments], check=False).returncode != 0:
        pytest.skip("a small disk can be mounted only by root on Linux")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def run_main(command: list[str]) -> int:
    """Run a command in this process, and return its exit code."""
    return {"tfckpt": tfckpt.cli.main, "tf2torch": converter.cli.main}[command[0]](command[1:])


@pytest.mark.parametrize("name", COMMANDS)
def test_full_disk_is_one_line_and_leaves_nothing(
    name: str, digits: pathlib.Path, small_tmpfs: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The space is free again; with enough space the same command writes its output."""
    before = digest_files(digits)

    code = run_main(fill_in_paths(name, digits, small_tmpfs / "out"))

    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert os.strerror(errno.ENOSPC) in captured.err
    assert list(small_tmpfs.iterdir()) == []
    assert digest_files(digits) == before
    (small_tmpfs.parent / "large").mkdir()
    assert run_main(fill_in_paths(name, digits, small_tmpfs.parent / "large" / "out")) == 0
    assert {path.name for path in (small_tmpfs.parent / "large").iterdir()} == WRITTEN[name]


@pytest.fixture
def locked_folder(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder that this process cannot write to; if it is root, it becomes nobody for the test."""
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    hidden = [parent for parent in (tmp_path, *tmp_path.parents) if parent.stat().st_mode & 0o011 != 0o011]
    for parent in hidden if is_root else ():
        parent.chmod(parent.stat().st_mode | 0o011)
    if is_root:
        os.seteuid(NOBODY)
    yield folder
    if is_root:
        os.seteuid(0)
        for parent in hidden:
            parent.chmod(parent.stat().st_mode & ~0o011)
    folder.chmod(0o755)


@pytest.mark.skipif(os.name == "nt", reason="permissions of this kind are POSIX")
@pytest.mark.parametrize("name", COMMANDS)
def test_read_only_folder_is_one_line_and_leaves_nothing(
    name: str, digits: pathlib.Path, locked_folder: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command fails before or when it creates the output."""
    code = run_main(fill_in_paths(name, digits, locked_folder / "out"))

    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert os.strerror(errno.EACCES) in captured.err
    assert list(locked_folder.iterdir()) == []


def test_command_reports_a_checkpoint_that_is_being_written(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A training job has its parts in `ckpt-7_temp` and no index yet; with its index, the same command lists it."""
    part = tmp_path / "ckpt-7_temp"
    part.mkdir()
    Bundle().add("w", builders.FLOAT, [1], bytes(4)).write(part, "part-00000-of-00001")

    code = tfckpt.cli.main(["ls", str(tmp_path / "ckpt-7")])

    captured = capsys.readouterr()
    assert (code, captured.out) == (3, "")
    assert captured.err.count("\n") == 1
    assert str(part / "part-00000-of-00001") in captured.err
    Bundle().add("w", builders.FLOAT, [1], bytes(4)).write(tmp_path, "ckpt-7")
    assert tfckpt.cli.main(["ls", str(tmp_path / "ckpt-7")]) == 0
