"""What the reports share: text that stays text, tables of one width, JSON for any name, and the policy of a page."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from converter.errors import ExportError
from converter.pages import block, by_ending, document, json_text, plain, table, text


def test_text_of_html_has_no_tags_quotes_or_control_characters() -> None:
    """A name cannot end an element or an attribute, nor turn the direction of what follows; lines stay lines."""
    assert text("<b a=\"'>&\x1b\u202e\nnext") == "&lt;b a=&quot;&#x27;&gt;&amp;\\x1b\\u202e\nnext"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("stages.0.0.bn.running_mean", "stages.0.0.bn.running_mean"),
        ("_private_", r"\_private\_"),
        ("a|b", r"a\|b"),
        ("*`[x](y)<i>&amp;~", r"\*\`\[x\](y)\<i\>\&amp;\~"),
        ("a\nb", r"a\\nb"),
    ],
    ids=["underscores within words", "underscores at ends", "bar", "marks", "line end"],
)
def test_text_of_markdown_escapes_marks_only(value: str, written: str) -> None:
    """Names read as they are; what would be a mark or a line is none."""
    if "\n" in value:
        written = written.replace(r"\\n", "\\\\n")

    assert plain(value) == written


def test_block_has_a_fence_longer_than_any_within() -> None:
    """A name of backticks does not end it."""
    assert block("a ```` b\x1b", "sh") == ["`````sh", "a ```` b\\x1b", "`````"]


def test_table_has_columns_of_one_width_and_numbers_to_the_right() -> None:
    """It reads in a terminal as on a page; a bar within a cell is no column."""
    assert table(("name", "n"), [("a|b", "1"), ("long name", "1,000")], right=(1,)) == [
        "| name      |     n |",
        "| --------- | ----: |",
        r"| a\|b      |     1 |",
        "| long name | 1,000 |",
    ]


def test_json_of_a_name_that_is_no_utf8_can_be_written_and_read() -> None:
    """Its odd bytes, lone surrogates in Python, become escapes; everything else stays readable."""
    written = json_text({"ä\udcff": "\ud83d"})

    assert "ä\\udcff" in written
    assert json.loads(written.encode()) == {"ä\udcff": "\ud83d"}


def test_ending_chooses_and_another_is_refused() -> None:
    """In capitals too."""
    assert by_ending("x/REPORT.MD", {".md": 1, ".html": 2}) == 1
    with pytest.raises(ExportError, match=r"a report's name ends in .md, .html: x.txt"):
        by_ending("x.txt", {".md": 1, ".html": 2})


def test_page_lets_only_its_own_script_run() -> None:
    """The policy names the script by its hash, and allows none on a page without."""
    script = "\n1;\n"
    page = document("<t>", ["", "<p>x</p>"], script=script)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}';" in page
    assert f"<script>{script}</script>" in page
    assert "<title>&lt;t&gt;</title>" in page
    assert not re.search("script", document("t", ["<p>x</p>"]))
