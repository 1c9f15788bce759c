"""Embedding: the examples of docs/embedding.md run, and a typed program passes mypy's strict mode."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from tests import builders
from tests.builders import Bundle
from tests.contracts.server import serving
from tests.embedding_sample import program

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "embedding.md"
_EXAMPLE = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)


def test_examples_of_the_page_print_what_it_shows(
    data: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """GPT-2 weights, a scan of sound, damaged and hostile files, and tensors from a server on the loopback."""
    shutil.copytree(data / "transformers" / "gpt2", tmp_path / "gpt2")
    shutil.copytree(tmp_path / "gpt2", tmp_path / "damaged")
    shard = next((tmp_path / "damaged").glob("*.data-*"))
    content = bytearray(shard.read_bytes())
    content[0] ^= 1
    shard.write_bytes(content)
    (tmp_path / "many-shards").mkdir()
    Bundle(header=builders.header_proto(1000)).write(tmp_path / "many-shards")
    monkeypatch.chdir(tmp_path)
    files = {f"gpt2/{path.name}": path.read_bytes() for path in (tmp_path / "gpt2").iterdir()}
    examples = _EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))

    with serving(files) as server:
        for code, shown in examples:
            exec(compile(code, str(PAGE), "exec"), {"ADDRESS": f"{server.url}gpt2/model.ckpt"})
            assert capsys.readouterr().out == shown

    assert len(examples) == 3


def test_typed_program_passes_the_strict_mode_of_mypy(tmp_path: pathlib.Path) -> None:
    """Every public name that it uses is annotated; a wrong use of one is found."""
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

    done = subprocess.run(
        [*command, str(ROOT / "tests" / "embedding_sample" / "program.py"), str(wrong)],
        cwd=tmp_path,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.stderr == ""
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["wrong.py"]
    assert '"str", variable has type "int"' in done.stdout


def test_typed_program_works(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """What mypy accepts also runs."""
    files = {path.name: path.read_bytes() for path in digits.parent.glob("model.*[!a]")}

    assert len(program.weights(digits)) == 226
    assert program.findings(files) == []
    assert program.findings({**files, "model.ckpt-322.index": b"x" * 60}) != []
    assert len(program.copied(str(digits), tmp_path / "out.npz").tensors) == 114
    assert len(program.state_dict_names(str(digits))) > 100
