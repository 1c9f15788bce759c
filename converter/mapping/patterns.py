"""Patterns of names: literal text, and groups in braces that stand for parts of a name (see `rules`).

A pattern becomes a regular expression, and an expression tries every way to divide a name among its groups.
Names come from files, which may be hostile, so that both the groups of a pattern and the work on one name are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

Words: TypeAlias = Mapping[str, Mapping[str, str]]

GROUP = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(\.\.\.)?\}")

#: Groups with dots in one pattern. Each of them multiplies the time for a name by its length: a hostile name of 1,000
#: characters takes about 10 ms with two such groups, and a second with three.
MAX_LONG_GROUPS = 2
#: Steps that an expression may need for one name; 10 million take about 0.1 s. Real names need a few thousand.
_MAX_STEPS = 10_000_000


def group_names(pattern: str) -> set[str]:
    """Return the names of a pattern's groups; `ValueError` if one occurs twice."""
    names = [match[1] for match in GROUP.finditer(pattern)]
    if len(set(names)) < len(names):
        raise ValueError(f"pattern {pattern!r} has a group twice")
    return set(names)


def check_pattern(pattern: str) -> None:
    """Raise `ValueError` if a group occurs twice or if too many groups have dots."""
    group_names(pattern)
    count = sum(match[2] is not None for match in GROUP.finditer(pattern))
    if count > MAX_LONG_GROUPS:
        raise ValueError(
            f"pattern {pattern!r} has {count} groups with dots, expected at most {MAX_LONG_GROUPS}: "
            "use groups without dots, or several rules"
        )


class Pattern:
    """A pattern, with `scope` before it, which is literal; groups named in `words` stand for their keys only."""

    def __init__(self, pattern: str, words: Words, scope: str = "") -> None:
        groups = list(GROUP.finditer(pattern))
        open_groups = [group for group in groups if group[1] not in words]
        #: The text after each group whose end the slashes of a name do not determine, and after which others follow.
        self._separators: list[str] = []
        expression = [re.escape(scope)]
        position = 0
        for index, group in enumerate(groups):
            if group[1] in words:
                choices = "|".join(map(re.escape, words[group[1]])) or "(?!)"
            else:
                choices = ".+" if group[2] else "[^/]+"
                end = groups[index + 1].start() if index + 1 < len(groups) else len(pattern)
                separator = pattern[group.end() : end]
                if group is not open_groups[-1] and (group[2] or not separator.startswith("/")):
                    self._separators.append(separator)
            expression += [re.escape(pattern[position : group.start()]), f"(?P<{group[1]}>{choices})"]
            position = group.end()
        self._ending = pattern[position:]
        self._expression = re.compile("".join([*expression, re.escape(self._ending)]), re.DOTALL)

    def match(self, name: str) -> dict[str, str] | None:
        """Return what each group stands for, the first as much as possible; None if the name does not match.

        A name that would take more than `_MAX_STEPS` steps does not match; no name that people write is near that.
        """
        if not name.endswith(self._ending):
            return None  # which leaves few of the dozens of patterns that a network's rules have
        steps = len(name)
        for separator in self._separators:
            steps *= name.count(separator)  # an empty separator fits everywhere
            if steps > _MAX_STEPS:
                return None
        found = self._expression.fullmatch(name)
        return None if found is None else found.groupdict()
