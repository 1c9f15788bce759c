"""Objects of any size that take no memory, in front of a store: zeros that are read, and uploads that are dropped.

`endless/` in a bucket has, under every name, an object of as many zeros as its name says: `w-1073741824.data-...`.
What is uploaded in parts to `dropped/` is counted and forgotten; all other requests go to the store.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Iterable
from typing import Any

from tests import builders
from tfckpt.coding.crc32c import crc32c

Start = Callable[[str, list[tuple[str, str]]], Any]
Application = Callable[[dict[str, Any], Start], Iterable[bytes]]

_ZEROS = re.compile(r"/bucket/endless/.*-(\d+)\.data-")
_ETAG = ("ETag", '"0"')
_XML = ("Content-Type", "application/xml")
_PIECE = 1 << 20


def build_index(size: int) -> bytes:
    """Return the index of a checkpoint with one tensor `w` of as many zeros."""
    zeros, checksum = bytes(64 << 20), 0
    for _ in range(size // len(zeros)):
        checksum = crc32c(zeros, checksum)
    entry = builders.entry_proto(builders.UINT8, [size // 1024, 1024], size=size, crc=checksum)
    return builders.table([(b"", builders.header_proto(1)), (b"w", entry)])


class Endless:
    """A WSGI application in front of another one."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._sizes: dict[str, int] = {}

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        zeros = _ZEROS.match(path)
        if zeros is not None and method in ("GET", "HEAD"):
            return self._send_zeros(environ, start, int(zeros[1]))
        query = urllib.parse.parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        if path.startswith("/bucket/dropped/") and {"uploads", "uploadId"} & query.keys():
            return self._drop(path, method, environ, start)
        if path in self._sizes and method == "HEAD":
            start("200 OK", [("Content-Length", str(self._sizes[path])), _ETAG])
            return []
        return self._application(environ, start)

    def _send_zeros(self, environ: dict[str, Any], start: Start, size: int) -> Iterable[bytes]:
        first, _, last = environ.get("HTTP_RANGE", f"bytes=0-{size - 1}").removeprefix("bytes=").partition("-")
        count = min(int(last) + 1, size) - int(first)
        fields = [("Content-Length", str(count)), ("Content-Range", f"bytes {first}-{last}/{size}"), _ETAG]
        start("206 Partial Content", fields)
        if environ["REQUEST_METHOD"] == "GET":
            yield from (bytes(min(_PIECE, count - at)) for at in range(0, count, _PIECE))

    def _drop(self, path: str, method: str, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        left = int(environ.get("CONTENT_LENGTH") or 0)
        if method == "PUT":
            self._sizes[path] = self._sizes.get(path, 0) + left
        while left:
            left -= len(environ["wsgi.input"].read(min(_PIECE, left)))
        start("200 OK", [_ETAG, _XML])
        return [
            b"<InitiateMultipartUploadResult><Bucket>bucket</Bucket><Key>k</Key><UploadId>1</UploadId>"
            b"<ETag>0</ETag></InitiateMultipartUploadResult>"
        ]
