"""docs/deployment.md: its commands print what it shows, for the destinations that are installed."""

from __future__ import annotations

import doctest
import pathlib
import re
import shlex
import shutil
import tarfile

import pytest

from converter.programs.destinations import DESTINATIONS
from tfckpt.errors import MissingDependencyError

from .console import normalize, read_commands, run_command

ROOT = pathlib.Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
_PARTS = re.compile(r"```(console|pycon)\n(.*?)```", re.DOTALL)


def is_installed(command: str) -> bool:
    """Return whether the packages of the command's destination are installed."""
    words = shlex.split(command)
    ending = pathlib.Path(words[words.index("-o") + 1]).suffix
    try:
        DESTINATIONS[ending].require()
    except MissingDependencyError:
        return False
    return True


@pytest.mark.slow
def test_commands_and_examples_of_the_page_run(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order, in a folder with the archive of examples."""
    pytest.importorskip("torch", reason="exports a network")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    with tarfile.open(ROOT / "examples" / "efficientnetv2-digits.tgz") as archive:
        archive.extractall(tmp_path, filter="data")
    names: dict[str, object] = {}
    said: list[str] = []
    run = 0

    for kind, text in _PARTS.findall(PAGE):
        if kind == "console":
            for command, output in read_commands(f"```console\n{text}```"):
                if " export " not in command or is_installed(command):
                    assert normalize(run_command(command)) == normalize(output), command
                    run += 1
        elif is_installed("-o digits.xml"):
            test = doctest.DocTestParser().get_doctest(text, names, "deployment.md", "deployment.md", 0)
            results = doctest.DocTestRunner().run(test, out=said.append, clear_globs=False)
            assert results.failed == 0, "".join(said)
            names |= test.globs

    assert run >= 2
