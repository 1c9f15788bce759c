"""Name patterns match like regular expressions, in bounded time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.errors import RulesError
from converter.mapping.patterns import Pattern
from converter.mapping.rules import Constant, Ignore, Rule, RuleSet
from converter.mapping.rules_file import parse_rules

WORDS = {"w": {"a": "1", "ab": "2", "": "3"}}
EXPRESSIONS = {"{x}": "(?P<x>[^/]+)", "{y}": "(?P<y>[^/]+)", "{p...}": "(?P<p>.+)", "{q...}": "(?P<q>.+)"}
EXPRESSIONS["{w}"] = "(?P<w>a|ab|)"
PIECES = st.sampled_from(["a", "b", "/", "ab", *EXPRESSIONS])

#: Patterns, and the text to repeat in a name so that the expression backtracks as much as possible.
WORST = [
    ("{a...}{b...}/z/{c}", "a"),
    ("{a...}a{b...}a{c}a", "a"),
    ("{a...}/{b...}/{c}/z/{d}", "/a"),
    ("{a}{b}{c}{d}{e}z/{f}", "a"),
    ("{a}_{b}_{c}_{d}/z", "_"),
    ("{a}_{b}/z{w}", "_"),
    ("{a...}_{b}/{c}_{d}/{e...}_{f}/{g}", "_/_"),
]


@given(st.lists(PIECES, max_size=6, unique=True), st.text("ab/", max_size=12), st.sampled_from(["", "a", "b/"]))
def test_pattern_matches_like_its_expression(pieces: list[str], name: str, scope: str) -> None:
    """The limit on steps does not affect short names."""
    expected = re.fullmatch(scope + "".join(EXPRESSIONS.get(piece, piece) for piece in pieces), name)

    groups = Pattern("".join(pieces), WORDS, scope).match(name)

    assert groups == (None if expected is None else expected.groupdict())


@pytest.mark.parametrize(("pattern", "part"), WORST, ids=[pattern for pattern, _ in WORST])
@pytest.mark.parametrize("length", [100, 1_000, 3_000, 1_000_000])
def test_hostile_name_is_matched_quickly(pattern: str, part: str, length: int) -> None:
    """The slowest patterns that are allowed take about 0.1 s on their worst names."""
    allowed = RuleSet(name="", version="", rules=(Rule(pattern, "target"),))
    name = (part * length)[:length]
    start = time.process_time()

    for ending in ("", "z", "/z", "a", "/z/"):
        Pattern(allowed.rules[0].source, WORDS).match(name + ending)

    assert time.process_time() - start < 5  # without the limit: minutes or more


def test_two_groups_with_dots_match_a_name_of_100_parts() -> None:
    """The first group matches as much as possible."""
    groups = Pattern("{a...}/layer_{n}/{b...}/kernel", {}).match("x/" * 50 + "layer_7/" + "y/" * 50 + "kernel")

    assert groups == {"a": "x/" * 49 + "x", "n": "7", "b": "y/" * 49 + "y"}


@pytest.mark.parametrize(
    "options",
    [
        {"rules": (Rule("{a...}x{b...}y{c...}", "t"),)},
        {"rules": (), "ignores": (Ignore("{a...}x{b...}y{c...}", "because"),)},
        {"rules": (), "constants": (Constant("{a...}x{b...}y{c...}", 0, "int64", "because"),)},
    ],
    ids=["rule", "ignore", "constant"],
)
def test_third_group_with_dots_is_rejected(options: dict[str, tuple[Rule, ...]]) -> None:
    """The limit holds for every kind of pattern; the error shows the pattern."""
    with pytest.raises(ValueError, match=re.escape("{a...}x{b...}y{c...}")):
        RuleSet(name="", version="", **options)  # type: ignore[arg-type]  # one of three tables


def test_third_group_with_dots_in_a_file_is_rejected_with_its_line() -> None:
    """The error has the path of the file and the line of the rule."""
    text = '[[rule]]\nsource = "a"\ntarget = "a"\n[[rule]]\nsource = "{a...}{b...}{c...}"\ntarget = "{a}"\n'

    with pytest.raises(RulesError) as caught:
        parse_rules(text, path="mine.toml")

    assert (caught.value.path, caught.value.line) == ("mine.toml", 4)
