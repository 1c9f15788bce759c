"""A web server on the loopback interface that supports ranges, counts requests and bytes, and simulates faults."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping

#: A fault takes the handler and the number of the request, from 0, and returns whether it has sent a response.
Fault = Callable[["Handler", int], bool]


@dataclasses.dataclass
class Request:
    """One request: its path, its Range header, and the number of content bytes sent in response."""

    path: str
    range: str | None
    headers: Mapping[str, str]
    sent: int = 0


class Server(http.server.ThreadingHTTPServer):
    """A server of files from memory."""

    daemon_threads = True
    #: If the queue of connections is full, a client waits for a second.
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
        """The URL of the root, with a trailing slash."""
        return f"http://127.0.0.1:{self.server_port}/"

    @property
    def sent(self) -> int:
        """The number of content bytes sent so far."""
        return sum(request.sent for request in self.requests)

    def forget(self) -> None:
        """Reset the counters."""
        self.requests = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that disconnect."""


class Handler(http.server.BaseHTTPRequestHandler):
    """The handler of GET requests, with support for a single range."""

    server: Server

    def do_GET(self) -> None:  # named by http.server
        """Send a file or a range of it."""
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
        requested = self.requested_range()
        if requested is None:
            self.answer(200, self.version, data)
        elif requested[0] >= len(data):
            self.answer(416, {**self.version, "Content-Range": f"bytes */{len(data)}"}, b"")
        else:
            start, stop = requested
            self.answer(206, {**self.version, "Content-Range": self.content_range(start, stop)}, data[start:stop])

    @property
    def data(self) -> bytes:
        """The content of the file."""
        return self.server.files[self.name]

    @property
    def version(self) -> dict[str, str]:
        """The ETag header."""
        return {"ETag": self.server.etags[self.name]} if self.name in self.server.etags else {}

    def requested_range(self) -> tuple[int, int] | None:
        """Return start and stop of the requested range, clipped to the file; None for the whole file."""
        if self.record.range is None:
            return None
        first, _, last = self.record.range.removeprefix("bytes=").partition("-")
        size = len(self.data)
        if not first:
            return max(0, size - int(last)), size
        return int(first), min(int(last) + 1, size)

    def content_range(self, start: int, stop: int, total: int | None = None) -> str:
        """Return the value of a Content-Range header."""
        return f"bytes {start}-{stop - 1}/{len(self.data) if total is None else total}"

    def answer(self, status: int, fields: Mapping[str, str], body: bytes, *, length: int | None = None) -> None:
        """Send a response; `length` replaces the true length of the body in its headers."""
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if status in (200, 206):  # count first, since the client may finish before this thread continues
            self.record.sent += len(body)
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Log nothing."""


@contextlib.contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[Server]:
    """Run a server of these files while the context is open."""
    with Server(files) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def whole(handler: Handler, number: int) -> bool:
    """Send the whole file and ignore the requested range, as a fault."""
    handler.answer(200, handler.version, handler.data)
    return True
