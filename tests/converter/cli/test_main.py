"""The command line as a whole: help, version, pipes, terminals, and how errors become exit codes."""

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

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    "arguments",
    [["ops"], ["bench", "OUT"], ["evaluate", "OUT", "--data", "DATA"], ["verify", "SRC", "OUT", "--float64"]],
    ids=lambda arguments: arguments[0],
)
def test_command_that_needs_torch_names_the_extra_where_there_is_none(
    arguments: list[str], digits: pathlib.Path, data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """One line and exit code 5; a conversion in the same process has been made without it."""
    program = (
        "import sys\nsys.modules['torch'] = None\nfrom converter.cli import main\n"
        "assert main(['convert', sys.argv[1], '-o', sys.argv[2]]) == 0\nsys.exit(main(sys.argv[3:]))"
    )
    names = {"SRC": str(digits), "OUT": str(tmp_path / "out.npz"), "DATA": str(data / "digits" / "digits-test.npz")}
    command = [names.get(argument, argument) for argument in arguments]

    ended = subprocess.run(
        [sys.executable, "-c", program, names["SRC"], names["OUT"], *command],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 5
    assert ended.stderr.count("\n") == 1
    assert "tfckpt[torch]" in ended.stderr


@pytest.mark.parametrize("verb", ["convert", "plan", "verify", "evaluate", "bench", "revert", "models", "ops"])
def test_help_fits_a_narrow_terminal(verb: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """At 80 columns no sentence is wider; a command is never broken, and what it does stands under it."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main([verb, "--help"])

    lines = capsys.readouterr().out.partition("\n\n")[2].splitlines()
    assert [line for line in lines if len(line) > 80 and not line.startswith("  tf2torch ")] == []


def test_help_on_a_wide_terminal_is_as_it_is_written(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Examples with what they do beside them."""
    monkeypatch.setenv("COLUMNS", "125")
    with pytest.raises(SystemExit):
        main(["convert", "--help"])

    assert convert.HELP in capsys.readouterr().out


def test_no_command_is_wrong_usage() -> None:
    """The exit code is the parser's."""
    with pytest.raises(SystemExit) as caught:
        main([])

    assert caught.value.code == 2


def test_module_runs_as_a_program() -> None:
    """`python -m converter` is `tf2torch`."""
    shown = subprocess.run([sys.executable, "-m", "converter", "--version"], check=True, capture_output=True, text=True)

    assert shown.stdout.startswith("tf2torch ")


@pytest.mark.skipif(os.name != "posix", reason="pipes close differently elsewhere")
def test_closed_pipe_is_quiet(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A reader that has seen enough gets no complaint, and the output is written all the same."""
    output = tmp_path / "x.safetensors"
    read_end, write_end = os.pipe()
    os.close(read_end)

    process = subprocess.run(
        [sys.executable, "-m", "converter", "convert", str(digits), "-o", str(output)],
        stdout=write_end,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write_end)

    assert (process.returncode, process.stderr) == (0, b"")
    assert output.exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
def test_full_disk_under_standard_output_is_one_line(digits: pathlib.Path) -> None:
    """What cannot be written is said without a traceback, with the code of an output that cannot be written."""
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "converter", "plan", str(digits)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert ended.returncode == 2
    assert ended.stderr == "tf2torch: [Errno 28] No space left on device\n"


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_interruption_leaves_nothing(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Control-C in the middle of writing exits with 130, without traceback and without a part of a file."""
    program = (
        "import sys, time\n"
        "import converter.formats.files as exporters\n"
        "from converter.cli import main\n"
        "def slow(result, file, *, progress=None):\n"
        "    file.write(b'half')\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
        "exporters.FORMATS['.safetensors'] = exporters.FORMATS['.safetensors']._replace(write=slow)\n"
        f"sys.exit(main(['convert', {str(digits)!r}, '-o', {str(tmp_path / 'x.safetensors')!r}]))\n"
    )

    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"writing\n"
    assert len(os.listdir(tmp_path)) == 1
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=30)

    assert (process.returncode, complaint.count(b"\n")) == (130, 1)
    assert complaint.startswith(b"tf2torch: ")
    assert os.listdir(tmp_path) == []


def test_progress_is_not_drawn_without_a_terminal(capsys: Capture) -> None:
    """A log file gets no bar."""
    with progress_bar("reading") as progress:
        assert progress is None

    assert capsys.readouterr().err == ""


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX's")
def test_progress_is_drawn_on_a_terminal(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """On a terminal a bar appears on standard error, and standard output stays clean."""
    pytest.importorskip("rich", reason="the bar is drawn by rich")
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.run(
        [sys.executable, "-m", "converter", "convert", str(digits), "-o", str(tmp_path / "x.safetensors")],
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
    """Read what a terminal was sent; some systems end it with an error."""
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


def test_progress_needs_no_rich(
    digits: pathlib.Path, tmp_path: pathlib.Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without rich there is no bar, and everything else as usual."""
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    assert main(["convert", str(digits), "-o", str(tmp_path / "x.safetensors")]) == 0

    assert capsys.readouterr().err == ""


def test_messages_of_errors_cannot_send_control_characters() -> None:
    """Also where a program prints them: what they quote is escaped line by line, and the attribute keeps it."""
    error = ConversionError("two\nlines \x1b[2J\x7f")

    assert str(error) == "two\nlines \\x1b[2J\\x7f"
    assert error.message == "two\nlines \x1b[2J\x7f"
