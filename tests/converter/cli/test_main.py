"""Test the command as a whole: help, version, pipes, terminals and exit codes."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from converter.cli import convert, main
from converter.cli.progress import progress_bar
from converter.errors import ConversionError
from tests.conftest import slow

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    "arguments",
    [
        ["ops"],
        slow(["bench", "OUT"]),
        slow(["evaluate", "OUT", "--data", "DATA"]),
        ["verify", "SRC", "OUT", "--float64"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_command_without_torch_names_the_extra(
    arguments: list[str], digits: pathlib.Path, data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """There is one line and the exit code is 5; a conversion in the same process works without torch."""
    program = (
        "import sys\nsys.modules['torch'] = None\nfrom converter.cli import main\n"
        "assert main(['convert', sys.argv[1], '-o', sys.argv[2]]) == 0\nsys.exit(main(sys.argv[3:]))"
    )
    names = {"SRC": str(digits), "OUT": str(tmp_path / "out.npz"), "DATA": str(data / "digits" / "digits-test.npz")}
    command = [names.get(argument, argument) for argument in arguments]

    process = subprocess.run(
        [sys.executable, "-c", program, names["SRC"], names["OUT"], *command],
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 5
    assert process.stderr.count("\n") == 1
    assert "tfckpt[torch]" in process.stderr


def test_help_on_a_wide_terminal_is_not_wrapped(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Examples have their explanation on the same line."""
    monkeypatch.setenv("COLUMNS", "125")
    with pytest.raises(SystemExit):
        main(["convert", "--help"])

    assert convert.HELP in capsys.readouterr().out


def test_no_command_is_wrong_usage() -> None:
    """The parser exits."""
    with pytest.raises(SystemExit) as caught:
        main([])

    assert caught.value.code == 2


def test_module_runs_as_a_program() -> None:
    """`python -m converter` is the same as `tf2torch`."""
    shown = subprocess.run([sys.executable, "-m", "converter", "--version"], check=True, capture_output=True, text=True)

    assert shown.stdout.startswith("tf2torch ")


@pytest.mark.skipif(os.name != "posix", reason="pipes close differently elsewhere")
def test_closed_pipe_is_quiet(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """There is no message if the reader closes the pipe, and the output is still written."""
    output = tmp_path / "x.safetensors"
    read_end, write_end = os.pipe()
    os.close(read_end)

    process = subprocess.run(
        [sys.executable, "-m", "converter", "convert", str(digits), "-o", str(output), "--no-proof"],
        stdout=write_end,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write_end)

    assert (process.returncode, process.stderr) == (0, b"")
    assert output.exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_full_disk_is_reported_in_one_line(digits: pathlib.Path) -> None:
    """If standard output cannot be written, there is no traceback and the exit code is 2."""
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "converter", "plan", str(digits)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert process.returncode == 2
    assert process.stderr.startswith("tf2torch: ")
    assert process.stderr.count("\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_interruption_leaves_nothing(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Ctrl-C during writing exits with 130, without a traceback or an incomplete file."""
    program = (
        "import sys, time\n"
        "import converter.formats.files as files\n"
        "from converter.cli import main\n"
        "def slow(result, file, **options):\n"
        "    file.write(b'half')\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
        "files.FORMATS['.safetensors'] = files.FORMATS['.safetensors']._replace(write=slow)\n"
        f"sys.exit(main(['convert', {str(digits)!r}, '-o', {str(tmp_path / 'x.safetensors')!r}]))\n"
    )

    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"writing\n"
    assert len(os.listdir(tmp_path)) == 1
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=30)

    assert (process.returncode, message.count(b"\n")) == (130, 1)
    assert message.startswith(b"tf2torch: ")
    assert os.listdir(tmp_path) == []


def test_progress_is_not_drawn_without_a_terminal(capsys: Capture) -> None:
    """There is no bar in a log file."""
    with progress_bar("reading") as progress:
        assert progress is None

    assert capsys.readouterr().err == ""


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX pseudo-terminals")
def test_progress_is_drawn_on_a_terminal(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The bar goes to standard error, not to standard output."""
    pytest.importorskip("rich", reason="rich draws the bar")
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.run(
        [sys.executable, "-m", "converter", "convert", str(digits), "-o", str(tmp_path / "x.npz"), "--no-proof"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        check=True,
    )
    os.close(theirs)
    drawn = _read_all(ours)

    assert b"reading" in drawn
    assert b"writing" in drawn
    assert process.stdout.startswith(b"source    model.ckpt-322\n")


def _read_all(terminal: int) -> bytes:
    """Read everything sent to a terminal; some systems end it with an error."""
    drawn = b""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        if not part:
            break
        drawn += part
    os.close(terminal)
    return drawn


def test_progress_does_not_need_rich(
    digits: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without rich there is just no bar."""
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    assert main(["convert", str(digits), "-o", str(tmp_path / "x.safetensors")]) == 0

    assert capsys.readouterr().err == ""


def test_error_messages_escape_control_characters() -> None:
    """`str` escapes each line; the attribute `message` keeps the original text."""
    error = ConversionError("two\nlines \x1b[2J\x7f")

    assert str(error) == "two\nlines \\x1b[2J\\x7f"
    assert error.message == "two\nlines \x1b[2J\x7f"
