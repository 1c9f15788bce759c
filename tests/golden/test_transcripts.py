"""Compare the output of the commands with the transcripts in this folder, one for each verb.

In a transcript, a line that starts with `$ ` is a command, and the lines below it are its output: lines of standard
output are indented by two spaces, lines of standard error start with `! `, and `[exit N]` is an exit code other than 0.
A line that starts with `# ` is a comment. `make golden` runs all commands and rewrites their output, so to add a
session, add its `$ ` line.

Each command runs in this process, without a shell, in a folder with the inputs that the transcript names (inputs.py).
`NAME=VALUE` before a command sets an environment variable, and `WITHOUT=PACKAGE` hides a package. `| head -N` and
`| tail -N` after a command shorten its output.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import converter.cli
import tfckpt
import tfckpt.cli
from tests.contracts.server import serving
from tests.in_process import run_programs_here
from tfckpt.storage.remote import http, transport

from . import inputs

FOLDER = Path(__file__).parent
COMMANDS = {"tfckpt": tfckpt.cli, "tf2torch": converter.cli}
#: The wording of argparse differs between Python versions, so only this one compares its help and errors.
ARGPARSE_PYTHON = (3, 11)
#: Outputs with lines of any width: a row for each name or finding, what a script prints, and JSON and TOML.
ANY_WIDTH = re.compile(
    r"^tfckpt (ls|tree|diff|verify|run) |--(json|show-rules|proposals)\b|^tfckpt (plan-export|run-task) "
)


class Session(NamedTuple):
    """A command with the comments above it and its output in the transcript."""

    comments: list[str]
    command: str
    printed: list[str]


def split_sessions(text: str) -> Iterator[Session]:
    """Split a transcript into its sessions."""
    comments: list[str] = []
    session = None
    for line in text.splitlines():
        if line.startswith("#"):
            comments.append(line)
        elif line.startswith("$ "):
            if session is not None:
                yield session
            session, comments = Session(comments, line[2:], []), []
        elif session is not None and not comments:
            session.printed.append(line)
    assert session is not None and not comments, "a comment must be above a command"
    yield session


def run(command: str, patch: pytest.MonkeyPatch) -> tuple[str, str, object, bool]:
    """Run a command; return its standard output and error, its exit code, and whether it raised `SystemExit`."""
    command, _, cut = command.partition(" | ")
    words = shlex.split(command)
    while words[0].partition("=")[1]:
        name, _, value = words.pop(0).partition("=")
        if name == "WITHOUT":
            patch.setitem(sys.modules, value, None)  # type: ignore[arg-type]  # None makes an import fail
        else:
            patch.setenv(name, value)
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    exited = False
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code: object = COMMANDS[words[0]].main(words[1:])
        except SystemExit as leaving:
            code, exited = leaving.code, True
    output, errors = (stream.buffer.getvalue().decode("utf-8") for stream in (out, err))
    # The help has the usage already, and the lines of a traceback change with the code.
    errors = re.sub(r"^(usage: |Traceback ).*\n(?: .*\n)*", r"\1...\n", errors, flags=re.MULTILINE)
    return shorten(output, cut), shorten(errors, cut), code, exited


def shorten(text: str, cut: str) -> str:
    """Apply `head -N` or `tail -N` to a text."""
    end, _, number = cut.partition(" -")
    lines = text.splitlines(keepends=True)
    return "".join({"": lines, "head": lines[: int(number or 0)], "tail": lines[-int(number or 0) :]}[end])


def run_session(session: Session, folder: Path, server: str) -> list[str]:
    """Run the command of a session, and return its output in the form of a transcript."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))  # `--into` adds the current folder
        out, err, code, exited = run(session.command.replace("http://server/", server), patch)
    if exited and sys.version_info[:2] != ARGPARSE_PYTHON:
        return session.printed
    lines = [f"  {line}".rstrip() for line in out.splitlines()] + [f"! {line}".rstrip() for line in err.splitlines()]
    lines += [f"[exit {code}]"] if code else []
    return [normalize(line, folder, server) for line in lines]


