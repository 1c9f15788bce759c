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


def test_readme_links_lead_to_files() -> None:
    """Every relative link of the README and the documents has its target."""
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_readme_is_read_in_a_minute() -> None:
    """Details belong to the documents."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900
