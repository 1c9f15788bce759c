"""Checkpoints inside archives: tar, tar compressed with gzip, bzip2 or xz, and zip, recognised by content.

A path into an archive is the archive's path, an exclamation mark, and the member's name: `weights.tgz!model/ckpt`.

Members of a plain tar and stored members of a zip are read in place.
A compressed tar is decompressed once, in one pass, and a deflated member of a zip when it is opened.
Both go to a temporary file without a name, which the system removes with its last user, however that ends;
a named one would have to be removed at `close`, at exit and after a crash, but not by a forked child.
Nothing is ever written under a name from the archive.

An archive with a member whose name leads out of it is rejected.
Links, devices and duplicate names are rejected only when they are opened.
"""

from __future__ import annotations

import posixpath
import re
import tempfile
import zlib
from collections.abc import Callable

from ..._threads import Lock
from ..._typing import ByteSource
from ...errors import CheckpointNotFoundError, CorruptionError, StorageError, error_context
from ...limits import Limits
from ..base import SEPARATOR
from ..local import ReadFile, map_or_read
from ..memory import TreeStorage, WindowSource
from . import tar, zip
from .compression import Allowance, Unpacker
from .kinds import detect_archive

#: Linux's limit for a path. Folders are searched level by level, so much longer names would cost time.
_MAX_NAME_CHARACTERS = 4096
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


class ArchiveStorage(TreeStorage):
    """The members of one archive, as files below `ARCHIVE!`."""

    def __init__(self, source: ByteSource, limits: Limits, *, address: str = "", mmap: bool = True) -> None:
        """Read the list of members, after decompressing a compressed tar; `source` is closed with the storage.

        `address` is what `tfckpt.open` accepts for the archive in any process.

        Raises `CheckpointNotFoundError` for compressed data that is not a tar archive, and `CorruptionError` for a
        damaged archive.
        """
        self._source = source
        self._address = address or source.name
        self._open_unpacked = map_or_read if mmap else ReadFile
        self._allowance = Allowance(source.size, limits)
        self._lock = Lock()
        self._unpacked: dict[str, ByteSource] = {}
        self._openers: dict[str, Callable[[str], ByteSource]] = {}
        self._refusals: dict[str, str] = {}
        with error_context(path=source.name):
            kind = detect_archive(source)
            if kind is None:
                raise CheckpointNotFoundError(
                    "not an archive (zip, or tar, plain or compressed with gzip, bzip2 or xz)"
                )
            if kind == "zip":
                for packed in zip.read_members(source, limits):
                    self._add_zip_member(packed)
            else:
                plain = source if kind == "tar" else self._unpack_tar(kind)
                for member in tar.read_members(plain, limits):
                    self._add_tar_member(plain, member)
        super().__init__(source.name + SEPARATOR, self._openers, self._refusals)

    @property
    def title(self) -> str:
        """The archive's path."""
        return self._source.name

    def address(self, path: str) -> str:
        """Return the path inside the archive, with the archive's address, for any process."""
        return self._address + SEPARATOR + path.removeprefix(self.root)

    def close(self) -> None:
        """Release the archive and what was decompressed; views already returned stay valid."""
        with self._lock:
            unpacked, self._unpacked = list(self._unpacked.values()), {}
        for source in (*unpacked, self._source):
            source.close()

    def _add(self, raw_name: str, opener: Callable[[str], ByteSource] | None, reason: str = "") -> None:
        name = _normalize_name(raw_name)
        if name in self._openers or name in self._refusals:
            self._openers.pop(name, None)
            self._refusals[name] = "ambiguous: the archive has two members with this name"
        elif opener is None:
            self._refusals[name] = f"member is {reason}, which is not supported"
        else:
            self._openers[name] = opener

    def _add_tar_member(self, plain: ByteSource, member: tar.TarMember) -> None:
        if member.type == tar.FOLDER:
            _normalize_name(member.name)
        elif member.type in tar.REGULAR:
            self._add(member.name, lambda path: WindowSource(plain, member.offset, member.size, path))
        else:
            self._add(member.name, None, tar.OTHER_TYPES.get(member.type, f"of unknown type {member.type!r}"))

    def _add_zip_member(self, member: zip.ZipMember) -> None:
        if member.is_folder:
            _normalize_name(member.name)
        elif member.is_link:
            self._add(member.name, None, "a symbolic link")
        elif not member.is_regular:
            self._add(member.name, None, "a device")
        elif member.is_encrypted:
            self._add(member.name, None, "encrypted")
        elif member.method not in (zip.STORED, zip.DEFLATED):
            method = f"compressed with method {member.method} (only 0, stored, and 8, deflated, are known)"
            self._add(member.name, None, method)
        else:
            self._add(member.name, lambda path: self._open_zip_member(member, path))

    def _open_zip_member(self, member: zip.ZipMember, path: str) -> ByteSource:
        with error_context(path=path):
            offset, size = zip.find_contents(self._source, member)
            if member.method == zip.STORED:
                if member.size != size:
                    raise CorruptionError(
                        f"stored member of {size} bytes claims a size of {member.size} bytes", offset=offset
                    )
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
                raise CorruptionError(
                    f"member decompresses to more than the {member.size} bytes it claims", offset=offset
                )

        unpacker = Unpacker(self._source, "deflate", self._allowance, offset=offset, size=size)
        source = self._unpack(unpacker, path, check)
        if source.size != member.size or crc32 != member.crc32:
            raise CorruptionError(
                f"member decompresses to {source.size} bytes with crc32 {crc32:#010x}, "
                f"expected {member.size} bytes with crc32 {member.crc32:#010x}",
                offset=offset,
            )
        return source

    def _unpack_tar(self, kind: str) -> ByteSource:
        def check(piece: bytes, total: int) -> None:
            if total == len(piece) >= tar.BLOCK and not tar.is_tar(piece) and any(piece[: tar.BLOCK]):
                raise CheckpointNotFoundError(f"{kind} data that is not a tar archive; decompress it first")

        source = self._unpack(Unpacker(self._source, kind, self._allowance), self._source.name, check)
        self._unpacked[""] = source
        return source

    def _unpack(self, unpacker: Unpacker, path: str, check: Callable[[bytes, int], None]) -> ByteSource:
        """Decompress to a temporary file without a name; `check` is called with each piece and the total so far."""
        total = 0
        try:
            with tempfile.TemporaryFile(prefix="tfckpt-", buffering=0) as file:
                while piece := unpacker.read_piece():
                    total += len(piece)
                    check(piece, total)
                    _write_all(file, piece)
                return self._open_unpacked(file, path)
        except OSError as error:
            if isinstance(error, CheckpointNotFoundError | StorageError):
                raise
            raise StorageError(
                f"cannot decompress into the temporary folder {tempfile.gettempdir()}: {error.strerror}; "
                "set TMPDIR to a folder with more space",
                path=path,
            ) from error


def _write_all(file: object, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[file.write(view) :]  # type: ignore[attr-defined]  # an unbuffered file, which may write less


def _normalize_name(name: str) -> str:
    """Return the name in normal form; raise `CorruptionError` if it leads out of the archive."""
    parts = name.replace("\\", "/").split("/")
    if len(name) > _MAX_NAME_CHARACTERS:
        raise CorruptionError(f"archive member with a name of {len(name)} characters")
    if ".." in parts or parts[0] == "" or "\0" in name or _DRIVE.match(name):
        raise CorruptionError(f"archive member {name!r} leads out of the archive; do not trust this file")
    return posixpath.normpath(name)
