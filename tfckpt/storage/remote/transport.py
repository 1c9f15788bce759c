"""The transport contract: what a remote storage needs from a protocol."""

from __future__ import annotations

import dataclasses
import random
import time
from typing import Protocol

from ..._typing import ByteView


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What a server reports about a file: its size in bytes, and a string that changes with the content, or None."""

    size: int
    version: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a file from `offset`, and the facts of the version they belong to, None if the protocol cannot tell."""

    offset: int
    data: ByteView
    facts: Facts | None


class Sink(Protocol):
    """A receiver of bytes in order, as they arrive."""

    def write(self, data: bytes) -> object:
        """Append all of these bytes."""

    def restart(self) -> None:
        """Discard what was written, because the transfer starts over."""


class MemorySink:
    """A sink in memory."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.write = self._data.extend
        self.restart = self._data.clear

    @property
    def view(self) -> ByteView:
        """All bytes written so far."""
        return memoryview(self._data).toreadonly()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to retry after transient errors: refused, reset and stalled connections, and status 408, 429 and 5xx.

    Times are in seconds.
    """

    #: Most requests for the same bytes; a response that was cut short is resumed where it stopped.
    attempts: int = 5
    #: Delay before the second request; it doubles every time, with some jitter.
    delay: float = 0.25
    #: Longest delay, even if the server asks for more.
    longest_delay: float = 10.0
    #: Longest time without progress of a response.
    timeout: float = 30.0
    #: Lowest rate in bytes per second at which a response still counts as making progress after `timeout`.
    slowest: int = 16 << 10
    #: Time after which no new request is sent.
    total: float = 300.0

    def wait(self, attempt: int, since: float, requested: float | None = None) -> bool:
        """Sleep before the next attempt; return False to give up.

        `attempt` attempts were made since the time `since`; `requested` is the delay that the server requested.
        """
        pause = self.delay * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
        pause = min(max(pause, requested or 0.0), self.longest_delay)
        if attempt >= self.attempts or time.monotonic() + pause - since > self.total:
            return False
        time.sleep(pause)
        return True


DEFAULT_PATIENCE = Patience()


class Transport(Protocol):
    """Parts of files by address; safe to use from several threads.

    Raises `CheckpointNotFoundError` if the file does not exist, and `StorageError` if retrying did not help.
    """

    #: Whether `read` returns the facts of the version that was read.
    has_versions: bool

    def stat(self, address: str) -> Facts:
        """Return the facts of a file, without its bytes."""

    def read(self, address: str, offset: int, length: int, spare: int = 0) -> Part:
        """Return these bytes, at least one, with one request; raise `TruncatedError` if the file is shorter.

        Up to `spare` more bytes may follow if the file has them.
        """

    def read_end(self, address: str, length: int) -> Part:
        """Return the last bytes, or the whole file if it is shorter, with the facts."""

    def copy(self, address: str, offset: int, length: int, sink: Sink, facts: Facts) -> None:
        """Write exactly these bytes to a sink as they arrive, if the file still has these facts.

        Raises `StorageError` before a byte of another version is written.
        """

    def quote(self, name: str) -> str:
        """Return a name with the characters escaped that a plain address cannot contain."""

    def full_address(self, address: str) -> str:
        """Return the address with its credentials, to open it elsewhere."""

    def is_folder(self, address: str) -> bool | None:
        """Return whether the address is a folder; None if the protocol cannot tell."""

    def list(self, address: str) -> list[str]:
        """Return the sorted names in a folder; empty if the protocol cannot list folders."""
