"""Arrays in the hands of programs that write to them: nothing crashes, nothing reaches the file, no read is wrong."""

from __future__ import annotations

import ctypes
import hashlib
import pathlib
import pickle
import tarfile
import zipfile
from typing import Any

import numpy as np
import pytest

import tfckpt
from tests import builders
from tests.builders import Bundle
from tests.tfckpt.v1.v1_files import V1File

VALUES = np.arange(40_000, dtype="<f4").reshape(200, 200)


def scribble(array: np.ndarray[Any, Any]) -> None:
    """Write to an array's memory whatever its flags say, as `torch.from_numpy(array).zero_()` does."""
    ctypes.memset(array.__array_interface__["data"][0], 0, array.nbytes)


def hashes(folder: pathlib.Path) -> dict[str, str]:
    """Return the SHA-256 of every file in a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """The folder of a bundle `model` with a matrix, bytes, booleans, a scalar and a partitioned vector."""
    bundle = Bundle().add("m", builders.FLOAT, [200, 200], VALUES.tobytes())
    bundle.add("u", builders.UINT8, [3], b"\1\2\3").add("step", builders.INT64, [], (7).to_bytes(8, "little"))
    halves: list[tuple[Any, bytes]] = [
        ([(0, 2)], np.array([1, 2], "<f4").tobytes()),
        ([(2, 2)], np.array([3, 4], "<f4").tobytes()),
    ]
    bundle.add_slices("p", builders.FLOAT, [4], halves)
    bundle.write(tmp_path)
    return tmp_path


def as_prefix(folder: pathlib.Path) -> pathlib.Path:
    """The bundle itself."""
    return folder / "model"


def as_tar(folder: pathlib.Path) -> pathlib.Path:
    """An archive that is read in place."""
    with tarfile.open(folder / "all.tar", "w") as archive:
        for path in sorted(folder.glob("model.*")):
            archive.add(path, path.name)
    return folder / "all.tar"


def as_zip(folder: pathlib.Path) -> pathlib.Path:
    """An archive whose members are unpacked to files without names."""
    with zipfile.ZipFile(folder / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.glob("model.*")):
            archive.write(path, path.name)
    return folder / "all.zip"


PLACES = pytest.mark.parametrize("place", [as_prefix, as_tar, as_zip], ids=["files", "tar", "zip"])


@PLACES
@pytest.mark.parametrize("mmap", [True, False], ids=["mapped", "read"])
def test_writing_to_a_read_only_array_changes_no_file_and_no_later_read(
    folder: pathlib.Path, place: Any, mmap: bool
) -> None:
    """The map is private, and a view that was written to is read again from the file."""
    path = place(folder)
    before = hashes(folder)

    with tfckpt.open(path, mmap=mmap) as checkpoint:
        for name in checkpoint:
            assert not checkpoint[name].flags.writeable
            scribble(checkpoint[name])

        assert np.array_equal(checkpoint["m"], VALUES)
        assert checkpoint["u"].tolist() == [1, 2, 3]
        assert checkpoint["step"] == 7
        assert checkpoint["p"].tolist() == [1, 2, 3, 4]
        assert checkpoint.read("m", index=3)[4] == 604
        assert tfckpt.verify(checkpoint).ok
    assert hashes(folder) == before


def test_copy_of_a_checkpoint_has_the_values_of_the_file(folder: pathlib.Path) -> None:
    """Payloads are copied as bytes, which are compared with their checksum too."""
    with tfckpt.open(folder / "model") as checkpoint:
        scribble(checkpoint["m"])
        tfckpt.copy(checkpoint, folder / "copy")

    with tfckpt.open(folder / "copy") as copied:
        assert np.array_equal(copied["m"], VALUES)


def test_damage_is_still_found(folder: pathlib.Path) -> None:
    """A file whose bytes differ from the checksum is an error on the second look as well."""
    shard = folder / "model.data-00000-of-00001"
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)

    with tfckpt.open(folder / "model") as checkpoint:
        for _ in range(2):
            with pytest.raises(tfckpt.ChecksumError):
                checkpoint["m"]


@PLACES
def test_writable_arrays_are_independent(folder: pathlib.Path, place: Any) -> None:
    """Changing one changes neither another, nor the next read with or without checksum, nor the file."""
    path = place(folder)
    before = hashes(folder)

    with tfckpt.open(path, writable=True) as checkpoint:
        first, other = checkpoint["m"], checkpoint["m"]
        first *= 2
        part = checkpoint.read("m", index=np.s_[::2, 3])
        part += 1
        for array in (first, part, checkpoint["step"], checkpoint["p"], dict(checkpoint.read_many())["u"]):
            assert array.flags.writeable
            assert array.flags.owndata

        assert np.array_equal(other, VALUES)
        assert np.array_equal(checkpoint["m"], VALUES)
        assert np.array_equal(checkpoint.read("m", verify=False), VALUES)
        assert tfckpt.verify(checkpoint).ok
        assert pickle.loads(pickle.dumps(checkpoint))["m"].flags.writeable
    assert hashes(folder) == before


def test_files_in_memory_are_writable_as_copies() -> None:
    """The bytes that were passed stay as they are."""
    bundle = Bundle().add("w", builders.FLOAT, [2], np.ones(2, "<f4").tobytes())
    files = {"model.index": bundle.index(), "model.data-00000-of-00001": bytes(bundle.shards[0])}

    with tfckpt.open(files, writable=True) as checkpoint:
        array = checkpoint["w"]
        array *= 3
        assert checkpoint["w"].tolist() == [1, 1]


def test_v1_arrays_are_writable_on_request(tmp_path: pathlib.Path) -> None:
    """The older format, whose arrays are copies in any case."""
    V1File().add(b"w", builders.FLOAT, [2], [1.0, 2.0]).write(tmp_path / "model.ckpt")

    with tfckpt.open(tmp_path / "model.ckpt") as checkpoint:
        assert not checkpoint["w"].flags.writeable
    with tfckpt.open(tmp_path / "model.ckpt", writable=True) as checkpoint:
        checkpoint["w"][0] = 5
        assert checkpoint["w"].tolist() == [1, 2]


@pytest.mark.parametrize("index", [None, np.s_[:, 3], np.s_[::2], np.s_[::-1, 5:9], np.s_[3, 4], np.s_[5:9]])
@pytest.mark.parametrize("verify", [True, False])
def test_every_array_is_in_c_order(folder: pathlib.Path, index: Any, verify: bool) -> None:
    """Writers that ignore strides are right with any part of a tensor."""
    with tfckpt.open(folder / "model") as checkpoint:
        array = checkpoint.read("m", index=index, verify=verify)

    assert array.flags.c_contiguous
    assert not array.flags.writeable
    assert np.array_equal(array, VALUES if index is None else VALUES[index])


def test_pytorch_can_change_what_it_gets(folder: pathlib.Path) -> None:
    """Each way into PyTorch that shares memory; the first two used to end the process."""
    torch = pytest.importorskip("torch")
    before = hashes(folder)
    with tfckpt.open(folder / "model") as checkpoint, pytest.warns(UserWarning, match="not writable"):
        torch.from_numpy(checkpoint["m"]).mul_(2)
        torch.as_tensor(checkpoint["m"]).mul_(2)
        module = torch.nn.Linear(200, 200, bias=False)
        module.load_state_dict({"weight": torch.from_numpy(checkpoint["m"])}, assign=True)
        optimizer = torch.optim.SGD(module.parameters(), lr=1)
        module(torch.ones(1, 200)).sum().backward()
        optimizer.step()

        assert np.array_equal(module.weight.detach().numpy(), VALUES - 1)
        assert np.array_equal(checkpoint["m"], VALUES)
    with tfckpt.open(folder / "model", writable=True) as checkpoint:
        tensor = torch.from_dlpack(checkpoint["m"])
        tensor.mul_(2)
        assert np.array_equal(tensor.numpy(), 2 * VALUES)
        assert np.array_equal(checkpoint["m"], VALUES)
    assert hashes(folder) == before
