"""Plain PyTorch state dicts."""

from __future__ import annotations

import dataclasses
import io
import os
import pathlib
import pickle
import zipfile
from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest

from converter.conversion import ConversionResult
from converter.errors import ExportError
from converter.exporting import export, prepare
from converter.formats.files import read_output
from converter.formats.pth import MAX_PICKLE_BYTES, write
from tfckpt.errors import CheckpointNotFoundError, CorruptionError, MissingDependencyError

torch = pytest.importorskip("torch", reason="these files are PyTorch's")


def test_state_dict_loads_with_weights_only_and_strictly(result: ConversionResult, tmp_path: pathlib.Path) -> None:
    """The file has only tensors, under exactly the keys of the module."""
    from converter.model import EfficientNet

    path = tmp_path / "digits.pth"

    export(result, path, proof="none")

    state_dict = torch.load(path, weights_only=True)
    assert all(torch.equal(state_dict[name], torch.tensor(array)) for name, array in result.state_dict.items())
    assert state_dict["stem.bn.num_batches_tracked"].dtype == torch.int64
    EfficientNet(result.config).load_state_dict(state_dict, strict=True)


def test_tensors_are_contiguous(result: ConversionResult, tmp_path: pathlib.Path) -> None:
    """Views of the checkpoint become separate tensors in the file."""
    export(result, tmp_path / "digits.pth", proof="none")

    assert all(tensor.is_contiguous() for tensor in torch.load(tmp_path / "digits.pth", weights_only=True).values())


def test_state_dict_is_read_back(result: ConversionResult, tmp_path: pathlib.Path) -> None:
    """Our reader returns the written arrays and no metadata."""
    export(result, tmp_path / "digits.pth", proof="none")

    tensors, metadata = read_output(tmp_path / "digits.pth")

    assert all(np.array_equal(tensors[name], array) for name, array in result.state_dict.items())
    assert metadata == {}


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float16", "float64", "int8"])
def test_dtypes_keep_their_bytes(name: str, result: ConversionResult, tmp_path: pathlib.Path) -> None:
    """Each dtype becomes PyTorch's dtype of the same name, and is read back."""
    array = np.array([[1, -2], [3, 0]], getattr(ml_dtypes, name, name))
    one = dataclasses.replace(result, state_dict={"x": array.T})

    export(one, tmp_path / "x.pth", proof="none")

    assert torch.load(tmp_path / "x.pth", weights_only=True)["x"].dtype == getattr(torch, name)
    found = read_output(tmp_path / "x.pth").tensors["x"]
    assert found.dtype == array.dtype
    assert found.tobytes() == array.T.tobytes()


def test_dtype_that_pytorch_does_not_support_is_refused(result: ConversionResult, tmp_path: pathlib.Path) -> None:
    """The error names dtype and tensor, and no file is left."""
    unsupported = dataclasses.replace(result, state_dict={"x": np.ones(2, ml_dtypes.float8_e3m4)})

    with pytest.raises(ExportError, match=r"float8_e3m4.* x"):
        export(unsupported, tmp_path / "x.pth", proof="none")

    assert os.listdir(tmp_path) == []


class FullDisk(io.RawIOBase):
    """A file on a disk that is full after a number of writes."""

    def __init__(self, writes: int) -> None:
        self._writes = writes

    def writable(self) -> bool:
        """Return True, as for a file that is open for writing."""
        return True

    def write(self, data: object) -> int:
        """Raise `OSError` when no writes are left."""
        self._writes -= 1
        if self._writes < 0:
            raise OSError(28, "No space left on device")
        return memoryview(data).nbytes  # type: ignore[arg-type]  # a buffer, as RawIOBase promises


@pytest.mark.parametrize("writes", [0, 1, 50])
def test_full_disk_is_reported_as_such(writes: int, result: ConversionResult) -> None:
    """PyTorch's writer hides the reason of a failed write; ours raises the original error."""
    with pytest.raises(OSError, match="No space left on device"):
        write(prepare(result), io.BufferedWriter(FullDisk(writes), buffer_size=1))


