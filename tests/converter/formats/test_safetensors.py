"""The safetensors writer and reader, compared with each other, hand-made bytes and the package safetensors."""

from __future__ import annotations

import io
import json
import pathlib
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from converter.conversion import convert
from converter.errors import ExportError
from converter.exporting import export
from converter.formats.files import CONFIG_KEY, PROVENANCE_KEY
from converter.formats.safetensors import read, write_tensors
from tfckpt.errors import CheckpointNotFoundError, CorruptionError, TruncatedError

Header = dict[str, Any]


def file_of(header: bytes | Header, data: bytes) -> bytes:
    """Return the bytes of a file with this header and data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: str, shape: list[int], begin: int, end: int) -> Header:
    """Return the description of one tensor."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def write(tensors: dict[str, Any], metadata: dict[str, str] | None = None) -> bytes:
    """Return the bytes of a written file."""
    file = io.BytesIO()
    write_tensors(tensors, metadata or {}, file)
    return file.getvalue()


def test_written_bytes_follow_the_format() -> None:
    """A file is a length, padded JSON and data, with tensors of larger items first."""
    content = write({"b": np.array([1, 2], np.uint8), "a": np.array(3, np.int64)}, {"k": "v"})

    header = (
        b'{"__metadata__":{"k":"v"},"a":{"dtype":"I64","shape":[],"data_offsets":[0,8]},'
        b'"b":{"dtype":"U8","shape":[2],"data_offsets":[8,10]}}'
    )
    padding = b" " * (-len(header) % 8)
    assert content == file_of(header + padding, b"\x03\0\0\0\0\0\0\0\x01\x02")


def test_data_begins_at_a_multiple_of_eight_bytes() -> None:
    """Every tensor of a memory map is aligned, for any length of the header."""
    for length in range(9):
        content = write({"x" * length: np.ones(1, np.float64)})

        assert (8 + int.from_bytes(content[:8], "little")) % 8 == 0


def test_strided_and_big_endian_arrays_are_written_in_c_order() -> None:
    """Transposed, sliced, broadcast and big-endian arrays are read back with equal values."""
    tensors = {
        "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "sliced": np.arange(10, dtype=np.int32)[::3],
        "broadcast": np.broadcast_to(np.float32(5), (2, 2)),
        "big-endian": np.array([1, 2], ">f4"),
        "scalar": np.array(7, np.int64),
        "empty": np.zeros((0, 3), np.float16),
    }

    parsed = parse(write(tensors))

    for name, array in tensors.items():
        assert parsed[name].shape == array.shape
        assert np.array_equal(parsed[name], array)


def parse(content: bytes) -> dict[str, Any]:
    """Read a file with the package of the format's authors."""
    safetensors = pytest.importorskip("safetensors.numpy", reason="the format's own package reads our files")
    tensors: dict[str, Any] = safetensors.load(content)
    return tensors


@pytest.mark.parametrize(
    "dtype",
    ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64"],
)
def test_every_numpy_dtype_is_read_by_the_formats_own_package(dtype: str) -> None:
    """The names of dtypes are those of the format."""
    array = np.array([[0, 1], [1, 0]], dtype)

    tensor = parse(write({"x": array}))["x"]

    assert tensor.dtype == array.dtype
    assert np.array_equal(tensor, array)


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_every_extension_dtype_is_read_back_and_by_pytorch(name: str, tmp_path: pathlib.Path) -> None:
    """Dtypes that NumPy does not have keep their bytes."""
    torch = pytest.importorskip("torch", reason="the format's package supports these dtypes with PyTorch")
    load_file = pytest.importorskip("safetensors.torch", reason="the format's own package").load_file
    array = np.array([0.5, -1.5, 2.0], getattr(ml_dtypes, name))
    path = tmp_path / "x.safetensors"
    path.write_bytes(write({"x": array}))

    ours, theirs = read(path).tensors["x"], load_file(path)["x"]

    assert ours.dtype == array.dtype
    assert ours.tobytes() == array.tobytes()
    assert theirs.dtype == getattr(torch, name)
    assert theirs.float().tolist() == [0.5, -1.5, 2.0]


def test_dtype_that_the_format_does_not_support_is_refused() -> None:
    """Complex numbers cannot be written; their parts can."""
    array = np.array([1 + 2j])

    with pytest.raises(ExportError, match=r"complex128.* x"):
        write({"x": array})
    assert write({"x": array.real})


