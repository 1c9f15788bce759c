"""Recognise an archive by its first bytes. Cheap to import, since it runs for every path that is opened."""

from __future__ import annotations

from ..._typing import ByteSource
from . import tar, zip

#: Compression formats by magic number.
COMPRESSIONS = {b"\x1f\x8b\x08": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}


def detect_archive(source: ByteSource) -> str | None:
    """Return "zip", "tar" or the name of a compression format; None if the file is not an archive."""
    head = bytes(source.read(0, min(source.size, tar.BLOCK)))
    if head.startswith(zip.MAGICS):
        return "zip"
    for magic, kind in COMPRESSIONS.items():
        if head.startswith(magic):
            return kind
    return "tar" if tar.is_tar(head) else None
