"""The standard library's client for HTTP, with what keeps a server from holding it: limits of time and size.

The library waits anew for every byte of a head, reads heads without end, and reads the page of a redirect.
"""

from __future__ import annotations

import functools
import http.client
import io
import socket
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

from ..errors import StorageError, abridged
from .transport import Patience

#: A hundred header fields of usual length take a tenth of it.
_LONGEST_HEAD = 256 << 10


def patient_opener(patience: Patience) -> urllib.request.OpenerDirector:
    """What opens addresses of http and https with this patience, by the proxies that the system names."""
    return urllib.request.build_opener(_Redirects, _HttpHandler(patience), _HttpsHandler(patience))


class _Reader(io.RawIOBase):
    """What a connection brings, with an eye on the clock: the library's own waits each begin anew with every byte."""

    def __init__(self, source: io.RawIOBase, patience: Patience) -> None:
        self._source = source
        self._patience = patience
        self._begun = time.monotonic()
        self._received = 0
        #: Whether the head is still to come, which has a longest size.
        self.is_head = True

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Take what there is; a `TimeoutError`, which is passing, for what comes too slowly or never ends."""
        allowed = self._patience.timeout + self._received / self._patience.slowest
        if time.monotonic() - self._begun > allowed:
            raise TimeoutError(f"the answer came too slowly: {self._received} bytes in {allowed:.0f} s")
        if self.is_head and self._received > _LONGEST_HEAD:
            raise TimeoutError(f"the head of the answer does not end within {_LONGEST_HEAD} bytes")
        count = self._source.readinto(buffer)
        self._received += count or 0
        return count

    def close(self) -> None:
        """Let go of the connection."""
        self._source.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer that is read through a `_Reader`."""

    def __init__(self, sock: socket.socket, *arguments: Any, patience: Patience, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        fp: Any = self.fp  # a BufferedReader, which the library's stubs do not say
        self._reader = _Reader(fp.detach(), patience)
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        """Read the head."""
        super().begin()
        self._reader.is_head = False


def _connecting(
    kind: type[http.client.HTTPConnection], patience: Patience
) -> Callable[..., http.client.HTTPConnection]:
    def connect(*arguments: Any, **options: Any) -> http.client.HTTPConnection:
        connection: Any = kind(*arguments, **options)
        connection.response_class = functools.partial(_Response, patience=patience)
        return connection  # type: ignore[no-any-return]  # Any for its attribute alone

    return connect


class _HttpHandler(urllib.request.HTTPHandler):
    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self._connect: Any = _connecting(http.client.HTTPConnection, patience)

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connect, req)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self._connect: Any = _connecting(http.client.HTTPSConnection, patience)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connect, req, context=self._context)  # type: ignore[attr-defined]  # not in the stubs


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https only, and reads nothing of the page that says where to."""

    def redirect_request(  # noqa: PLR0917  # the library's signature
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        if urllib.parse.urlsplit(newurl).scheme not in ("http", "https"):
            raise StorageError(f"the server redirects to {abridged(repr(newurl))}, which is no web address")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        fp.close()  # the library would read it to its end, wherever that is
        return request
