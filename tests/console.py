"""The commands and examples of documentation pages: run in their order, and compared with the output shown."""

from __future__ import annotations

import contextlib
import doctest
import io
import pathlib
import re
import shlex
import tarfile
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import converter.cli
import tfckpt.cli
from converter.programs.destinations import DESTINATIONS
from tfckpt.errors import MissingDependencyError

_BLOCK = re.compile(r"^```(console|pycon|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
#: Lines of an output after which a command fails: a message, or a finding of `doctor`.
_FAILURE = re.compile(r"^(tfckpt|tf2torch): |^PROBLEM ", re.MULTILINE)
#: What differs between machines and releases: measured numbers, versions and sizes of files.
_VARYING = (
    (re.compile(r"(output    [^:]*, )[\d,]+ bytes"), r"\1N bytes"),
    # The line is wrapped where versions are long, such as 2.13.0+cpu.
    (
        re.compile(r"(check     .* by \w+) [^:]*,\s+in\s+a\s+process\s+of\s+its\s+own"),
        r"\1 VERSION, in a process of its own",
    ),
    (re.compile(r"\b\d+\.\d times float32"), "N times float32"),
    (re.compile(r"\b\d\.\de[-+]\d\d\b"), "N"),
    (re.compile(r"\b[01]\.\d{9}\b"), "N"),
    (re.compile(r"\d+ layers recognized; forward has \d+ lines"), "N layers recognized; forward has N lines"),
    (re.compile(r"cosine \d\.\d+, \d+ of"), "cosine N, N of"),
    (re.compile(r"\d\d\.\d\d% before, \d\d\.\d\d% after"), "N before, N after"),
    # of `tf2torch bench`
    (re.compile(r"^(latency|throughput|peak memory|ms, .*?|  90 % below|file|apart)  .*", re.MULTILINE), r"\1  N"),
    (re.compile(r"(on cpu, float32, ).*"), r"\1N"),
)


def find_destination(command: str) -> str:
    """Return the ending of a command's output."""
    words = shlex.split(command)
    return pathlib.Path(words[words.index("-o") + 1]).suffix


def is_installed(ending: str) -> bool:
    """Return whether the packages of a destination of programs are installed."""
    try:
        DESTINATIONS[ending].require()
    except MissingDependencyError:
        return False
    return True


def make_folder(arguments: list[str]) -> int:
    """Do what `mkdir` does."""
    for folder in arguments:
        pathlib.Path(folder).mkdir()
    return 0


def unpack(arguments: list[str]) -> int:
    """Do what `tar -xf` does."""
    _, path = arguments
    with tarfile.open(path) as archive:
        archive.extractall(filter="data")
    return 0


_PROGRAMS: dict[str, Callable[[list[str]], int]] = {
    "tfckpt": tfckpt.cli.main,
    "tf2torch": converter.cli.main,
    "mkdir": make_folder,
    "tar": unpack,
}


def read_blocks(page: str) -> list[tuple[str, str]]:
    """Return the blocks of a page that can be run: kind and text."""
    return _BLOCK.findall(page)


def read_commands(text: str) -> Iterator[tuple[str, str]]:
    """Yield every command of a `console` block with its output."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


class Run(NamedTuple):
    """The commands that were run, and the names that examples and Python defined."""

    commands: list[str]
    names: dict[str, object]


def run_page(
    page: str, *, kinds: Collection[str] = ("console", "pycon"), is_run: Callable[[str], bool] = lambda text: True
) -> Run:
    """Run the blocks of a page in their order, in the current folder.

    Commands of `console` blocks have to print what is shown, examples of `pycon` blocks as well, and `python` blocks
    have to run. A line `...` in the output of a command stands for any lines.
    A command has to fail if its output is a message, and has to succeed otherwise.
    `is_run` gets a command or the text of an example, and returns False to leave it out.
    """
    run = Run([], {})
    for kind, text in read_blocks(page):
        if kind not in kinds:
            continue
        if kind == "console":
            for command, output in read_commands(text):
                if is_run(command):
                    _check_command(command, output)
                    run.commands.append(command)
        elif kind == "python":
            exec(compile(text, "<page>", "exec"), run.names)
        elif is_run(text):
            _check_example(text, run.names)
    return run


def _check_command(command: str, shown: str) -> None:
    program, *arguments = shlex.split(command)
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = _PROGRAMS[program](arguments)
    printed = out.getvalue() + (errors.getvalue() if code else "")
    assert bool(code) == bool(_FAILURE.search(shown)), f"$ {command}\nexit code {code}\n{printed}{errors.getvalue()}"
    expected, actual = normalize(shown), normalize(printed)
    if re.search(r"^\.\.\.$", expected, re.MULTILINE):
        pattern = "(?:.*\n)*".join(map(re.escape, re.split(r"^\.\.\.\n", expected, flags=re.MULTILINE)))
        assert re.fullmatch(pattern, actual), f"$ {command}\n{actual}\nis not what is shown:\n{expected}"
    else:
        assert actual == expected, command


def _check_example(text: str, names: dict[str, object]) -> None:
    test = doctest.DocTestParser().get_doctest(text, names, "page", "page", 0)
    said: list[str] = []
    # A docstring has no tabs, but messages of torch have.
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    results = runner.run(test, out=said.append, clear_globs=False)
    assert results.failed == 0, "".join(said)
    names.update(test.globs)


def normalize(text: str) -> str:
    """Replace what differs between machines and releases."""
    for pattern, replacement in _VARYING:
        text = pattern.sub(replacement, text)
    return text
