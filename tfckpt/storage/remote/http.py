"""Files on HTTP servers, by range requests (RFC 9110, section 14).

The standard library's client is used (`http_client`): it follows proxies and redirects as the system says, and shows
the header fields that tell whether an answer is the part that was asked for, of the version that was read before.
Every answer is compared with the question before its bytes are used; a byte more than asked for is never taken.
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
from ...errors import (
    CheckpointError,
    CheckpointNotFoundError,
    StorageError,
    TruncatedError,
    UnsupportedFeatureError,
    abridged,
    past_end,
)
from .http_client import patient_opener
from .transport import DEFAULT_PATIENCE, Facts, Gathered, Part, Patience, Sink

_PARTIAL, _WHOLE, _UNSATISFIABLE = 206, 200, 416
_MISSING = (404, 410)
_REFUSED = (401, 403, 407)
_TRANSIENT = (408, 429, 500, 502, 503, 504)
_CONTENT_RANGE = re.compile(r"bytes +(?:(\d{1,19})-(\d{1,19})|\*)/(\d{1,19}|\*)")
_PIECE = 256 << 10
#: Of a version as it is kept; a longer one is told by its SHA-256.
_LONGEST_VERSION = 200


class HttpTransport:
    """Addresses of the schemes http and https, without a query, a name or a password."""

    def __init__(self, *, query: str = "", user: str = "", patience: Patience | None = None) -> None:
        """`query` and `user` (NAME:PASSWORD, as in an address) go with every request, and are never shown."""
        self._query = query
        self._user = user
        self._patience = patience or DEFAULT_PATIENCE
        self._opener = patient_opener(self._patience)

    def stat(self, address: str) -> Facts:
        """The facts of a file, from the answer to a request for its first byte."""
        return self._get(_Answer(address, 0, 1), "bytes=0-0").facts

    def read(self, address: str, offset: int, length: int) -> Part:
        """Exactly these bytes."""
        gathered = Gathered()
        answer = self._get(_Answer(address, offset, offset + length, gathered))
        return Part(offset, gathered.view, answer.facts)

    def read_end(self, address: str, length: int) -> Part:
        """The last bytes."""
        gathered = Gathered()
        answer = self._get(_Answer(address, None, length, gathered), f"bytes=-{length}")
        return Part(answer.start or 0, gathered.view, answer.facts)

    def copy(self, address: str, offset: int, length: int, sink: Sink, facts: Facts) -> None:
        """Write exactly these bytes to a sink as they arrive, of a file with these facts and of no other.

        Where the server gives no version, what broke off is not resumed: it begins anew.
        `UnsupportedFeatureError` if the server does not give parts of files, unless this is the whole file.
        """
        self._get(_Answer(address, offset, offset + length, sink, expected=facts))

    def full_address(self, address: str) -> str:
        """The address with what is never shown."""
        parts = urllib.parse.urlsplit(address)
        netloc = f"{self._user}@{parts.netloc}" if self._user else parts.netloc
        return urllib.parse.urlunsplit(parts._replace(netloc=netloc, query=self._query))

    def is_folder(self, address: str) -> bool | None:
        """None: HTTP has no folders to ask for."""
        return None

    def list(self, address: str) -> list[str]:
        """HTTP has no listing."""
        return []

    def _get(self, answer: _Answer, ranges: str | None = None) -> _Answer:
        """Fill an answer, asked for by `ranges` at first, and again from where it stopped."""
        since = time.monotonic()
        attempt = 0
        while True:
            attempt += 1
            fault: _PassingError
            try:
                with self._response(answer.address, ranges or answer.rest()) as response:
                    answer.take(response)
                if answer.is_complete:
                    return answer
                if answer.may_go_on and not answer.was_cut_short and time.monotonic() - since < self._patience.total:
                    # The server gives less at once than it was asked for, as it may; it goes on from there.
                    attempt, ranges = 0, None
                    continue
                fault = _PassingError(
                    f"the server stopped after {answer.received} of {answer.wanted} bytes", is_short=True
                )
            except _PassingError as error:
                fault = error
            if answer.received:
                ranges = None
            if not self._patience.wait(attempt, since, fault.retry_after):
                raise fault.final(answer, attempt)
            if not answer.may_go_on:
                answer.restart()

    @contextlib.contextmanager
    def _response(self, address: str, ranges: str) -> Iterator[http.client.HTTPResponse]:
        request = urllib.request.Request(
            address + (f"?{self._query}" if self._query else ""),
            headers={"Range": ranges, "Accept-Encoding": "identity", "User-Agent": f"tfckpt/{__version__}"},
        )
        if self._user:
            # A redirect to another server does not take it along.
            token = base64.b64encode(urllib.parse.unquote_to_bytes(self._user)).decode("ascii")
            request.add_unredirected_header("Authorization", f"Basic {token}")
        try:
            with self._opener.open(request, timeout=self._patience.timeout) as response:
                yield response
        except urllib.error.HTTPError as error:
            with contextlib.closing(error):
                if error.code == _UNSATISFIABLE:
                    yield error  # type: ignore[misc]  # an answer like others: it says how long the file is
                    return
                raise _status_error(address, error) from None
        except urllib.error.URLError as error:
            reason = error.reason
            if isinstance(reason, OSError) and type(reason).__name__ == "SSLCertVerificationError":
                raise StorageError(f"the server is not trusted: {reason}", path=address) from error
            raise _PassingError(f"cannot reach the server: {reason}") from error
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, CheckpointError):
                error.path = error.path or address
                raise
            raise _PassingError(f"the connection broke: {abridged(str(error)) or type(error).__name__}") from error
        except ValueError as error:
            if isinstance(error, CheckpointError):
                raise
            raise StorageError(
                f"this address, or one that the server redirects to, is none: {error}", path=address
            ) from error


class _PassingError(Exception):
    """Something that may be gone at the next request."""

    def __init__(self, message: str, *, retry_after: float | None = None, is_short: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.is_short = is_short

    def final(self, answer: _Answer, attempts: int) -> CheckpointError:
        """The error after the last attempt."""
        message = f"{self}, in {attempts} attempts"
        if self.is_short:
            return TruncatedError(
                message, needed=answer.wanted, available=answer.received, path=answer.address, offset=answer.start
            )
        return StorageError(message, path=answer.address, offset=answer.start)


class _Answer:
    """What arrives for one question, over as many requests as it takes: bytes `start` to `stop`, or the last `stop`.

    The bytes go to a sink as they arrive; without one only the facts are asked for.
    """

    def __init__(
        self, address: str, start: int | None, stop: int, sink: Sink | None = None, *, expected: Facts | None = None
    ) -> None:
        """`expected` are the facts that the file has to have; None for whatever it has."""
        self.address = address
        self.start = start
        self._stop = stop
        self._sink = sink
        self._facts = expected
        #: Whether another answer may go on where one ended.
        self.may_go_on = expected is None or expected.version is not None
        #: Bytes that arrived.
        self.received = 0
        #: Whether the last answer ended before it had given what its head promised.
        self.was_cut_short = False

    @property
    def wanted(self) -> int:
        """Bytes in all."""
        return self._stop - (self.start or 0)

    @property
    def is_complete(self) -> bool:
        """Whether nothing more is needed."""
        return self._facts is not None and (self._sink is None or self.received == self.wanted)

    @property
    def facts(self) -> Facts:
        """The facts of the file, which an answer told."""
        assert self._facts is not None
        return self._facts

    def rest(self) -> str:
        """The value of a Range field for what has not arrived yet."""
        return f"bytes={(self.start or 0) + self.received}-{self._stop - 1}"

    def restart(self) -> None:
        """Take nothing for arrived."""
        self.received = 0
        if self._sink is not None:
            self._sink.restart()

    def take(self, response: http.client.HTTPResponse) -> None:
        """Compare an answer's head with the question, and take its bytes as far as they go."""
        coding = response.headers.get("Content-Encoding", "identity")
        if coding != "identity":
            raise UnsupportedFeatureError(f"the server packs what it sends with {abridged(coding)}", path=self.address)
        if response.status == _UNSATISFIABLE:
            self._take_end_of_file(response)
        elif response.status == _PARTIAL:
            self._take_part(response)
        elif response.status == _WHOLE:
            self._take_whole(response)
        else:
            raise StorageError(f"the server answers {response.status} {abridged(response.reason)}", path=self.address)

    def _take_part(self, response: http.client.HTTPResponse) -> None:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        if match is None or match[1] is None or match[3] == "*":
            raise _PassingError(
                f"the server does not say which part it gives: {abridged(repr(response.headers.get('Content-Range')))}"
            )
        first, last, total = int(match[1]), int(match[2]), int(match[3])
        length = _length(response)
        if not first <= last < total or (length is not None and length != last + 1 - first):
            raise _PassingError(
                f"the server contradicts itself: {length} bytes, which are bytes {match[1]}-{match[2]}/{total}"
            )
        self._learn(Facts(total, _version(response)))
        if self.start is None:
            self.start, self._stop = max(0, total - self._stop), total
        expected = self.start + self.received
        if first != expected or last >= self._stop:
            raise _PassingError(f"the server gives bytes {first}-{last}, asked for were {expected}-{self._stop - 1}")
        if self._stop > total:
            raise self._past_end(total)
        self._receive(response, last + 1 - first)

    def _take_whole(self, response: http.client.HTTPResponse) -> None:
        """The server ignored the range, as it may; that serves only if the whole was wanted."""
        length = _length(response)
        if length is None:
            raise self._no_parts("a file of unknown length")
        self._learn(Facts(length, _version(response)))
        if self._sink is None:
            return
        if self.start is None and self._stop >= length:
            self.start, self._stop = 0, length
        if self.start != 0 or self._stop < length:
            raise self._no_parts(f"the whole file of {length} bytes")
        if self._stop > length:
            raise self._past_end(length)
        self.restart()
        self._receive(response, length)

    def _take_end_of_file(self, response: http.client.HTTPResponse) -> None:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        if match is None or match[3] == "*":
            raise StorageError("the server refuses the range and does not say how long the file is", path=self.address)
        total = int(match[3])
        self._learn(Facts(total, _version(response)))
        if total == 0 and (self._sink is None or self.start is None):
            self.start, self._stop = 0, 0
            return
        raise self._past_end(total)

    def _receive(self, response: http.client.HTTPResponse, count: int) -> None:
        if self._sink is None:
            return
        end = self.received + count
        self.was_cut_short = True
        while self.received < end:
            piece = response.read1(min(_PIECE, end - self.received))
            if not piece:
                return
            self._sink.write(piece)
            self.received += len(piece)
        self.was_cut_short = False

    def _learn(self, facts: Facts) -> None:
        if self._facts is not None and self._facts != facts:
            raise changed(self.address, self._facts, facts)
        self._facts = facts

    def _past_end(self, total: int) -> TruncatedError:
        start = self.start or 0
        return past_end(
            "read", needed=self.wanted, available=total - start, file_size=total, path=self.address, offset=start
        )

    def _no_parts(self, instead: str) -> UnsupportedFeatureError:
        return UnsupportedFeatureError(
            f"the server does not give parts of files: asked for some bytes it sends {instead}; "
            "download the checkpoint's files and open the copy",
            path=self.address,
        )


