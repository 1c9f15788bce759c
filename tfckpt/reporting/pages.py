"""A self-contained HTML page, the frame of all reports.

`escape` escapes all names from files.
A page shows names from any file and may be opened years later, so it loads nothing: its content security policy forbids
it, and allows only the page's own script, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterable

from ..errors import printable

STYLE = """\
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --line: #d1d9e0; --page: #ffffff; --band: #f6f8fa;
  --good: #1a7f37; --bad: #cf222e; --blue: #0969da; --violet: #8250df; --amber: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --line: #3d444d; --page: #0d1117;
  --band: #151b23; --good: #3fb950; --bad: #f85149; --blue: #4493f8; --violet: #ab7df8; --amber: #d29922; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 0 auto;
  padding: 2rem 1.5rem 4rem; max-width: 70rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h1 code { font-size: inherit; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; color: var(--soft); } code, pre, td, svg text { font-variant-numeric: tabular-nums; }
code, pre, td { font-family: ui-monospace, monospace; font-size: 13px; } pre { background: var(--band);
  padding: .75rem 1rem; overflow-x: auto; border-radius: 6px; }
pre.bad { white-space: pre-wrap; overflow-wrap: anywhere; }
.good { color: var(--good); } .bad { color: var(--bad); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; } th { text-align: left;
  font-size: 13px; color: var(--soft); font-weight: 600; } th, td { padding: .2rem .75rem .2rem 0;
  border-bottom: 1px solid var(--line); white-space: nowrap; } tr.bad td { color: var(--bad); }
svg { width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
.axis { stroke: var(--line); }
"""

_SURROGATE = re.compile("[\ud800-\udfff]")


def render_document(title: str, body: Iterable[str], *, style: str = "", script: str = "") -> str:
    """Return a page; the title is text, the parts of the body are HTML, and empty parts are omitted."""
    allowed = f" script-src '{_hash(script)}';" if script else ""
    policy = f"default-src 'none'; style-src 'unsafe-inline';{allowed} base-uri 'none'; form-action 'none'"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head><body>",
        *filter(None, body),
        *([f"<script>{script}</script>"] if script else []),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def escape(value: str) -> str:
    """Return text escaped for HTML, in an element or between quotes; line ends are kept."""
    return html.escape("\n".join(printable(line) for line in value.split("\n")))


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
