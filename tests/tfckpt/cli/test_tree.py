"""`tfckpt tree` draws objects with what they saved."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from tests.builders import INT32, Bundle, field_bytes, field_varint
from tests.tfckpt.recorded import TENSORFLOW
from tfckpt.cli import main
from tfckpt.object_graph import GRAPH_KEY

OBJECTS = TENSORFLOW / "objects-more"


def drawn(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> list[str]:
    """The lines of a tree."""
    assert main(["tree", *map(str, arguments)]) == 0
    return capsys.readouterr().out.splitlines()


def test_tree_draws_objects_with_shapes_and_slots(capsys: pytest.CaptureFixture[str]) -> None:
    """Slot variables stand on the line of their variable."""
    assert drawn(capsys, OBJECTS / "legacy_optimizer" / "ckpt-1", "net") == [
        "net",
        "└── layers",
        "    ├── 0",
        "    │   ├── kernel  float32 [3, 4]  slots m, v",
        "    │   └── bias  float32 [4]  slots m, v",
        "    └── 1",
        "        ├── kernel  float32 [4, 2]  slots m, v",
        "        └── bias  float32 [2]  slots m, v",
    ]


def test_tree_draws_an_object_once_and_points_to_it_from_its_other_names(capsys: pytest.CaptureFixture[str]) -> None:
    """Aliases of layers, and the cycle back to the root."""
    lines = drawn(capsys, OBJECTS / "keras_weights" / "weights")

    assert "├── layer-0 → layer_with_weights-0" in lines
    assert "└── root → (root)" in lines
    assert sum("kernel  float32 [3, 4]" in line for line in lines) == 1


def test_tree_hides_objects_without_values_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """`--all` draws them."""
    prefix = str(OBJECTS / "graph" / "ckpt")

    assert main(["tree", prefix]) == 0
    few = capsys.readouterr()
    assert main(["tree", prefix, "--all"]) == 0
    everything = capsys.readouterr()

    assert "├── bare" not in few.out
    assert "objects without values of their own not drawn; --all draws them" in few.err
    assert "bare" in everything.out
    assert "│   ├── value → alias" in everything.out
    assert everything.err == ""


def test_tree_draws_what_an_object_saved_besides_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    """The tensors of a hash table, which no attribute names."""
    assert "├── dense" in (lines := drawn(capsys, OBJECTS / "tables" / "ckpt"))
    assert lines[2:4] == ["│   ├── .table-keys  int64 [8, 1]", "│   └── .table-values  float32 [8, 2]"]


def test_tree_long_adds_full_names_and_keys(capsys: pytest.CaptureFixture[str]) -> None:
    """Names are drawn unescaped, keys as they are."""
    lines = drawn(capsys, "--long", OBJECTS / "escapes" / "ckpt")

    assert lines[1:3] == ["├── a/b", "│   └── a/b  int32 []  v0  a.Sb/a.Sb/.ATTRIBUTES/VARIABLE_VALUE"]


def test_tree_stops_at_a_depth(capsys: pytest.CaptureFixture[str]) -> None:
    """Levels below it are left out."""
    prefix = OBJECTS / "legacy_optimizer" / "ckpt-1"

    assert drawn(capsys, prefix, "net", "--depth", "2") == ["net", "└── layers", "    ├── 0", "    └── 1"]
    with pytest.raises(SystemExit) as caught:
        main(["tree", str(prefix), "--depth", "0"])
    assert caught.value.code == 2


def test_tree_of_a_name_based_checkpoint_splits_its_names(capsys: pytest.CaptureFixture[str]) -> None:
    """And of a part of it only that part."""
    path = TENSORFLOW / "savedmodel-tf1"

    assert drawn(capsys, path) == ["(root)", "└── dense", "    ├── bias  float32 [2]", "    └── kernel  float32 [3, 2]"]
    assert drawn(capsys, path, "dense") == ["dense", "├── bias  float32 [2]", "└── kernel  float32 [3, 2]"]


def test_tree_of_names_that_are_names_of_others_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name may go on below another tensor, and slashes may stand anywhere."""
    bundle = Bundle()
    for name in ("/a", "a", "a/b", "a//c", "d/"):
        bundle.add(name, INT32, [], bytes(4))

    assert drawn(capsys, bundle.write(tmp_path)) == [
        "(root)",
        "├── ",
        "│   └── a  int32 []",
        "├── a  int32 []",
        "│   ├── ",
        "│   │   └── c  int32 []",
        "│   └── b  int32 []",
        "└── d",
        "    └──   int32 []",
    ]


