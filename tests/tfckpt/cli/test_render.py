"""Test the output that all verbs share."""

from __future__ import annotations

import pytest

from tfckpt.cli.render import complain, say


def test_messages_escape_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """Text from a file stays on its line."""
    say("one\ntwo\x1b[2J")
    complain("three\r", command="tf2torch")

    assert capsys.readouterr().err == "one\\ntwo\\x1b[2J\ntf2torch: three\\r\n"
