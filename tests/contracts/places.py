"""The places a checkpoint can live in: each takes files by name and gives what `tfckpt.open` is to be given.

A place gets the files of one folder, by names relative to it, and a path inside it, empty for the folder itself.
"""

from __future__ import annotations

import contextlib
import io
import pathlib
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import fsspec

from .server import serving

Files = Mapping[str, bytes]
#: What to open, and keywords for `tfckpt.open`.
Opening = tuple[Any, dict[str, Any]]
Place = Callable[[pathlib.Path, Files, str], contextlib.AbstractContextManager[Opening]]


def write_folder(folder: pathlib.Path, files: Files) -> pathlib.Path:
    """The files in a folder of this machine."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def tar_of(files: Files, mode: str = "w", *, under: str = "", kind: int = tarfile.PAX_FORMAT) -> bytes:
    """The files as a tar archive, packed as `mode` says."""
    out = io.BytesIO()
    fast = {"w:gz": {"compresslevel": 1}, "w:xz": {"preset": 0}}.get(mode, {})
    with tarfile.open(fileobj=out, mode=mode, format=kind, **fast) as archive:  # type: ignore[call-overload]  # any mode
        for name, data in files.items():
            member = tarfile.TarInfo(under + name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def zip_of(files: Files, method: int = zipfile.ZIP_DEFLATED, *, under: str = "") -> bytes:
    """The files as a zip archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method, compresslevel=1) as archive:
        for name, data in files.items():
            archive.writestr(under + name, data)
    return out.getvalue()


@contextlib.contextmanager
def local(tmp_path: pathlib.Path, files: Files, inside: str) -> Iterator[Opening]:
    """Files of this machine, mapped."""
    yield write_folder(tmp_path / "here", files) / inside, {}


@contextlib.contextmanager
def read_local(tmp_path: pathlib.Path, files: Files, inside: str) -> Iterator[Opening]:
    """Files of this machine, read."""
    yield write_folder(tmp_path / "here", files) / inside, {"mmap": False}


@contextlib.contextmanager
def tar(tmp_path: pathlib.Path, files: Files, inside: str) -> Iterator[Opening]:
    """Members of a plain tar archive."""
    path = tmp_path / "files.tar"
    path.write_bytes(tar_of(files))
    yield f"{path}!{inside}" if inside else path, {}


@contextlib.contextmanager
def tgz(tmp_path: pathlib.Path, files: Files, inside: str) -> Iterator[Opening]:
    """Members of a tar archive packed with gzip, below a folder that holds them all."""
    path = tmp_path / "files.tgz"
    path.write_bytes(tar_of(files, "w:gz", under="all/of/it/"))
    yield f"{path}!all/of/it/{inside}" if inside else path, {}


@contextlib.contextmanager
def stored_zip(tmp_path: pathlib.Path, files: Files, inside: str) -> Iterator[Opening]:
    """Members of a zip archive that stand there as they are."""
    path = tmp_path / "files.zip"
    path.write_bytes(zip_of(files, zipfile.ZIP_STORED))
    yield f"{path}!{inside}" if inside else path, {}


@contextlib.contextmanager
def deflated_zip(tmp_path: pathlib.Path, files: Files, inside: str) -> Iterator[Opening]:
    """Deflated members of a zip archive, read and not mapped."""
    path = tmp_path / "files.zip"
    path.write_bytes(zip_of(files))
    yield f"{path}!{inside}" if inside else path, {"mmap": False}


@contextlib.contextmanager
def memory(tmp_path: pathlib.Path, files: Files, inside: str) -> Iterator[Opening]:
    """A mapping from names to bytes, of one checkpoint."""
    yield files, {}


@contextlib.contextmanager
def any_protocol(tmp_path: pathlib.Path, files: Files, inside: str) -> Iterator[Opening]:
    """A file system of fsspec."""
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
    """A web server."""
    with serving(files) as server:
        yield server.url + inside, {}


@contextlib.contextmanager
def http_archive(tmp_path: pathlib.Path, files: Files, inside: str) -> Iterator[Opening]:
    """An archive on a web server."""
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
#: Places without a listing, where folders and sets of shards are only known by the files that say so.
UNLISTED = ("http",)
