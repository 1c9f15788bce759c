"""Test what `tfckpt tree` finds and escapes; tests/golden/tfckpt-tree.txt has drawings."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from tests.builders import INT32, Bundle, field_bytes, field_varint
from tests.tfckpt.recorded import TENSORFLOW
from tfckpt.cli import main
from tfckpt.graphs.object_graph import GRAPH_KEY

OBJECTS = TENSORFLOW / "objects-more"


def draw_tree(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> list[str]:
    """Return the lines of a tree."""
    assert main(["tree", *map(str, arguments)]) == 0
    return capsys.readouterr().out.splitlines()


def test_tree_as_json_has_every_node_and_variable(capsys: pytest.CaptureFixture[str]) -> None:
    """Programs get the whole graph."""
    data = json.loads("\n".join(draw_tree(capsys, "--json", OBJECTS / "legacy_optimizer" / "ckpt-1")))

    assert data["object_based"] is True
    assert len(data["nodes"]) == 25
    assert data["nodes"][0]["children"] == {"net": 1, "optimizer": 2, "step": 3, "save_counter": 4}
    row = next(row for row in data["variables"] if row["full_name"] == "layer_0/kernel")
    assert (row["path"], row["dtype"], row["shape"]) == ("net/layers/0/kernel", "float32", [3, 4])
    assert [slot["name"] for slot in row["slots"]] == ["m", "v"]


def test_tree_as_json_of_an_object_has_only_its_descendants(capsys: pytest.CaptureFixture[str]) -> None:
    """OBJECT has the same meaning with --json, before and after the option."""
    data = json.loads("\n".join(draw_tree(capsys, OBJECTS / "legacy_optimizer" / "ckpt-1", "--json", "net/layers/0/")))

    assert {row["path"] for row in data["variables"]} == {"net/layers/0/kernel", "net/layers/0/bias"}
    assert {node["path"] for node in data["nodes"]} >= {"net/layers/0", "net/layers/0/kernel"}
    assert "" not in {node["path"] for node in data["nodes"]}


@pytest.mark.parametrize("case", ["legacy_optimizer/ckpt-1", "../savedmodel-tf1"])
def test_tree_as_json_of_a_missing_object_exits_with_3(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed to standard output."""
    assert main(["tree", str(OBJECTS / case), "nothing/there", "--json"]) == 3

    assert capsys.readouterr().out == ""


def test_tree_escapes_names_and_survives_deep_chains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters are escaped, and a long chain of objects does not exceed the recursion limit."""
    nodes = [
        field_bytes(1, field_bytes(1, field_varint(1, number + 1) + field_bytes(2, b"\x1b[31m")))
        for number in range(2000)
    ]
    attribute = field_bytes(1, b"VARIABLE_VALUE") + field_bytes(3, b"v")
    bundle = Bundle().add_strings(GRAPH_KEY, [b"".join([*nodes, field_bytes(1, field_bytes(2, attribute))])], [])

    lines = draw_tree(capsys, bundle.add("v", INT32, [2], bytes(8)).write(tmp_path))

    assert len(lines) == 2001
    assert lines[1] == "└── \\x1b[31m"
    assert lines[-1].endswith("└── \\x1b[31m  int32 [2]")


def test_tree_uses_ascii_if_the_output_encoding_is_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal with an old locale shows a tree too."""
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, encoding="ascii"))

    assert main(["tree", str(OBJECTS / "keras_weights" / "weights")]) == 0

    lines = output.getvalue().decode("ascii").splitlines()
    assert lines[1:3] == ["|-- layer_with_weights-0", "|   |-- kernel  float32 [3, 4]"]
    assert lines[-1] == "`-- root -> (root)"
