"""The places where a checkpoint can be stored.

A place is a context manager that takes the files of one folder by their relative names, and a path in it, empty for the
folder itself. It stores the files and yields the arguments for `tfckpt.open`.
"""

from __future__ import annotations

import contextlib
import functools
import io
import pathlib
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import fsspec

from .server import serving

Files = Mapping[str, bytes]
#: Path and keyword arguments for `tfckpt.open`.
Opening = tuple[Any, dict[str, Any]]
Place = Callable[[pathlib.Path, Files, str], contextlib.AbstractContextManager[Opening]]


def write_folder(folder: pathlib.Path, files: Files) -> pathlib.Path:
    """Write the files to a local folder and return it."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def tar_of(files: Files, mode: str = "w", *, under: str = "", kind: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar archive of the files, compressed according to `mode`; the last archives are kept."""
    return _pack_tar(tuple(files.items()), mode, under, kind)


@functools.lru_cache(maxsize=16)
def _pack_tar(files: tuple[tuple[str, bytes], ...], mode: str, under: str, kind: int) -> bytes:
    out = io.BytesIO()
    fast = {"w:gz": {"compresslevel": 1}, "w:xz": {"preset": 0}}.get(mode, {})
    with tarfile.open(fileobj=out, mode=mode, format=kind, **fast) as archive:  # type: ignore[call-overload]  # any mode
        for name, data in files:
            member = tarfile.TarInfo(under + name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def zip_of(files: Files, method: int = zipfile.ZIP_DEFLATED, *, under: str = "") -> bytes:
    """Return a zip archive of the files; the last archives are kept."""
    return _pack_zip(tuple(files.items()), method, under)


@functools.lru_cache(maxsize=16)
def _pack_zip(files: tuple[tuple[str, bytes], ...], method: int, under: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method, compresslevel=1) as archive:
        for name, data in files:
            archive.writestr(under + name, data)
    return out.getvalue()


@contextlib.contextmanager
def local(tmp_path: pathlib.Path, files: Files, inside: str) -> Iterator[Opening]:
    """Store the files locally, to be memory-mapped."""
    yield write_folder(tmp_path / "here", files) / inside, {}


@contextlib.contextmanager
def read_local(tmp_path: pathlib.Path, files: Files, inside: str) -> Iterator[Opening]:
    """Store the files locally, to be read without mmap."""
    yield write_folder(tmp_path / "here", files) / inside, {"mmap": False}


@contextlib.contextmanager
def tar(tmp_path: pathlib.Path, files: Files, inside: str) -> Iterator[Opening]:
    """Store the files in an uncompressed tar archive."""
    path = tmp_path / "files.tar"
    path.write_bytes(tar_of(files))
    yield f"{path}!{inside}" if inside else path, {}


@contextlib.contextmanager
def tgz(tmp_path: pathlib.Path, files: Files, inside: str) -> Iterator[Opening]:
    """Store the files in a subfolder of a tar archive compressed with gzip."""
    path = tmp_path / "files.tgz"
    path.write_bytes(tar_of(files, "w:gz", under="all/of/it/"))
    yield f"{path}!all/of/it/{inside}" if inside else path, {}


@contextlib.contextmanager
def stored_zip(tmp_path: pathlib.Path, files: Files, inside: str) -> Iterator[Opening]:
    """Store the files in a zip archive without compression."""
    path = tmp_path / "files.zip"
    path.write_bytes(zip_of(files, zipfile.ZIP_STORED))
    yield f"{path}!{inside}" if inside else path, {}


@contextlib.contextmanager
def deflated_zip(tmp_path: pathlib.Path, files: Files, inside: str) -> Iterator[Opening]:
    """Store the files in a compressed zip archive, to be read without mmap."""
    path = tmp_path / "files.zip"
    path.write_bytes(zip_of(files))
    yield f"{path}!{inside}" if inside else path, {"mmap": False}


@contextlib.contextmanager
def memory(tmp_path: pathlib.Path, files: Files, inside: str) -> Iterator[Opening]:
    """Keep the files in memory, as a mapping from names to bytes."""
    yield files, {}


@contextlib.contextmanager
def any_protocol(tmp_path: pathlib.Path, files: Files, inside: str) -> Iterator[Opening]:
    """Store the files in a file system of fsspec."""
    system = fsspec.filesystem("memory")
    root = f"/{tmp_path.name}"
    system.mkdirs(root, exist_ok=True)
    for name, data in files.items():
        system.pipe_file(f"{root}/{name}", data)
    try:
        yield f"memory:/{root}/{inside}", {}
    finally:
        system.rm(root, recursive=True)


@contextlib.contextmanager
def http(tmp_path: pathlib.Path, files: Files, inside: str) -> Iterator[Opening]:
    """Serve the files from a web server."""
    with serving(files) as server:
        yield server.url + inside, {}


@contextlib.contextmanager
def http_archive(tmp_path: pathlib.Path, files: Files, inside: str) -> Iterator[Opening]:
    """Serve an archive of the files from a web server."""
    with serving({"files.tgz": tar_of(files, "w:gz")}) as server:
        yield server.url + "files.tgz" + (f"!{inside}" if inside else ""), {}


PLACES: dict[str, Place] = {
    "local": local,
    "read": read_local,
    "tar": tar,
    "tgz": tgz,
    "zip-stored": stored_zip,
    "zip-deflated": deflated_zip,
    "memory": memory,
    "fsspec": any_protocol,
    "http": http,
    "http-archive": http_archive,
}
#: Places that cannot list folders, so that patterns of shards cannot be resolved.
UNLISTED = ("http",)
