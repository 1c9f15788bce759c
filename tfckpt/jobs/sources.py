"""The files of a source: their sizes and versions when a job is planned, and the check that they are still the same."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterable, Sequence

from ..addresses import split_address
from ..checkpoint import Checkpoint
from ..checkpoint import open as open_checkpoint
from ..errors import CheckpointNotFoundError, FileChangedError, StorageError
from ..limits import DEFAULT_LIMITS, Limits
from ..storage.base import PIECE_BYTES
from ..storage.local import LocalStorage
from ..storage.remote.filesystems import FileSystem, find_version
from ..storage.remote.storage import RemoteStorage
from ..storage.remote.transport import Facts
from .plan import SourceFile

_HASH_BYTES = 8 << 20


def describe_files(checkpoint: Checkpoint, paths: Sequence[str]) -> dict[str, SourceFile]:
    """Describe files of a checkpoint, by one listing of their folder if the storage is remote.

    Local paths become absolute, since tasks may run in other folders.

    Raises `CheckpointNotFoundError` if one does not exist.
    """
    storage = checkpoint.storage
    found: dict[str, SourceFile] = {}
    if isinstance(storage, LocalStorage):
        for path in paths:
            try:
                status = os.stat(path)
            except OSError:
                continue
            found[path] = SourceFile(os.path.abspath(path), status.st_size, str(status.st_mtime_ns))
    elif isinstance(storage, RemoteStorage):
        found = _describe_remote(storage, paths)
    else:
        raise StorageError("a job cannot read from an archive or from memory: unpack it first", path=checkpoint.prefix)
    for path in paths:
        if path not in found:
            raise CheckpointNotFoundError("file not found", path=path)
    return found


def _describe_remote(storage: RemoteStorage, paths: Sequence[str]) -> dict[str, SourceFile]:
    address = storage.address(paths[0])
    parts = split_address(address)
    if parts is None or parts.scheme in ("http://", "https://"):
        return {path: _from_facts(path, storage.facts(path)) for path in paths}
    system = FileSystem(address)
    names = {system.path(path): path for path in paths}
    found = {}
    for folder in dict.fromkeys(map(posixpath.dirname, names)):
        with system.translate(address):
            for info in system.files.ls(folder, detail=True):
                path = names.get(info["name"])
                if path is not None:
                    found[path] = SourceFile(path, int(info["size"]), find_version(info))
    return found


def _from_facts(path: str, facts: Facts) -> SourceFile:
    return SourceFile(path, facts.size, facts.version)


def hash_file(checkpoint: Checkpoint, path: str) -> str:
    """Return the SHA-256 of a file of the checkpoint."""
    source = checkpoint.storage.open(path)
    try:
        digest = hashlib.sha256()
        for offset in range(0, source.size, _HASH_BYTES):
            digest.update(source.read(offset, min(_HASH_BYTES, source.size - offset)))
        return digest.hexdigest()
    finally:
        source.close()


def open_source(
    address: str,
    expected: Iterable[SourceFile],
    *,
    limits: Limits = DEFAULT_LIMITS,
    piece_bytes: int = PIECE_BYTES,
) -> Checkpoint:
    """Open a checkpoint, and raise `FileChangedError` if a file is not what it was when the job was planned.

    Files of a remote storage are compared with the answers to the first requests for them, without extra requests.
    """
    checkpoint = open_checkpoint(address, limits=limits)
    try:
        storage = checkpoint.storage
        storage.piece_bytes = piece_bytes
        for file in expected:
            if isinstance(storage, RemoteStorage):
                storage.expect(file.path, Facts(file.size, file.version))
            else:
                check_unchanged(file, describe_files(checkpoint, [file.path])[file.path])
    except BaseException:
        checkpoint.close()
        raise
    return checkpoint


def check_unchanged(planned: SourceFile, current: SourceFile) -> None:
    """Raise `FileChangedError` if a file has another size or version than when the job was planned."""
    if planned != current:
        raise FileChangedError(
            f"changed since the job was planned: {planned.size} bytes, version {planned.version}; "
            f"now {current.size} bytes, version {current.version}; plan the job anew",
            path=planned.path,
        )
