"""A strict reader of HTML pages for tests, with the parser of the standard library."""

from __future__ import annotations

import html.parser

_EMPTY = {"meta", "input", "wbr", "br"}


class Page(html.parser.HTMLParser):
    """The text of a page, the rows of its tables, and its elements with their attributes; tags have to be balanced."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[tuple[dict[str, str | None], list[str]]] = []
        self.parts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in _EMPTY:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append((dict(attrs), []))
        if tag in ("td", "th"):
            self.rows[-1][1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record an element that is closed immediately."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Assert that a closing tag matches the open one."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Record text by its element."""
        if not self._open:
            return
        self.parts.setdefault(self._open[-1], []).append(data)
        if self.rows and self.rows[-1][1] and {"td", "th"} & set(self._open):
            self.rows[-1][1][-1] += data

    def text(self, tag: str) -> list[str]:
        """Return the texts directly in elements of one kind."""
        return self.parts.get(tag, [])

    def tensors(self) -> list[tuple[str, list[str]]]:
        """Return the rows of the list of tensors: kind and cells."""
        return [(kind, cells) for attributes, cells in self.rows if (kind := attributes.get("data-kind"))]
