"""What every verb shows in the same way."""

from __future__ import annotations

import pytest

from tfckpt.cli.render import complain, say


def test_talk_cannot_send_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """Text that quotes a file stays on its line."""
    say("one\ntwo\x1b[2J")
    complain("three\r", command="tf2torch")

    assert capsys.readouterr().err == "one\\ntwo\\x1b[2J\ntf2torch: three\\r\n"
