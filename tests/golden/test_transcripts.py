"""Compare what the commands print with the transcripts in this folder, one for each verb.

In a transcript, a line that starts with `$ ` is run, and the lines below it are what it prints: two spaces stand before
a line of standard output, `! ` before a line of standard error, and `[exit N]` is the exit code if it is not 0.
A line that starts with `# ` is for the reader. `make golden` runs every command and rewrites what stands below it, so
to add a session, add its `$ ` line.

Each command runs in this process, without a shell, in a folder that holds the inputs its transcript names (inputs.py).
`NAME=VALUE` before a command sets an environment variable, and `WITHOUT=PACKAGE` hides a package. `| head -N` and
`| tail -N` after it shorten what it prints.
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
from tfckpt.storage.remote import http, transport

from . import inputs

FOLDER = Path(__file__).parent
COMMANDS = {"tfckpt": tfckpt.cli, "tf2torch": converter.cli}
#: Each release of argparse words its help and errors a little differently, so one version of Python compares them.
ARGPARSE_OF = (3, 11)


class Session(NamedTuple):
    """A command, the comments above it, and what it printed when the transcript was written."""

    comments: list[str]
    command: str
    printed: list[str]


def sessions(text: str) -> Iterator[Session]:
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
    assert session is not None and not comments, "a comment stands above the command it is about"
    yield session


def run(command: str, patch: pytest.MonkeyPatch) -> tuple[str, str, object, bool]:
    """Run one command: what it prints to each stream, its exit code, and whether it raises `SystemExit`."""
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
    said, complaint = (stream.buffer.getvalue().decode("utf-8") for stream in (out, err))
    # The usage is in the help already, and the frames of a traceback change with the code.
    complaint = re.sub(r"^(usage: |Traceback ).*\n(?: .*\n)*", r"\1...\n", complaint, flags=re.MULTILINE)
    return part(said, cut), part(complaint, cut), code, exited


def part(text: str, cut: str) -> str:
    """Keep what `head -N` or `tail -N` leaves of a text."""
    end, _, number = cut.partition(" -")
    lines = text.splitlines(keepends=True)
    return "".join({"": lines, "head": lines[: int(number or 0)], "tail": lines[-int(number or 0) :]}[end])


def printed(session: Session, folder: Path, server: str) -> list[str]:
    """Run the command of a session, and return the lines that belong below it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))  # `--into` looks for modules in the current folder
        out, err, code, exited = run(session.command.replace("http://server/", server), patch)
    if exited and sys.version_info[:2] != ARGPARSE_OF:
        return session.printed
    lines = [f"  {line}".rstrip() for line in out.splitlines()] + [f"! {line}".rstrip() for line in err.splitlines()]
    lines += [f"[exit {code}]"] if code else []
    return [same_everywhere(line, folder, server) for line in lines]


def same_everywhere(line: str, folder: Path, server: str) -> str:
    """Replace what differs between runs, machines and releases."""
    line = line.replace(str(folder), "FOLDER").replace(server, "http://server/")
    line = line.replace(f" {tfckpt.__version__}", " VERSION")
    # Float32 results, and so the differences between them and their cosines, depend on the processor.
    line = re.sub(
        r"\b\d\.\de[-+]\d\d\b|\b(?!1e-05)\de-\d\d\b|\b[01]\.\d{9}\b", lambda number: "N".ljust(len(number[0])), line
    ).rstrip()
    return re.sub(r"(\.(?:safetensors|pth|npz), )[\d,]+ bytes", r"\1N bytes", line)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_commands_print_what_their_transcript_has(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transcript is right word for word."""
    text = path.read_text("utf-8")
    for package in re.findall(r"^# Needs (\w+)\.$", text, re.MULTILINE):
        pytest.importorskip(package, reason=f"{path.name} needs {package}")
    all_sessions = list(sessions(text))
    inputs.make(tmp_path, "\n".join(session.command for session in all_sessions))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TFCKPT_CACHE", "cache")
    patience = transport.Patience(attempts=2, delay=0.001, timeout=5.0, total=20.0)
    monkeypatch.setattr(http, "DEFAULT_PATIENCE", patience)
    known = set(sys.modules)

    parts = []
    with serving(inputs.served() if "http://server/" in text else {}) as server:
        for session in all_sessions:
            lines = [*session.comments, f"$ {session.command}", *printed(session, tmp_path, server.url)]
            parts.append("\n".join(lines).rstrip("\n") + "\n")
    for name in set(sys.modules) - known:  # modules of this folder, which `--into` imports
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]

    found = "\n".join(parts)
    if os.environ.get("GOLDEN") == "rewrite":
        path.write_text(found, "utf-8")
    elif found != text:
        difference = difflib.unified_diff(text.splitlines(), found.splitlines(), path.name, "now", lineterm="")
        pytest.fail("\n".join([*difference, "", "if this change is intended, run: make golden"]), pytrace=False)


def test_every_verb_has_a_transcript() -> None:
    """Each verb has one transcript, and so has each command."""
    wanted = {f"{name}-{verb}" for name, package in COMMANDS.items() for verb in package._COMMAND.verbs}

    assert {path.stem for path in FOLDER.glob("*.txt")} == wanted | set(COMMANDS)
