"""Parts shared by the reports: escaped text, JSON for any name, and the policy of a page."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from converter.errors import ExportError
from converter.reporting.endings import choose_by_ending
from tfckpt.files.json_text import format_json
from tfckpt.reporting.pages import escape, render_document


def test_escaped_text_has_no_tags_quotes_or_control_characters() -> None:
    """A name cannot end an element or an attribute, or reverse the text after it; line ends are kept."""
    assert escape("<b a=\"'>&\x1b\u202e\nnext") == "&lt;b a=&quot;&#x27;&gt;&amp;\\x1b\\u202e\nnext"


def test_json_of_a_name_that_is_not_utf8_can_be_written_and_read() -> None:
    """Lone surrogates, which Python uses for invalid bytes, are escaped; other characters are not."""
    written = format_json({"ä\udcff": "\ud83d"})

    assert "ä\\udcff" in written
    assert json.loads(written.encode()) == {"ä\udcff": "\ud83d"}


def test_ending_determines_the_format_and_an_unknown_one_is_refused() -> None:
    """The case of the ending does not matter."""
    assert choose_by_ending("x/REPORT.HTML", {".json": 1, ".html": 2}) == 2
    with pytest.raises(ExportError) as caught:
        choose_by_ending("x.txt", {".json": 1, ".html": 2})
    assert caught.value.path == "x.txt"


def test_page_allows_only_its_own_script() -> None:
    """The policy has the hash of the script, and a page without a script allows none."""
    script = "\n1;\n"
    page = render_document("<t>", ["", "<p>x</p>"], script=script)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}';" in page
    assert f"<script>{script}</script>" in page
    assert "<title>&lt;t&gt;</title>" in page
    assert not re.search("script", render_document("t", ["<p>x</p>"]))
