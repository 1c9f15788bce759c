"""Test what `tfckpt graph` finds; tests/golden/tfckpt-graph.txt shows what it prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tfckpt.recorded import TENSORFLOW
from tfckpt.cli import main

SAVED_MODEL = str(TENSORFLOW / "savedmodel-tf1")
SAVER = str(TENSORFLOW / "v1" / "saver")


def test_graph_shows_nodes_inside_functions(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a name after the colon, FUNCTION:NODE means all nodes of the function."""
    path = str(data / "savedmodel")
    assert main(["graph", path, "--json"]) == 0
    name, count = next(iter(json.loads(capsys.readouterr().out)["functions"].items()))

    assert main(["graph", path, f"{name}:"]) == 0

    assert len(capsys.readouterr().out.splitlines()) == 1 + count


def test_graph_prints_summary_and_node_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Programs get the same facts as people."""
    assert main(["graph", SAVED_MODEL, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert main(["graph", SAVER, "layer/kernel", "--json"]) == 0
    (node,) = json.loads(capsys.readouterr().out)["nodes"][:1]

    assert summary["tags"] == ["serve"]
    assert summary["signatures"].keys() == {"classify", "serving_default"}
    assert summary["ops"]["Const"] == {"nodes": 13, "in_functions": 0}
    assert summary["signatures"]["classify"]["inputs"]["inputs"]["shape"] == [-1, 3]
    assert summary["variables"][0] == {"name": "dense/kernel", "dtype": "float32", "shape": [3, 2], "trainable": True}
    assert (node["name"], node["op"], node["attributes"]["shape"]) == ("layer/kernel", "VarHandleOp", "[4, 3]")


def test_missing_graph_or_node_exits_with_3() -> None:
    """A checkpoint may have no graph, and a graph may have no node of this name."""
    assert main(["graph", str(TENSORFLOW / "v1" / "types")]) == 3
    assert main(["graph", SAVER, "nowhere"]) == 3
