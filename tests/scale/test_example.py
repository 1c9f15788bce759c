"""The first example of docs/scale.md works as printed."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest

REASON = "needs the environment of `make scale-check`"
pytest.importorskip("moto", reason=REASON)
pytest.importorskip("distributed", reason=REASON)
pytest.importorskip("s3fs", reason=REASON)
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "scale.md"


def test_the_first_example_works_as_printed(tmp_path: pathlib.Path) -> None:
    """Plan, run on two workers, kill, restart, clean, verify."""
    match = re.search(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert match is not None
    script = f"trap 'kill $(jobs -p)' EXIT\n{match[1]}"
    environment = {**os.environ, "PATH": f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    result = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert result.returncode == 0, result.stderr
    for line in ("8 tensors, 30.5 MiB -> s3://bucket/out/ (5 files)", "8 tensors, 30.5 MiB: all checksums match"):
        assert line in result.stdout
        assert line in PAGE.read_text(encoding="utf-8")