@pytest.mark.parametrize("case", ["legacy_optimizer/ckpt-1", "../savedmodel-tf1"])
def test_tree_of_an_object_that_is_not_there_is_not_found(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3, as for a tensor."""
    assert main(["tree", str(OBJECTS / case), "nowhere"]) == 3
    assert "there is no object 'nowhere'" in capsys.readouterr().err


def test_tree_as_json_has_every_node_and_variable(capsys: pytest.CaptureFixture[str]) -> None:
    """The whole graph, for programs."""
    data = json.loads("\n".join(drawn(capsys, "--json", OBJECTS / "legacy_optimizer" / "ckpt-1")))

    assert data["object_based"] is True
    assert len(data["nodes"]) == 25
    assert data["nodes"][0]["children"] == {"net": 1, "optimizer": 2, "step": 3, "save_counter": 4}
    row = next(row for row in data["variables"] if row["full_name"] == "layer_0/kernel")
    assert (row["path"], row["dtype"], row["shape"]) == ("net/layers/0/kernel", "float32", [3, 4])
    assert [slot["name"] for slot in row["slots"]] == ["m", "v"]


def test_tree_as_json_has_only_what_stands_below_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    """OBJECT means the same with --json and without, before the option and behind it."""
    data = json.loads("\n".join(drawn(capsys, OBJECTS / "legacy_optimizer" / "ckpt-1", "--json", "net/layers/0/")))

    assert {row["path"] for row in data["variables"]} == {"net/layers/0/kernel", "net/layers/0/bias"}
    assert {node["path"] for node in data["nodes"]} >= {"net/layers/0", "net/layers/0/kernel"}
    assert "" not in {node["path"] for node in data["nodes"]}


@pytest.mark.parametrize("case", ["legacy_optimizer/ckpt-1", "../savedmodel-tf1"])
def test_tree_as_json_of_an_object_that_is_not_there_is_not_found(
    case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No JSON is printed then."""
    assert main(["tree", str(OBJECTS / case), "nothing/there", "--json"]) == 3

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "there is no object 'nothing/there'" in captured.err


def test_tree_escapes_names_and_survives_deep_chains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters never reach the terminal, and a chain of objects costs no recursion."""
    nodes = [
        field_bytes(1, field_bytes(1, field_varint(1, number + 1) + field_bytes(2, b"\x1b[31m")))
        for number in range(2000)
    ]
    attribute = field_bytes(1, b"VARIABLE_VALUE") + field_bytes(3, b"v")
    bundle = Bundle().add_strings(GRAPH_KEY, [b"".join([*nodes, field_bytes(1, field_bytes(2, attribute))])], [])

    lines = drawn(capsys, bundle.add("v", INT32, [2], bytes(8)).write(tmp_path))

    assert len(lines) == 2001
    assert lines[1] == "└── \\x1b[31m"
    assert lines[-1].endswith("└── \\x1b[31m  int32 [2]")


def test_tree_uses_ascii_where_the_output_has_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of an old locale gets a tree too."""
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, encoding="ascii"))

    assert main(["tree", str(OBJECTS / "keras_weights" / "weights")]) == 0

    lines = output.getvalue().decode("ascii").splitlines()
    assert lines[1:3] == ["|-- layer_with_weights-0", "|   |-- kernel  float32 [3, 4]"]
    assert lines[-1] == "`-- root -> (root)"
