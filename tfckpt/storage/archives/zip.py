"""Zip archives (PKWARE APPNOTE 6.3), read from the central directory at their end.

::

    archive    = member* | central entry* | [zip64 end | zip64 locator] | end
    member     = "PK 3 4" | version 2 | flags 2 | method 2 | time 4 | crc 4 | packed 4 | unpacked 4
                 | name length 2 | extra length 2 | name | extra | contents
    central    = "PK 1 2" | version by 2 | version 2 | flags 2 | method 2 | time 4 | crc 4 | packed 4 | unpacked 4
                 | name length 2 | extra length 2 | comment length 2 | disk 2 | attributes 2 + 4 | member's offset 4
                 | name | extra | comment
    end        = "PK 5 6" | disks 2 + 2 | entries 2 + 2 | directory's size 4 | its offset 4
                 | comment length 2 | comment
    locator    = "PK 6 7" | disk 4 | zip64 end's offset 8 | disks 4
    zip64 end  = "PK 6 6" | size 8 | versions 2 + 2 | disks 4 + 4 | entries 8 + 8 | directory's size 8 | its offset 8

Everything is little-endian.
A field with all bits set is stored in the entry's extra field 1 instead, as 8 bytes.
Method 0 is stored, 8 is deflate; other methods are not supported.

The standard library's `zipfile` is not used: it creates an object of some 500 bytes for each 46 bytes of a directory
before anybody can count them.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator

from ..._typing import ByteSource, ByteView
from ...errors import CorruptionError, TruncatedError, past_end
from ...limits import Limits, check_limit

MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
STORED = 0
DEFLATED = 8

_END = struct.Struct("<4sHHHHIIH")
_ZIP64_LOCATOR = struct.Struct("<4sIQI")
_ZIP64_END = struct.Struct("<4sQHHIIQQQQ")
_CENTRAL = struct.Struct("<4sHHHHIIIIHHHHHII")
_LOCAL = struct.Struct("<4sHHHIIIIHH")
_ALL_ONES_16, _ALL_ONES_32 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED, _UTF8 = 0x1, 0x800
_UNIX = 3
_FILE_TYPE, _SYMBOLIC_LINK, _REGULAR, _FOLDER = 0o170000, 0o120000, 0o100000, 0o040000


@dataclasses.dataclass(frozen=True, slots=True)
class ZipMember:
    """One member as the central directory describes it; `offset` is that of the member's header. Sizes are in bytes."""

    name: str
    method: int
    is_encrypted: bool
    file_type: int
    crc32: int
    packed_size: int
    size: int
    offset: int

    @property
    def is_folder(self) -> bool:
        """True if this entry only declares a folder."""
        return self.name.endswith("/") or self.file_type == _FOLDER

    @property
    def is_regular(self) -> bool:
        """True if this is a regular file, or if the packing system did not record a type."""
        return self.file_type in (0, _REGULAR)

    @property
    def is_link(self) -> bool:
        """True if this is a symbolic link, whose contents are its target."""
        return self.file_type == _SYMBOLIC_LINK


def read_members(source: ByteSource, limits: Limits) -> Iterator[ZipMember]:
    """Yield every member in the order of the central directory."""
    count, start, size = _find_directory(source)
    check_limit(limits, "max_archive_members", count, "too many archive members")
    if start + size > source.size:
        raise past_end(
            "archive directory", needed=size, available=source.size - start, file_size=source.size, offset=start
        )
    directory = source.read(start, size)
    position = 0
    for number in range(count):
        member, position = _parse_entry(directory, position, start, number)
        yield member
    if position != size:
        raise CorruptionError(
            f"archive directory is {size - position} bytes larger than its {count} members", offset=start
        )


def find_contents(source: ByteSource, member: ZipMember) -> tuple[int, int]:
    """Return the offset and size of a member's packed bytes in the archive, checked against the member's own header."""
    header = _read(source, member.offset, _LOCAL.size, "member's header")
    magic, _, _, method, _, _, _, _, name_length, extra_length = _LOCAL.unpack(header)
    if magic != b"PK\x03\x04":
        raise CorruptionError("no archive member at the offset in the directory", offset=member.offset)
    if method != member.method:
        raise CorruptionError(
            f"member compressed with method {method}, expected {member.method} from the archive directory",
            offset=member.offset,
        )
    start = member.offset + _LOCAL.size + name_length + extra_length
    if start + member.packed_size > source.size:
        raise past_end(
            "member", needed=member.packed_size, available=source.size - start, file_size=source.size, offset=start
        )
    return start, member.packed_size


