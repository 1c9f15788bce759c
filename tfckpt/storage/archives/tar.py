"""Tar archives (POSIX.1-2001 `ustar` and `pax`, GNU long names): where each member is stored.

::

    archive  = member* | two zero blocks of 512 bytes
    member   = header, 512 bytes | contents | zero padding to a multiple of 512
    header   = name 100 | mode 8 | uid 8 | gid 8 | size 12 | mtime 12 | checksum 8 | type 1 | link name 100
               | magic 6 ("ustar") | version 2 | user 32 | group 32 | device numbers 16 | name prefix 155 | padding 12

Numbers are octal digits, or big-endian binary if bit 7 of the first byte is set.
The checksum is the sum of the header's bytes, with spaces in place of its own field.
A member of type x (pax) or L (GNU) contains a longer name for the next member, and x possibly a larger size.

The standard library's `tarfile` is not used: it reads names and attributes of any claimed length into memory.
This module reads only headers and checks every claim against the file.
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
#: Descriptions of the types that are not supported, for messages.
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
#: Prefix of the pax keys of a sparse file.
_SPARSE = b"GNU.sparse"
#: Bytes of a header that only holds names and attributes; far above the limits of file systems for a path.
_MAX_EXTENSION = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class TarMember:
    """One member: the `offset` of its contents in the archive and their `size`, in bytes."""

    name: str
    type: bytes
    offset: int
    size: int


def is_tar(head: Buffer) -> bool:
    """Return whether the first 512 bytes of a file are a member's header with a valid checksum."""
    return len(head) >= BLOCK and any(head[:BLOCK]) and _parse_checksum(head) in _compute_checksums(head)


def read_members(source: ByteSource, limits: Limits) -> Iterator[TarMember]:
    """Yield every member in order; only headers are read.

    Damaged headers, and contents that reach past the end of the archive, raise an error.
    An archive that ends after a member, without the two zero blocks, is accepted: old writers leave them out.
    """
    count = start = 0
    extended: dict[str, str] = {}
    while start < source.size:
        header = _read(source, start, BLOCK, "tar header")
        if not any(header):
            return
        if _parse_checksum(header) not in _compute_checksums(header):
            raise CorruptionError("tar header with an invalid checksum", offset=start)
        size, kind, contents = _parse_number(header[124:136], start), bytes(header[156:157]), start + BLOCK
        if kind in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL):
            if size > _MAX_EXTENSION:
                raise CorruptionError(
                    f"tar header with {size} bytes of names; at most {_MAX_EXTENSION} are allowed", offset=start
                )
            data = bytes(_read(source, contents, size, "long name"))
            if kind == _LONG_NAME:
                extended["path"] = _decode(data.split(b"\0", 1)[0])
            elif kind == _PAX:
                extended.update(_parse_pax(data, start))
            start = contents + _pad(size)
            continue
        count += 1
        check_limit(limits, "max_archive_members", count, "too many archive members")
        name = extended.get("path") or _parse_name(header)
        if "size" in extended:
            size = _parse_decimal(extended["size"], start)
        if _decode(_SPARSE) in extended:
            kind = b"S"
        extended = {}
        is_regular = kind in REGULAR and not name.endswith("/")
        # Links, folders and devices have no contents, whatever size they claim.
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
        start = contents + _pad(size)


def _read(source: ByteSource, offset: int, length: int, what: str) -> Buffer:
    if offset + length > source.size:
        raise past_end(what, needed=length, available=source.size - offset, file_size=source.size, offset=offset)
    return source.read(offset, length)


def _pad(size: int) -> int:
    return size + -size % BLOCK


def _parse_pax(data: bytes, start: int) -> dict[str, str]:
    """Return the records of a pax header that matter here.

    A record is `LENGTH KEY=VALUE` and a line feed; the length is decimal and covers the whole record.
    All records of a sparse file become one, under `GNU.sparse`.
    """
    records: dict[str, str] = {}
    position = 0
    while position < len(data):
        digits, space, _ = data[position : position + 20].partition(b" ")
        length = _parse_decimal(digits.decode("latin-1"), start)
        record = data[position : position + length]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not space or not equals or len(record) < length or record[-1:] != b"\n":
            raise CorruptionError("tar header with a damaged pax record", offset=start)
        # The others are dropped: there can be millions, and each would take memory.
        if key in (b"path", b"size") or key.startswith(_SPARSE):
            records[_decode(key)[: len(_SPARSE)]] = _decode(value)
        position += length
    return records


def _parse_name(header: Buffer) -> str:
    name = bytes(header[:100]).split(b"\0", 1)[0]
    if bytes(header[257:262]) == b"ustar" and bytes(header[262:263]) == b"\0":
        prefix = bytes(header[345:500]).split(b"\0", 1)[0]
        name = prefix + b"/" + name if prefix else name
    return _decode(name)


def _parse_number(field: Buffer, start: int) -> int:
    raw = bytes(field)
    if raw[0] & 0x80:
        if raw[0] != 0x80:
            raise CorruptionError("tar header with a negative size", offset=start)
        return int.from_bytes(raw[1:], "big")
    digits = raw.split(b"\0", 1)[0].strip(b" ")
    if digits.strip(b"01234567"):
        raise CorruptionError(f"tar header with size {digits!r}, which is not octal", offset=start)
    return int(digits or b"0", 8)


def _parse_decimal(digits: str, start: int) -> int:
    if not digits.isascii() or not digits.isdigit() or len(digits) > 20:
        raise CorruptionError(f"tar header with length {digits!r}, which is not a number", offset=start)
    return int(digits)


def _parse_checksum(header: Buffer) -> int | None:
    digits = bytes(header[148:156]).split(b"\0", 1)[0].strip(b" ")
    return None if not digits or digits.strip(b"01234567") else int(digits, 8)


def _compute_checksums(header: Buffer) -> tuple[int, int]:
    """Return the sum of the bytes as unsigned, which is the standard, and as signed, which some old systems wrote."""
    raw = bytes(header[:148]) + b" " * 8 + bytes(header[156:BLOCK])
    unsigned = sum(raw)
    return unsigned, unsigned - 256 * sum(byte > 0x7F for byte in raw)


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
