"""What the reports share: text that stays text, JSON for any name, and the policy of a page."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from converter.errors import ExportError
from converter.reporting.pages import by_ending, document, text
from tfckpt.files.json_text import format_json


def test_text_of_html_has_no_tags_quotes_or_control_characters() -> None:
    """A name cannot end an element or an attribute, nor turn the direction of what follows; lines stay lines."""
    assert text("<b a=\"'>&\x1b\u202e\nnext") == "&lt;b a=&quot;&#x27;&gt;&amp;\\x1b\\u202e\nnext"


def test_json_of_a_name_that_is_no_utf8_can_be_written_and_read() -> None:
    """Its odd bytes, lone surrogates in Python, become escapes; everything else stays readable."""
    written = format_json({"ä\udcff": "\ud83d"})

    assert "ä\\udcff" in written
    assert json.loads(written.encode()) == {"ä\udcff": "\ud83d"}


def test_ending_chooses_and_another_is_refused() -> None:
    """In capitals too."""
    assert by_ending("x/REPORT.HTML", {".json": 1, ".html": 2}) == 2
    with pytest.raises(ExportError, match=r"x\.txt"):
        by_ending("x.txt", {".json": 1, ".html": 2})


def test_page_lets_only_its_own_script_run() -> None:
    """The policy names the script by its hash, and allows none on a page without."""
    script = "\n1;\n"
    page = document("<t>", ["", "<p>x</p>"], script=script)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}';" in page
    assert f"<script>{script}</script>" in page
    assert "<title>&lt;t&gt;</title>" in page
    assert not re.search("script", document("t", ["<p>x</p>"]))
