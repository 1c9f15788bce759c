"""A web server on the loopback that gives files by ranges, counts requests and bytes, and can be told to misbehave."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping

#: A fault takes the handler and the number of the request, from 0; True if it has answered.
Fault = Callable[["Handler", int], bool]


@dataclasses.dataclass
class Request:
    """One request: the path, the Range field, and how many bytes of content were sent for it."""

    path: str
    range: str | None
    headers: Mapping[str, str]
    sent: int = 0


class Server(http.server.ThreadingHTTPServer):
    """Files by name, served from memory."""

    daemon_threads = True
    #: A full queue of connections costs the client a second.
    request_queue_size = 128

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(files)
        self.etags = {name: f'"{number}"' for number, name in enumerate(self.files)}
        self.requests: list[Request] = []
        self.fault: Fault | None = None
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """The address of the root, with a slash at its end."""
        return f"http://127.0.0.1:{self.server_port}/"

    @property
    def sent(self) -> int:
        """Bytes of content sent so far."""
        return sum(request.sent for request in self.requests)

    def forget(self) -> None:
        """Count from nothing again."""
        self.requests = []

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET, whole or by one range."""

    server: Server

    def do_GET(self) -> None:  # the library's name
        """One file."""
        path = urllib.parse.urlsplit(self.path).path
        self.name = urllib.parse.unquote(path).lstrip("/")
        self.record = Request(self.path, self.headers.get("Range"), dict(self.headers))
        with self.server.lock:
            number = len(self.server.requests)
            self.server.requests.append(self.record)
        if self.server.fault is not None and self.server.fault(self, number):
            return
        if self.name not in self.server.files:
            self.answer(404, {}, b"not here")
            return
        data = self.data
        wanted = self.wanted()
        if wanted is None:
            self.answer(200, self.version, data)
        elif wanted[0] >= len(data):
            self.answer(416, {**self.version, "Content-Range": f"bytes */{len(data)}"}, b"")
        else:
            start, stop = wanted
            self.answer(206, {**self.version, "Content-Range": self.content_range(start, stop)}, data[start:stop])

    @property
    def data(self) -> bytes:
        """The file's content."""
        return self.server.files[self.name]

    @property
    def version(self) -> dict[str, str]:
        """The ETag field."""
        return {"ETag": self.server.etags[self.name]} if self.name in self.server.etags else {}

    def wanted(self) -> tuple[int, int] | None:
        """The range that is asked for, cut to the file; None for the whole."""
        if self.record.range is None:
            return None
        first, _, last = self.record.range.removeprefix("bytes=").partition("-")
        size = len(self.data)
        if not first:
            return max(0, size - int(last)), size
        return int(first), min(int(last) + 1, size)

    def content_range(self, start: int, stop: int, total: int | None = None) -> str:
        """The value of a Content-Range field."""
        return f"bytes {start}-{stop - 1}/{len(self.data) if total is None else total}"

    def answer(self, status: int, fields: Mapping[str, str], body: bytes, *, length: int | None = None) -> None:
        """Send this; `length` lies about the body's."""
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if status in (200, 206):  # counted first: the client may be done before this thread goes on
            self.record.sent += len(body)
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Silence."""


@contextlib.contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[Server]:
    """A server of these files while the context lasts."""
    with Server(files) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def whole(handler: Handler, number: int) -> bool:
    """A fault: the whole file is sent whatever range is asked for."""
    handler.answer(200, handler.version, handler.data)
    return True
