"""docs/conversion.md: its commands run, and its rules are rules."""

from __future__ import annotations

import json
import pathlib
import re
import shlex
import shutil
import sys

import pytest

import converter
from converter.cli import main
from converter.images.recipes import RECIPES
from converter.mapping.rules_file import parse_rules

from .html_page import Page

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "conversion.md").read_text(encoding="utf-8")


def test_commands_of_the_worked_example_do_what_is_said(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them run in the example's folder, and only the plans without whole rules find something missing."""
    pytest.importorskip("torch", reason="the example's module is PyTorch's")
    folder = tmp_path / "examples" / "bert"
    shutil.copytree(ROOT / "examples" / "bert", folder)
    shutil.copytree(ROOT / "tests" / "data" / "bert", tmp_path / "tests" / "data" / "bert")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "encoder", raising=False)
    section = TEXT[TEXT.index("## Worked example") : TEXT.index("In Python:")]
    commands = [shlex.split(line)[1:] for line in section.splitlines() if line.startswith("tf2torch ")]

    codes = [main(command) for command in commands]

    assert [command[0] for command in commands] == ["plan", "plan", "plan", "convert", "verify"]
    assert codes == [1, 1, 0, 0, 0]


def test_rules_shown_are_rules() -> None:
    """The example of the language is read by it."""
    block, _ = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)  # the other one is a file in examples

    rules = parse_rules(block)

    assert (len(rules.rules), len(rules.ignores), len(rules.constants), len(rules.tied)) == (2, 1, 1, 1)


def test_report_shown_is_written(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The sample is what the digits network's report begins with."""
    pytest.importorskip("torch", reason="the report says what was proved")
    shown = TEXT.split("<!-- report -->\n```text\n")[1].split("```\n<!-- /report -->")[0]
    report = tmp_path / "d.html"

    assert main(["convert", str(digits), "-o", str(tmp_path / "d.safetensors"), "--report", str(report)]) == 0

    page = Page(report.read_text(encoding="utf-8"))
    facts = list(zip(page.text("dt"), page.text("dd"), strict=False))  # further down a title has several lines
    rows = [tuple(line.split(maxsplit=1)) for line in shown.replace("decided by", "decided_by").splitlines()]
    assert [(word.replace("_", " "), said) for word, said in rows] == facts[: len(rows)]


def test_recipes_shown_are_those_of_the_code() -> None:
    """Name, constants where they are written as such, crop and resize, in the code's order."""
    section = TEXT[TEXT.index("## Preprocessing") : TEXT.index("## Targets")]
    shown = re.findall(r"^\| `([\w-]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|", section, re.MULTILINE)

    assert [name for name, *_ in shown] == list(RECIPES)
    for name, pixels, crop, resize in shown:
        mean, _, expected_crop, expected_resize = RECIPES[name]
        assert ("ImageNet" in pixels) == (len(set(mean)) == 3)
        assert "ImageNet" in pixels or f"(x - {mean[0]:g}) /" in pixels
        assert crop.rpartition(" ")[2].strip("`") == expected_crop
        assert resize.replace(" ", "-") == expected_resize


def test_preprocessing_shown_as_json_is_a_releases() -> None:
    """Of the release whose name is in the example."""
    (block,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)

    assert json.loads(block) == converter.preprocessing_of("efficientnetv2-s").to_dict()
