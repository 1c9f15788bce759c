"""Help texts that fit the terminal: written for wide ones, and laid out anew where one is narrow."""

from __future__ import annotations

import argparse
import itertools
import re
import textwrap
from collections.abc import Iterable, Iterator

_EXAMPLE = "  "
_NOTE = "      "
_GAP = re.compile(r" {2,}")


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Leaves a description as it is written while it fits.

    Where it does not, sentences are filled anew, and what an example does stands under it instead of beside it.
    """

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        for kind, group in itertools.groupby(text.splitlines(), key=lambda line: line[: len(_EXAMPLE)].isspace()):
            written = list(group)
            if max(map(len, written)) > width:
                written = list((_examples if kind else _sentences)(written, width))
            lines += written
        return "\n".join(indent + line for line in lines) + "\n"


def _examples(lines: Iterable[str], width: int) -> Iterator[str]:
    for line in lines:
        command, *notes = _GAP.split(line.strip(), maxsplit=1)
        yield _EXAMPLE + command
        for note in notes:
            yield from _filled(note, width, _NOTE)


def _sentences(lines: Iterable[str], width: int) -> Iterator[str]:
    for is_text, group in itertools.groupby(lines, key=bool):
        paragraph = list(group)
        yield from _filled(" ".join(paragraph), width) if is_text else paragraph


def _filled(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
