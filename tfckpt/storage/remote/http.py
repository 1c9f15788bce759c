"""Files on HTTP servers, read with range requests (RFC 9110, section 14).

The standard library's client is used (`http_client`): it needs no extra, follows the system's proxies, starts no event
loop, and shows the header fields that say whether a response is the range asked for, from the same version.
fsspec's interface returns only the bytes, so it cannot detect a server that ignores ranges, sends another part, or
has another version of the file.
Every response is checked against the request before its bytes are used, and never more bytes are taken than requested.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import hashlib
import http.client
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator

from ..._version import __version__
from ...addresses import AddressParts
from ...errors import (
    CheckpointError,
    CheckpointNotFoundError,
    FileChangedError,
    StorageError,
    TruncatedError,
    UnsupportedFeatureError,
    abridged,
    past_end,
)
from .http_client import build_opener
from .transport import DEFAULT_PATIENCE, Facts, MemorySink, Part, Patience, Sink

_PARTIAL, _WHOLE, _UNSATISFIABLE = 206, 200, 416
_MISSING = (404, 410)
_REFUSED = (401, 403, 407)
_TRANSIENT = (408, 429, 500, 502, 503, 504)
_CONTENT_RANGE = re.compile(r"bytes +(?:(\d{1,19})-(\d{1,19})|\*)/(\d{1,19}|\*)")
_READ_BYTES = 256 << 10
#: Longest ETag stored; longer ones are hashed.
_MAX_VERSION_CHARACTERS = 200


class HttpTransport:
    """Addresses with the schemes http and https, without query, name or password."""

    has_versions = True

    def __init__(self, *, query: str = "", user: str = "", patience: Patience | None = None) -> None:
        """Send `query` and `user` (NAME:PASSWORD, as in an address) with every request, and never show them."""
        self._query = query
        self._user = user
        self._secrets = AddressParts("", user, "", f"?{query}")
        self._patience = patience or DEFAULT_PATIENCE
        self._opener = build_opener(self._patience)

    def stat(self, address: str) -> Facts:
        """Return the facts of a file, from a request for its first byte."""
        return self._request(_Transfer(address, 0, 1), "bytes=0-0").facts

    def read(self, address: str, offset: int, length: int, spare: int = 0) -> Part:
        """Return exactly these bytes."""
        sink = MemorySink()
        transfer = self._request(_Transfer(address, offset, offset + length, sink))
        return Part(offset, sink.view, transfer.facts)

    def read_end(self, address: str, length: int) -> Part:
        """Return the last bytes."""
        sink = MemorySink()
        transfer = self._request(_Transfer(address, None, length, sink), f"bytes=-{length}")
        return Part(transfer.start or 0, sink.view, transfer.facts)

    def copy(self, address: str, offset: int, length: int, sink: Sink, facts: Facts) -> None:
        """Write exactly these bytes to a sink as they arrive, if the file still has these facts.

        If the server sends no version, an interrupted transfer is not resumed but starts over.
        Raises `UnsupportedFeatureError` if the server ignores ranges, unless the range is the whole file.
        """
        self._request(_Transfer(address, offset, offset + length, sink, expected=facts))

    def full_address(self, address: str) -> str:
        """Return the address with query, name and password."""
        parts = urllib.parse.urlsplit(address)
        netloc = f"{self._user}@{parts.netloc}" if self._user else parts.netloc
        return urllib.parse.urlunsplit(parts._replace(netloc=netloc, query=self._query))

    def is_folder(self, address: str) -> bool | None:
        """Return None: HTTP has no folders."""
        return None

    def list(self, address: str) -> list[str]:
        """Return no names: HTTP cannot list folders."""
        return []

    def quote(self, name: str) -> str:
        """Escape the characters of a name that an address cannot contain."""
        return urllib.parse.quote(name, safe="/!$&'()*+,;=:@~-._")

    def _request(self, transfer: _Transfer, ranges: str | None = None) -> _Transfer:
        """Complete a transfer, with `ranges` in the first request, then from where it stopped."""
        since = time.monotonic()
        attempt = 0
        while True:
            attempt += 1
            failure: _TransientError
            try:
                with self._open(transfer.address, ranges or transfer.remaining_range()) as response:
                    transfer.accept(response)
                if transfer.is_complete:
                    return transfer
                has_time = time.monotonic() - since < self._patience.total
                if transfer.is_resumable and not transfer.was_cut_short and has_time:
                    # A server may send less than the range asked for. That is progress, not a failed attempt.
                    attempt, ranges = 0, None
                    continue
                failure = _TransientError(
                    f"response ended after {transfer.received} of {transfer.wanted} bytes", is_short=True
                )
            except _TransientError as error:
                failure = error
            if transfer.received:
                ranges = None
            if not self._patience.wait(attempt, since, failure.retry_after):
                raise failure.to_error(transfer, attempt)
            if not transfer.is_resumable:
                transfer.restart()

    @contextlib.contextmanager
    def _open(self, address: str, ranges: str) -> Iterator[http.client.HTTPResponse]:
        request = urllib.request.Request(
            address + (f"?{self._query}" if self._query else ""),
            headers={"Range": ranges, "Accept-Encoding": "identity", "User-Agent": f"tfckpt/{__version__}"},
        )
        if self._user:
            # Unredirected: it must not be sent to another server.
            token = base64.b64encode(urllib.parse.unquote_to_bytes(self._user)).decode("ascii")
            request.add_unredirected_header("Authorization", f"Basic {token}")
        try:
            with self._opener.open(request, timeout=self._patience.timeout) as response:
                yield response
        except urllib.error.HTTPError as error:
            with contextlib.closing(error):
                if error.code == _UNSATISFIABLE:
                    yield error  # type: ignore[misc]  # a response like any other: it reports the size of the file
                    return
                raise _status_error(address, error) from None
        except http.client.InvalidURL:  # its text contains the query, as it was sent
            raise StorageError("invalid URL, given or redirected to", path=address) from None
        except urllib.error.URLError as error:
            reason = error.reason
            if isinstance(reason, OSError) and type(reason).__name__ == "SSLCertVerificationError":
                raise StorageError(f"the server's certificate is not trusted: {reason}", path=address) from error
            if self._secrets.is_mentioned(error):
                raise _TransientError("cannot connect") from None
            raise _TransientError(f"cannot connect: {reason}") from error
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, CheckpointError):
                error.path = error.path or address
                raise
            if self._secrets.is_mentioned(error):
                raise _TransientError("connection failed") from None
            raise _TransientError(f"connection failed: {abridged(str(error)) or type(error).__name__}") from error
        except ValueError as error:  # its text may contain a part of the address
            if isinstance(error, CheckpointError):
                raise
            raise StorageError("invalid URL, given or redirected to", path=address) from None


class _TransientError(Exception):
    """A failure that the next request may not have."""

    def __init__(self, message: str, *, retry_after: float | None = None, is_short: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.is_short = is_short

    def to_error(self, transfer: _Transfer, attempts: int) -> CheckpointError:
        """Return the error to raise after the last attempt."""
        message = f"{self} ({attempts} attempts)"
        if self.is_short:
            return TruncatedError(
                message,
                needed=transfer.wanted,
                available=transfer.received,
                path=transfer.address,
                offset=transfer.start,
            )
        return StorageError(message, path=transfer.address, offset=transfer.start)


class _Transfer:
    """The bytes of one range, over as many responses as it takes: from `start` to `stop`, or the last `stop` bytes.

    The bytes go to a sink as they arrive; without a sink only the facts are requested.
    """

    def __init__(
        self, address: str, start: int | None, stop: int, sink: Sink | None = None, *, expected: Facts | None = None
    ) -> None:
        """Expect a file with the facts `expected`, or any file if that is None."""
        self.address = address
        self.start = start
        self._stop = stop
        self._sink = sink
        self._facts = expected
        #: True if another response may continue where one ended.
        self.is_resumable = expected is None or expected.version is not None
        #: Bytes received.
        self.received = 0
        #: True if the last response ended before the length in its head.
        self.was_cut_short = False

    @property
    def wanted(self) -> int:
        """The size of the range in bytes."""
        return self._stop - (self.start or 0)

    @property
    def is_complete(self) -> bool:
        """True if nothing more is needed."""
        return self._facts is not None and (self._sink is None or self.received == self.wanted)

    @property
    def facts(self) -> Facts:
        """The facts of the file, from the first response."""
        assert self._facts is not None
        return self._facts

    def remaining_range(self) -> str:
        """Return the value of a Range header for the bytes not received yet."""
        return f"bytes={(self.start or 0) + self.received}-{self._stop - 1}"

    def restart(self) -> None:
        """Discard what was received."""
        self.received = 0
        if self._sink is not None:
            self._sink.restart()

    def accept(self, response: http.client.HTTPResponse) -> None:
        """Check a response's head against the request, and receive its bytes."""
        coding = response.headers.get("Content-Encoding", "identity")
        if coding != "identity":
            raise UnsupportedFeatureError(
                f"the server sent content encoding {abridged(coding)}, expected identity", path=self.address
            )
        if response.status == _UNSATISFIABLE:
            self._accept_unsatisfiable(response)
        elif response.status == _PARTIAL:
            self._accept_part(response)
        elif response.status == _WHOLE:
            self._accept_whole(response)
        else:
            raise StorageError(f"the server returned {response.status} {abridged(response.reason)}", path=self.address)

    def _accept_part(self, response: http.client.HTTPResponse) -> None:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        if match is None or match[1] is None or match[3] == "*":
            raise _TransientError(
                f"partial response with invalid Content-Range: {abridged(repr(response.headers.get('Content-Range')))}"
            )
        first, last, total = int(match[1]), int(match[2]), int(match[3])
        length = _content_length(response)
        if not first <= last < total or (length is not None and length != last + 1 - first):
            raise _TransientError(
                f"inconsistent response: Content-Length {length}, Content-Range {match[1]}-{match[2]}/{total}"
            )
        self._record_facts(Facts(total, _version(response)))
        if self.start is None:
            self.start, self._stop = max(0, total - self._stop), total
        expected = self.start + self.received
        if first != expected or last >= self._stop:
            raise _TransientError(f"the server sent bytes {first}-{last}, expected {expected}-{self._stop - 1}")
        if self._stop > total:
            raise self._past_end_error(total)
        self._receive(response, last + 1 - first)

    def _accept_whole(self, response: http.client.HTTPResponse) -> None:
        """Accept the whole file from a server that ignored the range, if the whole file was wanted."""
        length = _content_length(response)
        if length is None:
            raise self._no_ranges_error("a file of unknown length")
        self._record_facts(Facts(length, _version(response)))
        if self._sink is None:
            return
        if self.start is None and self._stop >= length:
            self.start, self._stop = 0, length
        if self.start != 0 or self._stop < length:
            raise self._no_ranges_error(f"the whole file of {length} bytes")
        if self._stop > length:
            raise self._past_end_error(length)
        self.restart()
        self._receive(response, length)

    def _accept_unsatisfiable(self, response: http.client.HTTPResponse) -> None:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        if match is None or match[3] == "*":
            raise StorageError("the server refused the range without reporting the file's size", path=self.address)
        total = int(match[3])
        self._record_facts(Facts(total, _version(response)))
        if total == 0 and (self._sink is None or self.start is None):
            self.start, self._stop = 0, 0
            return
        raise self._past_end_error(total)

    def _receive(self, response: http.client.HTTPResponse, count: int) -> None:
        if self._sink is None:
            return
        end = self.received + count
        self.was_cut_short = True
        while self.received < end:
            piece = response.read1(min(_READ_BYTES, end - self.received))
            if not piece:
                return
            self._sink.write(piece)
            self.received += len(piece)
        self.was_cut_short = False

    def _record_facts(self, facts: Facts) -> None:
        if self._facts is not None and self._facts != facts:
            raise file_changed_error(self.address, self._facts, facts)
        self._facts = facts

    def _past_end_error(self, total: int) -> TruncatedError:
        start = self.start or 0
        return past_end(
            "read", needed=self.wanted, available=total - start, file_size=total, path=self.address, offset=start
        )

    def _no_ranges_error(self, instead: str) -> UnsupportedFeatureError:
        return UnsupportedFeatureError(
            f"the server does not support range requests: it sent {instead}; "
            "download the checkpoint's files and open the copy",
            path=self.address,
        )


