"""Compressed data as a stream that is unpacked in bounded pieces: gzip, bzip2, xz and raw deflate.

Every piece that comes out is counted, so that a small file which unpacks to a huge one runs into a limit on the way.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any

from ..._typing import ByteSource
from ...errors import CorruptionError, LimitExceededError, TruncatedError
from ...limits import Limits, check_limit

_PIECE = 1 << 20
#: Taken from the source at once: what follows a stream is copied at its end, and a stream can be as short as 14 bytes.
_INPUT = 32 << 10
#: Below this size expansion costs too little to be worth refusing.
_FREE = 256 << 20
#: What the largest usual setting of xz (-9) needs is 65 MB.
_XZ_MEMORY = 128 << 20


class Allowance:
    """What may still come out of one archive; shared by its members."""

    def __init__(self, packed: int, limits: Limits) -> None:
        """`packed` is the archive's size in bytes."""
        self._taken = 0
        self._packed = packed
        self._limits = limits

    def take(self, count: int) -> None:
        """Count bytes that came out, or that a header says will; `LimitExceededError` when there are too many."""
        self._taken += count
        limits = self._limits
        check_limit(limits, "max_unpacked_bytes", self._taken, "archive is too large unpacked")
        if self._taken > max(_FREE, limits.max_expansion * self._packed):
            raise LimitExceededError(
                f"archive of {self._packed} bytes unpacks to {self._taken} and more",
                limit="max_expansion",
                maximum=limits.max_expansion,
                claimed=-(-self._taken // max(self._packed, 1)),
            )


class Unpacker:
    """The unpacked bytes of a run of a source, in order."""

    def __init__(self, source: ByteSource, kind: str, allowance: Allowance, *, offset: int = 0, size: int = -1) -> None:
        """`kind` is a format's name in `kinds.COMPRESSIONS`, or "deflate"; `offset` and `size` in bytes, -1 for all."""
        self._source = source
        self._kind = kind
        self._allowance = allowance
        self._next = offset
        self._end = source.size if size < 0 else offset + size
        self._make: Callable[[], Any] = _DECODERS[kind]
        self._decoder = self._make()
        self._rest: bytes | memoryview = b""

    def piece(self) -> bytes:
        """The next bytes, at most 1 MiB; empty at the end. Checksums of the format are compared on the way.

        Several gzip, bzip2 or xz streams one after the other give one, as their tools do.
        """
        while True:
            if self._decoder.eof and (self._kind == "deflate" or not self._begin_next_stream()):
                return b""
            needs_input = not self._rest and getattr(self._decoder, "needs_input", True)
            if needs_input:
                self._rest = self._more()
            piece = self._decode(self._rest)
            if piece:
                self._allowance.take(len(piece))
                return piece
            if needs_input and not self._rest and self._next >= self._end and not self._decoder.eof:
                raise TruncatedError(
                    f"the {self._kind} data ends before its own end mark",
                    needed=1,
                    available=0,
                    path=self._source.name,
                    offset=self._next,
                )

    def _decode(self, data: bytes | memoryview) -> bytes:
        decoder = self._decoder
        try:
            piece: bytes = decoder.decompress(data, _PIECE)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
            raise CorruptionError(
                f"the {self._kind} data is damaged: {error}", path=self._source.name, offset=self._next
            ) from error
        if decoder.eof:
            self._rest = decoder.unused_data
        else:
            # bz2 and lzma keep what they did not use; zlib gives it back.
            self._rest = getattr(decoder, "unconsumed_tail", b"")
        return piece

    def _begin_next_stream(self) -> bool:
        rest = bytes(self._rest)
        while not rest.strip(b"\0"):  # padding of zeros after a stream is legal
            more = self._more()
            if not more:
                return False
            rest = bytes(more)
        self._rest = rest.lstrip(b"\0")
        self._decoder = self._make()
        return True

    def _more(self) -> memoryview:
        view = self._source.read(self._next, min(_INPUT, self._end - self._next))
        self._next += len(view)
        return view


_DECODERS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "deflate": lambda: zlib.decompressobj(wbits=-15),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY),
}
