"""Name patterns: literal text, and groups in braces that match parts of a name (see `rules`).

Names come from files, which may be hostile, so that the time for one name is linear in its length.
Most patterns have one way to divide a name at most and are regular expressions.
For the others a regular expression would try every way; they are matched from the end: for each piece of the pattern,
all positions are found from which the rest matches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

Words: TypeAlias = Mapping[str, Mapping[str, str]]

GROUP = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(\.\.\.)?\}")

#: Most groups with dots in a pattern; one is for what comes before the names of interest, one for what follows.
MAX_LONG_GROUPS = 2
#: Longest name, in characters, that a pattern with several ways to divide it matches. Real names have some hundreds.
_MAX_LENGTH = 10_000


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
    """A compiled pattern after the literal text `scope`; a group that is a key of `words` matches only those words.

    A group without dots does not match the characters in `stops`.
    """

    def __init__(self, pattern: str, words: Words, scope: str = "", *, stops: str = "/") -> None:
        groups = list(GROUP.finditer(pattern))
        open_groups = [group for group in groups if group[1] not in words]
        self._pieces: list[_Piece] = [_Literal(scope)]
        self._is_linear = True
        expression = [re.escape(scope)]
        position = 0
        for index, group in enumerate(groups):
            literal = pattern[position : group.start()]
            if group[1] in words:
                choices = "|".join(map(re.escape, words[group[1]])) or "(?!)"
                piece: _Piece = _Words(group[1], tuple(words[group[1]]))
            else:
                choices = ".+" if group[2] else f"[^{re.escape(stops)}]+"
                piece = _Parts(group[1]) if group[2] else _Part(group[1], stops)
                end = groups[index + 1].start() if index + 1 < len(groups) else len(pattern)
                if group is not open_groups[-1] and (
                    group[2] or not pattern.startswith(tuple(stops), group.end(), end)
                ):
                    self._is_linear = False  # neither a slash nor the end of the name determines where it ends
            self._pieces += [_Literal(literal), piece]
            expression += [re.escape(literal), f"(?P<{group[1]}>{choices})"]
            position = group.end()
        self._ending = pattern[position:]
        self._pieces.append(_Literal(self._ending))
        self._expression = re.compile("".join([*expression, re.escape(self._ending)]), re.DOTALL)

    def match(self, name: str) -> dict[str, str] | None:
        """Return the text of each group, or None if the name does not match; the first groups match the most text."""
        if not name.endswith(self._ending):
            return None  # rules out most of a network's dozens of patterns cheaply
        if self._is_linear:
            match = self._expression.fullmatch(name)
            return None if match is None else match.groupdict()
        return _match_from_end(self._pieces, name) if len(name) <= _MAX_LENGTH else None


class _Literal:
    """Text that matches itself."""

    def __init__(self, text: str) -> None:
        self.group = ""
        self._text = text

    def find_starts(self, name: str, ends: bytearray) -> bytearray:
        """Return a flag for each position of a name from which this piece can reach one of `ends`."""
        return _find_starts(self._text, name, ends)

    def find_end(self, name: str, start: int, ends: bytearray) -> int:
        """Return the preferred one of `ends` that this piece reaches from a start."""
        return start + len(self._text)


class _Words:
    """A group that matches some words, the first preferred."""

    def __init__(self, group: str, words: Sequence[str]) -> None:
        self.group = group
        self._words = words

    def find_starts(self, name: str, ends: bytearray) -> bytearray:
        starts = bytearray(len(ends))
        for word in self._words:
            for position, flag in enumerate(_find_starts(word, name, ends)):
                starts[position] |= flag
        return starts

    def find_end(self, name: str, start: int, ends: bytearray) -> int:
        fitting = (word for word in self._words if name.startswith(word, start) and ends[start + len(word)])
        return start + len(next(fitting))


class _Part:
    """A group that matches a part of a name, without the characters in `stops`, as much as possible."""

    def __init__(self, group: str, stops: str) -> None:
        self.group = group
        self._stops = re.compile(f"[{re.escape(stops)}]")

    def find_starts(self, name: str, ends: bytearray) -> bytearray:
        starts = bytearray(len(ends))
        for first, after in self._iterate_parts(name):
            last = ends.rfind(1, first + 1, after + 1)
            if last > first:
                starts[first:last] = b"\1" * (last - first)
        return starts

    def find_end(self, name: str, start: int, ends: bytearray) -> int:
        stop = self._stops.search(name, start)
        return ends.rfind(1, start + 1, (len(name) if stop is None else stop.start()) + 1)

    def _iterate_parts(self, name: str) -> Iterator[tuple[int, int]]:
        """Yield the start of each part of a name, and the position after it."""
        first = 0
        for stop in self._stops.finditer(name):
            yield first, stop.start()
            first = stop.end()
        yield first, len(name)


class _Parts:
    """A group that matches anything but nothing, as much as possible."""

    def __init__(self, group: str) -> None:
        self.group = group

    def find_starts(self, name: str, ends: bytearray) -> bytearray:
        last = max(ends.rfind(1), 0)
        return bytearray(b"\1" * last + b"\0" * (len(ends) - last))

    def find_end(self, name: str, start: int, ends: bytearray) -> int:
        return ends.rfind(1)


_Piece: TypeAlias = _Literal | _Words | _Part | _Parts


def _match_from_end(pieces: Sequence[_Piece], name: str) -> dict[str, str] | None:
    """Return the text of each group, or None."""
    ends = [bytearray(len(name)) + b"\1"]
    for piece in reversed(pieces):
        ends.append(piece.find_starts(name, ends[-1]))
    if not ends.pop()[0]:
        return None
    groups = {}
    position = 0
    for piece in pieces:
        end = piece.find_end(name, position, ends.pop())
        if piece.group:
            groups[piece.group] = name[position:end]
        position = end
    return groups


def _find_starts(text: str, name: str, ends: bytearray) -> bytearray:
    """Return a flag for each position at which a text begins that ends at one of `ends`."""
    if not text:
        return ends
    starts = bytearray(len(ends))
    position = name.find(text)
    while position >= 0:
        starts[position] = ends[position + len(text)]
        position = name.find(text, position + 1)
    return starts
