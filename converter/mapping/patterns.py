"""Patterns of names: literal text, and groups in braces that stand for parts of a name (see `rules`).

Most patterns are regular expressions.
Where several groups could share one run of characters between them, an expression would try every way to do that,
and a name of a thousand characters would take hours; these are matched backwards instead, with one bit for each
position from which the rest of the pattern fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

Words: TypeAlias = Mapping[str, Mapping[str, str]]

GROUP = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(\.\.\.)?\}")


def group_names(pattern: str) -> set[str]:
    """Name the groups of a pattern; `ValueError` when one stands there twice."""
    names = [match[1] for match in GROUP.finditer(pattern)]
    if len(set(names)) < len(names):
        raise ValueError(f"pattern {pattern!r} has a group twice")
    return set(names)


class Pattern:
    """A pattern, with `scope` before it, which is literal; groups named in `words` stand for their keys only."""

    def __init__(self, pattern: str, words: Words, scope: str = "") -> None:
        #: Literal texts and groups in turn, a group as its name and what it takes: words, "part" or "parts".
        self._pieces: list[str | tuple[str, tuple[str, ...] | str]] = [scope]
        expression = [re.escape(scope)]
        position = 0
        for group in GROUP.finditer(pattern):
            literal = pattern[position : group.start()]
            if group[1] in words:
                taken: tuple[str, ...] | str = tuple(words[group[1]])
                choices = "|".join(map(re.escape, taken)) or "(?!)"
            else:
                taken = "parts" if group[2] else "part"
                choices = ".+" if group[2] else "[^/]+"
            self._pieces += [literal, (group[1], taken)]
            expression += [re.escape(literal), f"(?P<{group[1]}>{choices})"]
            position = group.end()
        self._ending = pattern[position:]
        self._pieces.append(self._ending)
        expression.append(re.escape(self._ending))
        self._expression = None if self._is_ambiguous() else re.compile("".join(expression), re.DOTALL)

    def match(self, name: str) -> dict[str, str] | None:
        """What each group stands for in a name, the first as much as can be; None for a name that does not fit."""
        if not name.endswith(self._ending):
            return None  # which leaves few of the dozens of patterns that a network's rules have
        if self._expression is not None:
            found = self._expression.fullmatch(name)
            return None if found is None else found.groupdict()
        return self._matched_backwards(name)

    def _is_ambiguous(self) -> bool:
        """Whether several groups without words could divide a run of characters between them."""
        long = 0
        open_in_part = 0
        for piece in self._pieces:
            if isinstance(piece, str):
                open_in_part = 0 if "/" in piece else open_in_part
            elif isinstance(piece[1], str):
                long += piece[1] == "parts"
                open_in_part += 1
                if long > 1 or open_in_part > 1:
                    return True
        return False

    def _matched_backwards(self, name: str) -> dict[str, str] | None:
        reach = 1 << len(name)  # bit p: all pieces after the present one fit from position p to the end
        after = []
        for piece in reversed(self._pieces):
            after.append(reach)
            if isinstance(piece, str):
                reach = _before_text(name, piece, reach)
            elif isinstance(piece[1], tuple):
                reach = _united(_before_text(name, word, reach) for word in piece[1])
            elif piece[1] == "parts":
                reach = (1 << max(reach.bit_length() - 1, 0)) - 1
            else:
                reach = _before_part(name, reach)
        if not reach & 1:
            return None
        groups: dict[str, str] = {}
        position = 0
        for piece, reach in zip(self._pieces, reversed(after), strict=True):
            if isinstance(piece, str):
                position += len(piece)
                continue
            if isinstance(piece[1], tuple):
                fitting = (word for word in piece[1] if name.startswith(word, position))
                end = next(position + len(word) for word in fitting if reach >> (position + len(word)) & 1)
            else:
                slash = name.find("/", position) if piece[1] == "part" else -1
                limit = len(name) if slash < 0 else slash
                end = (reach & ((2 << limit) - 1)).bit_length() - 1
            groups[piece[0]] = name[position:end]
            position = end
        return groups


def _before_text(name: str, text: str, reach: int) -> int:
    """Positions at which a text stands that ends at one of `reach`."""
    if not text:
        return reach
    found = 0
    at = name.find(text)
    while at >= 0:
        if reach >> (at + len(text)) & 1:
            found |= 1 << at
        at = name.find(text, at + 1)
    return found


def _before_part(name: str, reach: int) -> int:
    """Positions from which one character or more, none of them `/`, lead to one of `reach`."""
    found = 0
    start = 0
    for part in name.split("/"):
        end = start + len(part)
        last = (reach & ((2 << end) - 1)).bit_length() - 1
        if last > start:
            found |= (1 << last) - (1 << start)
        start = end + 1
    return found


def _united(positions: Iterable[int]) -> int:
    united = 0
    for some in positions:
        united |= some
    return united
