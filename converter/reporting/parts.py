"""Parts that the pages of conversions and of exports share."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tfckpt.reporting.pages import escape

from ..images.recipes import Preprocessing

STYLE = """\
dl { display: grid; grid-template-columns: fit-content(40%) 1fr; gap: .2rem 1.25rem; margin: 1rem 0 0; }
dt { color: var(--soft); overflow-wrap: anywhere; } dd { margin: 0; overflow-wrap: anywhere; }
ul { margin: .25rem 0; padding-left: 1.25rem; }
li { overflow-wrap: anywhere; } pre.command { white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; }
"""


def render_pairs(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names with their texts, in two columns."""
    return "<dl>" + "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs) + "</dl>"


def render_list(title: str, sentences: Iterable[str]) -> str:
    """Return sentences under a title; an empty text if there are none."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<h2>{title}</h2><ul>{items}</ul>" if items else ""


def render_command(command: str | None, *, otherwise: str) -> str:
    """Return the command line that repeats what the page is about, or a sentence that says why there is none."""
    shown = f"<p>{otherwise}</p>" if command is None else f'<pre class="command">{escape(command)}</pre>'
    return f"<h2>Command</h2>{shown}"


def render_settings(settings: Preprocessing) -> str:
    """Return the settings of preprocessing as JSON, which a click shows."""
    text = json.dumps(settings.to_dict(), indent=2)
    return f"<details><summary>As JSON</summary><pre>{escape(text)}</pre></details>"
