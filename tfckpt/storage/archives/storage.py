"""Checkpoints inside archives: tar, tar compressed with gzip, bzip2 or xz, and zip, told apart by content.

A path into an archive is the archive's path, an exclamation mark, and the member's name: `weights.tgz!model/ckpt`.

Members of a plain tar and stored members of a zip are read where they stand.
A compressed tar is unpacked once, in one pass, and a deflated member of a zip when it is opened;
both go to a temporary file that has no name, which the system removes when its last user ends, however it ends.
Nothing is ever written under a name that the archive gives.

Members whose name leads out of the archive make it refused.
Links, devices and names that stand there twice are refused when they are asked for.
"""

from __future__ import annotations

import posixpath
import re
import tempfile
import threading
import zlib
from collections.abc import Callable

from ..._typing import ByteSource
from ...errors import CheckpointNotFoundError, CorruptionError, StorageError, error_context
from ...limits import Limits
from ..base import SEPARATOR
from ..local import MappedFile, ReadFile
from ..memory import TreeStorage, WindowSource
from . import tar, zip
from .compression import Allowance, Unpacker
from .kinds import archive_kind

#: What Linux allows a path to be; folders are searched level by level, so that far longer names would cost time.
_LONGEST_NAME = 4096
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


class ArchiveStorage(TreeStorage):
    """The members of one archive, as files below `ARCHIVE!`."""

    def __init__(self, source: ByteSource, limits: Limits, *, address: str = "", mmap: bool = True) -> None:
        """Read what members there are, after unpacking a compressed tar; `source` is closed with the storage.

        `address` is what `tfckpt.open` takes for the archive in any process.

        `CheckpointNotFoundError` for compressed data that is no tar archive, `CorruptionError` for a damaged archive.
        """
        self._source = source
        self._address = address or source.name
        self._kind = MappedFile if mmap else ReadFile
        self._allowance = Allowance(source.size, limits)
        self._lock = threading.Lock()
        self._unpacked: dict[str, ByteSource] = {}
        self._openers: dict[str, Callable[[str], ByteSource]] = {}
        self._reasons: dict[str, str] = {}
        with error_context(path=source.name):
            kind = archive_kind(source)
            if kind is None:
                raise CheckpointNotFoundError(
                    "this is no archive (tar, plain or packed with gzip, bzip2 or xz, or zip), "
                    "so there is nothing inside it"
                )
            if kind == "zip":
                for packed in zip.read_members(source, limits):
                    self._add_zip_member(packed)
            else:
                plain = source if kind == "tar" else self._unpack_tar(kind)
                for member in tar.read_members(plain, limits):
                    self._add_tar_member(plain, member)
        super().__init__(source.name + SEPARATOR, self._openers, self._reasons)

    @property
    def title(self) -> str:
        """The archive's path."""
        return self._source.name

    def address(self, path: str) -> str:
        """A path inside the archive, for any process."""
        return self._address + SEPARATOR + path.removeprefix(self.root)

    def close(self) -> None:
        """Let go of the archive and of what was unpacked; views that were handed out stay valid."""
        with self._lock:
            unpacked, self._unpacked = list(self._unpacked.values()), {}
        for source in (*unpacked, self._source):
            source.close()

    def _add(self, raw_name: str, opener: Callable[[str], ByteSource] | None, reason: str = "") -> None:
        name = _member_name(raw_name)
        if name in self._openers or name in self._reasons:
            self._openers.pop(name, None)
            self._reasons[name] = "the archive has two members of this name, and nobody knows which one is meant"
        elif opener is None:
            self._reasons[name] = f"this member is {reason}, which is not followed or read"
        else:
            self._openers[name] = opener

    def _add_tar_member(self, plain: ByteSource, member: tar.TarMember) -> None:
        if member.type == tar.FOLDER:
            _member_name(member.name)
        elif member.type in tar.REGULAR:
            self._add(member.name, lambda path: WindowSource(plain, member.offset, member.size, path))
        else:
            self._add(member.name, None, tar.OTHER_TYPES.get(member.type, f"of the unknown type {member.type!r}"))

    def _add_zip_member(self, member: zip.ZipMember) -> None:
        if member.is_folder:
            _member_name(member.name)
        elif member.is_link:
            self._add(member.name, None, "a symbolic link")
        elif not member.is_regular:
            self._add(member.name, None, "a device")
        elif member.is_encrypted:
            self._add(member.name, None, "encrypted")
        elif member.method not in (zip.STORED, zip.DEFLATED):
            self._add(member.name, None, f"packed with method {member.method} (0, stored, and 8, deflated, are known)")
        else:
            self._add(member.name, lambda path: self._open_zip_member(member, path))

    def _open_zip_member(self, member: zip.ZipMember, path: str) -> ByteSource:
        with error_context(path=path):
            offset, size = zip.contents(self._source, member)
            if member.method == zip.STORED:
                if member.size != size:
                    raise CorruptionError(f"stored member of {size} bytes claims {member.size} unpacked", offset=offset)
                return WindowSource(self._source, offset, size, path)
            with self._lock:
                source = self._unpacked.get(member.name)
                if source is None:
                    source = self._unpacked[member.name] = self._unpack_zip_member(member, offset, size, path)
            return WindowSource(source, 0, source.size, path)

    def _unpack_zip_member(self, member: zip.ZipMember, offset: int, size: int, path: str) -> ByteSource:
        crc32 = 0

        def check(piece: bytes, total: int) -> None:
            nonlocal crc32
            crc32 = zlib.crc32(piece, crc32)
            if total > member.size:
                raise CorruptionError(f"member unpacks to more than the {member.size} bytes it claims", offset=offset)

        unpacker = Unpacker(self._source, "deflate", self._allowance, offset=offset, size=size)
        source = self._unpack(unpacker, path, check)
        if source.size != member.size or crc32 != member.crc32:
            raise CorruptionError(
                f"member unpacks to {source.size} bytes with crc32 {crc32:#010x}, "
                f"the archive says {member.size} with {member.crc32:#010x}",
                offset=offset,
            )
        return source

    def _unpack_tar(self, kind: str) -> ByteSource:
        def check(piece: bytes, total: int) -> None:
            if total == len(piece) >= tar.BLOCK and not tar.is_tar(piece) and any(piece[: tar.BLOCK]):
                raise CheckpointNotFoundError(f"this is {kind} data that is no tar archive; unpack it first")

        source = self._unpack(Unpacker(self._source, kind, self._allowance), self._source.name, check)
        self._unpacked[""] = source
        return source

    def _unpack(self, unpacker: Unpacker, path: str, check: Callable[[bytes, int], None]) -> ByteSource:
        """All that comes out, in a temporary file without a name; `check` sees each piece and the total so far."""
        total = 0
        try:
            with tempfile.TemporaryFile(prefix="tfckpt-", buffering=0) as file:
                while piece := unpacker.piece():
                    total += len(piece)
                    check(piece, total)
                    _write(file, piece)
                return self._kind(file, path)
        except OSError as error:
            if isinstance(error, CheckpointNotFoundError | StorageError):
                raise
            raise StorageError(
                f"cannot unpack into the folder for temporary files, {tempfile.gettempdir()}: {error.strerror}; "
                "set the environment variable TMPDIR to a folder with more room",
                path=path,
            ) from error


def _write(file: object, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[file.write(view) :]  # type: ignore[attr-defined]  # an unbuffered file, which may write less


def _member_name(name: str) -> str:
    """The name in plain form; `CorruptionError` if it leads out of the archive."""
    parts = name.replace("\\", "/").split("/")
    if len(name) > _LONGEST_NAME:
        raise CorruptionError(f"the archive has a member whose name has {len(name)} characters")
    if ".." in parts or parts[0] == "" or "\0" in name or _DRIVE.match(name):
        raise CorruptionError(f"the archive has a member {name!r}, whose name leads out of it; it is not to be trusted")
    return posixpath.normpath(name)
