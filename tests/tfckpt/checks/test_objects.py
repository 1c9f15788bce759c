"""What is known of the objects of a checkpoint whose data is missing."""

from __future__ import annotations

import json
import pathlib
import shutil

import pytest

import tfckpt
from tfckpt.checks.objects import find_objects
from tfckpt.checks.summary import summarize
from tfckpt.cli import main
from tfckpt.errors import LimitExceededError
from tfckpt.graphs.object_graph import ObjectGraph, list_variables
from tfckpt.graphs.object_graph_keys import graph_from_keys

CASES = [
    "objects",
    "savedmodel",
    "tensorflow/savedmodel-tf2",
    *(
        f"tensorflow/objects-more/{name}"
        for name in ("escapes", "graph", "legacy_optimizer", "new_optimizer", "tables")
    ),
]


def described(graph: ObjectGraph | None, checkpoint: tfckpt.Checkpoint) -> dict[str, set[tuple[str, str]]]:
    """Return the saved attributes of each object by its path."""
    assert graph is not None
    return {
        node.path or "": {(a.name, a.checkpoint_key) for a in node.attributes if a.checkpoint_key in checkpoint}
        for node in graph.nodes
        if any(a.checkpoint_key in checkpoint for a in node.attributes)
    }


@pytest.mark.parametrize("case", CASES)
def test_keys_show_the_objects_that_the_graph_has(case: str, data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Paths, values, slot variables and the optimizer's share are the same; the tensors of tables become values."""
    shutil.copytree(data / case, tmp_path / "copy")
    with tfckpt.open(data / case) as whole:
        expected, variables, summary = described(whole.object_graph, whole), whole.variables(), summarize(whole)
    for path in (tmp_path / "copy").rglob("*.data-*"):
        path.unlink()

    with tfckpt.open(tmp_path / "copy") as checkpoint:
        graph, from_keys = find_objects(checkpoint)
        found, partial = described(graph, checkpoint), summarize(checkpoint)
        ours = {variable.key: variable for variable in list_variables(checkpoint.reader, graph)}

    assert from_keys
    assert partial.objects_from_keys
    assert not summary.objects_from_keys
    assert {path: values for path, values in found.items() if path in expected} == expected
    for variable in variables:
        assert sorted(slot.key for slot in ours[variable.key].slots) == sorted(slot.key for slot in variable.slots)
    assert (partial.optimizer_tensors, partial.parameters) == (summary.optimizer_tensors, summary.parameters)


def test_objects_of_a_saved_model_give_full_names(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """They are in `saved_model.pb`, which is there without the data."""
    shutil.copytree(data / "savedmodel", tmp_path / "copy", ignore=shutil.ignore_patterns("*.data-*"))
    with tfckpt.open(data / "savedmodel") as whole:
        expected = {variable.key: variable.full_name for variable in whole.variables()}

    with tfckpt.open(tmp_path / "copy") as checkpoint:
        graph, _ = find_objects(checkpoint)
        names = {variable.key: variable.full_name for variable in list_variables(checkpoint.reader, graph)}

    assert {key: name for key, name in expected.items() if names[key]} == {k: v for k, v in names.items() if v}
    assert sum(map(bool, names.values())) > 100


def test_info_and_tree_without_data_exit_with_0(
    data: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """JSON on standard output is complete: info has fields for what is missing, and tree says it on standard error."""
    shutil.copytree(data / "objects", tmp_path / "copy", ignore=shutil.ignore_patterns("*.data-*"))

    assert main(["info", str(tmp_path / "copy"), "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert main(["tree", str(tmp_path / "copy"), "--json"]) == 0
    out, err = capsys.readouterr()

    assert info["objects_from_keys"]
    assert [pathlib.Path(path).name for path in info["missing_files"]] == ["ckpt.data-00000-of-00001"]
    assert len(json.loads(out)["variables"]) == 113
    assert "ckpt.data-00000-of-00001" in err


def test_long_keys_are_bounded() -> None:
    """The paths of the parts of one key grow with the square of its length."""
    with pytest.raises(LimitExceededError):
        graph_from_keys(["a/" * 200_000 + "w/.ATTRIBUTES/VARIABLE_VALUE"])
