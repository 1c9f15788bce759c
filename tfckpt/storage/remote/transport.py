"""What a remote storage asks of the protocol below it: parts of files, and the facts that tell versions apart."""

from __future__ import annotations

import dataclasses
import random
import time
from typing import Protocol

from ..._typing import ByteView


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What a server says of a file: its size in bytes, and a text that changes with its content, if it gives one."""

    size: int
    version: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a file from `offset`, and the facts of the version they are of."""

    offset: int
    data: ByteView
    facts: Facts


class Sink(Protocol):
    """Takes the bytes of a part in their order, as they arrive."""

    def write(self, data: bytes) -> object:
        """Take the next bytes, all of them."""

    def restart(self) -> None:
        """Drop what was written: the part begins anew."""


class Gathered:
    """A sink in memory."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.write = self._data.extend
        self.restart = self._data.clear

    @property
    def view(self) -> ByteView:
        """All that was written."""
        return memoryview(self._data).toreadonly()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long transient faults are borne with: refused, reset and stalled connections, answers 408, 429 and 5xx.

    Times are in seconds.
    """

    #: Requests for the same bytes before giving up; one that brings some of them is resumed where it stopped.
    attempts: int = 5
    #: The wait before the second request; it doubles every time, with some chance in it.
    delay: float = 0.25
    #: No wait is longer, also where the server asks for more.
    longest_delay: float = 10.0
    #: How long one answer may stand still.
    timeout: float = 30.0
    #: Bytes a second below which an answer counts as standing still once `timeout` has passed.
    slowest: int = 16 << 10
    #: No further request is made after this time.
    total: float = 300.0

    def wait(self, attempt: int, since: float, asked: float | None = None) -> bool:
        """Sleep before the next attempt, `attempt` of which were made since the time `since`; False to give up."""
        pause = self.delay * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
        pause = min(max(pause, asked or 0.0), self.longest_delay)
        if attempt >= self.attempts or time.monotonic() + pause - since > self.total:
            return False
        time.sleep(pause)
        return True


DEFAULT_PATIENCE = Patience()


class Transport(Protocol):
    """Parts of files by address; safe to use from several threads.

    `CheckpointNotFoundError` where there is no file, `StorageError` for what waiting did not help.
    """

    def stat(self, address: str) -> Facts:
        """The facts of a file, without its bytes."""

    def read(self, address: str, offset: int, length: int) -> Part:
        """Exactly these bytes, at least one; `TruncatedError` if the file is shorter."""

    def read_end(self, address: str, length: int) -> Part:
        """The last bytes, all of a file that has not more."""

    def copy(self, address: str, offset: int, length: int, sink: Sink, facts: Facts) -> None:
        """Write exactly these bytes to a sink as they arrive, of a file with these facts and of no other.

        `StorageError` before a byte of another version is written.
        """

    def full_address(self, address: str) -> str:
        """The address with whatever access data belongs to it, for opening it again elsewhere."""

    def is_folder(self, address: str) -> bool | None:
        """Whether a folder stands there; None where the protocol cannot tell."""

    def list(self, address: str) -> list[str]:
        """Names in a folder, sorted; empty where the protocol has no listing."""
