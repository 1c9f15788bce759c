"""Name patterns: literal text, and groups in braces that match parts of a name (see `rules`).

A pattern is compiled to a regular expression, which may try every way to divide a name among its groups.
Names come from files, which may be hostile, so the number of groups and the work for one name are limited.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

Words: TypeAlias = Mapping[str, Mapping[str, str]]

GROUP = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(\.\.\.)?\}")

#: Most groups with dots in a pattern. Each one multiplies the time by the length of the name: a hostile name of 1,000
#: characters takes about 10 ms with two such groups and a second with three.
MAX_LONG_GROUPS = 2
#: Most steps that matching one name may take; 10 million take about 0.1 s. Real names need a few thousand.
_MAX_STEPS = 10_000_000


def list_groups(pattern: str) -> set[str]:
    """Return the names of a pattern's groups; raise `ValueError` if one occurs twice."""
    names = [match[1] for match in GROUP.finditer(pattern)]
    if len(set(names)) < len(names):
        raise ValueError(f"pattern {pattern!r} contains a group twice")
    return set(names)


def check_pattern(pattern: str) -> None:
    """Raise `ValueError` if a group occurs twice or if too many groups have dots."""
    list_groups(pattern)
    count = sum(match[2] is not None for match in GROUP.finditer(pattern))
    if count > MAX_LONG_GROUPS:
        raise ValueError(
            f"pattern {pattern!r} has {count} groups with dots, expected at most {MAX_LONG_GROUPS}: "
            "use groups without dots or several rules"
        )


class Pattern:
    """A compiled pattern after the literal text `scope`; a group that is a key of `words` matches only those words."""

    def __init__(self, pattern: str, words: Words, scope: str = "") -> None:
        groups = list(GROUP.finditer(pattern))
        open_groups = [group for group in groups if group[1] not in words]
        #: The text after each group that another group follows and whose end no slash determines.
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
        """Return the text of each group, or None if the name does not match; the first groups match the most text.

        A name that would take more than `_MAX_STEPS` steps counts as no match. Real names stay far below this limit.
        """
        if not name.endswith(self._ending):
            return None  # rules out most of a network's dozens of patterns cheaply
        steps = len(name)
        for separator in self._separators:
            steps *= name.count(separator)  # an empty separator matches everywhere
            if steps > _MAX_STEPS:
                return None
        match = self._expression.fullmatch(name)
        return None if match is None else match.groupdict()