def test_missing_torch_names_the_extra(
    result: ConversionResult, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without PyTorch the error has the command that installs it, and no file is left."""
    monkeypatch.setitem(__import__("sys").modules, "torch", None)

    with pytest.raises(MissingDependencyError, match=r"pip install 'tfckpt\[torch\]'"):
        export(result, tmp_path / "x.pth", proof="none")

    assert os.listdir(tmp_path) == []


def test_reader_rejects_files_that_are_not_plain_state_dicts(tmp_path: pathlib.Path) -> None:
    """Garbage, other objects and code are refused; a dictionary of tensors is read."""
    path = tmp_path / "x.pth"
    torch.save({"x": torch.ones(2)}, path)
    assert read_output(path).tensors["x"].tolist() == [1, 1]

    for content in (b"", b"garbage", pickle.dumps(print, protocol=2)):
        path.write_bytes(content)
        with pytest.raises(CorruptionError) as caught:
            read_output(path)
        assert caught.value.path == str(path)
    torch.save({"x": 3}, path)
    with pytest.raises(CorruptionError):
        read_output(path)
    with pytest.raises(CheckpointNotFoundError):
        read_output(tmp_path / "y.pth")


@pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch warns that some kinds of tensors are experimental
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.empty(2, device="meta"),
        lambda: torch.eye(2).to_sparse(),
        lambda: torch.ones(2, dtype=torch.complex64).conj(),
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(1)]),
        lambda: torch.ones(2, dtype=torch.complex32),
    ],
    ids=["no data", "sparse", "conjugate", "nested", "a dtype of PyTorch's own"],
)
def test_reader_rejects_tensors_that_cannot_be_arrays(make: Callable[[], object], tmp_path: pathlib.Path) -> None:
    """Loading with weights_only=True accepts all of them."""
    torch.save({"x": make()}, tmp_path / "x.pth")

    with pytest.raises(CorruptionError) as caught:
        read_output(tmp_path / "x.pth")
    assert caught.value.tensor == "x"


def test_reader_rejects_names_that_are_not_strings(tmp_path: pathlib.Path) -> None:
    """The number 1 and the string 1 would be the same name."""
    torch.save({1: torch.ones(2), "1": torch.zeros(2)}, tmp_path / "x.pth")

    with pytest.raises(CorruptionError):
        read_output(tmp_path / "x.pth")


def test_reader_rejects_tensors_that_are_larger_than_the_file(tmp_path: pathlib.Path) -> None:
    """A view can repeat four bytes a billion times, and records of a zip archive can share bytes."""
    path = tmp_path / "x.pth"
    torch.save({"x": torch.ones(1).expand(1 << 30, 1 << 10)}, path)
    with pytest.raises(CorruptionError, match="4398046511104"):
        read_output(path)

    torch.save({"x": torch.ones(10_000)}, path)
    with zipfile.ZipFile(path) as archive:
        records = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in records.items():
            archive.writestr(name, data)
    with pytest.raises(CorruptionError):
        read_output(path)

    with zipfile.ZipFile(path, "w") as archive:
        for name, data in records.items():
            archive.writestr(name, data)
    assert read_output(path).tensors["x"].tolist() == [1] * 10_000
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in records.items():
            archive.writestr(name, data + bytes(MAX_PICKLE_BYTES) if name.endswith("data.pkl") else data)
    with pytest.raises(CorruptionError):
        read_output(path)


def test_weights_of_old_pytorch_are_read(tmp_path: pathlib.Path) -> None:
    """Before 1.6 files were not zip archives."""
    torch.save({"x": torch.ones(2)}, tmp_path / "x.pth", _use_new_zipfile_serialization=False)

    assert read_output(tmp_path / "x.pth").tensors["x"].tolist() == [1, 1]


@pytest.mark.parametrize("name", ["x.bin", "x.safetensors.gz"])
def test_unknown_ending_is_refused_with_the_known_ones(
    name: str, result: ConversionResult, tmp_path: pathlib.Path
) -> None:
    """The ending determines the format, and there is no default."""
    with pytest.raises(ExportError, match=r"\.safetensors, \.pth or \.npz"):
        export(result, tmp_path / name, proof="none")