def _find_directory(source: ByteSource) -> tuple[int, int, int]:
    """Return the number of members, and the offset and size of the central directory."""
    length = min(source.size, _END.size + _ALL_ONES_16)
    tail = bytes(source.read(source.size - length, length))
    at = tail.rfind(_END_MAGIC)
    while at >= 0 and not _is_end(tail, at):
        at = tail.rfind(_END_MAGIC, 0, at)
    if at < 0:
        raise TruncatedError(
            "no archive directory at the end; the file may be truncated",
            needed=_END.size,
            available=0,
            offset=source.size,
        )
    end_offset = source.size - length + at
    _, disk, first_disk, _, count, size, offset, _ = _END.unpack_from(tail, at)
    if end_offset >= _ZIP64_LOCATOR.size:
        locator = source.read(end_offset - _ZIP64_LOCATOR.size, _ZIP64_LOCATOR.size)
        if bytes(locator[:4]) == b"PK\x06\x07":
            _, _, end_offset, _ = _ZIP64_LOCATOR.unpack(locator)
            end = _read(source, end_offset, _ZIP64_END.size, "zip64 end of the archive directory")
            magic, _, _, _, disk, first_disk, _, count, size, offset = _ZIP64_END.unpack(end)
            if magic != b"PK\x06\x06":
                raise CorruptionError("no zip64 end of the archive directory at the offset given", offset=end_offset)
    if disk or first_disk:
        raise CorruptionError("archive split into several files, which is not supported", offset=end_offset)
    return count, offset, size


_END_MAGIC = b"PK\x05\x06"


def _is_end(tail: bytes, at: int) -> bool:
    """Return whether a directory end at this position, with its comment, reaches exactly to the end of the file."""
    return len(tail) - at >= _END.size and at + _END.size + int(_END.unpack_from(tail, at)[-1]) == len(tail)


def _parse_entry(directory: ByteView, position: int, start: int, number: int) -> tuple[ZipMember, int]:
    """Parse the central entry at `position`; return the member and the next position."""
    where = start + position
    if len(directory) - position < _CENTRAL.size:
        raise past_end(
            f"archive directory up to member {number}",
            needed=_CENTRAL.size,
            available=len(directory) - position,
            offset=where,
        )
    (
        magic,
        made_by,
        _,
        flags,
        method,
        _,
        crc32,
        packed,
        size,
        name_length,
        extra_length,
        comment_length,
        _,
        _,
        attributes,
        offset,
    ) = _CENTRAL.unpack_from(directory, position)
    if magic != b"PK\x01\x02":
        raise CorruptionError(f"no entry for member {number} in the archive directory", offset=where)
    name_start = position + _CENTRAL.size
    extra_start = name_start + name_length
    following = extra_start + extra_length + comment_length
    if following > len(directory):
        raise past_end(
            f"archive directory up to member {number}",
            needed=following - position,
            available=len(directory) - position,
            offset=where,
        )
    raw_name = bytes(directory[name_start:extra_start])
    name = raw_name.decode("utf-8", "surrogateescape") if flags & _UTF8 else raw_name.decode("cp437")
    name = name.replace("\\", "/")  # some archivers for Windows write backslashes, which the specification forbids
    extra = directory[extra_start : extra_start + extra_length]
    size, packed, offset = _read_zip64((size, packed, offset), extra, where)
    file_type = (attributes >> 16) & _FILE_TYPE if made_by >> 8 == _UNIX else 0
    return ZipMember(name, method, bool(flags & _ENCRYPTED), file_type, crc32, packed, size, offset), following


def _read_zip64(values: tuple[int, ...], extra: ByteView, where: int) -> list[int]:
    """Return size, packed size and offset, with fields of all ones replaced from the extra field 1."""
    position = 0
    wide: ByteView = extra[:0]
    while position + 4 <= len(extra):
        tag, length = struct.unpack_from("<HH", extra, position)
        if tag == 1:
            wide = extra[position + 4 : position + 4 + length]
        position += 4 + length
    widened = []
    for value in values:
        if value == _ALL_ONES_32:
            if len(wide) < 8:
                raise CorruptionError("member of more than 4 GiB without its zip64 size", offset=where)
            widened.append(struct.unpack_from("<Q", wide)[0])
            wide = wide[8:]
        else:
            widened.append(value)
    return widened


def _read(source: ByteSource, offset: int, length: int, what: str) -> ByteView:
    if offset + length > source.size:
        raise past_end(what, needed=length, available=source.size - offset, file_size=source.size, offset=offset)
    return source.read(offset, length)
