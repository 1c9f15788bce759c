"""docs/writing.md shows what really happens."""

from __future__ import annotations

import os
import pathlib
import re
import shlex

import pytest

from tfckpt.cli import main

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "writing.md"
_COMMAND = re.compile(r"^\$ (tfckpt .*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
_BLOCK = re.compile(r"```(console|python)\n(.*?)```", re.DOTALL)


def test_examples_of_the_page_run_and_print_what_it_shows(
    data: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Commands and Python in their order, in a folder with the digits network's training checkpoint."""
    monkeypatch.chdir(tmp_path)
    os.symlink(data / "digits-train", "digits-train")
    pathlib.Path("averaged").mkdir()
    names: dict[str, object] = {}

    blocks = _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, str(PAGE), "exec"), names)
            continue
        for command, shown in _COMMAND.findall(text):
            assert main(shlex.split(command)[1:]) == 0
            assert capsys.readouterr().out == shown

    assert [kind for kind, _ in blocks].count("console") == 2
    assert sorted(path.name for path in tmp_path.glob("averaged/*.index")) == [
        "doubled.index",
        "large.index",
        "model.index",
        "objects.index",
        "own.index",
    ]
