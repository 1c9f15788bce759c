"""Commands that are killed, interrupted, stopped, or find the disk full leave nothing under the final name."""

from __future__ import annotations

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

ROOT = pathlib.Path(__file__).parents[2]
NOBODY = 65534

#: Every command that writes, with `OUT` for the path of its output and `SRC` for its source.
COMMANDS = {
    "convert": ["tf2torch", "convert", "SRC", "-o", "OUT.safetensors"],
    "export": ["tfckpt", "export", "SRC", "-o", "OUT.safetensors"],
    "export npz": ["tfckpt", "export", "SRC", "-o", "OUT.npz"],
    "export folder": ["tfckpt", "export", "SRC", "-o", "OUT/", "--include", "*/kernel"],
    "cp": ["tfckpt", "cp", "SRC", "OUT"],
}
#: What stands in the folder after each has ended well.
WRITTEN = {
    "convert": {"out.safetensors"},
    "export": {"out.safetensors"},
    "export npz": {"out.npz"},
    "export folder": {"out"},
    "cp": {"out.index", "out.data-00000-of-00001"},
}
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def command_of(name: str, source: pathlib.Path, out: pathlib.Path | str = "OUT") -> list[str]:
    """The arguments of a command with its paths filled in."""
    return [part.replace("SRC", str(source)).replace("OUT", str(out)) for part in COMMANDS[name]]


def digest_of(prefix: pathlib.Path) -> str:
    """Of all bytes of a source, to see that it stays as it is."""
    parts = sorted(prefix.parent.glob(prefix.name + ".*"))
    return hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()


@needs_fork
@pytest.mark.parametrize(("name", "count"), [("convert", 50), ("export npz", 10), ("export folder", 10)])
def test_command_killed_at_any_point_leaves_nothing_under_the_final_name(
    name: str, count: int, run_all: bool, digits: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """SIGKILL: the output is there whole or not at all, temporary files say that they are, the source is untouched."""
    before = digest_of(digits)
    folder = tmp_path / "work"
    count = count if run_all else 0  # of random points, beside the changes of the disk

    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.killed_command", str(folder), str(count), "7", *command_of(name, digits)],
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
    assert partial > 0  # some came while the output was being written
    assert digest_of(digits) == before


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
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("number", "ending"),
    [(signal.SIGINT, (130, "interrupted")), (signal.SIGTERM, (143, "stopped by the system"))],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_interrupted_command_removes_its_temporary_files_and_says_one_line(
    name: str, number: int, ending: tuple[int, str], digits: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """The signal comes when the output is on the disk and has not got its name yet."""
    command = command_of(name, digits, tmp_path / "out")
    code, said = ending

    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTING, str(int(number)), "fsync", *command],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.count("\n") == 1
    assert f"{command[0]}: {said}" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_signal_handlers_are_the_programs_own_again_after_a_command(digits: pathlib.Path) -> None:
    """Whoever calls a command's `main` from a program keeps what the program set."""
    before = signal.getsignal(signal.SIGTERM)

    assert tfckpt.cli.main(["info", str(digits)]) == 0

    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture
def small_tmpfs(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A disk of 128 KiB, less than any output below needs."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    arguments = ["-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    if sys.platform != "linux" or mount is None or subprocess.run([mount, *arguments], check=False).returncode != 0:
        pytest.skip("a small disk can be mounted only by root on Linux")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def main_of(command: list[str]) -> int:
    """Run a command in this process; its exit code."""
    return {"tfckpt": tfckpt.cli.main, "tf2torch": converter.cli.main}[command[0]](command[1:])


@pytest.mark.parametrize("name", COMMANDS)
def test_full_disk_is_one_line_and_leaves_nothing(
    name: str, digits: pathlib.Path, small_tmpfs: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The room that was taken is free again; with room enough the same command writes its output."""
    before = digest_of(digits)

    code = main_of(command_of(name, digits, small_tmpfs / "out"))

    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "No space left on device" in captured.err
    assert list(small_tmpfs.iterdir()) == []
    assert digest_of(digits) == before
    (small_tmpfs.parent / "room").mkdir()
    assert main_of(command_of(name, digits, small_tmpfs.parent / "room" / "out")) == 0
    assert {path.name for path in (small_tmpfs.parent / "room").iterdir()} == WRITTEN[name]


@pytest.fixture
def locked_folder(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder in which this process may write nothing; root becomes nobody for the time."""
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
def test_folder_that_is_not_writable_is_one_line(
    name: str, digits: pathlib.Path, locked_folder: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said before or when the output would be made; nothing is left."""
    code = main_of(command_of(name, digits, locked_folder / "out"))

    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "Permission denied" in captured.err
    assert list(locked_folder.iterdir()) == []


def test_checkpoint_that_is_being_written_is_said_by_the_command(
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
    assert "is being written, or its writing ended half-way" in captured.err
    Bundle().add("w", builders.FLOAT, [1], bytes(4)).write(tmp_path, "ckpt-7")
    assert tfckpt.cli.main(["ls", str(tmp_path / "ckpt-7")]) == 0
    assert "1 tensor" in capsys.readouterr().out
