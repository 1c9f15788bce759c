"""docs/writing.md shows what really happens."""

from __future__ import annotations

import os
import pathlib

import pytest

from .console import read_blocks, run_page

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "writing.md"


def test_examples_of_the_page_run_and_print_what_it_shows(
    data: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Commands and Python in their order, in a folder with the digits network's checkpoints."""
    pytest.importorskip("torch", reason="one of the files is PyTorch's")
    monkeypatch.chdir(tmp_path)
    os.symlink(data / "digits-train", "digits-train")
    os.symlink(data / "digits" / "efficientnetv2-digits", "digits")
    os.symlink(data / "reverted" / "finetuned.pth", "finetuned.pth")
    text = PAGE.read_text(encoding="utf-8")

    run_page(text, kinds=("console", "python"))

    assert [kind for kind, _ in read_blocks(text)].count("console") == 3
    assert sorted(path.name for path in tmp_path.glob("tuned/*.index")) == ["again.index", "model.ckpt.index"]
    assert sorted(path.name for path in tmp_path.glob("averaged/*.index")) == [
        "doubled.index",
        "large.index",
        "model.index",
        "objects.index",
        "own.index",
    ]
