"""Tar archives (POSIX.1-2001 `ustar` and `pax`, GNU long names): what stands where.

::

    archive  = member* | two zero blocks of 512 bytes
    member   = header, 512 bytes | contents | zero padding to a multiple of 512
    header   = name 100 | mode 8 | uid 8 | gid 8 | size 12 | mtime 12 | checksum 8 | type 1 | link name 100
               | magic 6 ("ustar") | version 2 | user 32 | group 32 | device numbers 16 | name prefix 155 | padding 12

Numbers are octal digits, or big-endian binary if bit 7 of the first byte is set.
The checksum is the sum of the header's bytes with its own field as spaces.
Members of type x (pax) and L (GNU) hold a longer name, and x also a larger size, for the member after them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from ..._typing import Buffer, ByteSource
from ...errors import CorruptionError, past_end
from ...limits import Limits, check_limit

BLOCK = 512
REGULAR = (b"0", b"\0", b"7")
FOLDER = b"5"
#: What the types we do not read are, for messages.
OTHER_TYPES = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a named pipe",
    b"S": "a sparse file",
    b"M": "a file continued from another volume",
}

_LONG_NAME, _LONG_LINK = b"L", b"K"
_PAX, _PAX_GLOBAL = b"x", b"g"
#: What the keys of a sparse file's records begin with.
_SPARSE = b"GNU.sparse"
#: Headers that only hold names and attributes; far above what file systems allow a path to be.
_MAX_EXTENSION = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class TarMember:
    """One member: `offset` of its contents in the archive and their `size`, in bytes."""

    name: str
    type: bytes
    offset: int
    size: int


def is_tar(head: Buffer) -> bool:
    """Whether the first 512 bytes of a file are the header of a member, with a checksum that is right."""
    return len(head) >= BLOCK and any(head[:BLOCK]) and _stored_checksum(head) in _checksums(head)


def read_members(source: ByteSource, limits: Limits) -> Iterator[TarMember]:
    """Every member in order; only headers are read.

    Refuses damaged headers, and contents that reach past the end of the archive.
    An archive without the two zero blocks at its end is accepted if it ends after a member, as old writers leave it.
    """
    count = start = 0
    extended: dict[str, str] = {}
    while start < source.size:
        header = _take(source, start, BLOCK, "tar header")
        if not any(header):
            return
        if _stored_checksum(header) not in _checksums(header):
            raise CorruptionError("tar header with a wrong checksum", offset=start)
        size, kind, contents = _number(header[124:136], start), bytes(header[156:157]), start + BLOCK
        if kind in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL):
            if size > _MAX_EXTENSION:
                raise CorruptionError(
                    f"tar header with {size} bytes of names; {_MAX_EXTENSION} are allowed", offset=start
                )
            data = bytes(_take(source, contents, size, "long name"))
            if kind == _LONG_NAME:
                extended["path"] = _text(data.split(b"\0", 1)[0])
            elif kind == _PAX:
                extended.update(_pax(data, start))
            start = contents + _padded(size)
            continue
        count += 1
        check_limit(limits, "max_archive_members", count, "archive with too many members")
        name = extended.get("path") or _header_name(header)
        if "size" in extended:
            size = _decimal(extended["size"], start)
        if _text(_SPARSE) in extended:
            kind = b"S"
        extended = {}
        is_regular = kind in REGULAR and not name.endswith("/")
        # Links, folders and devices have no contents, whatever they say of their size.
        size = size if is_regular or kind in (b"S", b"M") else 0
        if contents + size > source.size:
            raise past_end(
                f"contents of {name!r}",
                needed=size,
                available=source.size - contents,
                file_size=source.size,
                offset=contents,
            )
        yield TarMember(name, FOLDER if kind in REGULAR and not is_regular else kind, contents, size)
        start = contents + _padded(size)


def _take(source: ByteSource, offset: int, length: int, what: str) -> Buffer:
    if offset + length > source.size:
        raise past_end(what, needed=length, available=source.size - offset, file_size=source.size, offset=offset)
    return source.read(offset, length)


def _padded(size: int) -> int:
    return size + -size % BLOCK


def _pax(data: bytes, start: int) -> dict[str, str]:
    """The records of a pax header that matter.

    A record is `LENGTH KEY=VALUE` and a line feed, the length in decimal and of all of it.
    Those of a sparse file are one, under `GNU.sparse`.
    """
    records: dict[str, str] = {}
    position = 0
    while position < len(data):
        digits, space, _ = data[position : position + 20].partition(b" ")
        length = _decimal(digits.decode("latin-1"), start)
        record = data[position : position + length]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not space or not equals or len(record) < length or record[-1:] != b"\n":
            raise CorruptionError("tar header with a damaged pax record", offset=start)
        if key in (b"path", b"size") or key.startswith(_SPARSE):  # others would only be kept, and there can be millions
            records[_text(key)[: len(_SPARSE)]] = _text(value)
        position += length
    return records


def _header_name(header: Buffer) -> str:
    name = bytes(header[:100]).split(b"\0", 1)[0]
    if bytes(header[257:262]) == b"ustar" and bytes(header[262:263]) == b"\0":
        prefix = bytes(header[345:500]).split(b"\0", 1)[0]
        name = prefix + b"/" + name if prefix else name
    return _text(name)


def _number(field: Buffer, start: int) -> int:
    raw = bytes(field)
    if raw[0] & 0x80:
        if raw[0] != 0x80:
            raise CorruptionError("tar header with a negative size", offset=start)
        return int.from_bytes(raw[1:], "big")
    digits = raw.split(b"\0", 1)[0].strip(b" ")
    if digits.strip(b"01234567"):
        raise CorruptionError(f"tar header with the size {digits!r}, which is not octal", offset=start)
    return int(digits or b"0", 8)


def _decimal(digits: str, start: int) -> int:
    if not digits.isascii() or not digits.isdigit() or len(digits) > 20:
        raise CorruptionError(f"tar header with the length {digits!r}, which is not a number", offset=start)
    return int(digits)


def _stored_checksum(header: Buffer) -> int | None:
    digits = bytes(header[148:156]).split(b"\0", 1)[0].strip(b" ")
    return None if not digits or digits.strip(b"01234567") else int(digits, 8)


def _checksums(header: Buffer) -> tuple[int, int]:
    """Of unsigned bytes, as the standard says, and of signed ones, as some old systems wrote."""
    raw = bytes(header[:148]) + b" " * 8 + bytes(header[156:BLOCK])
    unsigned = sum(raw)
    return unsigned, unsigned - 256 * sum(byte > 0x7F for byte in raw)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
