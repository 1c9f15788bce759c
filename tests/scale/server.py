"""A real S3 server on the loopback, moto's, that counts requests and fails some.

Run as a script it serves on a free port, prints it, and ends when standard input is closed. `GET /_control?fail_each=3`
lets every third request fail with 503, and returns the counts of requests by method since the last call.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any

from tests.scale.endless import Application, Endless, Start


class Faulty:
    """A WSGI application that counts and fails requests before another one."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._counts: collections.Counter[str] = collections.Counter()
        self._fail_each = 0

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/_control":
            self._fail_each = int(environ["QUERY_STRING"].partition("=")[2] or 0)
            counts, self._counts = self._counts, collections.Counter()
            start("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(counts).encode()]
        self._counts[environ["REQUEST_METHOD"]] += 1
        self._counts["all"] += 1
        if self._fail_each and self._counts["all"] % self._fail_each == 0:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start("503 Slow Down", [("Content-Type", "application/xml")])
            return [b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"]
        return self._application(environ, start)


class Server:
    """A running server: its address, and the control of its faults."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def control(self, *, fail_each: int = 0) -> dict[str, int]:
        """Set the faults, and return the counts since the last call."""
        with urllib.request.urlopen(f"{self.url}/_control?fail_each={fail_each}") as response:
            counts: dict[str, int] = json.load(response)
        return counts


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """Serve from a process of its own, and let S3 clients of this process and its children use it."""
    command = [sys.executable, "-m", "tests.scale.server"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    before = dict(os.environ)
    try:
        server = Server(int(process.stdout.readline()))
        os.environ.update(
            AWS_ENDPOINT_URL=server.url,
            AWS_ACCESS_KEY_ID="test",
            AWS_SECRET_ACCESS_KEY="test",
            AWS_DEFAULT_REGION="us-east-1",
        )
        yield server
    finally:
        os.environ.clear()
        os.environ.update(before)
        process.stdin.close()
        process.terminate()
        process.wait(10)


def main() -> None:
    """Serve until standard input is closed."""
    import threading

    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = Faulty(Endless(DomainDispatcherApplication(create_backend_app)))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