def changed(address: str, before: Facts, now: Facts) -> StorageError:
    """The error for a file that another has taken the place of."""
    return StorageError(
        f"the file changed while it was read: it was {before.size} bytes, version {before.version}; "
        f"now it is {now.size} bytes, version {now.version}; open the checkpoint again",
        path=address,
    )


def _status_error(address: str, error: urllib.error.HTTPError) -> Exception:
    said = f"{error.code} {abridged(str(error.reason))}"
    if error.code in _MISSING:
        return CheckpointNotFoundError(f"file not found: the server answers {said}", path=address)
    if error.code in _REFUSED:
        return StorageError(f"the server refuses access: {said}", path=address)
    if error.code in _TRANSIENT:
        return _PassingError(f"the server answers {said}", retry_after=_seconds(error.headers.get("Retry-After")))
    return StorageError(f"the server answers {said}", path=address)


def _seconds(value: str | None) -> float | None:
    """A Retry-After field: seconds, or a date."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    with contextlib.suppress(ValueError, OverflowError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None


def _length(response: http.client.HTTPResponse) -> int | None:
    value = response.headers.get("Content-Length", "").strip()
    return int(value) if value.isdecimal() and len(value) < 20 else None


def _version(response: http.client.HTTPResponse) -> str | None:
    version: str | None = response.headers.get("ETag") or response.headers.get("Last-Modified")
    if version is None or len(version) <= _LONGEST_VERSION:
        return version
    return f"SHA-256 {hashlib.sha256(version.encode('utf-8', 'surrogatepass')).hexdigest()}"