def file_changed_error(address: str, before: Facts, current: Facts) -> FileChangedError:
    """Return the error for a file that was replaced while being read."""
    return FileChangedError(
        f"file changed while being read: was {before.size} bytes, version {before.version}; "
        f"is now {current.size} bytes, version {current.version}; open the checkpoint again",
        path=address,
    )


def _status_error(address: str, error: urllib.error.HTTPError) -> Exception:
    status = f"{error.code} {abridged(str(error.reason))}"
    if error.code in _MISSING:
        return CheckpointNotFoundError(f"file not found: the server returned {status}", path=address)
    if error.code in _REFUSED:
        return StorageError(f"access denied: the server returned {status}", path=address)
    if error.code in _TRANSIENT:
        retry_after = _parse_retry_after(error.headers.get("Retry-After"))
        return _TransientError(f"the server returned {status}", retry_after=retry_after)
    return StorageError(f"the server returned {status}", path=address)


def _parse_retry_after(value: str | None) -> float | None:
    """Parse a Retry-After header, in seconds or as a date; return seconds, or None."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    with contextlib.suppress(ValueError, OverflowError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None


def _content_length(response: http.client.HTTPResponse) -> int | None:
    value = response.headers.get("Content-Length", "").strip()
    return int(value) if value.isdecimal() and len(value) < 20 else None


def _version(response: http.client.HTTPResponse) -> str | None:
    version: str | None = response.headers.get("ETag") or response.headers.get("Last-Modified")
    if version is None or len(version) <= _MAX_VERSION_CHARACTERS:
        return version
    return f"SHA-256 {hashlib.sha256(version.encode('utf-8', 'surrogatepass')).hexdigest()}"