def normalize(line: str, folder: Path, server: str) -> str:
    """Replace everything that differs between runs, machines and releases."""
    line = line.replace(str(folder), "FOLDER").replace(server, "http://server/")
    line = line.replace(f" {tfckpt.__version__}", " VERSION")
    line = re.sub(r"(  check .* by \w+) [^ ]+,", r"\1 VERSION,", line)
    line = re.sub(r"within \d+\.\d times float32 noise", "within N times float32 noise", line)
    if line.startswith("  versions "):
        line = re.sub(r"(\w+) [^ ,]+(?=,|$)", r"\1 VERSION", line)
    # Differences and cosines of float32 results depend on the processor.
    line = re.sub(
        r"\b\d\.\de[-+]\d\d\b|\b(?!1e-05)\de-\d\d\b|\b[01]\.\d{9}\b", lambda number: "N".ljust(len(number[0])), line
    ).rstrip()
    return re.sub(r"^(  output    [^:]*, )[\d,]+ bytes", r"\1N bytes", line)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_output_matches_the_transcript(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every word is compared; `make golden` accepts a new wording."""
    text = path.read_text("utf-8")
    for package in re.findall(r"^# Needs (\w+)\.$", text, re.MULTILINE):
        pytest.importorskip(package, reason=f"{path.name} needs {package}")
    all_sessions = list(split_sessions(text))
    inputs.make(tmp_path, "\n".join(session.command for session in all_sessions))
    monkeypatch.chdir(tmp_path)
    for entry in tmp_path.iterdir():  # another test may have imported the original of a module that is here
        monkeypatch.delitem(sys.modules, entry.stem, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TFCKPT_CACHE", "cache")
    patience = transport.Patience(attempts=2, delay=0.001, timeout=5.0, total=20.0)
    monkeypatch.setattr(http, "DEFAULT_PATIENCE", patience)
    if path.stem == "tf2torch-export":
        run_programs_here(monkeypatch)
    modules_before = set(sys.modules)

    parts = []
    with serving(inputs.served() if "http://server/" in text else {}) as server:
        for session in all_sessions:
            lines = [*session.comments, f"$ {session.command}", *run_session(session, tmp_path, server.url)]
            parts.append("\n".join(lines).rstrip("\n") + "\n")
    for name in set(sys.modules) - modules_before:  # forget modules that `--into` imported from this folder
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]

    actual = "\n".join(parts)
    if os.environ.get("GOLDEN") == "rewrite":
        path.write_text(actual, "utf-8")
    elif actual != text:
        difference = difflib.unified_diff(text.splitlines(), actual.splitlines(), path.name, "now", lineterm="")
        pytest.fail("\n".join([*difference, "", "to accept this change, run: make golden"]), pytrace=False)


@pytest.mark.parametrize(
    "arguments",
    [
        *([name, "--help"] for name in COMMANDS),
        *([name, verb, "--help"] for name, package in COMMANDS.items() for verb in package._COMMAND.verbs),
        ["tf2torch", "models"],
        ["tf2torch", "models", "--long"],
    ],
    ids=" ".join,
)
def test_help_and_tables_fit_80_columns(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Usage and examples too."""
    monkeypatch.setenv("COLUMNS", "80")
    with contextlib.suppress(SystemExit):
        COMMANDS[arguments[0]].main(arguments[1:])

    assert [line for line in capsys.readouterr().out.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_output_for_people_fits_80_columns(path: Path) -> None:
    """A wider line is one word, such as a name or a checksum, with the title before it."""
    lines = [
        line[2:]
        for session in split_sessions(path.read_text("utf-8"))
        for line in session.printed
        if line.startswith("  ") and not ANY_WIDTH.search(session.command)
    ]

    assert [line for line in lines if len(line) > 80 and len(line.split()) > 1] == []


def test_every_verb_has_a_transcript() -> None:
    """Each command has one too, for its own help and errors."""
    expected = {f"{name}-{verb}" for name, package in COMMANDS.items() for verb in package._COMMAND.verbs}

    assert {path.stem for path in FOLDER.glob("*.txt")} == expected | set(COMMANDS)
