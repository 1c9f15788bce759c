"""docs/deployment.md: its commands print what it shows, for the destinations that are installed."""

from __future__ import annotations

import pathlib
import shutil
import tarfile

import pytest

from .console import find_destination, is_installed, run_page

ROOT = pathlib.Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")


def is_run(text: str) -> bool:
    """Return whether the packages are installed that a command or an example needs."""
    if text.startswith(">>>"):
        return is_installed(".xml")  # the examples run all files
    return " export " not in text or is_installed(find_destination(text))


@pytest.mark.slow
def test_commands_and_examples_of_the_page_run(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order, in a folder with the archive of examples."""
    pytest.importorskip("torch", reason="exports a network")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    with tarfile.open(ROOT / "examples" / "efficientnetv2-digits.tgz") as archive:
        archive.extractall(tmp_path, filter="data")

    run = run_page(PAGE, is_run=is_run)

    assert len(run.commands) >= 2
