"""Check the site that `make docs` built: every link leads to a page and a place on it, and the reference is complete.

    python -m tests.site

`zensical build --strict` checks links between the sources of pages; this reads what it wrote.
"""

from __future__ import annotations

import html.parser
import pathlib
import posixpath
import sys
import urllib.parse

import converter
import tfckpt

SITE = pathlib.Path(__file__).parents[1] / "build" / "site"


class Page(html.parser.HTMLParser):
    """The places on a page, and where its links and pictures lead."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.targets: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record an element's name and target."""
        attributes = dict(attrs)
        self.places.add(attributes.get("id") or "")
        target = attributes.get("src" if tag in ("img", "script") else "href")
        if target:
            self.targets.append(target)


def main() -> None:
    """Print what is wrong, and exit with 1 if anything is."""
    pages = {str(path.relative_to(SITE).as_posix()): Page(path) for path in SITE.rglob("*.html")}
    wrong = []
    for name, page in pages.items():
        for target in page.targets:
            parts = urllib.parse.urlsplit(target)
            if parts.scheme or parts.netloc or name == "404.html":
                continue
            path = urllib.parse.unquote(parts.path)
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
            if (SITE / path).is_dir():
                path = posixpath.normpath(posixpath.join(path, "index.html"))
            if not (SITE / path).is_file():
                wrong.append(f"{name}: {target} leads nowhere")
            elif path in pages and urllib.parse.unquote(parts.fragment) not in {*pages[path].places, ""}:
                wrong.append(f"{name}: {target} is not a place on that page")
    for package in (tfckpt, converter):
        page = pages[f"reference/{package.__name__}/index.html"]
        missing = {f"{package.__name__}.{name}" for name in package.__all__ if name != "__version__"} - page.places
        wrong += [f"{name}: not in the reference" for name in sorted(missing)]
    print("\n".join(wrong) or f"{len(pages)} pages: every link leads to its place")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
