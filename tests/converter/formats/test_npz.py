"""The .npz reader, on files of `numpy.savez` and on files with false claims."""

from __future__ import annotations

import pathlib
import struct
import zipfile

import numpy as np
import pytest

from converter.conversion import convert
from converter.errors import ExportError
from converter.exporting import export
from converter.formats import npz
from converter.formats.files import read_output
from converter.mapping.rules_file import parse_rules
from tfckpt.errors import CheckpointNotFoundError, CorruptionError
from tfckpt.storage.archives import compression

SOUND = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"


def npy(header: str, data: bytes = bytes(8)) -> bytes:
    """Return an array file of version 1."""
    padded = header.encode() + b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded + data


def archive(path: pathlib.Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> pathlib.Path:
    """Write a zip archive of these members."""
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archive_of_numpy_is_read(save: object, tmp_path: pathlib.Path) -> None:
    """Arrays are read plain and compressed, in any order, numeric dtype and shape."""
    arrays = {
        "a/b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6, dtype=">i8").reshape(2, 3)),
        "scalar": np.array(True),
        "empty": np.zeros((3, 0), np.complex64),
    }
    save(tmp_path / "x.npz", **arrays)  # type: ignore[operator]  # the parameter is one of two functions

    tensors = npz.read(tmp_path / "x.npz").tensors

    assert list(tensors) == list(arrays)
    for name, array in arrays.items():
        assert (tensors[name].dtype, tensors[name].tolist()) == (array.dtype, array.tolist())
        assert not tensors[name].flags.writeable


def test_stored_arrays_are_views_of_the_file(tmp_path: pathlib.Path) -> None:
    """The views need no memory, and stay valid after reading."""
    np.savez(tmp_path / "x.npz", a=np.ones(3))

    array = npz.read(tmp_path / "x.npz").tensors["a"]

    assert not array.flags.owndata
    assert array.tolist() == [1, 1, 1]


HEADERS = {
    "a terabyte": SOUND.replace("(2,)", "(1099511627776,)"),
    "beyond 64 bits": SOUND.replace("(2,)", f"({2**70},)"),
    "negative": SOUND.replace("(2,)", "(-1, -2)"),
    "bool": SOUND.replace("(2,)", "(True, 2)"),
    "65 axes": SOUND.replace("(2,)", f"(2, {'1, ' * 64})"),
    "empty and vast": SOUND.replace("(2,)", f"(0, {2**62}, {2**62})"),
    "dtype of zero bytes": SOUND.replace("<f4", "|S0").replace("(2,)", f"({2**60},)"),
    "not a dtype": SOUND.replace("'<f4'", "()"),
    "objects": SOUND.replace("<f4", "|O"),
    "text": SOUND.replace("<f4", "<U1"),
    "records": SOUND.replace("'<f4'", "[('a', '<f4')]"),
    "deep": "-" * 9000 + "1",
    "open": "{'descr': (",
    "endless": " " * 20_000,
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_false_header_is_refused_before_an_array_is_allocated(header: str, tmp_path: pathlib.Path) -> None:
    """The same file with a true header is read."""
    assert npz.read(archive(tmp_path / "x.npz", {"a.npy": npy(SOUND)})).tensors["a"].tolist() == [0, 0]
    empty = "empty" in header or f"(0, {2**62}" in header or "|S0" in header
    path = archive(tmp_path / "x.npz", {"a.npy": npy(header, b"" if empty else bytes(8))})

    with pytest.raises(CorruptionError) as caught:
        npz.read(path)
    assert (caught.value.path, caught.value.tensor) == (str(path), "a")


def test_invalid_archive_is_refused(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members are not arrays, have another compression, a duplicate name or a wrong checksum, or expand too much."""
    path = tmp_path / "x.npz"
    for members in ({"readme.txt": b"text"}, {"a.npy": b"text"}, {"a.npy": b""}):
        with pytest.raises(CorruptionError):
            npz.read(archive(path, members))
    for content in (b"", b"text", npy(SOUND)):
        path.write_bytes(content)
        with pytest.raises(CorruptionError):
            npz.read(path)
    with pytest.raises(CorruptionError):
        npz.read(archive(path, {"a.npy": npy(SOUND)}, zipfile.ZIP_LZMA))
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "w") as file:
        file.writestr("a.npy", npy(SOUND))
        file.writestr("a.npy", npy(SOUND))
    with pytest.raises(CorruptionError):
        npz.read(path)
    archive(path, {"a.npy": npy(SOUND, b"\x00\x00\x80?" * 2)})
    path.write_bytes(path.read_bytes().replace(b"\x80?", b"\x81?", 1))
    with pytest.raises(CorruptionError) as damaged:
        npz.read(path)
    assert (damaged.value.path, damaged.value.tensor) == (str(path), "a")
    monkeypatch.setattr(compression, "_FREE_BYTES", 1 << 20)
    vast = npy(SOUND.replace("(2,)", f"({1 << 20},)"), bytes(4 << 20))
    with pytest.raises(CorruptionError, match="max_expansion"):
        npz.read(archive(path, {"a.npy": vast}, zipfile.ZIP_DEFLATED))
    with pytest.raises(CheckpointNotFoundError):
        npz.read(tmp_path / "y.npz")


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
@pytest.mark.parametrize("name", ["a\udcff", "__metadata__", "a\0b", "a" * 65_532], ids=repr)
def test_name_that_the_format_cannot_store_is_refused(name: str, ending: str, tmp_path: pathlib.Path) -> None:
    """Two names must not become one; a zip archive ends names at NUL, and names have to be UTF-8."""
    rules = parse_rules('[[rule]]\nsource = "{name...}"\ntarget = "{name...}"\n')
    result = convert({name: np.ones(2, np.float32), "a": np.zeros(2, np.float32)}, rules=rules)
    path = tmp_path / f"x.{ending}"
    if ending == "safetensors" and name.isascii() and name != "__metadata__":
        export(result, path, proof="none")
        assert read_output(path).tensors[name].tolist() == [1, 1]
        return

    with pytest.raises(ExportError):
        export(result, path, proof="none")
    assert list(tmp_path.iterdir()) == []
