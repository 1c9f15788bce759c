"""Plain PyTorch state dicts."""

from __future__ import annotations

import dataclasses
import io
import os
import pathlib
import pickle

import ml_dtypes
import numpy as np
import pytest

from converter.conversion import ConversionResult, convert
from converter.errors import ExportError
from converter.exporters import export, prepare, read_output
from converter.exporters.pth import write
from tfckpt.errors import CheckpointNotFoundError, CorruptionError, MissingDependencyError

torch = pytest.importorskip("torch", reason="these files are PyTorch's")


@pytest.fixture(scope="module")
def result(request: pytest.FixtureRequest) -> ConversionResult:
    """The digits network, converted."""
    return convert(request.path.parents[2] / "data" / "digits" / "efficientnetv2-digits")


def test_state_dict_loads_with_weights_only_and_strictly(result: ConversionResult, tmp_path: pathlib.Path) -> None:
    """The file holds tensors and nothing else, under exactly the module's keys."""
    from converter.model import EfficientNet

    path = tmp_path / "digits.pth"

    export(result, path)

    state_dict = torch.load(path, weights_only=True)
    assert all(torch.equal(state_dict[name], torch.tensor(array)) for name, array in result.state_dict.items())
    assert state_dict["stem.bn.num_batches_tracked"].dtype == torch.int64
    EfficientNet(result.config).load_state_dict(state_dict, strict=True)


def test_tensors_are_contiguous(result: ConversionResult, tmp_path: pathlib.Path) -> None:
    """Views of the checkpoint become tensors of their own in the file."""
    export(result, tmp_path / "digits.pth")

    assert all(tensor.is_contiguous() for tensor in torch.load(tmp_path / "digits.pth", weights_only=True).values())


def test_state_dict_is_read_back(result: ConversionResult, tmp_path: pathlib.Path) -> None:
    """Our own reader gives the arrays that were written, and no metadata."""
    export(result, tmp_path / "digits.pth")

    tensors, metadata = read_output(tmp_path / "digits.pth")

    assert all(np.array_equal(tensors[name], array) for name, array in result.state_dict.items())
    assert metadata == {}


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float16", "float64", "int8"])
def test_dtypes_keep_their_bytes(name: str, result: ConversionResult, tmp_path: pathlib.Path) -> None:
    """Each type becomes PyTorch's of the same name and comes back."""
    array = np.array([[1, -2], [3, 0]], getattr(ml_dtypes, name, name))
    one = dataclasses.replace(result, state_dict={"x": array.T})

    export(one, tmp_path / "x.pth")

    assert torch.load(tmp_path / "x.pth", weights_only=True)["x"].dtype == getattr(torch, name)
    found = read_output(tmp_path / "x.pth").tensors["x"]
    assert found.dtype == array.dtype
    assert found.tobytes() == array.T.tobytes()


def test_dtype_that_pytorch_lacks_is_refused(result: ConversionResult, tmp_path: pathlib.Path) -> None:
    """The error names type and tensor, and no file is left."""
    odd = dataclasses.replace(result, state_dict={"x": np.ones(2, ml_dtypes.float8_e3m4)})

    with pytest.raises(ExportError, match="PyTorch has no dtype float8_e3m4, which tensor x has"):
        export(odd, tmp_path / "x.pth")

    assert os.listdir(tmp_path) == []


class FullDisk(io.RawIOBase):
    """A file that takes a number of writes and then no more."""

    def __init__(self, writes: int) -> None:
        self._writes = writes

    def writable(self) -> bool:
        """It says it can."""
        return True

    def write(self, data: object) -> int:
        """Fail like a full disk."""
        self._writes -= 1
        if self._writes < 0:
            raise OSError(28, "No space left on device")
        return memoryview(data).nbytes  # type: ignore[arg-type]  # a buffer, as RawIOBase promises


@pytest.mark.parametrize("writes", [0, 1, 50])
def test_full_disk_is_told_as_such(writes: int, result: ConversionResult) -> None:
    """PyTorch's writer hides the reason of a failed write; ours brings it back."""
    with pytest.raises(OSError, match="No space left on device"):
        write(prepare(result), io.BufferedWriter(FullDisk(writes), buffer_size=1))


def test_missing_torch_names_the_extra(
    result: ConversionResult, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without PyTorch the error says what to install, and no file is left."""
    monkeypatch.setitem(__import__("sys").modules, "torch", None)

    with pytest.raises(MissingDependencyError, match=r"pip install 'tfckpt\[torch\]'"):
        export(result, tmp_path / "x.pth")

    assert os.listdir(tmp_path) == []


def test_reader_rejects_what_is_no_plain_state_dict(tmp_path: pathlib.Path) -> None:
    """Garbage, other objects and code are refused; a dictionary of tensors is not."""
    path = tmp_path / "x.pth"
    torch.save({"x": torch.ones(2)}, path)
    assert read_output(path).tensors["x"].tolist() == [1, 1]

    for content in (b"", b"garbage", pickle.dumps(print, protocol=2)):
        path.write_bytes(content)
        with pytest.raises(CorruptionError, match=r"no state dict that torch\.load takes with weights_only=True"):
            read_output(path)
    torch.save({"x": 3}, path)
    with pytest.raises(CorruptionError, match="holds other things than tensors"):
        read_output(path)
    with pytest.raises(CheckpointNotFoundError):
        read_output(tmp_path / "y.pth")


@pytest.mark.parametrize("name", ["x.bin", "x.safetensors.gz"])
def test_unknown_ending_lists_the_known_ones(name: str, result: ConversionResult, tmp_path: pathlib.Path) -> None:
    """The format is chosen by the ending, and nothing is guessed."""
    with pytest.raises(ExportError, match=r"has to end in \.safetensors, \.pth or \.npz"):
        export(result, tmp_path / name)
