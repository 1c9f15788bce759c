"""More files than descriptors: shards are opened again when they are needed, and a shortage is no finding."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import resource
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tfckpt
from tests import builders
from tests.builders import Bundle
from tests.tfckpt.v1.v1_files import V1File
from tfckpt.storage import open_files
from tfckpt.storage.local import LocalStorage, MappedFile, ReadFile
from tfckpt.writing.export import export

FOLDER = pathlib.Path("/proc/self/fd")
SHARDS = 300


@contextlib.contextmanager
def descriptors_limited(free: int) -> Iterator[None]:
    """Let the process open at most so many more files, or fewer if its limit cannot be raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir(FOLDER))
    wanted = used + 1 + free
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(params=[True, False], ids=["mapped", "read"])
def mmap(request: pytest.FixtureRequest) -> bool:
    """True for mapped files, False for files that are read."""
    return bool(request.param)


@pytest.fixture
def many_shards(tmp_path: pathlib.Path) -> pathlib.Path:
    """A bundle with one tensor in each of 300 shards, each of which holds its number."""
    bundle = Bundle(num_shards=SHARDS)
    for number in range(SHARDS):
        bundle.add(f"w{number:03d}", builders.FLOAT, [4], np.full(4, number, "<f4").tobytes(), shard_id=number)
    return bundle.write(tmp_path)


needs_proc = pytest.mark.skipif(not FOLDER.is_dir(), reason="open descriptors are counted in /proc")


@needs_proc
def test_many_shards_need_few_descriptors(many_shards: pathlib.Path, mmap: bool) -> None:
    """All arrays are kept, in any order of reading, and each has the values of its shard."""
    with descriptors_limited(100), tfckpt.open(many_shards, mmap=mmap) as checkpoint:
        before = len(os.listdir(FOLDER))
        arrays = dict(checkpoint.read_many(threads=4))
        arrays |= {name: checkpoint[name] for name in reversed(list(checkpoint))}

        assert [arrays[f"w{number:03d}"][0] for number in range(SHARDS)] == list(range(SHARDS))
        assert len(os.listdir(FOLDER)) <= before + 65
        assert tfckpt.verify(checkpoint).ok


@needs_proc
def test_many_shards_are_copied_and_exported_with_few_descriptors(
    many_shards: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """The commands that read everything."""
    with descriptors_limited(120):
        with tfckpt.open(many_shards) as checkpoint:
            export(checkpoint, tmp_path / "all.npz")
            tfckpt.copy(checkpoint, tmp_path / "copy")
        with tfckpt.open(tmp_path / "copy") as checkpoint:
            assert checkpoint["w299"][0] == 299


@needs_proc
def test_v1_shards_need_few_descriptors(tmp_path: pathlib.Path, mmap: bool) -> None:
    """The tables of a V1 checkpoint are all open at once, but not their descriptors."""
    for number in range(150):
        file = V1File().add(b"w%03d" % number, builders.FLOAT, [1], [float(number)])
        file.write(tmp_path / f"model-{number:05d}-of-00150")
    prefix = tmp_path / "model-?????-of-00150"
    with descriptors_limited(90), tfckpt.open(prefix, mmap=mmap) as checkpoint:
        assert [checkpoint[name][0] for name in checkpoint] == list(range(150))


@needs_proc
def test_shortage_of_descriptors_is_an_error_of_its_own_and_no_finding(many_shards: pathlib.Path) -> None:
    """`verify` stops instead of calling every shard damaged; with descriptors again, all is well."""
    with tfckpt.open(many_shards) as checkpoint:
        checkpoint["w000"]
        open_files._release_all()
        with descriptors_limited(0):
            fillers = [os.open(os.devnull, os.O_RDONLY) for _ in range(_free_descriptors())]
            try:
                with pytest.raises(tfckpt.ResourceError) as caught:
                    tfckpt.verify(checkpoint)
                with pytest.raises(tfckpt.ResourceError):
                    LocalStorage().list(str(many_shards.parent))
            finally:
                for filler in fillers:
                    os.close(filler)
        assert isinstance(caught.value, tfckpt.StorageError)
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.EMFILE
        assert tfckpt.verify(checkpoint).ok


def _free_descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft - len(os.listdir(FOLDER)) + 1  # one is the listing's own


def test_descriptors_kept_for_later_are_given_up_first(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another checkpoint's shards do not stand in the way."""
    (tmp_path / "data").write_bytes(b"0123456789")
    first = LocalStorage().open(str(tmp_path / "data"))
    attempts = []

    def action() -> int:
        attempts.append(first._file.is_open)  # type: ignore[attr-defined]  # the state that is tested
        if len(attempts) == 1:
            raise OSError(errno.EMFILE, "too many")
        return 7

    assert open_files.retry_with_fewer_files(action, "x") == 7
    assert attempts == [True, False]
    assert bytes(first.read(2, 3)) == b"234"


@pytest.mark.parametrize("kind", [MappedFile, ReadFile])
def test_file_replaced_while_its_descriptor_was_closed_never_mixes(tmp_path: pathlib.Path, kind: type[Any]) -> None:
    """A map still has the old bytes; a file that is read is an error, not the bytes of another file."""
    path = tmp_path / "data"
    path.write_bytes(b"old " * 1000)
    source = LocalStorage(mmap=kind is MappedFile).open(str(path))
    open_files._release_all()
    (tmp_path / "new").write_bytes(b"new " * 1000)
    os.replace(tmp_path / "new", path)

    if kind is MappedFile:
        assert bytes(source.read(0, 4)) == b"old "
    else:
        with pytest.raises(tfckpt.StorageError) as caught:
            source.read(0, 4)
        assert caught.value.path == str(path)


def test_file_truncated_while_its_descriptor_was_closed_is_noticed(tmp_path: pathlib.Path, mmap: bool) -> None:
    """The size is compared with the file at the path, if it is still the same one."""
    (tmp_path / "data").write_bytes(b"x" * 20_000)
    source = LocalStorage(mmap=mmap).open(str(tmp_path / "data"))
    open_files._release_all()
    os.truncate(tmp_path / "data", 100)

    with pytest.raises(tfckpt.TruncatedError) as caught:
        source.read(0, 20_000)

    assert caught.value.available == 100


def test_file_that_cannot_be_mapped_is_read(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory is limited, or on a file system without maps."""
    (tmp_path / "data").write_bytes(b"0123456789")

    def refuse(descriptor: int, size: int) -> memoryview:
        raise OSError(errno.ENOMEM, "no memory")

    monkeypatch.setattr("tfckpt.storage.local.map_privately", refuse)
    source = LocalStorage().open(str(tmp_path / "data"))

    assert isinstance(source, ReadFile)
    assert bytes(source.read(2, 3)) == b"234"