def test_converted_network_is_read_by_the_formats_own_package(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Every tensor of the digits network is read back equal, with config and provenance as JSON strings."""
    safe_open = pytest.importorskip("safetensors", reason="the format's own package reads our files").safe_open
    result = convert(digits)
    path = tmp_path / "digits.safetensors"

    export(result, path, proof="none")

    with safe_open(path, "numpy") as file:
        assert set(file.keys()) == set(result.state_dict)
        assert all(np.array_equal(file.get_tensor(name), array) for name, array in result.state_dict.items())
        metadata = file.metadata()
    assert metadata["format"] == "pt"
    assert json.loads(metadata[CONFIG_KEY]) == json.loads(json.dumps(result.config.to_dict()))
    provenance = json.loads(metadata[PROVENANCE_KEY])
    assert provenance["files"][0]["sha256"] == "9a81cd5e1576ccdb9e098f59017abb1c134d3638b652c1d11db8aee62af44d26"
    assert provenance["weights"]["choice"] == "ema"
    assert provenance["rules"]["version"] == "1"


def test_file_is_read_as_views_of_its_memory_map(tmp_path: pathlib.Path) -> None:
    """Reading copies nothing; tensors and metadata are those that were written."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(write({"x": np.arange(4, dtype=np.float32).reshape(2, 2)}, {"k": "v"}))

    tensors, metadata = read(path)

    assert tensors["x"].tolist() == [[0, 1], [2, 3]]
    assert not tensors["x"].flags.owndata
    assert not tensors["x"].flags.writeable
    assert metadata == {"k": "v"}


SOUND = file_of({"x": entry("U8", [2], 0, 2)}, b"ab")


@pytest.mark.parametrize(
    ("content", "tensor"),
    [
        (b"", None),
        (SOUND[:7], None),
        (SOUND[:20], None),
        (file_of({"x": entry("U8", [2], 0, 2)}, b"a"), "x"),
        (file_of({"x": entry("U8", [2], 0, 2)}, b"abc"), None),
        (file_of({"x": entry("U8", [3], 0, 2)}, b"ab"), "x"),
        (file_of({"x": entry("U9", [2], 0, 2)}, b"ab"), "x"),
        (file_of({"x": entry("U8", [-1, -2], 0, 2)}, b"ab"), "x"),
        (file_of({"x": entry("U8", [2], 2, 0)}, b"ab"), "x"),
        (file_of({"x": entry("U8", [2], 1, 3)}, b"abc"), "x"),
        (file_of({"x": entry("U8", [2], 0, 2), "y": entry("U8", [2], 1, 3)}, b"abc"), "y"),
        (file_of({"x": entry("U8", [2**40, 2**40], 0, 2)}, b"ab"), "x"),
        (file_of({"x": entry("U8", [1] * 65, 0, 1)}, b"a"), "x"),
        (file_of({"x": entry("U8", [9] * 1_500_000, 0, 1)}, b"a"), "x"),
        (file_of({"x": entry("U8", [True], 0, 1)}, b"a"), "x"),
        (file_of({"x": entry("U8", [0, 2**70], 0, 0)}, b""), "x"),
        (file_of({"x": entry("U8", [0, 2**62, 2**62], 0, 0)}, b""), "x"),
        (file_of(b'{"x": [' + b"[]," * 1_000_000 + b"[]]}", b""), None),
        (file_of({"x": 3}, b"ab"), "x"),
        (file_of({"__metadata__": {"k": 1}}, b""), None),
        (file_of(b"[]", b""), None),
        (file_of(b"{", b""), None),
        (file_of(b"[" * 100_000, b""), None),
        ((2**63).to_bytes(8, "little") + b"{}", None),
        (b"PK\x03\x04 a zip file, for example", None),
    ],
)
def test_reader_rejects_false_claims(content: bytes, tensor: str | None, tmp_path: pathlib.Path) -> None:
    """Each claim of a header is compared with the file; a sound file is read."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(SOUND)
    assert read(path).tensors["x"].tolist() == [97, 98]
    path.write_bytes(content)

    with pytest.raises(CorruptionError) as caught:
        read(path)

    assert (caught.value.path, caught.value.tensor) == (str(path), tensor)


def test_error_about_a_truncated_header_has_the_numbers_of_bytes(tmp_path: pathlib.Path) -> None:
    """`needed` is the end of the header, `available` the size of the file."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(SOUND[:20])

    with pytest.raises(TruncatedError) as caught:
        read(path)

    assert (caught.value.needed, caught.value.available) == (len(SOUND) - 2, 20)


def test_missing_file_is_not_found(tmp_path: pathlib.Path) -> None:
    """A missing file is not a corrupt file, and neither is a folder."""
    for path in (tmp_path / "x.safetensors", tmp_path):
        with pytest.raises(CheckpointNotFoundError) as caught:
            read(path)
        assert caught.value.path == str(path)
