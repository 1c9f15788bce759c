"""Help texts that fit the terminal: they are written for wide ones and wrapped on narrow ones."""

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
    """A formatter that keeps descriptions as written if they fit the terminal.

    Otherwise it wraps the sentences, and moves the explanation of an example to a line below it.
    """

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        for is_example, group in itertools.groupby(text.splitlines(), key=lambda line: line[: len(_EXAMPLE)].isspace()):
            block = list(group)
            if max(map(len, block)) > width:
                block = list((_wrap_examples if is_example else _wrap_sentences)(block, width))
            lines += block
        return "\n".join(indent + line for line in lines) + "\n"


def _wrap_examples(lines: Iterable[str], width: int) -> Iterator[str]:
    for line in lines:
        command, *notes = _GAP.split(line.strip(), maxsplit=1)
        yield _EXAMPLE + command
        for note in notes:
            yield from _wrap(note, width, _NOTE)


def _wrap_sentences(lines: Iterable[str], width: int) -> Iterator[str]:
    for is_text, group in itertools.groupby(lines, key=bool):
        paragraph = list(group)
        yield from _wrap(" ".join(paragraph), width) if is_text else paragraph


def _wrap(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
