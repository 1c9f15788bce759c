"""The commands of documentation pages: blocks of `console`, with what they print."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator

import converter.cli
import tfckpt.cli

_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
_PROGRAMS = {"tfckpt": tfckpt.cli, "tf2torch": converter.cli}
#: What differs between machines and releases: measured numbers, versions and sizes of files.
_VARYING = (
    (re.compile(r"(output    [^:]*, )[\d,]+ bytes"), r"\1N bytes"),
    (re.compile(r"(check     .* by \w+) .*, in"), r"\1 VERSION, in"),
    (re.compile(r"\b\d+\.\d times float32"), "N times float32"),
    (re.compile(r"\b\d\.\de[-+]\d\d\b"), "N"),
    (re.compile(r"\d+ layers recognized; forward has \d+ lines"), "N layers recognized; forward has N lines"),
    (re.compile(r"cosine \d\.\d+, \d+ of"), "cosine N, N of"),
    (re.compile(r"\d\d\.\d\d% before, \d\d\.\d\d% after"), "N before, N after"),
)


def read_commands(text: str) -> Iterator[tuple[str, str]]:
    """Yield every command of a page with its output."""
    for block in _BLOCK.findall(text):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def run_command(command: str) -> str:
    """Return what a command prints to standard output; it has to succeed."""
    words = shlex.split(command)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = _PROGRAMS[words[0]].main(words[1:])
    assert code == 0, command
    return out.getvalue()


def normalize(text: str) -> str:
    """Replace what differs between machines and releases."""
    for pattern, replacement in _VARYING:
        text = pattern.sub(replacement, text)
    return text
