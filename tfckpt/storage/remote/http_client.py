"""The standard library's HTTP client, with a deadline for every response and without reading the body of a redirect.

The library's own timeout restarts with every byte that arrives, so a server could keep it waiting forever.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import socket
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

from ...addresses import plain_address
from ...errors import StorageError, abridged
from .transport import Patience


def build_opener(patience: Patience) -> urllib.request.OpenerDirector:
    """Return an opener for http and https addresses with these deadlines, using the system's proxies."""
    return urllib.request.build_opener(_RedirectHandler, _HttpHandler(patience), _HttpsHandler(patience))


class _TimedReader(io.RawIOBase):
    """The bytes of one response, read from a socket until the deadline.

    The head must end within `timeout` seconds; each byte of the body extends the deadline, at the slowest rate allowed.
    """

    def __init__(self, sock: socket.socket, patience: Patience) -> None:
        self._source = sock.makefile("rb", buffering=0)
        self._patience = patience
        self._start = time.monotonic()
        self._received = 0
        self.is_head = True

    def readable(self) -> bool:
        """Always True."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what has arrived into the buffer; `TimeoutError` after the deadline."""
        allowed = self._patience.timeout + (0 if self.is_head else self._received / self._patience.slowest)
        if time.monotonic() - self._start > allowed:
            raise TimeoutError(f"the response was too slow: {self._received} bytes in {allowed:.0f} s")
        count = self._source.readinto(buffer)
        self._received += count or 0
        return count

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return a buffered file over this reader, in place of the socket's own."""
        return io.BufferedReader(self)

    def close(self) -> None:
        """Close the socket's file."""
        self._source.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """A response that is read through a `_TimedReader`."""

    def __init__(self, sock: socket.socket, *arguments: Any, patience: Patience, **options: Any) -> None:
        self._reader = _TimedReader(sock, patience)
        super().__init__(self._reader, *arguments, **options)  # type: ignore[arg-type]  # it only calls makefile

    def begin(self) -> None:
        """Read the head, then start counting the body."""
        super().begin()
        self._reader.is_head = False


class _PatientHandler(urllib.request.AbstractHTTPHandler):
    """A handler whose connections return `_Response` objects."""

    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self._response_class = functools.partial(_Response, patience=patience)

    def do_open(self, http_class: Callable[..., Any], req: urllib.request.Request, **options: Any) -> Any:
        """Send a request over a connection that `http_class` creates, and return the response."""

        def connect(*arguments: Any, **keywords: Any) -> Any:
            connection = http_class(*arguments, **keywords)
            connection.response_class = self._response_class
            return connection

        return super().do_open(connect, req, **options)


class _HttpHandler(_PatientHandler, urllib.request.HTTPHandler):
    pass


class _HttpsHandler(_PatientHandler, urllib.request.HTTPSHandler):
    pass


class _RedirectHandler(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only, and does not read their bodies."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        """Follow a redirect, and close its response even if the target is rejected."""
        with contextlib.closing(fp):
            target = headers.get("Location") or headers.get("URI")
            if target is not None:
                _check_target(urllib.parse.urljoin(req.full_url, target))
            return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(  # noqa: PLR0917  # the library's signature
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        _check_target(newurl)
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        fp.close()  # the library would read the body, which may be endless
        return request


def _check_target(address: str) -> None:
    """Raise `StorageError` if a redirect leads to an address that is not http or https."""
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise StorageError(f"redirect to {abridged(repr(plain_address(address)))}, expected an http or https address")
