"""examples/convert.ipynb: its cells run in their order, and print what it shows.

    GOLDEN=rewrite python -m pytest tests/test_notebook.py

writes what they print, and their plots, into the notebook. Its cells are run without Jupyter.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import pathlib
import tempfile
from typing import Any

import pytest

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"
NOTEBOOK = EXAMPLES / "convert.ipynb"


def test_cells_print_what_is_shown(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots are drawn; their pixels depend on the release of matplotlib and are not compared."""
    pytest.importorskip("torch", reason="converts and proves")
    matplotlib = pytest.importorskip("matplotlib", reason="the notebook plots")
    matplotlib.use("agg")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setattr(pyplot, "show", lambda: None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(EXAMPLES)
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    names: dict[str, object] = {}

    outputs = [run_cell("".join(cell["source"]), names, pyplot) for cell in cells]

    if os.environ.get("GOLDEN") == "rewrite":
        for count, (cell, output) in enumerate(zip(cells, outputs, strict=True), 1):
            cell.update(execution_count=count, outputs=output)
        NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert [compared(cell["outputs"]) for cell in cells] == [compared(output) for output in outputs]
    assert sum("plt." in "".join(cell["source"]) for cell in cells) == 2


def run_cell(source: str, names: dict[str, object], pyplot: Any) -> list[dict[str, Any]]:
    """Return the outputs of a cell in the notebook's format: its text and its figures."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, str(NOTEBOOK), "exec"), names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        text = printed.getvalue().splitlines(keepends=True)
        outputs.append({"name": "stdout", "output_type": "stream", "text": text})
    for number in pyplot.get_fignums():
        image = io.BytesIO()
        pyplot.figure(number).savefig(image, format="png", dpi=70)
        data = {"image/png": base64.b64encode(image.getvalue()).decode("ascii")}
        outputs.append({"data": data, "metadata": {}, "output_type": "display_data"})
    pyplot.close("all")
    return outputs


def compared(outputs: list[dict[str, Any]]) -> list[object]:
    """Return what has to be equal: text, and the kinds of other outputs."""
    return [output.get("text") or sorted(output["data"]) for output in outputs]
