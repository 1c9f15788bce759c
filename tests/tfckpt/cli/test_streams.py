"""Standard output and error that are closed, full, or a pipe that nobody reads, for both commands."""

from __future__ import annotations

import os
import pathlib
import shlex
import subprocess
import sys

import pytest

from tests.conftest import slow

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a POSIX shell and /dev/full")


def run(command: str, redirection: str) -> tuple[int, str, str]:
    """Run `python -m COMMAND` in a shell with a redirection; return its exit code, output and messages."""
    done = subprocess.run(
        ["sh", "-c", f"{shlex.quote(sys.executable)} -m {command} {redirection}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


#: Exit code, whether there is output, and lines of messages.
REDIRECTIONS = {
    ">&-": (0, False, 0),
    "2>&-": (0, True, 0),
    "<&- >&- 2>&-": (0, False, 0),
    ">/dev/full": (2, False, 1),
    "2>/dev/full": (0, True, 0),
    ">/dev/full 2>&1": (2, False, 0),
    ">/dev/full 2>&-": (2, False, 0),
}


@pytest.mark.parametrize(
    ("command", "redirection", "expected"),
    [
        (command, redirection, expected)
        if command == "tfckpt ls {}" or redirection in (">&-", ">/dev/full")
        else slow(command, redirection, expected)
        for command in ("tfckpt ls {}", "tfckpt ls --help", "converter --version")
        for redirection, expected in REDIRECTIONS.items()
    ],
)
def test_output_that_cannot_be_written(
    command: str, redirection: str, expected: tuple[int, bool, int], digits: pathlib.Path
) -> None:
    """A closed stream is like /dev/null; a full disk is exit code 2 and one line, if that can be written."""
    code, output, messages = run(command.format(digits), redirection)

    assert (code, bool(output), messages.count("\n")) == expected


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "2>/dev/full", ">&- 2>&-", ">/dev/full"])
@pytest.mark.parametrize(("command", "code"), [("tfckpt ls nothing", 3), ("tfckpt ls --bogus", 2)])
def test_exit_code_of_an_error_stays(command: str, code: int, redirection: str) -> None:
    """Messages that nobody can read do not go to standard output."""
    assert run(command, redirection)[:2] == (code, "")


def test_descriptors_of_closed_streams_are_not_used_for_files(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Otherwise messages of native code would be written into the output."""
    program = "import os, tfckpt.cli, tfckpt.files.atomic as atomic; write = atomic.PendingFile.commit; " + (
        "atomic.PendingFile.commit = lambda file: (os.write(1, b'noise'), os.write(2, b'noise'), write(file)); "
        f"raise SystemExit(tfckpt.cli.main(['export', {str(digits)!r}, '-o', {str(tmp_path / 'x.npz')!r}]))"
    )

    command = ["sh", "-c", f'{shlex.quote(sys.executable)} -c "$1" >&- 2>&-', "sh", program]
    code = subprocess.run(command, check=False).returncode

    assert code == 0
    assert b"noise" not in (tmp_path / "x.npz").read_bytes()
