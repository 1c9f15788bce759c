"""docs/writing.md shows what really happens."""

from __future__ import annotations

import os
import pathlib
import re
import shlex

import pytest

import converter.cli
import tfckpt.cli

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "writing.md"
_COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
_BLOCK = re.compile(r"```(console|python)\n(.*?)```", re.DOTALL)


def make_folder(arguments: list[str]) -> int:
    """Do what `mkdir` does."""
    for folder in arguments:
        pathlib.Path(folder).mkdir()
    return 0


_COMMANDS = {"tfckpt": tfckpt.cli.main, "tf2torch": converter.cli.main, "mkdir": make_folder}


def test_examples_of_the_page_run_and_print_what_it_shows(
    data: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Commands and Python in their order, in a folder with the digits network's checkpoints."""
    pytest.importorskip("torch", reason="one of the files is PyTorch's")
    monkeypatch.chdir(tmp_path)
    os.symlink(data / "digits-train", "digits-train")
    os.symlink(data / "digits" / "efficientnetv2-digits", "digits")
    os.symlink(data / "reverted" / "finetuned.pth", "finetuned.pth")
    names: dict[str, object] = {}

    blocks = _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, str(PAGE), "exec"), names)
            continue
        for command, shown in _COMMAND.findall(text):
            program, *arguments = shlex.split(command)
            assert _COMMANDS[program](arguments) == 0
            assert capsys.readouterr().out == shown

    assert [kind for kind, _ in blocks].count("console") == 3
    assert sorted(path.name for path in tmp_path.glob("tuned/*.index")) == ["again.index", "model.ckpt.index"]
    assert sorted(path.name for path in tmp_path.glob("averaged/*.index")) == [
        "doubled.index",
        "large.index",
        "model.index",
        "objects.index",
        "own.index",
    ]
