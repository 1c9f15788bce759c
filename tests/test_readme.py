"""What the README promises happens when its commands are run."""

from __future__ import annotations

import importlib.util
import pathlib
import re
import subprocess
import sys
import types

import pytest

import converter.cli
import tfckpt.cli

ROOT = pathlib.Path(__file__).parent.parent
#: Differences between two float32 results depend on the processor; their first digits are not promised.
#: Differences near zero, and the size of a file that has versions of packages in it.
_SMALL = re.compile(r"\d\.\de[-+]\d\d|(?<=safetensors, )[\d,]+(?= bytes)")


def load_demo() -> types.ModuleType:
    """Return the script of the demonstration as a module."""
    spec = importlib.util.spec_from_file_location("demo", ROOT / "examples" / "demo.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_here(command: list[str | pathlib.Path], *, cwd: pathlib.Path, check: bool) -> types.SimpleNamespace:
    """Run a command in this process, in a folder."""
    program, *arguments = command
    main = {"tfckpt": tfckpt.cli.main, "tf2torch": converter.cli.main}[pathlib.Path(program).name]
    assert pathlib.Path.cwd() == cwd
    return types.SimpleNamespace(returncode=main(list(map(str, arguments))))


def test_demo_prints_what_its_page_shows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run_all: bool
) -> None:
    """The output of the first run in its page is real, but for differences near zero and the size of a file.

    With `--all` its commands are processes.
    """
    pytest.importorskip("torch", reason="the demo classifies images")
    page = (ROOT / "docs" / "first-run.md").read_text(encoding="utf-8")
    shown = page.split("<!-- demo -->\n```text\n")[1].split("\n```\n<!-- /demo -->")[0]

    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "80")

    if run_all:
        command = [sys.executable, ROOT / "examples" / "demo.py"]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    else:
        demo = load_demo()
        monkeypatch.setattr(demo, "subprocess", types.SimpleNamespace(run=run_here))
        assert demo.main() == 0
        printed = capsys.readouterr().out

    assert _SMALL.sub("?", printed.strip("\n")) == _SMALL.sub("?", shown)


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
