"""Patterns of names: both ways to match them agree, and neither takes long."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.mapping.patterns import Pattern

WORDS = {"w": {"a": "1", "ab": "2", "": "3"}}
PIECES = st.sampled_from(["a", "b", "/", "ab", "{x}", "{y}", "{p...}", "{q...}", "{w}"])


@given(st.lists(PIECES, max_size=6, unique=True), st.text("ab/", max_size=12), st.sampled_from(["", "a", "b/"]))
def test_matching_backwards_is_what_the_expression_says(pieces: list[str], name: str, scope: str) -> None:
    """Greedy from the left, with every group as the expression would have it."""
    text = "".join(pieces)
    pattern = Pattern(text, WORDS, scope)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pattern, "_is_ambiguous", lambda self: False)
        expected = Pattern(text, WORDS, scope).match(name)

    assert pattern.match(name) == expected
    assert pattern._matched_backwards(name) == expected


def test_many_open_groups_take_no_time() -> None:
    """An expression would need longer than the universe has; what fits is found."""
    pattern = Pattern("{a...}{b}{c...}/{d}{e...}{f...}z", {})
    begun = time.perf_counter()

    assert pattern.match("a" * 20_000) is None
    assert pattern.match("a/" * 5_000) is None
    found = pattern.match("x" * 1000 + "/" + "y" * 1000 + "z")

    assert found == {"a": "x" * 998, "b": "x", "c": "x", "d": "y" * 998, "e": "y", "f": "y"}
    assert time.perf_counter() - begun < 2
