"""`tf2torch completion` prints what a shell needs."""

from __future__ import annotations

import shlex

import pytest

from converter.cli import main


def test_completion_script_knows_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    """What the shell offers after `tf2torch` and a tab."""
    assert main(["completion", "bash"]) == 0

    script = capsys.readouterr().out
    (verbs,) = [line for line in script.splitlines() if line.startswith("_shtab_tf2torch_subparsers=")]
    assert {"convert", "verify", "plan", "revert"} <= set(shlex.split(verbs.split("(")[1].rstrip(")")))
