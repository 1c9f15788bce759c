"""docs/api.md shows every public name, and its examples run and print what it shows."""

from __future__ import annotations

import doctest
import pathlib
import re
import shutil

import pytest

import converter
import tfckpt
from tests.in_process import run_programs_here

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "api.md"
_EXAMPLES = re.compile(r"```pycon\n(.*?)```", re.DOTALL)


@pytest.fixture
def examples() -> str:
    """The examples of the page, one after the other."""
    return examples_of(PAGE.read_text(encoding="utf-8"))


def examples_of(text: str) -> str:
    """The examples of a page or a part of it."""
    return "\n".join(_EXAMPLES.findall(text))


@pytest.mark.parametrize("package", [tfckpt, converter], ids=lambda package: package.__name__)
def test_every_public_name_is_used_in_an_example(package: object, examples: str) -> None:
    """As an attribute of its package, or in a list of names."""
    names: list[str] = package.__all__  # type: ignore[attr-defined]  # both packages have one
    prefix = package.__name__  # type: ignore[attr-defined]  # both are modules

    assert [name for name in names if not re.search(rf'\b{prefix}\.{name}\b|"{name}"', examples)] == []


@pytest.mark.parametrize(("until", "least"), [("## Converting", 40), (None, 60)], ids=["tfckpt", "the whole page"])
def test_examples_of_the_page_run(
    until: str | None, least: int, data: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In their order, in a folder with the checkpoints that the page speaks of."""
    if until is None:
        pytest.importorskip("torch", reason="the last sections run networks and graphs")
        run_programs_here(monkeypatch)
    text = PAGE.read_text(encoding="utf-8")
    examples = examples_of(text[: text.index(until) if until else None])
    for source, name in [("digits-train", "digits-train"), ("objects", "objects")]:
        shutil.copytree(data / source, tmp_path / name)
    shutil.copytree(data / "tensorflow" / "savedmodel-tf2", tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    said: list[str] = []

    test = doctest.DocTestParser().get_doctest(examples, {}, "api.md", str(PAGE), 0)
    results = doctest.DocTestRunner().run(test, out=said.append)

    assert results.failed == 0, "".join(said)
    assert results.attempted >= least
