"""Which archive a file is, told by its first bytes; cheap to import, since every path that is opened is asked."""

from __future__ import annotations

from ..._typing import ByteSource
from . import tar, zip

#: Compressed data: format by magic number.
COMPRESSIONS = {b"\x1f\x8b\x08": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}


def archive_kind(source: ByteSource) -> str | None:
    """What archive a file is: "zip", "tar" or the name of a compression; None for no archive."""
    head = bytes(source.read(0, min(source.size, tar.BLOCK)))
    if head.startswith(zip.MAGICS):
        return "zip"
    for magic, kind in COMPRESSIONS.items():
        if head.startswith(magic):
            return kind
    return "tar" if tar.is_tar(head) else None
