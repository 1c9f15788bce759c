"""examples/finetune.py and docs/fine-tuning.md: the example learns, and its output goes on."""

from __future__ import annotations

import importlib.util
import pathlib
import re
import shlex

import pytest

torch = pytest.importorskip("torch")

import converter.cli  # noqa: E402
from tests.console import is_installed  # noqa: E402

ROOT = pathlib.Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "fine-tuning.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, float]:
    """The folder that the example wrote, and the accuracy that it returned."""
    spec = importlib.util.spec_from_file_location("finetune", ROOT / "examples" / "finetune.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("tuned") / "finetuned"
    return folder, module.main(folder)


def test_the_example_learns_other_classes(trained: tuple[pathlib.Path, float]) -> None:
    """From chance to nearly all."""
    _, accuracy = trained

    assert accuracy >= 0.95


def test_the_commands_of_the_page_take_what_the_example_saved(
    trained: tuple[pathlib.Path, float],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    run_all: bool,
) -> None:
    """Evaluation finds the same accuracy, and the way back is there; programs are exported with `--all` only."""
    folder, accuracy = trained
    commands = re.findall(r"^tf2torch (.*)$", PAGE, re.MULTILINE)
    monkeypatch.chdir(folder.parent)

    for command in commands:
        if ".onnx" in command and not (run_all and is_installed(".onnx")):
            continue
        words = [word.replace("examples/", f"{ROOT}/examples/") for word in shlex.split(command)]
        assert converter.cli.main(words) == 0
        if words[0] == "evaluate":
            assert f"{accuracy:.2%}" in capsys.readouterr().out

    assert {words.split()[0] for words in commands} == {"evaluate", "export", "bench", "revert"}
    assert (folder / "model.ckpt.index").exists()


def test_the_pieces_of_the_page_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block of Python, from the root of a clone."""
    monkeypatch.chdir(ROOT)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    names: dict[str, object] = {}
    exec(compile(block, "docs/fine-tuning.md", "exec"), names)

    assert len(names["features"]) == 4  # type: ignore[arg-type]
    assert tuple(names["logits"].shape) == (2, 3)  # type: ignore[attr-defined]
