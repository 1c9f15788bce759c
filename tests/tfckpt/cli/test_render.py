"""Test the output that all verbs share."""

from __future__ import annotations

import pytest

from tfckpt.cli.render import complain, format_table, iterate_table, say


def test_messages_escape_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """Text from a file stays on its line."""
    say("one\ntwo\x1b[2J")
    complain("three\r", command="tf2torch")

    assert capsys.readouterr().err == "one\\ntwo\\x1b[2J\ntf2torch: three\\r\n"


def test_long_table_is_aligned_in_parts() -> None:
    """Its first part has the heading, and a later one is wider if it must be, never narrower."""
    rows = [("a", "1"), ("b", "22"), ("long", "3"), ("c", "4"), ("d", "5")]

    parts = list(iterate_table(["x", "y"], iter(rows), right="lr", most_rows=2))

    assert parts == ["x   y\na   1\nb  22", "long   3\nc      4", "d      5"]
    assert format_table(["x", "y"], rows[:2], right="lr") == parts[0]
