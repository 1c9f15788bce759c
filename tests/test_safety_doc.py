"""docs/safety.md says what is so: the limits are those of the code, and the tests that it names exist."""

from __future__ import annotations

import dataclasses
import pathlib
import re

from tfckpt.limits import Limits

ROOT = pathlib.Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")
_UNITS = {"MiB": 1 << 20, "GiB": 1 << 30}


def test_limits_of_the_page_are_those_of_the_code() -> None:
    """Every limit with its default, and no other."""
    shown = {}
    for name, value in re.findall(r"^\| `(max_\w+)` \| ([^|]+) \|", PAGE, re.MULTILINE):
        number, _, unit = value.strip().partition(" ")
        shown[name] = int(number.replace(",", "")) * _UNITS.get(unit, 1)

    assert shown == dataclasses.asdict(Limits())


def test_tests_that_the_page_names_exist() -> None:
    """Paths as they are, bare names in tests/hostile."""
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", PAGE))
    named |= {f"tests/hostile/{name}.py" for name in re.findall(r"`(test_\w+)`", PAGE)}

    assert len(named) > 10
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
