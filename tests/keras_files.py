"""The Keras files of tests/data/keras-files, and what h5py and Keras said about them when they were written."""

from __future__ import annotations

import functools
import json
import pathlib
import tarfile
from collections.abc import Mapping
from typing import Any

DATA = pathlib.Path(__file__).parent / "data" / "keras-files"


@functools.cache
def _unpack(name: str) -> Mapping[str, bytes]:
    with tarfile.open(DATA / f"{name}.tar.xz") as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


@functools.cache
def expected() -> Mapping[str, Mapping[str, Any]]:
    """Return the record of each file by its name: `tensors`, and `variables` of the model by layer and name."""
    records = json.loads((DATA / "expected.json").read_text())["files"]
    return {record["file"]: record for record in records}


def files_of(name: str) -> dict[str, bytes]:
    """Return a file, and its shards if it has any, by name."""
    stem = name.removesuffix(".weights.json")
    return {
        other: data
        for other, data in _unpack("files").items()
        if other == name or (stem != name and other.startswith(f"{stem}_0"))
    }


def hostile(name: str) -> bytes:
    """Return an HDF5 file that must be refused, or the plain one that it was made from."""
    return _unpack("hostile")[name]


def hostile_names() -> list[str]:
    """Return the names of the HDF5 files that must be refused."""
    return [name for name in _unpack("hostile") if name.endswith(".h5") and not name.startswith("plain")]
