"""What the README promises happens when its commands are run."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
#: Differences between two float32 results depend on the processor; their first digits are not promised.
#: Differences near zero, and the size of a file that has versions of packages in it.
_SMALL = re.compile(r"\d\.\de[-+]\d\d|(?<=safetensors, )[\d,]+(?= bytes)")


def test_demo_prints_what_its_page_shows() -> None:
    """The output of the first run in its page is real, but for differences near zero and the size of a file."""
    pytest.importorskip("torch", reason="the demo classifies images")
    page = (ROOT / "docs" / "first-run.md").read_text(encoding="utf-8")
    shown = page.split("<!-- demo -->\n```text\n")[1].split("\n```\n<!-- /demo -->")[0]

    result = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "80"},
    )

    assert result.returncode == 0, result.stderr
    assert _SMALL.sub("?", result.stdout.strip("\n")) == _SMALL.sub("?", shown)


def read_places(path: pathlib.Path) -> set[str]:
    """Return the names that links to the headings of a page have."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_to_files_and_their_headings() -> None:
    """Every relative link of the README and the documents has its target."""
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for target, place in re.findall(r"\]\(([^)#:\s]*)#?([^):\s]*)\)", document.read_text(encoding="utf-8")):
            path = document.parent / target if target else document
            assert path.exists(), f"{document.name} links to {target}"
            assert not place or place in read_places(path), f"{document.name} links to {target}#{place}"


def test_readme_is_read_in_a_minute() -> None:
    """Details belong to the documents."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900
