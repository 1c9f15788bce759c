"""`tfckpt graph` summarises the graph beside a checkpoint and shows its nodes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tfckpt.recorded import TENSORFLOW
from tfckpt.cli import main

SAVED_MODEL = str(TENSORFLOW / "savedmodel-tf1")
SAVER = str(TENSORFLOW / "v1" / "saver")


def test_graph_summarises_ops_variables_and_signatures(capsys: pytest.CaptureFixture[str]) -> None:
    """What the graph is, what it can be asked for, what it is made of."""
    assert main(["graph", SAVED_MODEL]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        "46 nodes, 0 functions of 0 nodes",
        "written by TensorFlow 2.21.0",
        "tags serve",
        "signature classify(inputs: float32 [-1, 3]) -> scores: float32 [-1, 2]",
        "signature serving_default(image: float32 [-1, 3]) -> best: int64 [-1], logits: float32 [-1, 2]",
    ]
    assert lines[6:8] == [
        "op                      nodes  in functions",
        "Const                      13             0",
    ]
    assert lines[-3:] == [
        "variable      dtype    shape   trainable",
        "dense/kernel  float32  [3, 2]  yes",
        "dense/bias    float32  [2]     yes",
    ]


def test_graph_counts_the_nodes_of_functions_apart(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """TF2 graphs are made of functions; the signature of the initialisation is not shown."""
    assert main(["graph", str(data / "savedmodel")]) == 0

    out = capsys.readouterr().out
    assert out.startswith("233 nodes, 171 functions of 4,941 nodes\n")
    assert "signature serving_default(image: float32 [-1, 45, 45, 3]) -> logits: float32 [-1, 7]" in out
    assert "__saved_model_init_op" not in out


def test_graph_shows_one_node_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    """Op, inputs, attributes."""
    assert main(["graph", SAVER, "save/filename"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "save/filename  PlaceholderWithDefault",
        "  input save/filename/input",
        "  _output_shapes = [[]]",
        "  dtype = string",
        "  shape = []",
    ]


def test_graph_lists_the_nodes_that_match(capsys: pytest.CaptureFixture[str]) -> None:
    """By glob or by a part of the name, a line each."""
    assert main(["graph", SAVER, "save/file*"]) == 0
    by_glob = capsys.readouterr().out
    assert main(["graph", SAVER, "save/filename/"]) == 0
    by_part = capsys.readouterr().out

    assert by_glob.splitlines() == [
        "node                 op                      inputs",
        "save/filename/input  Const",
        "save/filename        PlaceholderWithDefault  save/filename/input",
    ]
    assert by_part.startswith("save/filename/input  Const\n")


def test_graph_shows_nodes_inside_functions(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """FUNCTION:NODE, and with nothing after the colon all of the function's nodes."""
    path = str(data / "savedmodel")
    assert main(["graph", path, "--json"]) == 0
    name, count = next(iter(json.loads(capsys.readouterr().out)["functions"].items()))

    assert main(["graph", path, f"{name}:"]) == 0

    assert len(capsys.readouterr().out.splitlines()) == 1 + count


def test_graph_as_json_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    """The summary and a node, for programs."""
    assert main(["graph", SAVED_MODEL, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert main(["graph", SAVER, "layer/kernel", "--json"]) == 0
    (node,) = json.loads(capsys.readouterr().out)[:1]

    assert summary["tags"] == ["serve"]
    assert summary["ops"]["Const"] == {"nodes": 13, "in_functions": 0}
    assert summary["signatures"]["classify"]["inputs"]["inputs"]["shape"] == [-1, 3]
    assert summary["variables"][0] == {"name": "dense/kernel", "dtype": "float32", "shape": [3, 2], "trainable": True}
    assert (node["name"], node["op"], node["attributes"]["shape"]) == ("layer/kernel", "VarHandleOp", "[4, 3]")


def test_graph_that_is_not_there_is_not_found(capsys: pytest.CaptureFixture[str]) -> None:
    """A checkpoint without a graph, and a graph without such a node."""
    assert main(["graph", str(TENSORFLOW / "v1" / "types")]) == 3
    assert "there is no graph beside this checkpoint" in capsys.readouterr().err
    assert main(["graph", SAVER, "nowhere"]) == 3
    assert "no node of 48 matches 'nowhere'" in capsys.readouterr().err
