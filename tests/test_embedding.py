"""Embedding: the examples in docs/embedding.md run, and a typed program passes mypy in strict mode."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from tests import builders, keras_files
from tests.builders import Bundle
from tests.contracts.server import serving
from tests.embedding_sample import program
from tfckpt.train import errors

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "embedding.md"
_EXAMPLE = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)


def test_examples_in_the_documentation_print_the_output_shown(
    data: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """GPT-2 weights; a Keras model; a tensor for PyTorch; a scan of damaged and hostile files; a local server."""
    pytest.importorskip("torch", reason="one example uses PyTorch")
    shutil.copytree(data / "transformers" / "gpt2", tmp_path / "gpt2")
    shutil.copytree(tmp_path / "gpt2", tmp_path / "damaged")
    shard = next((tmp_path / "damaged").glob("*.data-*"))
    content = bytearray(shard.read_bytes())
    content[0] ^= 1
    shard.write_bytes(content)
    (tmp_path / "many-shards").mkdir()
    Bundle(header=builders.header_proto(1000)).write(tmp_path / "many-shards")
    keras = "keras3-optimizer.keras"
    (tmp_path / keras).write_bytes(keras_files.files_of(keras)[keras])
    monkeypatch.chdir(tmp_path)
    files = {f"gpt2/{path.name}": path.read_bytes() for path in (tmp_path / "gpt2").iterdir()}
    examples = _EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))

    with serving(files) as server:
        for code, shown in examples:
            exec(compile(code, str(PAGE), "exec"), {"ADDRESS": f"{server.url}gpt2/model.ckpt"})
            assert capsys.readouterr().out == shown

    assert len(examples) == 5


@pytest.mark.slow
def test_typed_program_passes_mypy_in_strict_mode(tmp_path: pathlib.Path) -> None:
    """All public names that it uses are annotated, and a wrong type is found.

    `make check` type-checks the program too, with the settings of this project.
    """
    pytest.importorskip("mypy", reason="mypy is not installed")
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import tfckpt\n\nname: int = next(iter(tfckpt.open('model')))\n")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        "--no-error-summary",
        "--follow-imports=silent",
    ]
    environment = {**os.environ, "MYPYPATH": str(ROOT), "MYPY_CACHE_DIR": str(ROOT / ".mypy_cache" / "embedding")}

    process = subprocess.run(
        [*command, str(ROOT / "tests" / "embedding_sample" / "program.py"), str(wrong)],
        cwd=tmp_path,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )

    assert process.stderr == ""
    assert [line.partition(":")[0] for line in process.stdout.splitlines()] == ["wrong.py"]
    assert "[assignment]" in process.stdout


def test_typed_program_runs(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The program that mypy accepts also works."""
    files = {path.name: path.read_bytes() for path in digits.parent.glob("model.*[!a]")}

    assert len(program.read_weights(digits)) == 226
    assert program.find_damage(files) == []
    assert program.find_damage({**files, "model.ckpt-322.index": b"x" * 60}) != []
    assert len(program.export_averages(str(digits), tmp_path / "out.npz").tensors) == 114
    assert len(program.list_state_dict_names(str(digits))) > 100
    assert program.describe(errors.DataLossError(None, None, "damaged")) == "DataLossError 15"
