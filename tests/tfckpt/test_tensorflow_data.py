"""Every V2 checkpoint that TensorFlow wrote, compared with what TensorFlow read, tensor by tensor.

tests/data/tensorflow/README.md describes the cases and the fields of their records.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import tarfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tfckpt
from tests.arrays import digest

CASES = pathlib.Path(__file__).parents[1] / "data" / "tensorflow"

Record = dict[str, Any]


def records() -> Iterator[tuple[pathlib.Path, Record]]:
    """Yield each V2 checkpoint that is stored in a folder, with its record; equal checkpoints share a record."""
    for path in sorted(CASES.glob("*/expected.json")):
        for record in json.loads(path.read_text()).get("checkpoints", ()):
            for prefix in (record["prefix"], *record.get("also", ())):
                if record["format"] == "V2":
                    yield path.parent / prefix, record


CHECKPOINTS = list(records())
ids = [str(prefix.relative_to(CASES)) for prefix, _ in CHECKPOINTS]


def name_of(tensor: Record) -> str:
    """Return the name of a tensor; very long names are recorded as runs of equal bytes."""
    if "name" in tensor:
        return str(tensor["name"])
    return b"".join(bytes([byte]) * times for byte, times in tensor["name_runs"]).decode("utf-8", "surrogateescape")


def slice_of(spec: str) -> tuple[slice, ...]:
    """Return the NumPy index of a slice specification such as `0,2:-`."""
    index = []
    for part in spec.split(":"):
        start, _, length = part.partition(",")
        index.append(slice(None) if part == "-" else slice(int(start), int(start) + int(length)))
    return tuple(index)


def test_there_are_cases_to_compare() -> None:
    """If the folder were empty, every comparison below would pass."""
    assert len(CHECKPOINTS) >= 30
    assert sum(len(record["tensors"]) for _, record in CHECKPOINTS) >= 700


@pytest.mark.parametrize(("prefix", "record"), CHECKPOINTS, ids=ids)
def test_names_types_and_shapes_are_those_tensorflow_lists(prefix: pathlib.Path, record: Record) -> None:
    """All tensors and no slices are listed, in the order of the names' bytes."""
    expected = {name_of(tensor): (tensor["dtype"], tuple(tensor["shape"])) for tensor in record["tensors"]}

    with tfckpt.open(prefix) as checkpoint:
        listed = {info.name: (info.tf_dtype, info.shape) for info in checkpoint.infos()}
        names = list(checkpoint)

    assert names == sorted(expected, key=lambda name: name.encode("utf-8", "surrogateescape"))
    assert {name: shape for name, (_, shape) in listed.items()} == {
        name: shape for name, (_, shape) in expected.items()
    }
    for name, (dtype, _) in expected.items():
        irregular = {"float32": "DT_FLOAT", "float64": "DT_DOUBLE", "float16": "DT_HALF"}
        assert listed[name][0] == irregular.get(dtype, f"DT_{dtype.upper()}")


@pytest.mark.parametrize(("prefix", "record"), CHECKPOINTS, ids=ids)
def test_listing_equals_tensorflow_list_variables(prefix: pathlib.Path, record: Record) -> None:
    """If TensorFlow's own listing was recorded, it has the same names and shapes."""
    recorded = record.get("list_variables")

    with tfckpt.open(prefix) as checkpoint:
        listed = [[info.name, list(info.shape)] for info in checkpoint.infos()]

    assert recorded is None or sorted(listed) == sorted(list(item) for item in recorded)


@pytest.mark.parametrize(("prefix", "record"), CHECKPOINTS, ids=ids)
def test_values_are_those_tensorflow_restores(prefix: pathlib.Path, record: Record) -> None:
    """Each tensor has the recorded digest, including those that TensorFlow wrote and cannot read."""
    compared = 0
    with tfckpt.open(prefix) as checkpoint:
        for tensor in record["tensors"]:
            name = name_of(tensor)
            if "sha256" not in tensor:
                continue
            array = checkpoint[name]

            assert array.shape == tuple(tensor["shape"]), name
            assert digest(array) == tensor["sha256"], name
            if "values_hex" in tensor:
                assert [item.hex() for item in array.reshape(-1)] == tensor["values_hex"], name
            if "values" in tensor:
                expected = np.array(tensor["values"], np.float64)
                np.testing.assert_array_equal(array.reshape(-1).astype(np.float64), expected, err_msg=name)
            compared += 1

    assert compared


SLICED = [(prefix, record) for prefix, record in CHECKPOINTS if any("slices" in tensor for tensor in record["tensors"])]


@pytest.mark.parametrize(("prefix", "record"), SLICED, ids=[str(prefix.relative_to(CASES)) for prefix, _ in SLICED])
def test_slices_are_those_tensorflow_wrote(prefix: pathlib.Path, record: Record) -> None:
    """`TensorInfo.slices` lists them, and each one's part of the assembled tensor has the recorded digest."""
    with tfckpt.open(prefix) as checkpoint:
        for tensor in record["tensors"]:
            if "slices" not in tensor:
                continue
            info = checkpoint.info(tensor["name"])
            specs = sorted(piece["spec"] for piece in tensor["slices"])
            if len(specs) == 1 and np.empty(tensor["shape"])[slice_of(specs[0])].shape == tuple(tensor["shape"]):
                specs = []  # a slice that is the whole tensor is stored as an ordinary tensor
            assert sorted(map(str, info.slices)) == specs, tensor["name"]
            if "sha256" not in tensor:
                with pytest.raises(tfckpt.CorruptionError) as caught:
                    checkpoint[tensor["name"]]
                assert caught.value.tensor == tensor["name"]
                continue
            whole = checkpoint[tensor["name"]]
            for piece in tensor["slices"]:
                part = whole[slice_of(piece["spec"])]
                assert list(part.shape) == piece.get("shape", list(part.shape))
                assert digest(part) == piece.get("sha256", digest(part)), (tensor["name"], piece["spec"])


def test_index_of_twenty_thousand_entries_is_read(tmp_path: pathlib.Path) -> None:
    """The index has six blocks; one digest covers all values."""
    with tarfile.open(CASES / "many.tgz") as archive:
        archive.extractall(tmp_path, filter="data")
    (path,) = tmp_path.rglob("expected.json")
    (record,) = json.loads(path.read_text())["checkpoints"]

    lines = []
    with tfckpt.open(path.parent / record["prefix"]) as checkpoint:
        for info in checkpoint.infos():
            dtype = {"float": "float32"}.get(info.tf_dtype.removeprefix("DT_").lower())
            array = checkpoint[info.name]
            lines.append(f"{info.name}\t{dtype or array.dtype.name}\t{list(info.shape)}\t{digest(array)}\n")

    assert len(lines) == record["count"] == 20_000
    assert hashlib.sha256("".join(lines).encode()).hexdigest() == record["digest_of_all"]
