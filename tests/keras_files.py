"""The Keras files of tests/data/keras-files, and what h5py and Keras said about them when they were written."""

from __future__ import annotations

import functools
import hashlib
import json
import pathlib
import tarfile
from collections.abc import Mapping
from typing import Any

import tfckpt

DATA = pathlib.Path(__file__).parent / "data" / "keras-files"
NETWORKS = DATA.parent / "keras"


@functools.cache
def _unpack(name: str, folder: pathlib.Path = DATA) -> Mapping[str, bytes]:
    with tarfile.open(folder / f"{name}.tar.xz") as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


@functools.cache
def expected() -> Mapping[str, Mapping[str, Any]]:
    """Return the record of each file by its name: `tensors`, and `variables` of the model by layer and name."""
    texts = [(DATA / name).read_text() for name in ("expected.json", "older.json")]
    return {record["file"]: record for text in texts for record in json.loads(text)["files"]}


def files_of(name: str) -> dict[str, bytes]:
    """Return a file, and its shards if it has any, by name."""
    stem = name.removesuffix(".weights.json")
    return {
        other: data
        for other, data in {**_unpack("files"), **_unpack("older")}.items()
        if other == name or (stem != name and other.startswith(f"{stem}_0"))
    }


def hostile(name: str) -> bytes:
    """Return an HDF5 file that must be refused, or the plain one that it was made from."""
    return _unpack("hostile")[name]


def hostile_names() -> list[str]:
    """Return the names of the HDF5 files that must be refused."""
    return [name for name in _unpack("hostile") if name.endswith(".h5") and not name.startswith("plain")]


@functools.cache
def network_records() -> Mapping[str, Mapping[str, Any]]:
    """Return the records of the files with networks by name: their checkpoint, and where its values belong."""
    records: Mapping[str, Mapping[str, Any]] = json.loads((NETWORKS / "files" / "fills.json").read_text())
    return records


@functools.cache
def network_files(name: str) -> Mapping[str, bytes]:
    """Return a file with a network of tests/data/keras, and its shards, exactly as Keras wrote them."""
    stem = name.removesuffix(".weights.json")
    blank = _unpack("blank", NETWORKS / "files")
    files = {}
    for other, data in blank.items():
        if other == name or (stem != name and other.startswith(f"{stem}_0")):
            files[other] = _fill(other, data) if other in network_records() else data
    return files


def _fill(name: str, data: bytes) -> bytes:
    """Return a file with the values of its checkpoint, which were left out."""
    record = network_records()[name]
    filled = bytearray(data)
    with tfckpt.open(NETWORKS / record["checkpoint"]) as checkpoint:
        for offset, full_name in record["fills"]:
            value = checkpoint[full_name].tobytes()
            filled[offset : offset + len(value)] = value
    assert hashlib.sha256(filled).hexdigest() == record["sha256"]
    return bytes(filled)
