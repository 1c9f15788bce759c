"""Object storage, and every other address that fsspec can write, as a sink.

`with fs.open(path, "wb")` would publish the beginning of an object if its body raises.
So uploads to S3 and Google Cloud Storage are committed explicitly, and other files are uploaded when they are complete.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import functools
import io
import os
import posixpath
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

from ..errors import CheckpointExistsError
from ..files.atomic import TEMPORARY_MARK, writing
from ..storage.remote.filesystems import FileSystem, find_version, quote_name
from .contract import Stored
from .local import check_size

#: Size of the parts of an upload in bytes, about three of which are in memory.
PART_BYTES = 16 << 20
#: S3 takes at most 10,000 parts; those of an object of more than 140 GiB are larger.
_MOST_PARTS = 9_000
_COPY_BYTES = 8 << 20
#: Where folders are a common beginning of names; removing one would mean removing a bucket.
_WITHOUT_FOLDERS = ("s3://", "s3a://", "gs://", "gcs://")


class ObjectSink:
    """Objects by plain address: without user information, query and fragment."""

    is_remote = True

    def __init__(self, address: str) -> None:
        """Create the file system of an address; raise `MissingDependencyError` if a package for it is missing."""
        self._system = FileSystem(address, writes=True)
        self._has_folders = self._system.parts.scheme not in _WITHOUT_FOLDERS

    def create(self, path: str, *, size: int = 0) -> PendingObject:
        """Begin a file."""
        protocol = self._system.parts.scheme.removesuffix("://")
        return _PENDING.get(protocol, _Spooled)(self._system, path, size)

    def put(self, path: str, data: bytes) -> None:
        """Write a small object: in one request where that is whole or not at all."""
        if self._has_folders:
            with self.create(path) as pending:
                pending.file.write(data)
                pending.commit()
            return
        with self._system.translate(path):
            self._system.files.pipe_file(self._system.path(path), data)

    def check_free(self, path: str, *, overwrite: bool) -> None:
        """Raise `CheckpointExistsError` if the object exists, unless `overwrite`."""
        if not overwrite and self.stat(path) is not None:
            raise CheckpointExistsError("object exists; use --force (overwrite=True) to overwrite it", path=path)

    def make_folder(self, folder: str) -> None:
        """Create a folder in file systems that have folders."""
        if self._has_folders:
            with self._system.translate(folder):
                self._system.files.makedirs(self._system.path(folder), exist_ok=True)

    def remove_folder(self, folder: str) -> None:
        """Remove an empty folder in file systems that have folders."""
        if self._has_folders:
            with contextlib.suppress(Exception):  # it may not be empty
                self._system.files.rmdir(self._system.path(folder))

    def stat(self, path: str) -> Stored | None:
        """Describe an object; None if it does not exist or is a folder."""
        with self._system.translate(path):
            try:
                info = self._system.files.info(self._system.path(path))
            except FileNotFoundError:
                return None
            return None if info.get("type") == "directory" else Stored(path, int(info["size"]), find_version(info))

    def read(self, path: str, most: int) -> bytes | None:
        """Return the content of a small object."""
        with self._system.translate(path):
            try:
                data: bytes = self._system.files.cat_file(self._system.path(path), start=0, end=most + 1)
            except FileNotFoundError:
                return None
        return check_size(data, most, path)

    def iterate_bytes(self, path: str, piece_bytes: int) -> Iterator[bytes]:
        """Yield the content of an object in pieces."""
        stored = self.stat(path)
        for start in range(0, 0 if stored is None else stored.size, piece_bytes):
            with self._system.translate(path):
                data: bytes = self._system.files.cat_file(self._system.path(path), start=start, end=start + piece_bytes)
            yield data

    def iterate_files(self, folder: str) -> Iterator[Stored]:
        """Yield the objects below an address."""
        base = self._system.path(folder).rstrip("/") + "/"
        with self._system.translate(folder):
            try:
                found = self._system.files.find(base, detail=True)
            except FileNotFoundError:
                return
        for path, info in found.items():
            if path.startswith(base):
                yield Stored(
                    f"{folder.rstrip('/')}/{quote_name(path[len(base) :])}", int(info["size"]), find_version(info)
                )

    def iterate_uploads(self, folder: str) -> Iterator[UnfinishedUpload]:
        """Yield the unfinished uploads below an address; only S3 lists them, others remove them after some days."""
        files = self._system.files
        if not hasattr(files, "list_multipart_uploads"):
            return
        bucket, _, key = f"{self._system.path(folder).rstrip('/')}/".partition("/")
        with self._system.translate(folder):
            uploads = files.list_multipart_uploads(bucket)
        for upload in uploads or ():
            if upload["Key"].startswith(key):
                wanted = {"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
                yield UnfinishedUpload(
                    f"{folder.rstrip('/')}/{upload['Key'][len(key) :]}",
                    upload["Initiated"].timestamp() if "Initiated" in upload else None,
                    functools.partial(files.call_s3, "abort_multipart_upload", **wanted),
                )

    def remove(self, path: str) -> None:
        """Remove an object."""
        with self._system.translate(path), contextlib.suppress(FileNotFoundError):
            self._system.files.rm_file(self._system.path(path))

    def join(self, folder: str, name: str) -> str:
        """Return the address of a name below an address."""
        return f"{folder.rstrip('/')}/{name}"

    def split(self, path: str) -> tuple[str, str]:
        """Split an address into its folder and its last name."""
        return posixpath.split(path)


@dataclasses.dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """An upload in parts that was neither completed nor aborted; `begun` is in seconds since 1970."""

    path: str
    begun: float | None
    abort: Callable[[], object]


class PendingObject(abc.ABC):
    """A file that appears at an address when it is committed."""

    def __init__(self, system: FileSystem, path: str, size: int) -> None:
        self.path = path
        self._size = size
        self._system = system
        self._is_pending = True
        self.file: BinaryIO = self._open()

    def sync(self) -> None:  # noqa: B027  # nothing to do for most
        """Finish writing; the file can still be discarded."""

    def commit(self) -> None:
        """Make the file visible."""
        self.sync()
        with self._system.translate(self.path):
            self._publish()
        self._is_pending = False

    def discard(self) -> None:
        """Remove the file, unless it was committed."""
        if self._is_pending:
            self._is_pending = False
            with contextlib.suppress(Exception):  # there may be nothing to remove
                self._drop()

    def __enter__(self) -> PendingObject:
        return self

    def __exit__(self, *error: object) -> None:
        self.discard()

    @abc.abstractmethod
    def _open(self) -> BinaryIO: ...

    @abc.abstractmethod
    def _publish(self) -> None: ...

    @abc.abstractmethod
    def _drop(self) -> None: ...


class _Upload(PendingObject):
    """An upload in parts, which the store joins to an object when it is committed."""

    def _open(self) -> BinaryIO:
        with self._system.translate(self.path):
            self._upload: Any = self._system.files.open(
                self._system.path(self.path),
                "wb",
                block_size=max(PART_BYTES, self._size // _MOST_PARTS),
                autocommit=False,
            )
        return cast(BinaryIO, self._upload)

    def sync(self) -> None:
        """Upload everything that was written."""
        with self._system.translate(self.path):
            if not self._upload.closed:
                self._upload.close()

    def _publish(self) -> None:
        self._upload.commit()

    def _drop(self) -> None:
        try:
            self._upload.discard()
        finally:
            self._upload.closed = True  # closing it later would finish the upload


class _Spooled(PendingObject):
    """A temporary local file, which is uploaded when it is committed: under another name first, and then renamed."""

    def _open(self) -> BinaryIO:
        # It has no name on the disk, so a killed process leaves nothing.
        self._temporary = f"{self.path}{TEMPORARY_MARK}{os.urandom(8).hex()}"
        with writing(tempfile.gettempdir()):
            return cast(BinaryIO, tempfile.TemporaryFile(prefix="tfckpt-"))

    def _publish(self) -> None:
        self.file.seek(0)
        target, temporary = self._system.path(self.path), self._system.path(self._temporary)
        with self._system.files.open(temporary, "wb") as copy:
            shutil.copyfileobj(self.file, copy, _COPY_BYTES)
        self._system.files.mv(temporary, target)
        self.file.close()

    def _drop(self) -> None:
        self.file.close()
        self._system.files.rm_file(self._system.path(self._temporary))


class _Buffered(PendingObject):
    """Bytes in memory, for the file system in memory."""

    def _open(self) -> BinaryIO:
        return io.BytesIO()

    def _publish(self) -> None:
        self._system.files.pipe_file(self._system.path(self.path), cast(io.BytesIO, self.file).getvalue())

    def _drop(self) -> None:
        self.file.close()


#: By protocol; all others are spooled, since their file systems may show the beginning of a file.
_PENDING: dict[str, type[PendingObject]] = {
    "s3": _Upload,
    "s3a": _Upload,
    "gs": _Upload,
    "gcs": _Upload,
    "memory": _Buffered,
}
